"""What divreg costs in % of a step of SFT and DPO, and in memory.

python recipes/benchmarks/overhead_offline.py [--rounds 6] [--steps 15] [--only gem DPO]

As ``overhead.py`` beside it: the arms take turns in one process, on the same texts at learning
rate 0, and blocks of steps are compared with the same block of the baseline. The model is a small
Llama with random weights, whose loss head holds as large a share of its parameters as that of a
model of 0.5 B (a quarter); a step reads four texts of 64 tokens. Memory is the highest resident
size of a fresh process that trains one arm for a few steps, above what it held before; on Linux.
"""

import argparse
import gc
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import overhead
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, PrinterCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from divreg import DiverseDPOConfig, DiverseDPOTrainer, DiverseSFTConfig, DiverseSFTTrainer

WORDS, TOKENS, ROWS = 4096, 64, 4


@dataclass
class Arm:
    """One way to train; ``block`` is what a config's ``divreg:`` would say, None for TRL's own."""

    name: str
    method: str
    block: dict[str, Any] | None = None
    kind: str = ""
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def baseline(self) -> str | None:
        """Name of the arm that it is compared with."""
        return None if self.block is None else f"{self.method.upper()}Trainer"


def _loss(name: str, kind: str) -> Arm:
    return Arm(name, "sft", {"interventions": [name]}, kind)


HEAD = "the head's own numbers"
BESIDE = "one product with the head more"
ARMS = [
    Arm("SFTTrainer", "sft"),
    Arm("DiverseSFTTrainer, interventions: []", "sft", {"interventions": []}, "nothing"),
    *(_loss(n, HEAD) for n in ("confidence_penalty", "confidence_penalty_hinge", "focal", "dft")),
    _loss("diffuse", HEAD),
    _loss("label_smoothing", "the head's mean row"),
    _loss("psft", "one forward more"),
    *(_loss(n, BESIDE) for n in ("gem", "tofu", "eaft", "sed")),
    *(_loss(n, "every logit, twice") for n in ("gem_logsigmoid", "unlikelihood")),
    Arm("DPOTrainer", "dpo"),
    Arm("DiverseDPOTrainer, interventions: []", "dpo", {"interventions": []}, "nothing"),
    Arm("ddpo", "dpo", {"interventions": ["ddpo"]}, HEAD),
    Arm("spl", "dpo", {"spl": {"alpha": 0.2}}, HEAD),
    Arm("dorpo", "dpo", {"interventions": ["dorpo"]}, HEAD),
]


def tokenizer() -> PreTrainedTokenizerFast:
    """Build one in memory that reads ``w0 w1 ...``."""
    words = ["<pad>", "<eos>", *(f"w{i}" for i in range(WORDS - 2))]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>")


def model() -> LlamaForCausalLM:
    """Build the same one every time."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=WORDS, hidden_size=256, intermediate_size=688, num_hidden_layers=4,
            num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=256,
            tie_word_embeddings=True, bos_token_id=None, eos_token_id=1, pad_token_id=0,
        )
    )  # fmt: skip


def data(method: str) -> Dataset:
    """Draw texts of random words, and for DPO a weight beside each pair."""
    rng = random.Random(0)

    def text(tokens: int) -> str:
        return " ".join(f"w{rng.randrange(WORDS - 2)}" for _ in range(tokens))

    half = TOKENS // 2
    if method == "sft":
        rows = [{"prompt": text(8), "completion": " " + text(TOKENS - 9)} for _ in range(64)]
    else:
        rows = [
            {"prompt": text(8), "chosen": " " + text(half), "rejected": " " + text(half)}
            | {"weight": 0.5 + i % 2}
            for i in range(64)
        ]
    return Dataset.from_list(rows)


def trainer_of(arm: Arm, folder: str, options: argparse.Namespace) -> Any:
    """Build the trainer of an arm on a fresh copy of the model."""
    diverse = arm.block is not None
    config_class, trainer_class = {
        ("sft", False): (SFTConfig, SFTTrainer),
        ("sft", True): (DiverseSFTConfig, DiverseSFTTrainer),
        ("dpo", False): (DPOConfig, DPOTrainer),
        ("dpo", True): (DiverseDPOConfig, DiverseDPOTrainer),
    }[arm.method, diverse]
    args = config_class(
        output_dir=folder, use_cpu=True, bf16=False, gradient_checkpointing=False,
        report_to="none", save_strategy="no", disable_tqdm=True, learning_rate=0.0,
        max_steps=options.steps + overhead.WARM_UP + 1, logging_steps=options.logging_steps,
        per_device_train_batch_size=ROWS, **arm.config,
        **({"divreg": arm.block} if diverse else {}),
    )  # fmt: skip
    more = {"ref_model": model()} if arm.method == "dpo" else {}
    return trainer_class(
        model=model(), args=args, train_dataset=data(arm.method), processing_class=tokenizer(),
        **more,
    )  # fmt: skip


def resident(what: str) -> float:
    """Return a size of this process in MB from its status: ``VmRSS`` or ``VmHWM``, 0 elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next(float(x.split()[1]) / 1024 for x in lines if x.startswith(what))


def measure(arm: Arm, options: argparse.Namespace) -> list[tuple[float, float]]:
    """Train once and return the seconds (wall, processor) of each block of steps."""
    with tempfile.TemporaryDirectory() as folder:
        trainer, clock = trainer_of(arm, folder, options), overhead.Clock()
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(clock)
        gc.collect()
        trainer.train()
    return clock.blocks(options.logging_steps)


def peak(arm: Arm, options: argparse.Namespace) -> float:
    """Train a few steps and return what the process held at most, above what it held before, MB."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(arm, folder, options)
        trainer.remove_callback(PrinterCallback)
        gc.collect()
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
        trainer.train()
        return resident("VmHWM") - before


def fresh_peak(arm: Arm) -> float:
    """Return the peak of an arm in a process of its own."""
    words = [sys.executable, "-W", "ignore", __file__, "--steps", "2", "--peak", arm.name]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return float(said.split()[-1])


def run(options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure every arm and return the table's numbers."""
    chosen = [a for a in ARMS if not options.only or any(w in a.name for w in options.only)]
    wanted = {a.baseline for a in chosen}
    arms = [a for a in ARMS if a in chosen or a.name in wanted]
    times: dict[str, list[tuple[float, float]]] = {a.name: [] for a in arms}
    peaks: dict[str, list[float]] = {a.name: [] for a in arms}
    for round_ in range(options.rounds):
        turn = round_ * len(arms) // options.rounds
        for arm in [*arms[turn:], *arms[:turn]]:
            times[arm.name] += measure(arm, options)
        say(f"round {round_ + 1} of {options.rounds}")
    for _ in range(options.memory):
        for arm in arms:
            peaks[arm.name].append(fresh_peak(arm))
    rows = overhead.compared(arms, times, options.logging_steps)
    for arm, row in zip(arms, rows, strict=True):
        row["asks"] = arm.kind
        if peaks[arm.name]:
            row["peak_mb"] = [statistics.median(peaks[arm.name]), *_ends(peaks[arm.name])]
    return {"settings": overhead.facts(options), "rows": rows, "blocks": times, "peaks": peaks}


def _ends(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the numbers as a Markdown table."""
    lines = [
        "| arm | asks for | step, ms | over its baseline, % of processor time (95 % interval) | "
        "the same, wall clock | peak memory, MB (least to most) |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = ["baseline", ""]
        if row["baseline"]:
            both = (row["processor_percent"], row["wall_percent"])
            cells = [f"{m:+.1f} ({low:+.1f} to {high:+.1f})" for m, low, high in both]
        memory = "{:.0f} ({:.0f} to {:.0f})".format(*row["peak_mb"]) if "peak_mb" in row else ""
        lines.append(
            f"| {row['arm']} | {row['asks']} | {row['processor_ms']:.0f} | {cells[0]} | "
            f"{cells[1]} | {memory} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6, help="turns of each arm (default: 6)")
    parser.add_argument("--steps", type=int, default=15, help="timed steps a turn (default: 15)")
    parser.add_argument("--logging_steps", type=int, default=5, help="steps of a block")
    parser.add_argument("--memory", type=int, default=3, help="processes of each arm (default: 3)")
    parser.add_argument("--peak", metavar="ARM", help="only print the peak of one arm, MB")
    parser.add_argument("--only", nargs="*", help="arms whose name contains one of these words")
    parser.add_argument("--out", type=Path, default=Path("runs/overhead_offline.json"))
    options = parser.parse_args()
    overhead.prepare()
    if options.peak:
        print(peak(next(a for a in ARMS if a.name == options.peak), options))
        return
    overhead.tell(run(options, say=print), table, options.out)


if __name__ == "__main__":
    main()
