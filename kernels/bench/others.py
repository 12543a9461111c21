"""How the code of others is called: in the form its users call it, loaded when it is first needed.

Three packages cannot be imported without much that their kernels do not need. Of those, the files
with the kernels run as they are, and the package around them is left out.
"""

import contextlib
import functools
import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from typing import Any

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor | None]
CHUNK = 32_768  # columns at a time in TRL's trainers


def absent(package: str, device: str, *, gpu_only: bool = False) -> str | None:
    """Say why a package cannot be compared on a device, None where it may."""
    if gpu_only and device != "cuda":
        return "its kernels run on a GPU only"
    if importlib.util.find_spec(package) is None:
        return f"{package} is not installed"
    return None


def trl_logits(logits: Tensor, targets: Tensor) -> Pair:
    """Call what TRL's trainers call where they have logits."""
    if logits.is_cuda:
        kernel = _trl("trl.kernels.logprob_entropy").selective_log_softmax_and_entropy
    else:
        kernel = importlib.import_module("trl.trainer.utils").selective_log_softmax_and_entropy
    return kernel(logits, targets)


def trl_hidden(hidden: Tensor, weight: Tensor, targets: Tensor) -> Pair:
    """Call TRL's fused head."""
    function = _trl("trl.kernels.chunked_logprob").ChunkedLogProbFunction
    found = function.apply(
        hidden, weight, None, targets, 1.0, CHUNK, None, 1.0, ("log_probs", "entropy")
    )
    return found[0], found[1]


def liger_hidden(hidden: Tensor, weight: Tensor, targets: Tensor) -> Pair:
    """Call Liger's fused head: CuTe kernels on a Hopper GPU, torch in chunks elsewhere."""
    ops: Any = importlib.import_module("liger_kernel.ops.fused_linear_scaled_cross_entropy")
    function = ops.LigerFusedLinearScaledCrossEntropyFunction
    found = function.apply(hidden, weight, targets, return_entropy=True)
    return -found[0], found[1]


def verl_hidden(hidden: Tensor, weight: Tensor, targets: Tensor) -> Pair:
    """Call verl's fused head."""
    return _verl().linear_cross_entropy(hidden, weight, targets, 1.0, "none")


def cce_hidden(hidden: Tensor, weight: Tensor, targets: Tensor) -> Pair:
    """Call Apple's cut cross-entropy, which knows no entropy."""
    cce: Any = importlib.import_module("cut_cross_entropy")
    return -cce.linear_cross_entropy(hidden, weight, targets, reduction="none"), None


def flash_attn_logits(logits: Tensor, targets: Tensor) -> Pair:
    """Call flash-attn's cross-entropy, which knows no entropy."""
    return -_flash_attn().cross_entropy_loss(logits, targets)[0], None


@functools.cache
def _trl(name: str) -> Any:
    """Load kernels of TRL; their backward needs its trainers, or a stand-in for one function."""
    try:
        importlib.import_module("trl.trainer.utils")
    except Exception:  # whatever of its many requirements is missing
        for loaded in [x for x in sys.modules if x.split(".")[0] == "trl"]:
            del sys.modules[loaded]
        _bare("trl")
        _bare("trl.trainer")
        gathered = contextlib.nullcontext()  # only ZeRO-3 has something to gather
        _stand_in("trl.trainer.utils", maybe_gather_lm_head_ctx=lambda *_: gathered)
        if importlib.util.find_spec("transformers") is None:
            _stand_in("transformers")
            _stand_in("transformers.utils", is_triton_available=lambda: True)
    return importlib.import_module(name)


@functools.cache
def _verl() -> Any:
    """Load verl's kernel without verl, which needs Ray, and without its search for devices."""
    _bare("verl")
    _bare("verl.utils")
    _stand_in(
        "verl.utils.device",
        get_device_capability=torch.cuda.get_device_capability,
        get_device_name=lambda: "cuda",
        get_torch_device=lambda: torch.cuda,
        is_cuda_available=torch.cuda.is_available(),
    )
    return importlib.import_module("verl.utils.kernel.linear_cross_entropy")


@functools.cache
def _flash_attn() -> Any:
    """Load the one file of flash-attn; its package needs its CUDA extension."""
    found = importlib.util.find_spec("flash_attn")
    assert found is not None
    assert found.submodule_search_locations is not None
    path = f"{found.submodule_search_locations[0]}/ops/triton/cross_entropy.py"
    spec = importlib.util.spec_from_file_location("flash_attn_cross_entropy", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _bare(name: str) -> None:
    """Enter a package, its folder known, its own file not run."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)


def _stand_in(name: str, **names: Any) -> None:
    """Enter a module that has these names and no others."""
    module = importlib.util.module_from_spec(ModuleSpec(name, None, is_package=True))
    vars(module).update(names)
    sys.modules[name] = module
