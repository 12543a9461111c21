"""Compare the loss heads that TRL's users have, side by side in one run.

python kernels/bench/run.py [--rounds 20] [--only hidden] [--out runs/kernels.json]

On a GPU where there is one, else on the CPU with one thread and small shapes. Every provider is
first judged against float64, on fresh inputs; ours is not timed if it fails. Then all providers
take turns, in another order each round, on the same inputs, and the table gives medians, the tenth
and ninetieth percentile, the ratio to TRL of the same round, and peak memory beyond the inputs: the
gradients are in it. "divreg again" is the same code a second time: what it differs by is noise.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gates import failures
from providers import Provider, on_hidden, on_logits
from torch import Tensor

MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    """Sizes of one comparison; ``h`` is None where logits are given.

    Attributes:
        n: Tokens.
        v: Vocabulary.
        h: Hidden size.
        dtype: Of the inputs.
        zero: Share of the tokens without gradient.
    """

    n: int
    v: int
    h: int | None
    dtype: torch.dtype
    zero: float = 0.0

    @property
    def name(self) -> str:
        """As the table shows it."""
        sizes = f"{self.n} x {self.v}" if self.h is None else f"{self.n} x {self.h} x {self.v}"
        kind = str(self.dtype).removeprefix("torch.")
        rows = f", {self.zero:.0%} of the rows without gradient" if self.zero else ""
        return f"{'logits' if self.h is None else 'hidden'} {sizes} {kind}{rows}"

    def inputs(self, device: str) -> tuple[Tensor, ...]:
        """Draw rows from nearly certain to undecided, as a policy has them."""
        h = self.h or 64
        weight = torch.randn(self.v, h, device=device) / h**0.5
        mix = weight[torch.randint(self.v, (self.n, 4), device=device)].mean(1)
        gain = torch.linspace(6, 30, self.n, device=device)[:, None]
        hidden = mix * gain + 2 * torch.randn(self.n, h, device=device)
        targets = torch.randint(self.v, (self.n,), device=device)
        if self.h is None:
            return (hidden @ weight.T).to(self.dtype), targets
        return hidden.to(self.dtype), weight.to(self.dtype), targets

    def providers(self, device: str) -> list[Provider]:
        """Return who takes part."""
        return on_logits(device) if self.h is None else on_hidden(device)


CPU = (
    Case(512, 32_000, None, torch.float32),
    Case(256, 49_152, 576, torch.float32),
    Case(256, 49_152, 576, torch.float32, zero=0.8),
    Case(1024, 8192, 256, torch.float32),
)
GPU = (
    *(Case(n, 151_936, None, torch.bfloat16) for n in (64, 1024, 8192)),
    Case(8192, 151_665, None, torch.bfloat16),
    Case(8192, 151_936, None, torch.float32),
    Case(8192, 151_936, 2048, torch.bfloat16),
    Case(8192, 128_256, 4096, torch.bfloat16),
    *(Case(8192, 151_936, 4096, torch.bfloat16, zero) for zero in (0.0, 0.5, 0.8)),
)


def step(call: Callable[..., Any], tensors: tuple[Tensor, ...], weight: Tensor) -> None:
    """Run forward and backward with a fixed gradient of both outputs."""
    *inputs, targets = tensors
    for x in inputs:
        x.grad = None
    logp, entropy = call(*inputs, targets)
    ((logp + 0.1 * entropy) * weight).sum().backward()


def timed(device: str, run: Callable[[], None]) -> float:
    """Return seconds: of the device, or of the processor on a CPU."""
    if device == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1000
    started = time.process_time()
    run()
    return time.process_time() - started


def peak(case: Case, name: str, device: str) -> float:
    """Return the peak of a step beyond what its inputs take, MiB, in a process of its own."""
    words = [sys.executable, __file__, "--peak", name, "--case", case.name, "--device", device]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _peak(case: Case, name: str, device: str) -> float:
    (provider,) = [p for p in case.providers(device) if p.name == name]
    tensors = _leaves(case, device)
    weight = torch.ones(case.n, device=device)
    small = Case(8, 97, case.h and 16, case.dtype)
    step(provider.call, _leaves(small, device), torch.ones(8, device=device))  # load libraries
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(provider.call, tensors, weight)
        return (torch.cuda.max_memory_allocated() - before) / MIB
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # begin a new high-water mark
    step(provider.call, tensors, weight)
    return _status("VmHWM") - before


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [x for x in lines if x.startswith(field)]
    return int(line.split()[1]) / 1024


def _leaves(case: Case, device: str) -> tuple[Tensor, ...]:
    *inputs, targets = case.inputs(device)
    return *(x.requires_grad_() for x in inputs), targets


def compare(case: Case, device: str, rounds: int) -> dict[str, Any]:
    """Judge and time every provider of a case."""
    found: dict[str, Any] = {"case": case.name, "providers": {}}
    ready = []
    for provider in case.providers(device):
        line: dict[str, Any] = {"missing": provider.missing}
        found["providers"][provider.name] = line
        if provider.missing:
            continue
        small = Case(16, min(case.v, 5003), case.h and min(case.h, 256), case.dtype)
        line["wrong"] = failures(provider, small.inputs(device))
        if line["wrong"] and provider.exact:
            raise SystemExit(
                f"{provider.name}, {case.name}: {'; '.join(line['wrong'])}. Not timed."
            )
        ready.append(provider)
    tensors, weight = _leaves(case, device), torch.ones(case.n, device=device)
    weight[torch.rand(case.n, device=device) < case.zero] = 0
    seconds: dict[str, list[float]] = {p.name: [] for p in ready}
    for round_ in range(rounds + 2):
        for provider in random.sample(ready, len(ready)):
            spent = timed(device, lambda p=provider: step(p.call, tensors, weight))
            if round_ >= 2:  # the first two warm up
                seconds[provider.name].append(spent)
    for provider in ready:
        own, line = seconds[provider.name], found["providers"][provider.name]
        tenths = statistics.quantiles(own, n=10)
        line |= {"ms": 1000 * statistics.median(own), "p10": 1000 * tenths[0]}
        line |= {"p90": 1000 * tenths[-1], "peak_mib": peak(case, provider.name, device)}
        if "TRL" in seconds:
            ratios = [x / y for x, y in zip(own, seconds["TRL"], strict=True)]
            line["of_trl"] = statistics.median(ratios)
    return found


def table(found: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    lines = []
    for case in found:
        lines += [f"\n**{case['case']}**, forward and backward\n"]
        lines += ["| | ms (p10 to p90) | of TRL | peak, MiB | exact |", "|---|---|---|---|---|"]
        for name, line in case["providers"].items():
            if line["missing"]:
                lines.append(f"| {name} | {line['missing']} | | | |")
                continue
            share = f"{line['of_trl']:.2f}" if "of_trl" in line else ""
            wrong = "; ".join(line["wrong"]) or "yes"
            spread = f"{line['ms']:.1f} ({line['p10']:.1f} to {line['p90']:.1f})"
            lines.append(f"| {name} | {spread} | {share} | {line['peak_mib']:.0f} | {wrong} |")
    return "\n".join(lines)


def main() -> None:
    """Compare, print tables and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # pyright: ignore[reportOptionalMemberAccess]
    parser.add_argument("--rounds", type=int, default=20, help="turns of each provider (20)")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--device", help="cuda or cpu (cuda where there is one)")
    parser.add_argument("--out", type=Path, default=Path("runs/kernels.json"), help="JSON file")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cpu":
        torch.set_num_threads(1)
    cases = GPU if device == "cuda" else CPU
    if options.peak:
        (case,) = [c for c in cases if c.name == options.case]
        print(_peak(case, options.peak, device))
        return
    found = []
    for case in cases:
        if options.only in case.name:
            found.append(compare(case, device, options.rounds))
            print(table(found[-1:]), flush=True)
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU, one thread"
    facts = {"device": name, "torch": torch.__version__, "rounds": options.rounds}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({**facts, "cases": found}, indent=1) + "\n")
    print(f"\n{facts['device']}, torch {facts['torch']}. All numbers: {options.out}")


if __name__ == "__main__":
    main()
