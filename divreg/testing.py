"""The laws: what every intervention keeps, whatever else it does. Run them on your own methods.

>>> def halve(rewards, *, factor=0.5):
...     return rewards * factor
>>> check_method(halve)

Needs ``hypothesis`` (``pip install "divreg[test]"``). The inputs are those of
:func:`divreg.signals.example.example`: ties, duplicates, empty texts, groups that are all right,
all wrong, or a single completion.
"""

import dataclasses
import functools
import json
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from divreg.compose import Intervention, Stateful, blend, contract, is_factory
from divreg.signals import SIGNALS, _softmax
from divreg.signals.example import derive, ingredients

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Law = Callable[["Subject", "Case"], None]

_GROUPS = ("rewards", "advantages")
_ROWS = ("token_weights", "loss")
_PER_TOKEN = (
    *("logprob", "old_logprob", "ref_logprob", "entropy", "mask", "token_weights"),
    *("varentropy", "log_sum_p2", "sum_p2_logp", "entropy_change"),
    *("tokens", "document", "token_share", "text_share", "logits"),
)
_PER_PROMPT_TOKEN = ("prompt_logprob", "prompt_mask")


@dataclasses.dataclass(frozen=True)
class Case:
    """Sizes and seed of one random input: ``p`` prompts, ``g`` completions, ``t`` tokens."""

    p: int = 2
    g: int = 4
    t: int = 5
    seed: int = 0
    dtype: torch.dtype = torch.float32


class Refused(Exception):  # noqa: N818
    """The method refuses a group smaller than four, as it may: there is nothing to check."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """An intervention under test, and how the signals it asks for are computed."""

    method: Intervention
    recipes: Mapping[str, Callable[..., Any]] = dataclasses.field(default_factory=lambda: SIGNALS)

    @property
    def stage(self) -> str:
        """Name of the first argument."""
        return contract(self.method).stage

    def given(self, case: Case) -> dict[str, Any]:
        """Draw the first argument and all base signals."""
        drawn = ingredients(self.stage, case.p, case.g, case.t, case.seed)
        return {k: v.to(case.dtype) if _is_float(v) else v for k, v in drawn.items()}

    def inputs(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Compute the signals that the method asks for."""
        return {s: derive(s, given, self.recipes) for s in contract(self.method).signals}

    def __call__(self, given: Mapping[str, Any]) -> Tensor:
        """Call the method as the pipeline would; a method with memory starts from nothing."""
        method: Any = self.method
        state = method.init() if isinstance(method, Stateful) else None
        return self.step(given, state)[0]

    def step(self, given: Mapping[str, Any], state: Any) -> tuple[Tensor, Any]:
        """Call the method and return its result and its memory."""
        x, inputs, method = given[self.stage], self.inputs(given), self.method
        try:
            if isinstance(method, Stateful):
                return method.update(x, state, **inputs)
            return method(x, **inputs), None
        except ValueError as error:
            if self.stage in _GROUPS and x.shape[-1] < Case.g:
                raise Refused from error
            raise

    def bound(self, **hyper: Any) -> "Subject":
        """Return the same method with other hyper-parameters."""
        method = self.method
        if isinstance(method, Stateful):
            method = dataclasses.replace(method, update=functools.partial(method.update, **hyper))
        else:
            method = functools.partial(method, **hyper)
        return dataclasses.replace(self, method=method)


def check_method(
    method: Intervention,
    *,
    signals: Mapping[str, Callable[..., Any]] | None = None,
    examples: int = 40,
) -> None:
    """Check every law that applies to a method, on random inputs; silent if all hold.

    Args:
        method: A function, a partial, a ``Stateful`` or a factory of one.
        signals: Functions for signals of your own, or in place of the library's, by name.
        examples: Random inputs for each law.

    Raises:
        AssertionError: If a law is broken; the message names the law and the smallest input found.
        TypeError: If the signature is no contract.
        ValueError: If the method asks for a signal that nobody computes.
    """
    for law in laws_of(method):
        check_law(law, method, signals=signals, examples=examples)


def check_law(
    law: Law,
    method: Intervention,
    *,
    signals: Mapping[str, Callable[..., Any]] | None = None,
    examples: int = 40,
) -> None:
    """Check one law; see :func:`check_method`."""
    try:
        from hypothesis import HealthCheck, assume, given, settings
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "the laws need hypothesis; got no such package. Install it: pip install 'divreg[test]'."
        ) from None

    built: Any = method() if is_factory(method) else method  # pyright: ignore[reportCallIssue]
    subject = Subject(built, {**SIGNALS, **(signals or {})})
    subject.inputs(subject.given(Case()))  # an unknown signal is no broken law

    def hold(case: Case) -> None:
        try:
            law(subject, case)
        except Refused:
            assume(False)
        except AssertionError as error:
            raise AssertionError(
                f"{contract(built).name} breaks the law {law.__name__!r} on {case}: {error}"
            ) from error

    if law is reads_every_hyper_parameter:  # goes through inputs of its own
        return hold(Case())
    # The same inputs every time, so that a run that was green stays green.
    settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )(given(case=cases())(hold))()


def laws_of(method: Intervention) -> list[Law]:
    """Return the laws that apply to a method of its stage."""
    stage = contract(method).stage
    laws = [law for law, stages in _LAWS.items() if stage in stages]
    remembers = isinstance(method, Stateful) or is_factory(method)
    return laws + (list(_LAWS_OF_MEMORY) if remembers else [])


def cases() -> "SearchStrategy[Case]":
    """Return hypothesis' strategy for small inputs, single completions included."""
    from hypothesis import strategies as st

    return st.builds(
        Case,
        p=st.integers(1, 3),
        g=st.integers(1, 6),
        t=st.integers(1, 6),
        seed=st.integers(0, 10_000),
        dtype=st.sampled_from([torch.float32, torch.float64]),
    )


def cites_its_source(method: Intervention) -> None:
    """Check that the docstring says where the formula is from: ``Source:`` and an arXiv number."""
    target: Any = method.func if isinstance(method, functools.partial) else method
    section = re.search(r"^ *Source:\n((?:.*\S.*\n)+)", target.__doc__ or "", re.MULTILINE)
    assert section, f"{contract(method).name} needs a section `Source:` in its docstring"
    assert re.search(r"arXiv:\d{4}\.\d{5}", section[1]), (
        f"{contract(method).name} needs an arXiv number, arXiv:NNNN.NNNNN, under `Source:`"
    )


def keeps_shape_and_dtype(subject: Subject, case: Case) -> None:
    """The result has the shape and dtype of the first argument; advantages may gain tokens."""
    given = subject.given(case)
    x, y = given[subject.stage], subject(given)
    allowed = [x.shape, (*x.shape, case.t)] if subject.stage == "advantages" else [x.shape]
    assert tuple(y.shape) in map(tuple, allowed), f"shape {tuple(y.shape)}, not {tuple(x.shape)}"
    assert y.dtype == x.dtype, f"dtype {y.dtype}, not {x.dtype}"


def stays_finite(subject: Subject, case: Case) -> None:
    """No NaN and no infinity, whatever the group is like."""
    y = subject(subject.given(case))
    assert y.isfinite().all(), f"not finite: {y}"


def leaves_inputs_untouched(subject: Subject, case: Case) -> None:
    """Neither the first argument nor a signal is changed in place."""
    given = subject.given(case)
    given |= {k: v for k, v in subject.inputs(given).items() if not callable(v)}
    before = {k: v.clone() if isinstance(v, Tensor) else json.dumps(v) for k, v in given.items()}
    subject(given)
    for name, old in before.items():
        now = given[name]
        same = torch.equal(now, old) if isinstance(old, Tensor) else json.dumps(now) == old
        assert same, f"{name} was changed in place"


def gives_the_same_twice(subject: Subject, case: Case) -> None:
    """The same input has the same result: nothing is remembered outside ``Stateful``."""
    given = subject.given(case)
    assert torch.equal(subject(given), subject(given)), "the second call differs from the first"


def treats_groups_separately(subject: Subject, case: Case) -> None:
    """A batch of groups gives what each group gives alone, with or without a prompt axis."""
    given = subject.given(case)
    whole = subject(given)
    for i in range(case.p):
        alone = {k: v[i] if isinstance(v, Tensor | list) else v for k, v in given.items()}
        _assert_close(whole[i], subject(alone), f"group {i} alone")


def ignores_the_order_of_completions(subject: Subject, case: Case) -> None:
    """Completions in another order get the same values in that order, ties included."""
    given = subject.given(case)
    order = torch.randperm(case.g, generator=torch.Generator().manual_seed(case.seed)).tolist()

    def reordered(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value[:, order]
        if isinstance(value, list) and isinstance(value[0], list):
            return [[group[i] for i in order] for group in value]
        return value

    other = subject({k: reordered(v) for k, v in given.items()})
    _assert_close(subject(given)[:, order], other, f"order {order}")


def ignores_the_order_of_rows(subject: Subject, case: Case) -> None:
    """Rows in another order, as TRL shuffles them, change nothing but the order."""
    given = subject.given(case)
    b = case.p * case.g
    order = torch.randperm(b, generator=torch.Generator().manual_seed(case.seed)).tolist()

    def reordered(value: Any) -> Any:
        if isinstance(value, Tensor) and value.dim():
            return value[order]
        return [value[i] for i in order] if isinstance(value, list) else value

    y, other = subject(given), subject({k: reordered(v) for k, v in given.items()})
    _assert_close(y[order] if y.dim() else y, other, f"order {order}")


def ignores_padding(subject: Subject, case: Case) -> None:
    """Neither more padding nor what stands in it has an effect on the tokens."""
    given = subject.given(case)
    per_token = (*_PER_TOKEN, "advantages") if subject.stage in _ROWS else _PER_TOKEN
    padded = dict(given)
    for name in per_token:
        if name in given:
            padded[name] = _padded(name, given[name], given["mask"], left=False)
    for name in _PER_PROMPT_TOKEN:
        padded[name] = _padded(name, given[name], given["prompt_mask"], left=True)
    y, other = subject(given), subject(padded)
    if y.shape == given["mask"].shape:
        y, other = y[given["mask"]], other[padded["mask"]]
    _assert_close(y, other, "other padding")


def never_goes_below_zero(subject: Subject, case: Case) -> None:
    """A weight is at least 0: below, it would reverse what the clipped loss does."""
    y = subject(subject.given(case))
    assert (y >= 0).all(), f"least weight {y.min()}"


def hears_only_probabilities(subject: Subject, case: Case) -> None:
    """The gradient in the logits of a token adds up to 0: a common offset says nothing."""
    given = subject.given(case)
    logits = given["logits"].requires_grad_()
    given |= _softmax.of_logits(logits, given["tokens"])
    gradient = _gradient(subject(given), [logits])[0]
    if gradient is not None:
        total, size = gradient.sum(-1), gradient.abs().sum(-1)
        assert (total.abs() <= 1e-4 * size + 1e-6).all(), f"the sum is {total}"


def has_a_finite_gradient(subject: Subject, case: Case) -> None:
    """The result can be differentiated, and no gradient is NaN or infinite."""
    given = subject.given(case)
    leaves = [given[k].requires_grad_() for k in ("loss", "logprob", "entropy", "logits")]
    for gradient in _gradient(subject(given), leaves):
        assert gradient is None or gradient.isfinite().all(), f"gradient {gradient}"


def is_off_at_strength_zero(subject: Subject, case: Case) -> None:
    """``strength=0``, its own or that of ``blend``, gives back the first argument bit for bit."""
    if "strength" in contract(subject.method).hyper:
        off = subject.bound(strength=0.0)
    else:
        off = dataclasses.replace(subject, method=blend(subject.method, 0.0))
    given = subject.given(case)
    assert torch.equal(off(given), given[subject.stage]), "strength 0 changes the input"


def reads_every_hyper_parameter(subject: Subject, case: Case) -> None:
    """Another value of a hyper-parameter changes the result on some input; words are not tried."""
    del case  # few inputs show a floor or a gate: these are looked for
    for name, value in contract(subject.method).hyper.items():
        if isinstance(value, int | float):
            others = [not value] if isinstance(value, bool) else _other_values(value)
            assert _matters(subject, [subject.bound(**{name: v}) for v in others]), (
                f"no other value of {name}={value} changes anything; tried {others}"
            )


def keeps_a_plain_memory(subject: Subject, case: Case) -> None:
    """The state is a dict of JSON values, new at every start and never changed in place."""
    method: Any = subject.method
    state = method.init()
    assert method.init() is not state, "init() returns the same dict twice"
    for given in _rollouts(subject, case):
        before = json.dumps(state)
        _, after = subject.step(given, state)
        assert json.dumps(state) == before, "update changes the state it was given"
        assert json.loads(json.dumps(after)) == after, "a JSON round trip changes the state"
        state = after


def continues_where_it_stopped(subject: Subject, case: Case) -> None:
    """A state that was saved and restored, as JSON or pickled, goes on as if never stopped."""
    method: Any = subject.method
    for restore in (
        lambda s: json.loads(json.dumps(s)),
        lambda s: pickle.loads(pickle.dumps(s)),
    ):
        steady, stopped = method.init(), method.init()
        for given in _rollouts(subject, case):
            expected, steady = subject.step(given, steady)
            result, stopped = subject.step(given, restore(stopped))
            assert torch.equal(result, expected), "the restored run differs"
        assert stopped == steady, "the restored state differs"


_ALL = (*_GROUPS, *_ROWS)
_LAWS: dict[Law, tuple[str, ...]] = {
    keeps_shape_and_dtype: _ALL,
    stays_finite: _ALL,
    leaves_inputs_untouched: _ALL,
    gives_the_same_twice: _ALL,
    treats_groups_separately: _GROUPS,
    ignores_the_order_of_completions: _GROUPS,
    ignores_the_order_of_rows: _ROWS,
    ignores_padding: _ALL,
    never_goes_below_zero: ("token_weights",),
    has_a_finite_gradient: ("loss",),
    hears_only_probabilities: ("loss",),
    is_off_at_strength_zero: _ALL,
    reads_every_hyper_parameter: _ALL,
}
_LAWS_OF_MEMORY: tuple[Law, ...] = (keeps_a_plain_memory, continues_where_it_stopped)


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _assert_close(a: Tensor, b: Tensor, where: str) -> None:
    """Compare up to the rounding of sums in another order."""
    assert a.shape == b.shape, f"{where}: shape {tuple(b.shape)}, not {tuple(a.shape)}"
    assert torch.allclose(a, b, rtol=1e-4, atol=1e-5), f"{where}: {b}, not {a}"


def _gradient(result: Tensor, leaves: list[Tensor]) -> tuple[Tensor | None, ...]:
    """Differentiate a result; None for what it does not depend on."""
    if not result.requires_grad:
        return (None,) * len(leaves)
    return torch.autograd.grad(result, leaves, allow_unused=True)


def _padded(name: str, value: Tensor, mask: Tensor, *, left: bool) -> Tensor:
    """Add two columns of padding, and put other values into all padding there is."""
    rubbish = 1 if name == "token_weights" or value.dtype == torch.long else -3.25
    rubbish = 0 if value.dtype == torch.bool or name.endswith("_share") else rubbish
    if name != "token_weights":
        value = value.masked_fill(
            ~mask.view(*mask.shape, *[1] * (value.dim() - mask.dim())), rubbish
        )
    columns = value.new_full((*mask.shape[:-1], 2, *value.shape[mask.dim() :]), rubbish)
    return torch.cat([columns, value] if left else [value, columns], dim=mask.dim() - 1)


def _other_values(value: float) -> list[float]:
    if isinstance(value, int):
        return [value + 1, value * 2, value - 1, value // 2]
    return [v for v in (value / 2, value * 2, value + 0.25, 0.0, 1.0) if v != value]


def _matters(subject: Subject, others: list[Subject]) -> bool:
    """Whether one of ``others`` differs from ``subject`` on some input."""
    for g, seed in ((g, seed) for seed in range(12) for g in (4, 2, 3)):
        given = subject.given(Case(g=g, seed=seed))
        reference = _several_steps(subject, given)
        for other in others:
            try:
                if not torch.equal(_several_steps(other, given), reference):
                    return True
            except ValueError:  # out of the range of this hyper-parameter
                continue
    return False


def _several_steps(subject: Subject, given: Mapping[str, Any]) -> Tensor:
    """Return what the method makes of the same rollout twice in a row: a memory shows."""
    method: Any = subject.method
    state = method.init() if isinstance(method, Stateful) else None
    first, state = subject.step(given, state)
    return torch.stack([first, subject.step(given, state)[0]])


def _rollouts(subject: Subject, case: Case) -> Iterable[dict[str, Any]]:
    """Draw four rollouts, every other one of the same prompts."""
    prompts = subject.given(case)
    for i in range(4):
        given = subject.given(dataclasses.replace(case, seed=case.seed + i))
        if i % 2:
            given |= {name: prompts[name] for name in ("prompts", "prompt_id")}
        yield given
