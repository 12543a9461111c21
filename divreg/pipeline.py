"""Rollouts -> signals -> interventions -> effects, in that order."""

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from divreg.compose import Contract, Intervention, Stateful, contract, is_factory, is_scheduled


class Signals(Mapping[str, Any]):
    """What methods ask for, computed once each and only when somebody asks.

    Args:
        sources: For each base signal a function without arguments that supplies it.
        recipes: For each derived signal a function whose keyword-only arguments are signals.
    """

    def __init__(
        self, sources: Mapping[str, Callable[[], Any]], recipes: Mapping[str, Callable[..., Any]]
    ):
        self._sources, self._recipes = sources, recipes
        self._computed: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._computed:
            if name in self._sources:
                self._computed[name] = self._sources[name]()
            else:
                wanted = inputs_of(self._recipes[name])
                self._computed[name] = self._recipes[name](**{w: self[w] for w in wanted})
        return self._computed[name]

    def __iter__(self):
        return iter({**self._recipes, **self._sources})

    def __len__(self) -> int:
        return len({**self._recipes, **self._sources})

    def computed(self, name: str) -> Any | None:
        """Return a signal that somebody has already asked for, else None: costs nothing."""
        return self._computed.get(name)


def inputs_of(recipe: Callable[..., Any]) -> tuple[str, ...]:
    """Return the signals that a derived signal is made of: its arguments without a default."""
    parameters = inspect.signature(recipe).parameters.values()
    return tuple(p.name for p in parameters if p.default is p.empty)


class Pipeline:
    """The interventions of a run, in the user's order within each stage.

    Args:
        interventions: Functions, partials, :class:`Stateful` or factories of it.
        recipes: Derived signals by name; a name given here replaces the library's.

    Raises:
        TypeError: If something in the list is no intervention.
    """

    def __init__(
        self,
        interventions: Iterable[Intervention],
        recipes: Mapping[str, Callable[..., Any]] | None = None,
    ):
        from divreg.signals import SIGNALS

        self.recipes = {**SIGNALS, **(recipes or {})}
        self.methods: dict[str, Any] = {}
        for f in interventions:
            built: Any = f() if is_factory(f) else f  # pyright: ignore[reportCallIssue]
            name = key = contract(built).name
            while key in self.methods:  # the same method twice, say with two partitions
                key = f"{name}_{int(key.removeprefix(name).lstrip('_') or 1) + 1}"
            self.methods[key] = built
        self.contracts = {key: contract(f) for key, f in self.methods.items()}
        self.states = {k: f.init() for k, f in self.methods.items() if isinstance(f, Stateful)}
        self.boost = 1.0
        self.effects: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self.methods)

    def acts_on(self, *stages: str) -> bool:
        """Whether some intervention belongs to one of these stages."""
        return any(c.stage in stages for c in self.contracts.values())

    def wanted(self, *stages: str) -> set[str]:
        """Return the signals that the interventions of these stages name."""
        return {s for c in self.contracts.values() if c.stage in stages for s in c.signals}

    def ingredients(self, signals: Iterable[str]) -> set[str]:
        """Return the base signals from which ``signals`` are made."""
        found: set[str] = set()
        for name in signals:
            recipe = self.recipes.get(name)
            found |= self.ingredients(inputs_of(recipe)) if recipe else {name}
        return found

    def apply(self, stage: str, x: Tensor, signals: Mapping[str, Any], *, learn: bool) -> Tensor:
        """Pass ``x`` through the stage's interventions and measure what each one did.

        Args:
            stage: One of :data:`divreg.compose.STAGES`.
            x: The stage's tensor; shapes are those of `divreg.signals`.
            signals: What the interventions may ask for.
            learn: Whether ``Stateful`` methods keep what they saw; False in evaluation.
        """
        for key, f in self.methods.items():
            wanted = self.contracts[key]
            if wanted.stage != stage:
                continue
            inputs = {name: _beside(x, signals[name]) for name in wanted.signals}
            if isinstance(f, Stateful):
                state = self.states[key] if learn else copy.deepcopy(self.states[key])
                y, state = f.update(x, state, **inputs)
                if learn:
                    self.states[key] = state
            else:
                y = f(x, **inputs)
            _same_kind(key, x, y)
            self.effects.update(_effect(key, stage, x, y))
            self.effects.update(_held(key, self.states.get(key, {})))
            x = y
        return x

    def rehearse(self, missing: Callable[[str, str], str | None], g: int = 4) -> list[str]:
        """Call every intervention once on two random groups, before anything is trained.

        Args:
            missing: ``missing(stage, signal)`` says why a signal cannot be had, or None.
            g: Completions of a group: a method may refuse the run's.

        Returns:
            The advantages-stage methods that answer with one advantage per token.

        Raises:
            ValueError: If a signal is missing, or a result has the wrong shape or is not finite.
        """
        per_token: list[str] = []
        kept = copy.deepcopy(self.states)
        for key, known in self.contracts.items():
            for name in sorted({*known.signals, *self.ingredients(known.signals)}):
                if reason := missing(known.stage, name):
                    raise ValueError(f"{known.name} needs the signal {name!r}, {reason}")
            x, signals = self._example(known, g)
            alone = Pipeline([self.methods[key]], self.recipes)
            if alone.apply(known.stage, x, signals, learn=True).dim() > x.dim():
                per_token.append(known.name)
        self.states = kept
        return per_token

    def replacing(self) -> list[str]:
        """Return the loss-stage interventions that answer the same whatever the loss was."""
        found: list[str] = []
        for key, known in self.contracts.items():
            if known.stage != "loss":
                continue
            loss, signals = self._example(known, g=4)
            alone = Pipeline([self.methods[key]], self.recipes)
            changed = alone.apply("loss", loss.requires_grad_(), signals, learn=False)
            if not changed.requires_grad or not _depends(changed, loss):
                found.append(key)
        return found

    def uneven(self) -> list[str]:
        """Return what weighs tokens of a row, or the two rows of a preference pair, differently."""
        from divreg.signals.example import example

        found: list[str] = []
        for key, known in self.contracts.items():
            if known.stage != "token_weights":
                continue
            ones, signals = self._example(known, g=4)
            mask = example(["mask"], "token_weights", g=4, seed=1)["mask"]
            alone = Pipeline([self.methods[key]], self.recipes)
            weights = alone.apply("token_weights", ones, signals, learn=False)
            pairs = [x[m] for x, m in zip(_by_pair(weights), _by_pair(mask), strict=True)]
            if any((pair != pair[0]).any() for pair in pairs):
                found.append(key)
        return found

    def _example(self, known: Contract, g: int) -> tuple[Tensor, Mapping[str, Any]]:
        """Draw an input and the signals that a method wants, as its stage would have them."""
        from divreg.signals import BASE, SIGNALS
        from divreg.signals.example import example

        grouped = example(self.ingredients(known.signals) & set(BASE), "rewards", g=g, seed=1)
        groups = Signals({k: (lambda v=v: v) for k, v in grouped.items()}, self.recipes)
        if known.stage in ("rewards", "advantages"):
            x = example([known.stage], known.stage, g=g, seed=1)[known.stage]
            return x, groups
        ours = [name for name in known.signals if name in BASE or name in SIGNALS]
        rows = example([*ours, known.stage], known.stage, g=g, seed=1)
        theirs = {name: groups[name].flatten(0, 1) for name in known.signals if name not in rows}
        return rows.pop(known.stage), {**rows, **theirs}

    def take_effects(self) -> dict[str, float]:
        """Return what every intervention did since the last call, and forget it."""
        effects, self.effects = self.effects, {}
        return effects

    def strengthen(self, factor: float, most: float = 4.0) -> float:
        """Multiply all scheduled strengths by ``factor``, up to ``most`` times the user's.

        Raises:
            ValueError: If no intervention is scheduled, so that nothing would change.
        """
        if not any(is_scheduled(f) for f in self.methods.values()):
            raise ValueError(
                "intervening needs a scheduled strength; got "
                f"{', '.join(map(str, self.contracts.values())) or 'no intervention'}. "
                "Wrap the method: divreg.scheduled(divreg.methods.progrpo, alpha=lambda step: 0.3)."
            )
        self.boost = min(most, self.boost * factor)
        return self.boost

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs, as JSON values."""
        return {"boost": self.boost, "methods": self.states}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`.

        Raises:
            ValueError: If the checkpoint belongs to other methods.
        """
        if set(state["methods"]) != set(self.states):
            raise ValueError(
                f"the checkpoint needs the methods with memory {sorted(state['methods'])}; got "
                f"{sorted(self.states)}. Resume with the interventions the run was started with."
            )
        self.boost, self.states = state["boost"], dict(state["methods"])


def _depends(y: Tensor, x: Tensor) -> bool:
    """Whether ``y`` was computed from ``x``."""
    return torch.autograd.grad(y, x, allow_unused=True)[0] is not None


def _by_pair(x: Tensor) -> Tensor:
    """Put the rows of pairs ``(2n, t)``, all chosen first, side by side: ``(n, 2t)``."""
    return torch.cat(x.chunk(2), 1)


def _beside(x: Tensor, signal: Any) -> Any:
    """Bring a tensor to the device of ``x``: what is read from texts is made on the CPU."""
    return signal.to(x.device) if isinstance(signal, Tensor) else signal


def _same_kind(key: str, x: Tensor, y: Tensor) -> None:
    """Refuse a result that is not what the stage expects; the message names the method."""
    ok = isinstance(y, Tensor) and (y.shape == x.shape or y.shape[:-1] == x.shape)
    if not ok or (y.shape != x.shape and x.dim() == 0):
        got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(
            f"{key} needs to return a tensor of shape {tuple(x.shape)}; got {got}. "
            f"Check the last line of its function."
        )
    if not torch.isfinite(y).all():
        raise ValueError(
            f"{key} needs to return finite numbers; got NaN or infinity. "
            f"Guard the division or the logarithm for groups in which all values are equal."
        )


def _effect(key: str, stage: str, x: Tensor, y: Tensor) -> dict[str, float]:
    """Measure the same three effect sizes for every method; see the report for their names."""
    with torch.no_grad():
        if y.dim() > x.dim():
            x = x.unsqueeze(-1)
        change = (y - x).abs()
        numbers = [change.mean(), (y * x < 0).float().mean()]
        names = ["mean_change", "sign_flips_frac"]
        if stage in ("rewards", "advantages"):
            numbers.append((change.flatten(1).amax(1) > 0).float().mean())
            names.append("groups_touched_frac")
        values = torch.stack(numbers).tolist()
    return {f"{key}_{name}": value for name, value in zip(names, values, strict=True)}


def _held(key: str, state: Mapping[str, Any]) -> dict[str, float]:
    """Return the strengths that controllers move, in multiples of where they started."""
    return {f"{key}_{n}_of_start": 1 + held["moved"] for n, held in state.get("held", {}).items()}
