"""What an intervention is: a plain function whose signature is its contract.

The first argument's name is the stage. A keyword-only argument without a default is a signal; one
with a default is a hyper-parameter. A method that remembers is :class:`Stateful`. This module
knows no tensors: it reads signatures and wraps functions.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from divreg.control import Hold

STAGES = ("rewards", "advantages", "token_weights", "loss")


@dataclass(frozen=True)
class Contract:
    """What a signature promises: ``stage``, the ``signals`` it reads, its ``hyper``-parameters."""

    name: str
    stage: str
    signals: tuple[str, ...]
    hyper: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={show(v)}' for k, v in self.hyper.items())})"


@dataclass(frozen=True)
class Stateful:
    """A method with memory: ``init() -> state`` and ``update(x, state, *, signals) -> (x, state)``.

    ``state`` is a plain dict of JSON values: it is printed, saved with every checkpoint and
    restored on resume. A method of the library is a factory annotated ``-> Stateful`` whose
    keyword-only arguments are its hyper-parameters; ``name`` and ``hyper`` record that call.
    """

    init: Callable[[], dict[str, Any]]
    update: Callable[..., tuple[Any, dict[str, Any]]]
    name: str = "stateful"
    hyper: Mapping[str, Any] = field(default_factory=dict)


Intervention = Callable[..., Any] | Stateful


def show(value: Any) -> str:
    """Print a hyper-parameter as a user would write it: functions by name."""
    return getattr(value, "__name__", None) or repr(value)


def is_factory(f: Any) -> bool:
    """Whether ``f`` is a method with memory that still has to be called (``-> Stateful``)."""
    if isinstance(f, Stateful):
        return False
    target = f.func if isinstance(f, functools.partial) else f
    return getattr(target, "__annotations__", {}).get("return") in (Stateful, "Stateful")


def name_of(f: Any) -> str:
    """Return the name a user knows ``f`` by: its own, or that of the function a partial binds."""
    if isinstance(f, Stateful):
        return f.name
    if isinstance(f, functools.partial):
        return name_of(f.func)
    return getattr(f, "__name__", type(f).__name__)


def contract(f: Any) -> Contract:
    """Read the contract of an intervention from its signature.

    Args:
        f: A function, a ``functools.partial`` of one, a :class:`Stateful`, or a factory of one.

    Raises:
        TypeError: If the first argument does not name a stage, or a signal is not keyword-only.

    >>> def halve(rewards, *, partition, factor=0.5):
    ...     return rewards * factor
    >>> contract(halve)
    Contract(name='halve', stage='rewards', signals=('partition',), hyper={'factor': 0.5})
    """
    name, bound = name_of(f), {}
    if is_factory(f):
        bound = _split(name, list(inspect.signature(f).parameters.values()))[1]
        f = f()
    stage, *rest = _parameters(f)
    if stage.name not in STAGES:
        raise TypeError(_stage_error(name, repr(stage.name)))
    signals, hyper = _split(name, rest)
    return Contract(name, stage.name, signals, {**bound, **getattr(f, "hyper", {}), **hyper})


def blend(f: Intervention, strength: float) -> Intervention:
    """Move from the input towards ``f``'s result by ``strength``: 0 is off bit for bit, 1 is ``f``.

    Gives a dial to a method whose paper has none; it is scheduled like any hyper-parameter, under
    the name ``strength``.

    Raises:
        ValueError: If ``f`` has a ``strength`` of its own: bind that one instead.
    """
    known = contract(f)
    if "strength" in known.hyper:
        raise ValueError(
            f"blend needs a method without a strength of its own; got {known}. "
            f"Use functools.partial({known.name}, strength={strength})."
        )

    def run(call: Callable[..., Any], x: Any, inputs: dict[str, Any]) -> Any:
        share = inputs.pop("strength", strength)
        y = call(**inputs)
        if share in (0, 1):
            return y if share else x
        if getattr(y, "ndim", 0) > getattr(x, "ndim", 0):
            x = x[..., None]  # advantages that gained a token axis
        return x + share * (y - x)

    return _wrap(f, run, hyper={"strength": strength})


def scheduled(f: Intervention, **schedules: Callable[[int], float] | Hold) -> Intervention:
    """Let hyper-parameters of ``f`` follow the optimizer step: ``schedules[name](step) -> value``.

    The monitor's ``on_collapse="intervene"`` multiplies the value by a factor of its own, which is
    1 until the first alert. A :class:`divreg.control.Hold` in place of a schedule moves the value
    by what it measures; that memory is saved with checkpoints, and the monitor leaves it alone.

    Raises:
        ValueError: If ``f`` has no such hyper-parameter, or one to hold does not start above 0.

    >>> from divreg import Linear
    >>> def scale(rewards, *, factor=1.0):
    ...     return rewards * factor
    >>> scheduled(scale, factor=Linear(0.0, 1.0, 10))(8.0, step=5, boost=1.0)
    4.0
    """
    if is_factory(f):
        f = f()  # pyright: ignore[reportCallIssue]  # what is scheduled is its update's
    known = contract(f)
    for name in schedules:
        if name not in _split(known.name, _parameters(f)[1:])[1]:
            raise ValueError(
                f"{known.name} has no hyper-parameter {name!r} to schedule; it takes "
                f"{', '.join(known.hyper) or 'none'}."
            )

    if held := {k: s for k, s in schedules.items() if isinstance(s, Hold)}:
        rest = {k: s for k, s in schedules.items() if k not in held}
        return _held(scheduled(f, **rest) if rest else f, held, known)

    def run(call: Callable[..., Any], x: Any, inputs: dict[str, Any]) -> Any:  # noqa: ARG001
        step, boost = inputs.pop("step"), inputs.pop("boost")
        for name, schedule in schedules.items():
            inputs[name] = inputs.get(name, schedule)(step) * boost
        if "step" in known.signals:
            inputs["step"] = step
        return call(**inputs)

    return _wrap(f, run, hyper=schedules, signals=("step", "boost"))


def is_scheduled(f: Any) -> bool:
    """Whether :func:`scheduled` made ``f``: the monitor can move the strength of such a method."""
    return "boost" in contract(f).signals


def _parameters(f: Any) -> list[inspect.Parameter]:
    """Return the parameters that make the contract: the stage first, without ``state``."""
    target = f.update if isinstance(f, Stateful) else f
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        raise TypeError(
            f"{f!r} is not an intervention; got {type(f).__name__}. Pass a function such as "
            f"divreg.methods.darling, a functools.partial of one, or a Stateful."
        ) from None
    if not parameters:
        raise TypeError(_stage_error(name_of(f), "no argument"))
    if isinstance(f, Stateful):
        if len(parameters) < 2 or parameters[1].name != "state":
            raise TypeError(
                f"{f.name}: update needs `state` as its second argument; got "
                f"{[p.name for p in parameters]}. Write update(advantages, state, *, ...)."
            )
        del parameters[1]
    return parameters


def _split(
    name: str, parameters: list[inspect.Parameter]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Split keyword-only parameters into signals (no default) and hyper-parameters (default)."""
    for p in parameters:
        if p.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise TypeError(
                f"{name}: {p.name!r} needs to be keyword-only; got a {p.kind.description} argument."
                f" Put `*` before the signals: def {name}(rewards, *, {p.name.lstrip('*')})."
            )
    signals = tuple(p.name for p in parameters if p.default is inspect.Parameter.empty)
    return signals, {p.name: p.default for p in parameters if p.name not in signals}


def _stage_error(name: str, got: str) -> str:
    return (
        f"{name}: the first argument names the stage and must be one of {', '.join(STAGES)}; "
        f"got {got}. Rename it to what the function changes."
    )


def _wrap(
    f: Intervention,
    run: Callable[[Callable[..., Any], Any, dict[str, Any]], Any],
    *,
    hyper: Mapping[str, Any],
    signals: tuple[str, ...] = (),
) -> Intervention:
    """Let ``run(call, x, inputs)`` decide how ``f`` is called, and keep its contract readable."""
    if is_factory(f):
        f = f()  # pyright: ignore[reportCallIssue]
    name = name_of(f)
    stage, *tail = _widened(f, hyper, signals)
    if not isinstance(f, Stateful):

        def wrapped(x: Any, **inputs: Any) -> Any:
            return run(functools.partial(f, x), x, inputs)

        wrapped.__name__ = name
        wrapped.__signature__ = inspect.Signature([stage, *tail])  # pyright: ignore[reportFunctionMemberAccess]
        return wrapped

    memory = f

    def update(x: Any, state: dict[str, Any], **inputs: Any) -> tuple[Any, dict[str, Any]]:
        kept = [state]

        def call(**more: Any) -> Any:
            y, kept[0] = memory.update(x, state, **more)
            return y

        return run(call, x, inputs), kept[0]

    update.__signature__ = inspect.Signature([stage, _STATE, *tail])  # pyright: ignore[reportFunctionMemberAccess]
    return Stateful(memory.init, update, name, {**memory.hyper, **hyper})


def _held(f: Intervention, holds: Mapping[str, Hold], known: Contract) -> Stateful:
    """Let each hyper-parameter move as its :class:`Hold` says; ``known`` has where they start."""
    starts = {
        name: known.hyper[name] if hold.start is None else hold.start
        for name, hold in holds.items()
    }
    for name, hold in holds.items():
        if not isinstance(starts[name], int | float) or starts[name] <= 0:
            raise ValueError(
                f"{known.name} needs a value above 0 to start from where {name} is held; got "
                f"{starts[name]!r}. Give one: Hold({hold.signal!r}, {hold.share}, start=0.1)."
            )
    own = contract(f).signals
    memory = f if isinstance(f, Stateful) else None

    def init() -> dict[str, Any]:
        inner = memory.init() if memory else {}
        return {"held": {name: hold.begin() for name, hold in holds.items()}, "inner": inner}

    def update(x: Any, state: dict[str, Any], **inputs: Any) -> tuple[Any, dict[str, Any]]:
        held = dict(state["held"])
        given = {k: v for k, v in inputs.items() if k in own or k not in added}
        for name, hold in holds.items():
            measured = inputs[hold.signal].detach().mean().item()
            value, held[name] = hold.follow(
                held[name], inputs["step"], measured, start=starts[name]
            )
            if inputs.get(name, hold) is hold:
                given[name] = value
        if memory is None:
            return f(x, **given), {**state, "held": held}  # pyright: ignore[reportCallIssue]
        y, inner = memory.update(x, state["inner"], **given)
        return y, {"held": held, "inner": inner}

    added = ("step", *(hold.signal for hold in holds.values()))
    stage, *tail = _widened(f, holds, added)
    update.__signature__ = inspect.Signature([stage, _STATE, *tail])  # pyright: ignore[reportFunctionMemberAccess]
    return Stateful(init, update, known.name, {**known.hyper, **holds})


def _widened(
    f: Intervention, hyper: Mapping[str, Any], signals: tuple[str, ...]
) -> list[inspect.Parameter]:
    """Return the parameters of ``f``, without ``state``, with more signals and other defaults."""
    stage, *rest = _parameters(f)
    wanted, defaults = _split(name_of(f), rest)
    keyword = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
    return [
        stage,
        *(keyword(s) for s in dict.fromkeys((*wanted, *signals))),
        *(keyword(k, default=v) for k, v in {**defaults, **hyper}.items()),
    ]


_STATE = inspect.Parameter("state", inspect.Parameter.POSITIONAL_OR_KEYWORD)
