"""``divreg demo``: its console, its table, its resuming; the trainings themselves are few steps."""

import argparse
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console
from rich.progress import Progress

from divreg import demo, demo_model
from divreg.tasks import progress, runs, tiny

SMALL = tiny.Recipe(hidden=16, layers=1, heads=2, feedforward=32, examples=1280, batch=64)


@pytest.fixture
def small_base(tmp_path, monkeypatch):
    monkeypatch.setenv("DIVREG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(tiny.RECIPES, "expressions", SMALL)
    return tiny.base_model(SMALL)


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return parser.parse_args(words)


def line(row: str, seed: int, distinct: float) -> dict:
    return {
        "row": row, "seed": seed, "pass_at_1": 0.5, "pass_at_k": 1.0,
        "distinct_correct": distinct, "entropy_nats": 0.4, "distinct_ngrams": 0.2,
        "learning_rate": runs.LEARNING_RATE, "targets": 14, "samples": 128, "k": 32,
    }  # fmt: skip


def test_one_seed_trains_both_ways_and_ends_with_the_table_and_the_report(small_base, tmp_path):
    console = Console(record=True, width=110)
    assert demo.run(output_dir=tmp_path / "out", steps=6, console=console) == 0
    text = console.export_text()
    for words in ("base", "plain GRPO", "diverse", "pass@1", "Distinct correct", "report.html"):
        assert words in text
    for folder in ("plain", "diverse"):
        assert (tmp_path / "out" / folder / "divreg" / "events.jsonl").exists()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "DiverseGRPOTrainer" in page


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("how", "code", "words"), [
    (signal.SIGKILL, demo.FAILED, "divreg demo --processes 1"),
    (signal.SIGINT, demo.INTERRUPTED, "Type the same command once more"),
])  # fmt: skip
def test_a_demo_that_is_stopped_says_how_to_go_on_and_leaves_nobody_training(
    small_base, tmp_path, monkeypatch, how, code, words
):
    console = Console(record=True, width=110)
    reached, update = [], Progress.update

    def stop(bar, task, **what):
        update(bar, task, **what)
        if what.get("completed") == 2 and not reached:
            reached.extend(multiprocessing.active_children())
            os.kill(os.getpid() if how == signal.SIGINT else reached[0].pid, how)

    monkeypatch.setattr(Progress, "update", stop)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it
    try:
        assert demo.run(output_dir=tmp_path, steps=500, console=console) == code
    finally:
        signal.signal(signal.SIGINT, before)
    assert words in console.export_text()
    assert reached
    deadline = time.monotonic() + 30
    while any(lives(child.pid) for child in reached):
        assert time.monotonic() < deadline, "a worker still trains"
        time.sleep(0.1)


def test_a_finished_run_is_not_trained_again_and_changed_settings_are(monkeypatch, tmp_path):
    trained = []

    def score(run, base, folder, callbacks=()):
        trained.append(run)
        folder.mkdir(parents=True, exist_ok=True)
        return {**line(run.row.name, run.seed, 3.0), "hash": run.hash(base.name)}

    monkeypatch.setattr(runs, "score", score)
    base, folder = tmp_path / "base-1", tmp_path / "run"
    first = runs.score_once(runs.Run(runs.PLAIN, 0, 5), base, folder)
    assert runs.score_once(runs.Run(runs.PLAIN, 0, 5), base, folder) == first
    assert len(trained) == 1
    runs.score_once(runs.Run(runs.PLAIN, 0, 6), base, folder)
    runs.score_once(runs.Run(runs.PLAIN, 0, 6), tmp_path / "base-2", folder)
    assert len(trained) == 3
    assert [p.name for p in folder.iterdir()] == ["result.json"]


def test_table_names_the_best_entropy_bonus_and_standard_errors(monkeypatch, tmp_path):
    def train_all(console, jobs, base, processes):
        best = runs.ENTROPY[2].name
        return [
            line(job.row.name, job.seed, 5.0 + job.seed if job.row.name == best else 2.0 + job.seed)
            for job, _ in jobs
        ]

    monkeypatch.setattr(demo, "_train_all", train_all)
    monkeypatch.setattr(progress, "base_model", lambda console, build: tmp_path)
    monkeypatch.setattr(demo, "_base_score", lambda base: line("base", 0, 9.0))
    console = Console(record=True, width=140)
    assert demo.run(seeds=3, output_dir=tmp_path, console=console) == 0
    text = console.export_text()
    assert f"{runs.ENTROPY[2].label} *" in text
    assert "6.0±0.6" in text
    assert f"diverse against {runs.ENTROPY[2].label}, paired by seed:" in text
    assert "distinct correct -3.00±0.00" in text
    written = json.loads((tmp_path / "table.json").read_text())
    assert len(written["runs"]) == 3 * len(runs.ROWS)


@pytest.mark.parametrize("words", [("--seeds", "0"), ("--steps", "-1"), ("--processes", "0")])
def test_bad_numbers_are_refused_with_the_cure(words):
    with pytest.raises(ValueError, match=f"divreg demo {words[0]} needs at least 1; got"):
        demo.main(arguments(*words))


def test_rows_share_budget_and_rate_and_differ_in_what_they_say():
    plain = runs.Run(runs.PLAIN).settings
    for row in runs.ROWS.values():
        settings = runs.Run(row).settings
        assert {k for k in settings if settings[k] != plain.get(k)} == set(row.config)


def test_importing_the_demo_loads_neither_torch_nor_trl():
    code = "import sys, divreg.demo; sys.exit(bool({'torch', 'trl'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_a_model_of_ones_own_is_trained_both_ways_and_the_time_is_said_first(
    tiny_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr(demo_model, "SAMPLES", 32)
    console = Console(record=True, width=110)
    task = "divreg.tasks.task.EXPRESSIONS"
    assert demo.run(task=task, model=tiny_checkpoint, output_dir=tmp_path, steps=2,
                    console=console) == 0  # fmt: skip
    text = console.export_text()
    assert (
        text.index("About 1 min") < text.index("plain GRPO") < text.index("prompts that the runs")
    )
    assert "2 steps of 128 answers" in text
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(("words", "message"), [
    (("--task", "kinds-short"), "needs a language model; got none. Add --model"),
    (("--task", "kind"), "there is no task 'kind'"),
    (("--model", "not/here"), "is no folder here, and the hub does not have it"),
    (("--model", "not/here", "--seeds", "2"), "are about the tiny model; got --task expressions"),
])  # fmt: skip
def test_a_model_that_cannot_be_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        demo.main(arguments(*words))
