"""The runs that the demo compares: one row of its table and one seed make one run.

Every run starts from the same base model, sees the same prompts in the same order, takes the same
number of steps at the same rate, and is scored on numbers that training never asked for.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STEPS = 300
"""Optimizer steps of a run; each trains on 8 numbers x 16 answers."""
LEARNING_RATE = 3e-4
"""Plain GRPO's best for pass@1 in the sweep of ``recipes/expressions/results/rates.json``."""
RATES = (3e-5, 1e-4, 2e-4, 3e-4, 5e-4)
"""Learning rates of the sweep."""
ENTROPY_COEFFICIENTS = (0.003, 0.01, 0.03, 0.1, 0.2)
"""TRL's entropy bonus, from hardly any effect to more than it can bear."""
_VERSION = 1  # raise it when this file, or the preset, makes another result of the same settings


@dataclass(frozen=True)
class Row:
    """A way to train: what differs from plain GRPO."""

    name: str
    label: str
    config: Mapping[str, Any] = field(default_factory=dict)
    diverse: bool = False
    """Whether the trainer is a DiverseGRPOTrainer, which runs its preset."""
    by_answer: bool = False
    """Whether it is told that answers with one canonical form say the same."""


PLAIN = Row("plain", "plain GRPO")
DIVERSE = Row("diverse", "diverse", diverse=True)
BY_ANSWER = Row("by-answer", "diverse, by answer", diverse=True, by_answer=True)
ENTROPY = tuple(
    Row(f"entropy-{c:g}", f"entropy bonus {c:g}", {"entropy_coef": c}) for c in ENTROPY_COEFFICIENTS
)
ROWS = {row.name: row for row in (PLAIN, *ENTROPY, DIVERSE, BY_ANSWER)}


@dataclass(frozen=True)
class Run:
    """One run: a row, a seed, and the budget."""

    row: str
    seed: int = 0
    steps: int = STEPS
    learning_rate: float = LEARNING_RATE

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that is not TRL's default and decides the result, for TRL's config."""
        return {
            "max_steps": self.steps,
            "learning_rate": self.learning_rate,
            "lr_scheduler_type": "constant",
            "per_device_train_batch_size": 128,
            "num_generations": 16,
            "max_completion_length": 12,
            "temperature": 1.0,
            "beta": 0.0,
            "seed": self.seed,
            **ROWS[self.row].config,
        }

    def hash(self, base: str) -> str:
        """Eight hex digits that change with the settings, the trainer or the base model."""
        row = ROWS[self.row]
        facts = [_VERSION, base, self.settings, row.diverse, row.by_answer]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


def quiet_environment() -> None:
    """Keep a run offline and its console free of what would confuse a newcomer.

    Call it before torch and TRL are imported; what the user has set stays.
    """
    for name, value in {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "DS_ACCELERATOR": "cpu",  # else deepspeed, where installed, warns that it found no GPU
        "CUDA_VISIBLE_DEVICES": "",  # the model is too small to gain from a GPU
    }.items():
        os.environ.setdefault(name, value)


def train(run: Run, base: Path, output_dir: Path, callbacks: Sequence[Any] = ()) -> Any:
    """Train one run, with a `CollapseMonitor` that records it under ``output_dir``.

    Args:
        run: What to train.
        base: Folder of the base model.
        output_dir: Where the monitor writes ``divreg/``; nothing else is saved.
        callbacks: More callbacks, such as a progress bar.

    Returns:
        The trainer, after training.
    """
    import torch

    # One thread gives the same result whatever else the machine does, and hardly more time here.
    torch.set_num_threads(1)
    from transformers import PrinterCallback

    from divreg.monitor.callback import CollapseMonitor
    from divreg.tasks import expressions, tiny

    model, names = tiny.load(base)
    monitor = CollapseMonitor(answer=expressions.answer)
    trainer = _trainer(
        run,
        output_dir,
        model=model,
        processing_class=names,
        reward_funcs=expressions.accuracy_reward,
        train_dataset=expressions.dataset("train"),
        callbacks=[*callbacks, monitor],
    )
    trainer.remove_callback(PrinterCallback)
    if monitor.trainer is None:  # TRL's own trainer does not hand itself over
        monitor.bind_trainer(trainer)
    trainer.train()
    return trainer


def _trainer(run: Run, output_dir: Path, **common: Any) -> Any:
    row = ROWS[run.row]
    quiet = {
        "output_dir": str(output_dir),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 5,
        "disable_tqdm": True,
    }
    if not row.diverse:
        from trl.trainer.grpo_config import GRPOConfig
        from trl.trainer.grpo_trainer import GRPOTrainer

        return GRPOTrainer(args=GRPOConfig(**run.settings, **quiet), **common)
    from divreg import signals
    from divreg.tasks import expressions
    from divreg.trainers.grpo import DiverseGRPOConfig, DiverseGRPOTrainer

    told = {"answer": expressions.answer, "partition": signals.by_answer} if row.by_answer else None
    return DiverseGRPOTrainer(
        args=DiverseGRPOConfig(**run.settings, **quiet), signals=told, **common
    )


def score(run: Run, base: Path, output_dir: Path, callbacks: Sequence[Any] = ()) -> dict[str, Any]:
    """Train and evaluate one run, and return its line of the results."""
    from divreg.tasks import tiny
    from divreg.tasks.evaluate import evaluate

    started = time.perf_counter()
    trainer = train(run, base, output_dir, callbacks)
    seconds = time.perf_counter() - started
    result = evaluate(trainer.model, tiny.tokenizer())
    return {
        "row": run.row,
        "seed": run.seed,
        "steps": run.steps,
        "learning_rate": run.learning_rate,
        "hash": run.hash(base.name),
        "train_seconds": round(seconds, 1),
        **result.as_dict(),
    }


def score_once(
    run: Run, base: Path, output_dir: Path, tell: Callable[..., Any] | None = None
) -> dict[str, Any]:
    """Return the run's line of the results from its file, or train it and write that file.

    The file is renamed into place: an interrupted run leaves none and is trained again.

    Args:
        run: What to train.
        base: Folder of the base model.
        output_dir: Where the file is, and what the monitor records.
        tell: Called with ``step=`` after every step, and with ``note=`` how it goes.
    """
    path = output_dir / "result.json"
    if path.exists():
        found = json.loads(path.read_text())
        if found.get("hash") == run.hash(base.name):
            return found
    line = score(run, base, output_dir, [_teller(tell)] if tell else ())
    part = path.with_suffix(".part")
    part.write_text(json.dumps(line, indent=1) + "\n")
    part.rename(path)
    return line


def _teller(tell: Callable[..., Any]) -> Any:
    from transformers import TrainerCallback

    class Teller(TrainerCallback):
        def on_step_end(self, args, state, control, **_):  # noqa: ARG002
            tell(step=state.global_step)

        def on_log(self, args, state, control, logs=None, **_):  # noqa: ARG002
            logs = logs or {}
            right = logs.get("diversity/pass_at_1", logs.get("reward"))
            distinct = logs.get("diversity/distinct_correct")
            note = [f"right {right:.0%}"] if right is not None else []
            if distinct is not None:
                note.append(f"different right answers in 16: {distinct:.1f}")
            tell(note=", ".join(note))

    return Teller()
