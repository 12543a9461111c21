"""The runs that the demo and the benchmark compare: a way to train and a seed make one run.

Every run starts from the same base model, sees the same prompts in the same order, takes the same
number of steps at the same rate, and is scored on prompts that training never showed.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from divreg.tasks import building
from divreg.tasks.task import Task, find

STEPS = 300
"""Optimizer steps of a run; each trains on 8 numbers x 16 answers."""
LEARNING_RATE = 3e-4
"""Plain GRPO's best for pass@1 in the sweep of ``recipes/expressions/results/rates.json``."""
TINY_SIDE_BY_SIDE, SIDE_BY_SIDE = 2048, 64
"""Answers written at a time when a model is scored: the tiny one, and one of your own."""
RATES = (3e-5, 1e-4, 2e-4, 3e-4, 5e-4)
"""Learning rates of the sweep."""
ENTROPY_COEFFICIENTS = (0.003, 0.01, 0.03, 0.1, 0.2)
"""TRL's entropy bonus, from hardly any effect to more than it can bear."""
_VERSION = 1  # raise it when this file, or the preset, makes another result of the same settings


@dataclass(frozen=True)
class Row:
    """A way to train: what differs from the plain trainer.

    Attributes:
        name: In files.
        label: In tables.
        config: Keys of TRL's config.
        divreg: The block of divreg's config, empty for the bare swap of the class; None trains with
            TRL's own trainer.
        dataset: Data of its own, where others of the benchmark learn from others.
        trained: Whether it is trained at all; else it is the base model.
    """

    name: str
    label: str
    config: Mapping[str, Any] = field(default_factory=dict)
    divreg: Mapping[str, Any] | None = None
    dataset: str | None = None
    trained: bool = True


PLAIN = Row("plain", "plain GRPO")
DIVERSE = Row("diverse", "diverse", divreg={})
BY_ANSWER = Row(
    "by-answer",
    "diverse, by answer",
    divreg={"signals": {"answer": "divreg.tasks.expressions.answer", "partition": "by_answer"}},
)
ENTROPY = tuple(
    Row(f"entropy-{c:g}", f"entropy bonus {c:g}", {"entropy_coef": c}) for c in ENTROPY_COEFFICIENTS
)
ROWS = {row.name: row for row in (PLAIN, *ENTROPY, DIVERSE, BY_ANSWER)}


@dataclass(frozen=True)
class Run:
    """One run: a row, a seed, and the budget."""

    row: Row
    seed: int = 0
    steps: int = STEPS
    learning_rate: float = LEARNING_RATE
    task: str = "expressions"
    samples: int = 128
    """Answers to each held-out prompt when it is scored."""
    model: str | None = None
    """A hub name or folder of your own, which TRL loads; None is the task's tiny one."""
    method: str = "grpo"
    """The trainer, in lower case: ``grpo``, ``rloo``, ``sft`` or ``dpo``."""
    dataset: str | None = None
    """What ``sft`` and ``dpo`` learn from: see :func:`divreg.tasks.building.rows`."""
    held_out: Mapping[str, str] = field(default_factory=dict)
    """Data sets of answers whose likelihood is measured, by what they are called."""
    encoder: str | None = None
    """A sentence encoder, by hub name or folder, for the Vendi score; None measures none."""
    splits: tuple[str, ...] = ("held_out",)
    """Of the task, that the run is scored on; the first is what tables begin with."""

    @property
    def learns_from(self) -> str | None:
        """The data set of the row, else of the benchmark."""
        return self.row.dataset or self.dataset

    @property
    def found(self) -> Task:
        """The task itself."""
        return find(self.task)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that is not TRL's default and decides the result, for TRL's config."""
        online = self.method in building.ONLINE
        own = building.ONLINE[self.method] if online else building.OFFLINE[self.method]
        longest = {"max_completion_length": self.found.max_tokens} if online else {}
        return {
            "max_steps": self.steps,
            "learning_rate": self.learning_rate,
            "lr_scheduler_type": "constant",
            **own,
            **longest,
            "seed": self.seed,
            **self.row.config,
        }

    def hash(self, base: str) -> str:
        """Eight hex digits that change with the settings, the trainer, the task or the model."""
        facts = [_VERSION, base, self.settings, self.row.divreg, self.task, self.samples]
        facts += [self.model] if self.model else []
        facts += [self._of_data] if self._of_data else []
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def _of_data(self) -> dict[str, Any]:
        """What decides the result besides, where it is not what GRPO does."""
        facts = {
            "method": self.method if self.method != "grpo" else None,
            "dataset": self.learns_from and building.fingerprint(self.learns_from),
            "held_out": {k: building.fingerprint(name) for k, name in self.held_out.items()},
            "untrained": not self.row.trained,
            "encoder": self.encoder,
            "ends": building.ends_itself(self) and list(self.found.stop),
        }
        return {name: value for name, value in facts.items() if value}


def quiet_environment(alone: bool = True) -> None:
    """Keep the console of a run free of what would confuse a newcomer.

    Call it before torch and TRL are imported; what the user has set stays.

    Args:
        alone: Whether the runs need no network and no GPU: the tiny models gain from neither.
    """
    quiet = {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    cut_off = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DS_ACCELERATOR": "cpu",  # else deepspeed, where installed, warns that it found no GPU
        "CUDA_VISIBLE_DEVICES": "",
    }
    for name, value in (quiet | cut_off if alone else quiet).items():
        os.environ.setdefault(name, value)


def check(row: Row, method: str = "grpo") -> None:
    """Look for what is wrong with a row before anything is built.

    Args:
        row: The row.
        method: The trainer.

    Raises:
        ValueError: If TRL has no such key, or divreg no such method, signal or setting.
    """
    from divreg import spec

    known = building.keys(method, row.divreg is not None) - {"divreg"}
    for key in row.config:
        if key not in known:
            raise ValueError(spec.unknown(f"row {row.label!r}", "key", key, known))
    if row.divreg:
        spec.load(row.divreg)


def rehearse(run: Run, base: Path, output_dir: Path) -> None:
    """Build the trainer of a run and throw it away.

    Raises:
        ValueError: For a combination of settings that cannot do what it says.
    """
    try:
        building.trainer(run, base, output_dir, [])
    except ValueError as error:
        raise ValueError(f"row {run.row.label!r}: {error}") from error


def train(run: Run, base: Path, output_dir: Path, callbacks: Sequence[Any] = ()) -> Any:
    """Train one run and return its trainer; takes what :func:`build` takes."""
    trainer = build(run, base, output_dir, callbacks)
    if run.row.trained:
        trainer.train()
    return trainer


def build(run: Run, base: Path, output_dir: Path, callbacks: Sequence[Any] = ()) -> Any:
    """Build the trainer of a run; one that samples gets a `CollapseMonitor` that records it.

    Args:
        run: What to train.
        base: Folder of the base model.
        output_dir: Where the monitor writes ``divreg/``; nothing else is saved.
        callbacks: More callbacks, such as a progress bar.
    """
    import torch

    if run.model is None:
        # One thread gives the same result whatever else the machine does, in hardly more time.
        torch.set_num_threads(1)
    from transformers import PrinterCallback

    from divreg.monitor.callback import CollapseMonitor

    watched = run.method in building.ONLINE
    monitors = [CollapseMonitor(answer=run.found.answer)] if watched else []
    trainer = building.trainer(run, base, output_dir, [*callbacks, *monitors])
    trainer.remove_callback(PrinterCallback)
    for monitor in monitors:
        if monitor.trainer is None:  # TRL's own trainer does not hand itself over
            monitor.bind_trainer(trainer)
    return trainer


def score(run: Run, base: Path, output_dir: Path, callbacks: Sequence[Any] = ()) -> dict[str, Any]:
    """Train and evaluate one run, and return its line of the results."""
    encode = _encoder(run.encoder)
    started = time.perf_counter()
    trainer = train(run, base, output_dir, callbacks)
    seconds = time.perf_counter() - started
    model, names = trainer.model, trainer.processing_class
    first, *others = (evaluated(run, model, names, split, encode) for split in run.splits)
    likelihood = held_out_nats(run, model, names)
    return {
        "row": run.row.name,
        "task": run.task,
        "seed": run.seed,
        "steps": run.steps,
        "learning_rate": run.learning_rate,
        "hash": run.hash(base.name),
        "train_seconds": round(seconds, 1),
        "seconds": round(time.perf_counter() - started, 1),
        "entropy_curve": _entropy_curve(run, trainer, output_dir),
        **({"held_out_nats": likelihood} if likelihood else {}),
        **first,
        **({"on": dict(zip(run.splits[1:], others, strict=True))} if others else {}),
    }


def _encoder(name: str | None) -> Callable[[Sequence[str]], Any] | None:
    if name is None:
        return None
    from divreg.encoders import SentenceEncoder

    return SentenceEncoder(name)


def evaluated(
    run: Run,
    model: Any,
    names: Any,
    split: str = "held_out",
    encode: Callable[[Sequence[str]], Any] | None = None,
) -> dict[str, Any]:
    """Return the score of a model on a split of the run's task, with as many answers as it says."""
    from divreg.tasks.evaluate import evaluate

    return evaluate(
        model,
        names,
        run.found,
        rows=list(run.found.dataset(split)),  # pyright: ignore[reportArgumentType]
        samples=run.samples,
        rows_at_once=SIDE_BY_SIDE if run.model else TINY_SIDE_BY_SIDE,
        encode=encode,
    ).as_dict()


def held_out_nats(run: Run, model: Any, names: Any) -> dict[str, float]:
    """Return what an answer of each held-out set costs a model, nats, by the set's name."""
    from divreg.tasks.likelihood import nats_an_answer

    found = {}
    for label, name in run.held_out.items():
        answers = list(building.rows(name, "held_out"))
        found[label] = round(nats_an_answer(model, names, answers), 5)
    return found


def _entropy_curve(run: Run, trainer: Any, output_dir: Path, points: int = 30) -> list[list[float]]:
    """Return [step, nats] at about ``points`` steps of a run: of samples, or of what it reads."""
    if not run.row.trained:
        return []
    if run.method in building.ONLINE:
        from divreg import history

        entropy = sorted(history.entropy_of(history.open_run(output_dir)).items())
    else:
        logged = trainer.state.log_history
        entropy = [(x["step"], float(x["entropy"])) for x in logged if "entropy" in x]
    apart = max(1, len(entropy) // points)
    return [[step, round(value, 4)] for step, value in entropy[::apart]]


def before_each_step(call: Callable[[], Any]) -> Any:
    """Return a callback of transformers that calls a function when an optimizer step begins."""
    from transformers import TrainerCallback

    class Before(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):  # noqa: ARG002
            call()

    return Before()


def finished(run: Run, base: Path, output_dir: Path) -> dict[str, Any] | None:
    """Return the run's line of the results if its file has it, of these settings and model."""
    path = output_dir / "result.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    return found if found.get("hash") == run.hash(base.name) else None


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
    if found := finished(run, base, output_dir):
        return found
    path = output_dir / "result.json"
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
            loss = logs.get("loss")
            note = [f"right {right:.0%}"] if right is not None else []
            note += [f"loss {loss:.3g}"] if loss is not None and right is None else []
            if distinct is not None:
                note.append(f"different right answers in 16: {distinct:.1f}")
            tell(note=", ".join(note))

    return Teller()
