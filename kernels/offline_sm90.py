"""Compile the Triton kernels for an H100, on any machine, and check what the compiler made of them.

    python kernels/offline_sm90.py

Needs Triton 3.6 and no GPU: its wheel holds ptxas, cuobjdump and nvdisasm. Exits with 1 and a
sentence a failure if registers spill, if logits are not read 16 bytes at a time, if lanes wait for
each other inside the loop over logits, if the floor under them hides a NaN, which the interpreter
would not show, or if that loop takes more instructions than planned.
"""

import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)  # read by Triton at its import

import triton
from divreg_kernels import triton_fold, triton_grad, triton_merge
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

TARGET = GPUTarget("cuda", 90, 32)
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
SIZES = {"bf16": 2, "fp16": 2, "fp32": 4}
NUMBERS = ("scale_value", "logit_scale", "gain", "softcap")

# Instructions an element. Reading bf16 at 3.0 TB/s leaves an H100 19.8 of them, reading and writing
# it 39.5.
FOLD = 10
MORE = {"moments": 4, "rank": 2, "topk": 6, "reference": 12, "softcap": 10}
GRAD = {0: 18, 1: 20, 2: 24}
GRAD_SOFTCAP = 15
GRAD_REFERENCE = 10


@dataclass(frozen=True)
class Machine:
    """What a kernel became: registers and stack bytes of a thread, and its instructions."""

    registers: int
    stack: int
    code: list[str]
    loops: list[list[str]]


def main() -> int:
    """Print a table of all variants; return how the process should exit."""
    failures = []
    sys.stdout.write(f"Triton {triton.__version__}, {TARGET.backend} sm_{TARGET.arch}\n")
    for name, cells, failed in itertools.chain(fold_variants(), merge_variants(), grad_variants()):
        sys.stdout.write(f"{name:<40} {cells}\n")
        failures += [f"{name}: {reason}" for reason in failed]
    for failure in failures:
        sys.stdout.write(f"FAILED {failure}.\n")
    return 1 if failures else 0


def fold_variants() -> Iterator[tuple[str, str, list[str]]]:
    """Yield name, table cells and failures of the kernel that reads logits."""
    stack = triton_fold.STACK.value
    plain = itertools.product(SIZES, (True, False), subsets("moments", "rank", "softcap"))
    listed = itertools.product(SIZES, (True, False), (("topk",), ("moments", "rank", "topk")))
    beside = itertools.product(("fp32", "bf16"), (True,), subsets("moments", "softcap"))
    paired = ((dtype, aligned, (*flags, "reference")) for dtype, aligned, flags in beside)
    for dtype, aligned, flags in itertools.chain(plain, listed, paired):
        vector = 16 // SIZES[dtype]
        machine = build(
            triton_fold.fold_kernel, dtype, triton_fold.WARPS, VEC=vector, ALIGNED=aligned,
            PER_ROW=True, SOFTCAP="softcap" in flags, MOMENTS="moments" in flags,
            RANK="rank" in flags, TOPK="topk" in flags, PAIR="reference" in flags,
        )  # fmt: skip
        name = " ".join(["fold", dtype, *["unaligned"] * (not aligned), *flags])
        failed = spills(machine)
        loads = stack * (2 if "reference" in flags else 1)
        wide = [loop for loop in machine.loops if count(loop, "LDG.E.128") == loads]
        if not wide:
            yield name, cells(machine), [*failed, "no loop reads 16 bytes at a time"]
            continue
        loop = min(wide, key=len)
        kinds = Counter(instruction.split(".")[0] for instruction in loop)
        if crossing := sum(kinds[kind] for kind in ("SHFL", "BAR", "LDS", "STS")):
            failed.append(f"lanes meet {crossing} times inside the loop")
        if hidden := stack * vector - count(loop, "FMNMX.NAN"):
            failed.append(f"a NaN is lost in {hidden} of {stack * vector} logits")
        each = len(loop) / (stack * vector)  # a lane is one thread
        twice = "softcap" in flags and "reference" in flags
        limit = FOLD + sum(MORE[flag] for flag in flags) + MORE["softcap"] * twice
        if each > limit:
            failed.append(f"{each:.1f} instructions an element, more than {limit}")
        yield name, f"{cells(machine)}  loop {each:5.2f} an element  LDG.128 {loads}", failed


def subsets(*flags: str) -> list[tuple[str, ...]]:
    """Return every choice of some flags."""
    sizes = range(len(flags) + 1)
    return [some for size in sizes for some in itertools.combinations(flags, size)]


def merge_variants() -> Iterator[tuple[str, str, list[str]]]:
    """Yield the same of the kernel that joins the parts of a row."""
    for parts in (4, 32, 128):
        machine = build(
            triton_merge.merge_kernel, "fp32", 1, PARTS=parts, PER_ROW=True, MOMENTS=True,
            RANK=True, PAIR=True,
        )  # fmt: skip
        yield f"merge {parts}", cells(machine), spills(machine)


def grad_variants() -> Iterator[tuple[str, str, list[str]]]:
    """Yield the same of the kernel that writes gradients."""
    block, threads = triton_grad.BLOCK, 32 * triton_grad.WARPS
    plain = itertools.product(SIZES, (True, False), GRAD, subsets("softcap"))
    beside = itertools.product(("fp32", "bf16"), (True,), (1, 2), (("reference",),))
    for dtype, aligned, terms, flags in itertools.chain(plain, beside):
        reference, softcap = "reference" in flags, "softcap" in flags
        machine = build(
            triton_grad.grad_kernel, dtype, triton_grad.WARPS, TERMS=terms,
            VEC=16 // SIZES[dtype], ALIGNED=aligned, PER_ROW=True, SOFTCAP=softcap,
            PAIR=reference, BLOCK=block,
        )  # fmt: skip
        words = ["grad", dtype, *["unaligned"] * (not aligned), f"terms={terms}", *flags]
        name = " ".join(words)
        failed = spills(machine)
        wide = count(machine.code, "LDG.E.128"), count(machine.code, "STG.E.128")
        wanted = block * SIZES[dtype] // (16 * threads)
        if aligned and wide != (wanted * (1 + reference), wanted):
            failed.append(f"{wide[0]} loads and {wide[1]} stores of 16 bytes, not {wanted} a tile")
        if hidden := block // threads * (1 + reference) - count(machine.code, "FMNMX.NAN"):
            failed.append(f"a NaN is lost in {hidden} of {block // threads} logits")
        each = len(machine.code) * threads / block
        limit = GRAD[terms] + GRAD_SOFTCAP * softcap + GRAD_REFERENCE * reference
        if aligned and each > limit:
            failed.append(f"{each:.1f} instructions an element, more than {limit}")
        yield (
            name,
            f"{cells(machine)}  all {each:6.2f} an element  LDG.128 {wide[0]}  STG.128 {wide[1]}",
            failed,
        )


def build(kernel: Any, dtype: str, warps: int, **constants: Any) -> Machine:
    """Compile a kernel for logits of a dtype, with no hint but those that it gives itself."""

    def kind(name: str) -> str:
        if name in constants:
            return "constexpr"
        if name in NUMBERS:
            return "fp32"
        if name == "targets_ptr":
            return "*i64"
        tiles = ("x_ptr", "ref_ptr", *["out_ptr"] * (kernel is triton_grad.grad_kernel))
        if name in tiles:
            return f"*{dtype}"
        return "*fp32" if name.endswith("_ptr") else "i32"

    source = ASTSource(
        fn=kernel, signature={name: kind(name) for name in kernel.arg_names}, constexprs=constants
    )
    options = {"num_warps": warps, "num_stages": 1, "enable_fp_fusion": True}
    return disassembled(triton.compile(source, target=TARGET, options=options).asm["cubin"])


def disassembled(cubin: bytes) -> Machine:
    """Read the machine code of one kernel."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = run("cuobjdump", "--dump-resource-usage", file.name)
        listing = run("nvdisasm", "-c", file.name)
    used = re.search(r"REG:(\d+).*?STACK:(\d+)", usage)
    if used is None:
        raise RuntimeError(f"cuobjdump names no registers and no stack: {usage!r}")
    code, labels, loops = [], {}, []
    for line in listing.splitlines():
        if label := re.match(r"(\.L_\w+):", line):
            labels[label[1]] = len(code)
        found = re.search(r"/\*[0-9a-f]{4,}\*/\s+(?:@\S+\s+)?([^;]+?)\s*;", line)
        if found and found[1] != "NOP":
            code.append(found[1])
    for at, instruction in enumerate(code):
        jump = re.search(r"^BRA.*`\((\.L_\w+)\)", instruction)
        if jump and labels[jump[1]] < at:
            loops.append(code[labels[jump[1]] : at + 1])
    return Machine(int(used[1]), int(used[2]), code, loops)


def run(tool: str, *arguments: str) -> str:
    """Return what one of Triton's tools prints."""
    done = subprocess.run([TOOLS / tool, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def count(code: list[str], start: str) -> int:
    """Return how many instructions begin with a word."""
    return sum(instruction.startswith(start) for instruction in code)


def cells(machine: Machine) -> str:
    """Return the columns that every kernel has."""
    return f"registers {machine.registers:3d}  stack {machine.stack}"


def spills(machine: Machine) -> list[str]:
    """Return the sentence for a kernel that needs more registers than there are."""
    return [f"{machine.stack} bytes of stack, so registers spill"] if machine.stack else []


if __name__ == "__main__":
    sys.exit(main())
