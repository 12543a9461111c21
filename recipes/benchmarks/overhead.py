"""What divreg costs in % of a training step, on the demo's model.

python recipes/benchmarks/overhead.py [--rounds 6] [--steps 25] [--encoder NAME]

Every arm trains the same model on the same data with the same seed, in one process, at learning
rate 0: what one arm generates, all do, and only the work differs. The arms take turns, in another
order each round, so that a slow minute of the machine hits all of them. A step is timed from its
beginning to the beginning of the next: generation, reward, loss, optimizer, logging and callbacks.
Blocks of as many steps as lie between two logs (so that each holds one) are compared with the same
block of the same round of the baseline. The table gives the median of those ratios and the interval
in which 95 % of bootstrapped medians lie, in seconds of the wall clock and of the processor. On a
machine that does other things as well, only the latter means something.
"""

import argparse
import functools
import gc
import json
import logging
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from divreg import CollapseMonitor, DiverseGRPOConfig, DiverseGRPOTrainer, methods, signals
from divreg.encoders import SentenceEncoder
from divreg.tasks import expressions, runs, tiny

WARM_UP = 3  # the first steps of a trainer allocate memory and build caches


def surprise(advantages, *, logprob, mask, scale=0.1):
    """A method that asks for log-probs of the completion at the rollout, and for nothing else."""
    mean = (logprob * mask).sum(-1) / mask.sum(-1).clamp(min=1)
    return advantages - scale * mean


@dataclass
class Arm:
    """One way to train: ``baseline`` is the arm that it is compared with."""

    name: str
    baseline: str | None
    interventions: list[Any] | None = None  # None: TRL's own trainer
    monitor: bool = False
    config: dict[str, Any] = field(default_factory=dict)
    encoder: str | None = None  # what embeds the completions


TWICE = {"num_iterations": 2}  # TRL then computes the sampling policy's log-probs itself
RARITY = [methods.rarity]
ARMS = [
    Arm("GRPOTrainer", None),
    Arm("+ CollapseMonitor", "GRPOTrainer", monitor=True),
    Arm("DiverseGRPOTrainer, interventions=[]", "GRPOTrainer", []),
    Arm("answer method (rarity)", "GRPOTrainer", RARITY),
    Arm("answer method and monitor", "GRPOTrainer", RARITY, monitor=True),
    Arm("log-prob method", "GRPOTrainer", [surprise]),
    Arm(
        "three log-prob methods",
        "GRPOTrainer",
        [surprise, functools.partial(surprise, scale=0.2), functools.partial(surprise, scale=0.3)],
    ),
    Arm("GRPOTrainer, num_iterations=2", None, config=TWICE),
    Arm(
        "log-prob method, num_iterations=2",
        "GRPOTrainer, num_iterations=2",
        [surprise],
        config=TWICE,
    ),
]


class Clock(TrainerCallback):
    """Notes when each step begins, on the wall clock and in processor time."""

    def __init__(self):
        self.times: list[tuple[float, float]] = []

    def on_step_begin(self, args, state, control, **kwargs):
        self.times.append((time.perf_counter(), time.process_time()))

    def blocks(self, size: int) -> list[tuple[float, float]]:
        """Return the seconds (wall, processor) of each block of ``size`` steps, warmed up."""
        marks = self.times[WARM_UP::size]
        return [(end[0] - start[0], end[1] - start[1]) for start, end in pairwise(marks)]


def trainer_of(arm: Arm, base: Path, folder: str, options: argparse.Namespace) -> Any:
    """Build the trainer of an arm on a fresh copy of the base model."""
    model, tokenizer = tiny.load(base)
    diverse = arm.interventions is not None
    settings = {
        **runs.Run(runs.PLAIN).settings,
        "max_steps": options.steps + WARM_UP + 1,
        "learning_rate": 0.0,  # so that every arm generates the same completions
        "logging_steps": options.logging_steps,
        **arm.config,
    }
    if diverse:  # which else attaches a monitor wherever there is a method
        settings["divreg"] = {"monitor": arm.monitor}
    args = (DiverseGRPOConfig if diverse else GRPOConfig)(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        **settings,
    )
    extra: dict[str, Any] = {}
    if diverse:
        extra["interventions"] = arm.interventions
        extra["signals"] = {"answer": expressions.answer, "partition": signals.by_answer}
        if arm.encoder:
            extra["signals"]["embedding"] = SentenceEncoder(arm.encoder)
    trainer: Any = (DiverseGRPOTrainer if diverse else GRPOTrainer)(
        model=model,
        reward_funcs=expressions.accuracy_reward,
        args=args,
        train_dataset=expressions.dataset(),
        processing_class=tokenizer,
        **extra,
    )
    if arm.monitor and not diverse:
        trainer.add_callback(
            CollapseMonitor(trainer, answer=expressions.answer, partition=signals.by_answer)
        )
    return trainer


def measure(arm: Arm, base: Path, options: argparse.Namespace) -> list[tuple[float, float]]:
    """Train once and return the seconds (wall, processor) of each block of steps."""
    with tempfile.TemporaryDirectory() as folder:
        trainer, clock = trainer_of(arm, base, folder, options), Clock()
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(clock)
        gc.collect()
        trainer.train()
    return clock.blocks(options.logging_steps)


def interval(values: list[float], rng: random.Random, draws: int = 2000) -> tuple[float, float]:
    """Return the 2.5 % and 97.5 % quantiles of bootstrapped medians."""
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws)]


def run(options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure every arm and return the table's numbers."""
    base = options.model or tiny.base_model()
    every = [*ARMS]
    if options.encoder:
        embedding = f"embedding method (dra), {Path(options.encoder).name}"
        every.append(Arm(embedding, "GRPOTrainer", [methods.dra], encoder=options.encoder))
    arms = [a for a in every if not options.only or any(word in a.name for word in options.only)]
    wanted = {a.baseline for a in arms if a.baseline}
    arms = [a for a in every if a in arms or a.name in wanted]
    times: dict[str, list[tuple[float, float]]] = {a.name: [] for a in arms}
    for round_ in range(options.rounds):
        turn = round_ % len(arms)
        for arm in [*arms[turn:], *arms[:turn]]:
            times[arm.name] += measure(arm, base, options)
        say(f"round {round_ + 1} of {options.rounds}")
    rows = compared(arms, times, options.logging_steps)
    return {"settings": facts(options), "rows": rows, "blocks": times}


def compared(
    arms: Sequence[Any], times: dict[str, list[tuple[float, float]]], steps: int
) -> list[dict[str, Any]]:
    """Return of every arm the time of a step, and what it is over the same of its baseline.

    Args:
        arms: Each with a ``name`` and a ``baseline``, the name of another or None.
        times: Of each the seconds (wall, processor) of its blocks.
        steps: Of a block.
    """
    rng, rows = random.Random(0), []
    for arm in arms:
        row: dict[str, Any] = {"arm": arm.name, "baseline": arm.baseline}
        for i, clock in enumerate(("wall", "processor")):
            ours = [block[i] for block in times[arm.name]]
            row[f"{clock}_ms"] = 1e3 * statistics.median(ours) / steps
            if arm.baseline is not None:
                theirs = [block[i] for block in times[arm.baseline]]
                ratios = [100 * (x / y - 1) for x, y in zip(ours, theirs, strict=True)]
                row[f"{clock}_percent"] = [statistics.median(ratios), *interval(ratios, rng)]
        rows.append(row)
    return rows


def facts(options: argparse.Namespace) -> dict[str, str]:
    """Return what the numbers depend on."""
    found = {"torch": torch.__version__, "threads": torch.get_num_threads(), **vars(options)}
    return {name: str(value) for name, value in found.items()}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the numbers as a Markdown table."""
    lines = [
        "| arm | step, ms | over its baseline, % (95 % interval) | the same, processor time |",
        "|---|---|---|---|",
    ]
    for row in rows:
        cells = ["baseline", ""]
        if row["baseline"]:
            both = (row["wall_percent"], row["processor_percent"])
            cells = [f"{m:+.1f} ({low:+.1f} to {high:+.1f})" for m, low, high in both]
        lines.append(f"| {row['arm']} | {row['wall_ms']:.0f} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6, help="turns of each arm (default: 6)")
    parser.add_argument("--steps", type=int, default=25, help="timed steps a turn (default: 25)")
    parser.add_argument("--logging_steps", type=int, default=5, help="as the demo's (default: 5)")
    parser.add_argument("--model", type=Path, help="a folder instead of the demo's base model")
    parser.add_argument("--encoder", help="a sentence encoder: adds a method that compares texts")
    parser.add_argument("--only", nargs="*", help="arms whose name contains one of these words")
    parser.add_argument("--out", type=Path, default=Path("runs/overhead.json"), help="JSON file")
    options = parser.parse_args()
    prepare()
    tell(run(options, say=print), table, options.out)


def prepare() -> None:
    """Keep the process quiet and on one thread, as the demo's runs are."""
    runs.quiet_environment()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)


def tell(result: dict[str, Any], table: Callable[[list[dict[str, Any]]], str], out: Path) -> None:
    """Write everything to a file, and print its table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"\n{table(result['rows'])}\n\nEvery block: {out}")


if __name__ == "__main__":
    main()
