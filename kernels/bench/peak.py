"""The memory of one step beyond its inputs.

On a CPU in a process of its own: python kernels/bench/peak.py CASE PROVIDER MODE, CASE in JSON.
"""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch
from cases import Case
from providers import Provider
from steps import Batch, step

MIB = 1 << 20


def peak(case: Case, provider: Provider, mode: str, batch: Batch, device: str) -> float | None:
    """Return the peak of a step, gradients included, MiB; None where it cannot be measured."""
    if device == "cuda":
        batch.forget()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(provider, mode, batch)
        return (torch.cuda.max_memory_allocated() - before) / MIB
    spec = json.dumps(asdict(case) | {"dtype": str(case.dtype).removeprefix("torch.")})
    words = [sys.executable, __file__, spec, provider.name, mode]
    done = subprocess.run(words, capture_output=True, text=True)
    return None if done.returncode else float(done.stdout.split()[-1])


def main() -> None:
    """Print the peak of one step on the CPU."""
    spec, name, mode = sys.argv[1:]
    sizes = json.loads(spec)
    case = Case(**sizes | {"dtype": getattr(torch, sizes["dtype"])})
    torch.set_num_threads(1)
    providers = case.losses("cpu") if mode == "loss" else case.providers("cpu")
    (provider,) = [p for p in providers if p.name == name]
    batch = Batch.draw(case, "cpu")
    small = replace(case, n=8, v=97, h=case.h and 16, zero=0.0)
    step(provider, mode, Batch.draw(small, "cpu"))  # load libraries
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # begin a new high-water mark
    step(provider, mode, batch)
    print(_status("VmHWM") - before)


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [x for x in lines if x.startswith(field)]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
