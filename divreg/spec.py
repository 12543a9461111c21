"""YAML or a dict -> functions: the only place where a string names a function.

A recipe's ``divreg:`` block has five keys, each optional::

    divreg:
      interventions:                       # null: the preset; []: none, trains as TRL does
        - darling: {floor: 0.1}            # hyper-parameters by name
        - progrpo: {alpha: {linear: [0.1, 0.3, 100]}}  # from, to, in how many steps; or cosine
        - entropy_bonus: {strength: {hold: [mean_entropy, 0.7]}}  # at this share of the baseline
        - steer: {strength: 0.5}           # half way: blend(), where the method has no such dial
        - my_package.my_module.my_method   # a function of your own
      signals:
        correct: {reward: accuracy_reward, at_least: 1.0}
        answer: my_package.answers.boxed   # a function: text -> answer or None; with the
                                           # keyword-only argument `prompt` it is told that too
        old_logprob: {every: 8}            # SFT: optimizer steps between two old policies
        generated: {share: 0.5, tokens: 100}  # SFT: steps on what the model writes itself
        pair_weight: weight                # DPO: the column that ddpo weighs pairs by
        partition: by_answer               # or {by_pairs: {classifier: NAME, threshold: 0.1}}
        embedding: {encoder: all-MiniLM-L6-v2}       # or {endpoint: URL, model: NAME}
      monitor:                             # CollapseMonitor's arguments; false: no monitor
        on_collapse: stop
        formats: {code: '```', boxed: 'boxed'}  # expressions; true: code or text; or a function
      head: divreg                         # statistics that TRL's own head does not have
      spl: {alpha: 0.2}                    # DPO: the coefficient of the entropy, beside TRL's beta
"""

import dataclasses
import difflib
import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from divreg.compose import Intervention, blend, contract, scheduled
from divreg.control import Cosine, Hold, Linear

_OF_TRAINERS = {"generated", "pair_weight"}  # signals that are settings, looked at there
_SCHEDULES = {"linear": Linear, "cosine": Cosine}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a ``divreg:`` block says: functions where it had names.

    ``interventions`` is None where the preset should run; ``monitor`` holds the keyword arguments
    of ``CollapseMonitor``, False where none is wanted, and None where nothing was said: then a run
    with interventions is watched, and one without trains exactly as TRL does. ``head`` is the loss
    head: TRL's own, or divreg's with its further statistics. ``spl`` is as it was written.
    """

    interventions: list[Intervention] | None = None
    signals: dict[str, Any] = dataclasses.field(default_factory=dict)
    monitor: dict[str, Any] | Literal[False] | None = None
    head: Literal["trl", "divreg"] = "trl"
    spl: Any = None


def load(source: Mapping[str, Any] | str | os.PathLike[str] | None) -> Settings:
    """Read a ``divreg:`` block: a dict, the path of a YAML file that holds one, or None.

    A YAML file may be a whole recipe, of which the ``divreg:`` block is read, or the block alone.

    Raises:
        ValueError: If a key, a name or a value is not known; the message says what to type instead.
    """
    if source is None:
        return Settings()
    block = source if isinstance(source, Mapping) else _read_block(Path(source))
    from divreg.monitor.block import monitor

    keys = ("interventions", "signals", "monitor", "head", "spl")
    for key in block:
        if key not in keys:
            raise ValueError(unknown("the `divreg:` block", "key", key, keys))
    listed = block.get("interventions")
    return Settings(
        interventions=None if listed is None else methods(listed),
        signals=signals(block.get("signals") or {}),
        monitor=monitor(block.get("monitor")),
        head=_head(block.get("head", "trl")),
        spl=block.get("spl"),
    )


def methods(items: Sequence[Any]) -> list[Intervention]:
    """Turn a list of names, ``{name: hyper-parameters}`` and functions into interventions.

    Raises:
        ValueError: If a method or a hyper-parameter is not known, or a value is of the wrong kind.

    >>> methods([{"entropy_bonus": {"strength": 0.05}}])[0].keywords
    {'strength': 0.05}
    """
    if isinstance(items, (str, Mapping)) or not isinstance(items, Iterable):
        raise ValueError(
            f"interventions needs a list; got {_kind(items)}. "
            "Put each method on a line of its own that begins with a dash: `- darling: {}`."
        )
    return [_method(item) for item in items]


def signals(block: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a ``signals:`` block into what the trainers' ``signals=`` takes.

    Raises:
        ValueError: If a signal, a function or a value is not known.
    """
    if not isinstance(block, Mapping):
        raise ValueError(
            f"signals needs a mapping; got {_kind(block)}. "
            "Write `signals: {partition: by_answer}`."
        )
    from divreg.signals import SIGNALS

    readers = {"correct": _correct, "answer": _answer, "old_logprob": _old_logprob}
    known = sorted({*SIGNALS, *readers, *_OF_TRAINERS, "embedding"})
    ready = {}
    for name, value in block.items():
        if name not in known:
            raise ValueError(unknown("signals", "signal", name, known))
        if name in _OF_TRAINERS:
            ready[name] = value
        elif name != "embedding":
            reader = readers.get(name) or functools.partial(_derived, name)
            ready[name] = reader(value)
    if "embedding" in block:  # it may embed answers
        ready["embedding"] = _embedding(block["embedding"], ready.get("answer"))
    return ready


def named(path: str, what: str) -> Any:
    """Import what a dotted path names; the working directory is searched too.

    Args:
        path: A module and a name in it, such as ``my_package.rewards.length``.
        what: What the path should lead to, for the error: ``"reward function"``.

    Raises:
        ValueError: If there is no such module, or it has no such name.
    """
    module_name, _, name = path.rpartition(".")
    if not module_name:
        raise ValueError(
            f"{what} needs a dotted path; got {path!r}. "
            f"Write module.name, such as my_module.{path}."
        )
    search_working_directory()
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(
            f"{what} {path!r} cannot be imported: {error}. "
            f"Run from the folder that holds {module_name.split('.')[0]}, or install it."
        ) from error
    if not hasattr(module, name):
        public = [n for n in vars(module) if not n.startswith("_")]
        raise ValueError(unknown(f"module {module_name}", "name", name, public))
    return getattr(module, name)


def search_working_directory() -> None:
    """Let the user's own modules be named from the folder they lie in, as TRL's CLI does."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def unknown(who: str, kind: str, name: Any, known: Iterable[str]) -> str:
    """Say that ``who`` has no ``kind`` called ``name``, and which one was probably meant.

    >>> unknown("signals", "signal", "partitoin", ["answer", "partition"])
    "signals has no signal 'partitoin'; it takes answer, partition. Did you mean 'partition'?"
    """
    listed = sorted(known)
    close = difflib.get_close_matches(str(name), listed, n=1, cutoff=0.6)
    takes = f"it takes {', '.join(listed)}" if 0 < len(listed) <= 12 else ""
    fact = f"{who} has no {kind} {name!r}" + (f"; {takes}." if takes else ".")
    if close:
        return f"{fact} Did you mean {close[0]!r}?"
    return f"{fact} Remove it" + (" or use one of these." if takes else ".")


def _read_block(path: Path) -> Mapping[str, Any]:
    """Read the ``divreg:`` block of a YAML file, or the whole file where it has no such key."""
    document = read_yaml(path)
    return document.get("divreg", document) or {}


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        ValueError: If the file is missing, is no YAML, or holds something else than a mapping.
    """
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise ValueError(
            f"the config file {path} cannot be read: {reason}. Give the path of a YAML file."
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it does not parse"
        raise ValueError(
            f"the config file {path} is not valid YAML{where}: {problem}. "
            "Check the indentation and the colons there."
        ) from error
    if not isinstance(document, dict):
        raise ValueError(
            f"the config file {path} needs `key: value` lines; got {_kind(document)}. "
            "Start from a file in recipes/."
        )
    return document


def _method(item: Any) -> Intervention:
    """Turn one entry of ``interventions:`` into a function."""
    if isinstance(item, Mapping):
        if len(item) != 1:
            raise ValueError(
                f"an intervention needs one name; got {', '.join(map(str, item)) or 'none'}. "
                "Write `- darling: {floor: 0.1}`, one dash for each method."
            )
        name, hyper = next(iter(item.items()))
    else:
        name, hyper = item, None
    if not isinstance(name, str):
        if hyper is None and callable(getattr(name, "update", name)):
            return name
        raise ValueError(
            f"an intervention needs the name of a method; got {name!r}. "
            "`divreg methods` lists them."
        )
    if hyper is not None and not isinstance(hyper, Mapping):
        raise ValueError(
            f"{name} needs its hyper-parameters by name; got {hyper!r}. "
            f"Write `- {name}: {{name: value}}`."
        )
    return _bind(_find_method(name), dict(hyper or {}))


def _find_method(name: str) -> Intervention:
    from divreg.losses import LOSSES
    from divreg.methods import METHODS

    library = {**METHODS, **LOSSES}
    if name in library:
        return library[name]
    if "." in name:
        return named(name, "method")
    raise ValueError(
        unknown("divreg", "method", name, library)
        + " A function of your own is named by its dotted path, my_module.my_method."
    )


def _bind(f: Intervention, given: dict[str, Any]) -> Intervention:
    """Bind constants with ``partial``, schedules with ``scheduled``, a new dial with ``blend``."""
    known = contract(f)
    blended = "strength" in given and "strength" not in known.hyper
    for key in given:
        if key not in known.hyper and not (blended and key == "strength"):
            raise ValueError(
                unknown(known.name, "hyper-parameter", key, {*known.hyper, "strength"})
            )
    values = {
        k: read_value(known.name, k, v, default=known.hyper.get(k, 1.0)) for k, v in given.items()
    }
    dial: Any = values.pop("strength") if blended else 1.0
    schedules = {k: v for k, v in values.items() if isinstance(v, (Linear, Cosine, Hold))}
    constants = {k: v for k, v in values.items() if k not in schedules}
    built: Any = functools.partial(f, **constants) if constants else f  # pyright: ignore[reportCallIssue, reportArgumentType]
    if blended:
        constant = isinstance(dial, (int, float))
        built = blend(built, dial if constant else 1.0)
        if isinstance(dial, Hold):  # a method in full is the most there is of it
            dial = dataclasses.replace(dial, most=max(1.0, 1 / (dial.start or 1.0)))
        schedules |= {} if constant else {"strength": dial}
    return scheduled(built, **schedules) if schedules else built


def read_value(who: str, name: str, given: Any, *, default: Any) -> Any:
    """Check one hyper-parameter against its default, and read what it may follow instead.

    Raises:
        ValueError: If it is of another kind than its default.
    """
    if isinstance(given, Mapping) and not isinstance(default, Mapping):
        return _schedule(who, name, given)
    if isinstance(default, bool):
        if not isinstance(given, bool):
            raise ValueError(f"{who} needs true or false for {name}; got {given!r}. {_ASK}")
    elif isinstance(default, (int, float)):
        return _number(who, name, given)
    elif isinstance(default, str) and not isinstance(given, str):
        raise ValueError(f"{who} needs a word for {name}; got {given!r}. {_ASK}")
    return given


_ASK = "`divreg methods` lists every hyper-parameter with its default."


def _number(who: str, name: str, value: Any) -> int | float:
    """Read a number; YAML takes ``1e-4`` for a word, people do not."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    try:
        return float(value) if isinstance(value, str) else float("word")
    except ValueError:
        raise ValueError(f"{who} needs a number for {name}; got {value!r}. {_ASK}") from None


def _schedule(who: str, name: str, value: Mapping[str, Any]) -> Linear | Cosine | Hold:
    """Read ``{linear: [from, to, steps]}``, ``{cosine: ...}`` or ``{hold: [signal, share, ...]}``.

    What else ``hold`` takes, in this order: see :class:`divreg.control.Hold`.
    """
    kind, given = next(iter(value.items())) if len(value) == 1 else (None, None)
    if isinstance(given, list) and kind == "hold" and 2 <= len(given) <= 6:
        return Hold(given[0], *(_number(who, name, n) for n in given[1:]))  # pyright: ignore[reportArgumentType]
    if isinstance(given, list) and kind in _SCHEDULES and len(given) == 3:
        start, end, steps = (_number(who, name, n) for n in given)
        return _SCHEDULES[kind](start, end, int(steps))
    raise ValueError(
        f"{who} needs a number or a schedule for {name}; got {dict(value)}. Write {name}: "
        f"{{linear: [from, to, steps]}}, {{cosine: [from, to, steps]}} or "
        f"{{hold: [mean_entropy, 0.7]}}."
    )


def _correct(value: Any) -> dict[str, Any]:
    """Read ``correct: {reward: NAME, at_least: X}``."""
    example = "Write `correct: {reward: accuracy_reward, at_least: 1.0}`."
    if not isinstance(value, Mapping):
        raise ValueError(f"correct needs the name of a reward function; got {value!r}. {example}")
    for key in value:
        if key not in ("reward", "at_least"):
            raise ValueError(unknown("correct", "key", key, ("reward", "at_least")))
    if not isinstance(value.get("reward"), str):
        raise ValueError(f"correct needs the key 'reward'; got {dict(value)}. {example}")
    return {
        "reward": value["reward"],
        "at_least": float(_number("correct", "at_least", value.get("at_least", 1.0))),
    }


def _old_logprob(value: Any) -> dict[str, Any]:
    """Read ``old_logprob: {every: 8}``: optimizer steps after which the old policy is renewed."""
    if isinstance(value, Mapping) and set(value) == {"every"}:
        return dict(value)
    raise ValueError(f"old_logprob needs the key 'every'; got {value!r}. Write `{{every: 8}}`.")


def _answer(value: Any) -> Callable[..., str | None]:
    return _function(value, "answer", "my_module.extract, a function: text -> answer or None")


def _embedding(value: Any, answer: Callable[[str], Any] | None) -> Callable[[list[str]], Any]:
    """Read ``embedding:``: a function's dotted path, ``{encoder: NAME}`` or ``{endpoint: URL}``."""
    if not isinstance(value, Mapping):
        return _function(
            value, "embedding", "{encoder: all-MiniLM-L6-v2}, or the dotted path of a function"
        )
    from divreg import semantics

    return semantics.encoder(value, answer)


def _function(value: Any, who: str, example: str) -> Callable[..., Any]:
    found = named(value, who) if isinstance(value, str) else value
    if not callable(found):
        raise ValueError(f"{who} needs a function; got {value!r}. Write `{who}: {example}`.")
    return found


def _derived(name: str, value: Any) -> Callable[..., Any]:
    """Read a signal that is computed from others: a variant, a dotted path or hyper-parameters."""
    from divreg.signals import SIGNALS

    variants = _variants(SIGNALS[name])
    if callable(value):
        return value
    if isinstance(value, str):
        return _variant(name, value, variants)
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{name} needs a function; got {value!r}. Name "
            f"{', '.join([*sorted(variants), 'a function of your own by its dotted path'])}."
        )
    if len(value) == 1:
        key, hyper = next(iter(value.items()))
        if key in variants or "." in str(key) or isinstance(hyper, Mapping):
            return _configured(_variant(name, str(key), variants), hyper or {})
    return _configured(SIGNALS[name], value)


def _variants(library: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Return the functions of ``divreg.signals`` that live beside one and may stand in for it."""
    from divreg import signals as vocabulary

    home = library.__module__
    public = vars(vocabulary).items()
    return {n: f for n, f in public if inspect.isfunction(f) and f.__module__ == home}


def _variant(name: str, key: str, variants: Mapping[str, Callable[..., Any]]) -> Any:
    if key in variants:
        return variants[key]
    if "." in key:
        return _function(key, name, "my_module.my_function")
    raise ValueError(unknown(name, "function", key, variants))


def _configured(f: Callable[..., Any], hyper: Mapping[str, Any]) -> Callable[..., Any]:
    """Bind the hyper-parameters of a signal; one that takes a function accepts its dotted path."""
    parameters = {
        k: p for k, p in inspect.signature(f).parameters.items() if p.default is not p.empty
    }
    if "judge" in parameters:
        from divreg import semantics

        hyper = semantics.judged(hyper, parameters)
    bound = {}
    for key, value in hyper.items():
        if key not in parameters:
            raise ValueError(unknown(f.__name__, "hyper-parameter", key, parameters))
        if isinstance(value, str) and "Callable" in str(parameters[key].annotation):
            value = named(value, key)
        bound[key] = read_value(f.__name__, key, value, default=parameters[key].default)
    return functools.partial(f, **bound) if bound else f


def _head(value: Any) -> Literal["trl", "divreg"]:
    if value not in ("trl", "divreg"):
        raise ValueError(f"head needs trl or divreg; got {value!r}. Write `head: divreg`.")
    return value


def _kind(value: Any) -> str:
    kinds = {type(None): "nothing", dict: "a mapping", list: "a list", str: f"the word {value!r}"}
    return kinds.get(type(value), repr(value))
