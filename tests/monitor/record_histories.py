"""Record what the detector is tested on: the signals of real, tiny GRPO runs.

    python tests/monitor/record_histories.py [kinds] [tuning] [held_out]

Every run is the expressions task and the tiny model of the demo, 150 steps of 64 completions, about
15 s on one core. Thresholds of ``divreg/monitor/detect.py`` were chosen on ``kinds`` and ``tuning``
only; ``held_out`` was recorded with other seeds and settings, and looked at once. One line per run
in ``tests/monitor/histories/SET.jsonl.gz``; a run that is already there is not trained again.

Held out: 1 false alarm in 20 healthy runs; all 20 collapsing runs found, 0.47 of the loss gone at
the first alert on average (under half in 12 of the 19 where it can be measured: one run ended
without two right answers to any prompt). Loss: the probability that two right answers to one prompt
differ, first 10 steps against last 15. Without correctness nothing tells learning from narrowing
before 0.81 of the loss (1 false alarm); without entropy it is 0.70 (1).

Needs the demo's base model (``divreg demo`` builds it).
"""

import gzip
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "histories"
STEPS = 150
COMPLETIONS = 64
LOGGED = ("entropy", "kl", "grad_norm", "completions/mean_length", "completions/clipped_ratio")


@dataclass(frozen=True)
class Recipe:
    """One run. ``label`` is what the run is by construction, never what a detector made of it."""

    label: str
    seed: int
    learning_rate: float = 3e-4
    group: int = 8
    entropy_coef: float = 0.0
    rarity: float = 0.0
    """A correct completion earns ``size of its class in the group ** -rarity``."""
    easy: bool = False
    """An expression worth the target give or take ten is right: all groups are soon all correct."""
    repeat_halves: bool = False
    """The second half of a group is sampled from the seed of the first, as two processes do that
    were started with one seed."""
    temperature: float = 1.0
    steps: int = STEPS

    @property
    def name(self) -> str:
        facts = [f"{k}={v}" for k, v in asdict(self).items() if v and k not in ("label", "steps")]
        return f"{self.label} {' '.join(facts)}"


def kinds() -> list[Recipe]:
    return [
        Recipe("healthy", 0, learning_rate=3e-4, rarity=1.0, group=16),
        Recipe("collapsed", 0, learning_rate=1e-3),
        Recipe("saturated", 0, easy=True, rarity=1.0, learning_rate=5e-4),
        Recipe("saturated", 1, easy=True, learning_rate=1e-3),
        Recipe("exploding", 0, learning_rate=5e-4, entropy_coef=0.2),
        Recipe("seed_bug", 0, learning_rate=5e-5, repeat_halves=True),
    ]


def _plan(seeds: range) -> list[Recipe]:
    """Half healthy, half collapsing, over the rates and group sizes that people use here."""
    healthy, collapsing = [], []
    quiet: list[dict[str, Any]] = [
        {"learning_rate": 1e-5},
        {"learning_rate": 5e-5, "group": 16},
        {"learning_rate": 3e-4, "rarity": 1.0, "group": 16},
        {"learning_rate": 1e-4, "rarity": 1.0},
        {"learning_rate": 3e-5, "temperature": 0.8},
    ]
    loud: list[dict[str, Any]] = [
        {"learning_rate": 1e-3},
        {"learning_rate": 7e-4, "group": 16},
        {"learning_rate": 5e-4},
        {"learning_rate": 1e-3, "temperature": 0.8},
        {"learning_rate": 1.5e-3, "group": 16},
    ]
    for i, seed in enumerate(seeds):
        healthy.append(Recipe("healthy", seed, **quiet[i % len(quiet)]))
        collapsing.append(Recipe("collapsed", seed, **loud[i % len(loud)]))
    return healthy + collapsing


SETS = {
    "kinds": kinds,
    "tuning": lambda: _plan(range(100, 110)),
    "held_out": lambda: _plan(range(200, 220)),
}


def record(recipe: Recipe) -> dict[str, Any]:
    """Train one run and return its history: one list a signal, one value a step."""
    import torch
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    from divreg.tasks import expressions, tiny

    torch.set_num_threads(1)
    model, names = tiny.load(tiny.base_model())
    with tempfile.TemporaryDirectory() as folder:
        args = GRPOConfig(
            folder,
            use_cpu=True,
            bf16=False,
            report_to="none",
            disable_tqdm=True,
            save_strategy="no",
            logging_steps=1,
            max_steps=recipe.steps,
            seed=recipe.seed,
            learning_rate=recipe.learning_rate,
            lr_scheduler_type="constant",
            per_device_train_batch_size=COMPLETIONS,
            num_generations=recipe.group,
            max_completion_length=10,
            temperature=recipe.temperature,
            entropy_coef=recipe.entropy_coef,
        )
        trainer = GRPOTrainer(
            model,
            reward_funcs=_reward(recipe),
            args=args,
            train_dataset=expressions.dataset("train"),
            processing_class=names,
        )
        if recipe.repeat_halves:
            _share_seeds(trainer, recipe.group)
        watch = _watch(trainer, recipe)
        trainer.add_callback(watch)
        trainer.train()
    return {"name": recipe.name, **asdict(recipe), "signals": _columns(watch.rows)}


def _reward(recipe: Recipe) -> Any:
    from divreg.tasks import expressions

    def reward(completions: list[str], target: list[int], **_: Any) -> list[float]:
        right = _right(recipe, completions, target)
        if not recipe.rarity:
            return [float(r) for r in right]
        answers = [expressions.answer(c) for c in completions]
        g, out = recipe.group, []
        for i, (r, a) in enumerate(zip(right, answers, strict=True)):
            start = i - i % g
            out.append(r * answers[start : start + g].count(a) ** -recipe.rarity)
        return out

    return reward


def _right(recipe: Recipe, completions: list[str], target: list[int]) -> list[bool]:
    from divreg.tasks import expressions

    if recipe.easy:
        near = [expressions.parse(c) for c in completions]
        return [
            e is not None and not e.is_number and abs(e.value - t) <= 10
            for e, t in zip(near, target, strict=True)
        ]
    return [expressions.is_correct(c, t) for c, t in zip(completions, target, strict=True)]


def _share_seeds(trainer: Any, group: int) -> None:
    """Overwrite the second half of every group with the first, before anything is scored."""
    generate = trainer._generate

    def twice(*args: Any, **kwargs: Any) -> Any:
        out = generate(*args, **kwargs)
        for column in out:
            if not isinstance(column, list) or len(column) != COMPLETIONS:
                continue
            for i in range(COMPLETIONS):
                if i % group >= group // 2:
                    column[i] = column[i - group // 2]
        return out

    trainer._generate = twice


def _watch(trainer: Any, recipe: Recipe) -> Any:
    from transformers import TrainerCallback

    from divreg.metrics.classes import classes_from_keys
    from divreg.monitor.observe import Batch, observe
    from divreg.tasks import expressions
    from divreg.trainers._seams import read_rollout

    class Watch(TrainerCallback):
        rows: list[dict[str, float]] = []  # noqa: RUF012

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            seen = read_rollout(trainer)
            assert seen is not None
            texts, g = seen["completion"], recipe.group
            totals = np.array(next(iter(seen["rewards"].values())))
            answers = [expressions.answer(t) for t in texts]
            classes = [
                c for s in range(0, len(texts), g) for c in classes_from_keys(answers[s : s + g])
            ]
            right = _right(recipe, texts, [int(p[:-1]) for p in seen["prompt"]])
            batch = Batch(
                seen["prompt"], texts, g, totals=totals, correct=list(right), classes=classes
            )
            self.rows.append({"step": state.global_step, **observe(batch).signals})

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if self.rows and "entropy" in logs:
                self.rows[-1] |= {k: logs[k] for k in LOGGED if k in logs}

    return Watch()


def _columns(rows: list[dict[str, float]]) -> dict[str, list[float | None]]:
    names = dict.fromkeys(k for row in rows for k in row)
    return {k: [_short(row.get(k)) for row in rows] for k in names}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def load(name: str) -> list[dict[str, Any]]:
    """Read the runs of a set."""
    with gzip.open(FOLDER / f"{name}.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


def save(name: str, runs: list[dict[str, Any]]) -> None:
    FOLDER.mkdir(exist_ok=True)
    lines = "".join(json.dumps(r, separators=(",", ":")) + "\n" for r in runs)
    (FOLDER / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode(), 9, mtime=0))


def main() -> None:
    for name in sys.argv[1:] or SETS:
        runs = load(name) if (FOLDER / f"{name}.jsonl.gz").exists() else []
        wanted = [r.name for r in SETS[name]()]
        runs = [r for r in runs if r["name"] in wanted]
        for recipe in SETS[name]():
            if recipe.name in [r["name"] for r in runs]:
                continue
            start = time.time()
            runs.append(record(recipe))
            save(name, runs)
            s = {k: (v[0], v[-1]) for k, v in runs[-1]["signals"].items()}
            print(f"{recipe.name}: {time.time() - start:.0f} s")
            for key in ("pass_at_1", "distinct_correct", "distinct_classes", "entropy"):
                print(f"    {key} {s.get(key)}", flush=True)


if __name__ == "__main__":
    main()
