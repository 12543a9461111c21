"""One case: who takes part is judged, then all take turns."""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ceilings
import gates
import torch
from cases import Case
from peak import MIB, peak
from providers import Provider
from steps import Batch, modes, step, timed, whole

WARM_UP = 2  # rounds; every provider has run at full size before the first
LEAST = 3  # rounds that a case gets even if its time is over
TOLD = ("no gradient", "both")  # modes at which the price of more statistics is told
Found = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """How a run goes.

    Attributes:
        device: ``cuda`` or ``cpu``.
        rounds: Turns of each provider at each mode.
        memory: Whether peaks are measured.
        without: Names of providers that are left out.
    """

    device: str
    rounds: int
    memory: bool = True
    without: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Arm:
    """A provider that takes part in a case.

    Attributes:
        provider: Who.
        modes: What it is timed at.
        whole: The mode that its row of the table is about.
        line: Where its results go.
    """

    provider: Provider
    modes: tuple[str, ...]
    whole: str
    line: Found


Seconds = dict[tuple[Arm, str], list[float]]


def compare(
    case: Case, settings: Settings, best: Found | None = None, until: float | None = None
) -> Found:
    """Judge and time every provider of a case.

    Args:
        case: Sizes.
        settings: How.
        best: The ceilings, where the shares of them are wanted.
        until: When no other round is begun, in seconds of ``time.monotonic``.
    """
    device = settings.device
    found: Found = {"case": case.name, "providers": {}, "loss": {}}
    found["gradients_mib"] = case.bytes / MIB
    if reason := case.too_big(device):
        return found | {"skipped": reason}
    batches = [Batch.draw(case, device) for _ in range(case.sets(device))]
    sample = gates.Sample(batches[0])
    arms = []
    for provider in case.providers(device):
        line = found["providers"][provider.name] = {"missing": provider.missing}
        arms.append(Arm(provider, modes(provider, case, device), whole(provider), line))
    for provider in case.losses(device):
        line = found["loss"][provider.name] = {"missing": provider.missing}
        arms.append(Arm(provider, ("loss",), "loss", line))
    ready = [arm for arm in arms if _admit(arm, case, batches[0], sample, settings)]
    seconds = race(ready, batches, settings, until)
    found["rounds"] = max(map(len, seconds.values()), default=0)
    trl = {mode: own for (arm, mode), own in seconds.items() if arm.provider.name == "TRL"}
    for (arm, mode), own in seconds.items():
        times = _times(own, trl.get(mode))
        times["of_ceiling"] = best and ceilings.share(case, mode, times["ms"] / 1000, best)
        arm.line.setdefault("modes", {})[mode] = times
        if mode == arm.whole:
            arm.line.update(times)
    return found | {
        "extra": _more(seconds, "divreg, all moments"),
        "noise": _more(seconds, "divreg again"),
    }


def race(
    arms: Sequence[Arm], batches: Sequence[Batch], settings: Settings, until: float | None = None
) -> Seconds:
    """Let all arms take turns in every mode, each time on the next set of inputs."""
    seconds: Seconds = {(arm, mode): [] for arm in arms for mode in arm.modes}
    turn = 0
    for round_ in range(WARM_UP + settings.rounds):
        if until is not None and round_ >= WARM_UP + LEAST and time.monotonic() > until:
            break
        for arm, mode in random.sample(list(seconds), len(seconds)):
            if (arm, mode) not in seconds:
                continue  # it failed in this round
            batch, turn = batches[turn % len(batches)], turn + 1

            def run(arm: Arm = arm, mode: str = mode, batch: Batch = batch) -> None:
                step(arm.provider, mode, batch)

            spent = _try(
                arm, lambda run=run, mode=mode: timed(settings.device, run, mode == "cold")
            )
            batch.forget()
            if spent is None:
                seconds = {key: own for key, own in seconds.items() if key[0] is not arm}
            elif round_ >= WARM_UP:
                seconds[arm, mode].append(spent)
    return seconds


def _admit(arm: Arm, case: Case, batch: Batch, sample: gates.Sample, settings: Settings) -> bool:
    """Judge an arm and measure its memory; False if it is not to be timed."""
    provider, line = arm.provider, arm.line
    line["log_prob_only"] = not provider.entropy
    if provider.name in settings.without:
        line["missing"] = "left out"
    if line["missing"]:
        return False
    inputs = case.small().inputs(settings.device)
    judge = gates.loss_failures if arm.whole == "loss" else gates.failures
    wrong = _try(arm, lambda: judge(provider, inputs) or sample.failures(provider, arm.whole))
    if wrong is None:
        return False
    line["wrong"] = wrong
    if wrong and provider.exact:
        return False
    if not settings.memory:
        return True
    line["peak_mib"] = _try(arm, lambda: peak(case, provider, arm.whole, batch, settings.device))
    batch.forget()
    return line["missing"] is None


def _try(arm: Arm, work: Callable[[], Any]) -> Any:
    """Return what comes out; None if it raises, with the reason in the arm's line.

    Raises:
        RuntimeError: If the device cannot be used any more, by whom and what to do.
    """
    try:
        return work()
    except Exception as error:
        reason = _reason(error)
    arm.line["missing"] = reason
    arm.line["failed"] = not reason.startswith("out of memory")
    if torch.cuda.is_available():
        try:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        except RuntimeError as error:
            name = arm.provider.name
            raise RuntimeError(
                f"{name} broke the GPU's context: {reason}. Use --without '{name}'."
            ) from error
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return "out of memory"
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first[:120]}"


def _times(own: list[float], trl: list[float] | None) -> Found:
    tenths = statistics.quantiles(own if len(own) > 1 else own * 2, n=10, method="inclusive")
    found = {"ms": 1000 * statistics.median(own)}
    found |= {"p10": 1000 * tenths[0], "p90": 1000 * tenths[-1]}
    return found | ({"of_trl": _ratio(own, trl)} if trl else {})


def _ratio(own: list[float], other: list[float]) -> float:
    """Return the median over rounds."""
    return statistics.median(x / y for x, y in zip(own, other, strict=False))


def _more(seconds: Seconds, name: str) -> dict[str, float]:
    """Return by what share a variant of ours takes longer than ours, by mode."""
    of = {(arm.provider.name, mode): own for (arm, mode), own in seconds.items()}
    pairs = {mode: (of.get((name, mode)), of.get(("divreg", mode))) for mode in TOLD}
    return {mode: _ratio(x, y) - 1 for mode, (x, y) in pairs.items() if x and y}
