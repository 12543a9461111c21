"""What a result has to say about where it comes from."""

import datetime
import importlib.metadata
import subprocess
from typing import Any

import torch

PACKAGES = ("torch", "triton", "trl", "liger-kernel", "verl", "cut-cross-entropy", "flash-attn")
_GPU = ("driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "power.draw", "power.limit")


def facts(device: str) -> dict[str, Any]:
    """Return name and date, versions of what is installed and, of a GPU, driver and clocks."""
    on_gpu = device == "cuda"
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if on_gpu else "CPU, one thread",
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
        "versions": {name: v for name in PACKAGES if (v := _version(name)) is not None},
    }
    return found | (_gpu() if on_gpu else {})


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpu() -> dict[str, str]:
    words = ["nvidia-smi", f"--query-gpu={','.join(_GPU)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20)
        values = done.stdout.splitlines()[torch.cuda.current_device()].split(", ")
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        return {"driver_version": f"unknown: {error}"}
    return dict(zip(_GPU, values, strict=False))
