import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divreg.records import MAX_LINE, Recorder, entropy_of, open_run, plain, read, read_trl

HERE = Path(__file__).parent
PLAIN = HERE / "report" / "plain_trl"


def step_of(n, groups=8):
    rows = {
        "prompt_id": [f"{i:08x}" for i in range(groups)],
        "size": [16] * groups,
        "distinct": [7] * groups,
        "distinct_correct": [None] * groups,
        "n_correct": [3] * groups,
        "reward_mean": [0.123456789 * n] * groups,
        "zero_variance": ["all_correct"] * groups,
    }
    return {"step": n, "mode": "train", "signals": {"distinct_classes": 7.0}, "groups": rows}


def texts(step, rows=4):
    return {
        "group": [0] * rows,
        "prompt": ["p"] * rows,
        "completion": [f"{step}:{i}" for i in range(rows)],
        "class": list(range(rows)),
        "correct": [True, None] * (rows // 2),
        "reward": [0.5, float("nan")] * (rows // 2),
    }


def record(path, steps, **kwargs):
    with Recorder(path, {"config": {"num_generations": 16}}, **kwargs) as recorder:
        for n in steps:
            recorder.completions(n, "train", texts(n))
            recorder.event("step", **step_of(n))
            recorder.event("log", step=n, mode="train", logs={"entropy": 1.0 / n, "loss": 0.0})
    return path / "divreg" / "events.jsonl"


def steps_of(history):
    return [row["step"] for row in history.steps]


def test_what_was_recorded_is_read_back(tmp_path):
    record(tmp_path, range(1, 4))
    history = read(tmp_path)
    assert steps_of(history) == history.completion_steps == [1, 2, 3]
    assert history.run["config"] == {"num_generations": 16}
    assert entropy_of(history) == {1: 1.0, 2: 0.5, 3: 1 / 3}
    part = history.completions(2)
    assert part["completion"] == ["2:0", "2:1", "2:2", "2:3"]
    assert part["correct"] == [True, None, True, None]
    assert part["reward"] == [0.5, None, 0.5, None]
    assert part["mode"] == ["train"] * 4
    assert history.completions(9) == {}


def test_numpy_and_non_finite_values_become_json(tmp_path):
    record(tmp_path, [])
    with Recorder(tmp_path, resume_step=0) as recorder:
        signals = {"a": np.float32(0.5), "b": math.nan, "c": np.inf, "d": np.int64(3)}
        recorder.event("step", step=np.int64(1), signals=signals, effects=np.array([1.0, np.nan]))
    (row,) = read(tmp_path).steps
    assert row["signals"] == {"a": 0.5, "b": None, "c": None, "d": 3}
    assert row["effects"] == [1.0, None]
    text = (tmp_path / "divreg" / "events.jsonl").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text


def test_plain_takes_anything(tmp_path):
    odd = {1: {"b", "a"}, "p": tmp_path, "f": len, "n": None, "t": (np.bool_(True), 2), "s": b"x"}
    assert json.loads(json.dumps(plain(odd), allow_nan=False))["t"] == [True, 2]


def test_another_process_writes_nothing(tmp_path):
    record(tmp_path, [1, 2], enabled=False)
    assert list(tmp_path.iterdir()) == []


def test_resume_takes_back_what_came_after_the_checkpoint(tmp_path):
    record(tmp_path, range(1, 8))
    record(tmp_path, range(5, 7), resume_step=4)  # killed again, before step 7
    history = read(tmp_path)
    assert steps_of(history) == history.completion_steps == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in history.logs] == [1, 2, 3, 4, 5, 6]
    assert history.resumes == [4]
    assert history.other_runs == []


def test_resume_takes_back_alerts_actions_checkpoints_and_the_end(tmp_path):
    with Recorder(tmp_path, {}) as recorder:
        for n in (1, 2, 3):
            for kind in ("alert", "action", "checkpoint"):
                recorder.event(kind, step=n)
        recorder.event("end", step=3)
    with Recorder(tmp_path, {}, resume_step=2):
        pass
    history = read(tmp_path)
    for events in (history.alerts, history.actions, history.checkpoints):
        assert [e["step"] for e in events] == [1, 2]
    assert history.end is None


def test_a_resume_without_earlier_records_starts_a_run(tmp_path):
    record(tmp_path, [11, 12], resume_step=10)
    history = read(tmp_path)
    assert (steps_of(history), history.resumes) == ([11, 12], [10])


def test_a_new_run_in_the_same_directory_is_the_one_shown(tmp_path):
    record(tmp_path, range(1, 5))
    first = read(tmp_path).run["run"]
    record(tmp_path, range(1, 3))
    history = read(tmp_path)
    assert history.other_runs == [first]
    assert steps_of(history) == history.completion_steps == [1, 2]


def test_every_cut_of_the_last_line_leaves_the_rest_readable(tmp_path):
    events = record(tmp_path / "whole", range(1, 4))
    whole = events.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(last, len(whole) + 1):
        events.write_bytes(whole[:cut])
        history = read(tmp_path / "whole")
        assert steps_of(history) == [1, 2, 3]  # the last line is the log of step 3
        assert len(history.logs) == (3 if cut >= len(whole) - 1 else 2)
        assert history.torn_lines == int(last < cut < len(whole) - 1)
    for cut in range(last, len(whole) + 1, 7):  # and a writer can go on from there
        events.write_bytes(whole[:cut])
        with Recorder(tmp_path / "whole", {}, resume_step=2) as recorder:
            recorder.event("step", **step_of(3))
        assert steps_of(read(tmp_path / "whole")) == [1, 2, 3]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6), st.integers(0, 400)), max_size=5))
def test_no_gap_and_no_step_twice_whatever_the_kills(tmp_path_factory, lives):
    """Each life resumes from some step, records a few more, and is killed within its last line."""
    path = tmp_path_factory.mktemp("lives")
    events = record(path, range(1, 4))
    reached = 3
    for start, more, torn in lives:
        start = min(start, reached)
        record(path, range(start + 1, start + more + 1), resume_step=start)
        with events.open("ab") as file:
            file.write(json.dumps({"v": 1, "event": "step", "step": 99}).encode()[:torn][:-1])
        reached = start + more
    history = read(path)
    assert steps_of(history) == history.completion_steps == list(range(1, reached + 1))


def test_a_part_without_its_event_does_not_count(tmp_path):
    record(tmp_path, [1, 2])
    folder = tmp_path / "divreg" / "completions"
    (part,) = folder.glob("*-000002.parquet")
    shutil.copy(part, folder / part.name.replace("000002", "000003"))
    (folder / ".x.parquet.1.tmp").write_bytes(b"half")
    assert read(tmp_path).completion_steps == [1, 2]


WRITER = """
import sys
sys.path.insert(0, {here!r})
from test_records import step_of, texts
from divreg.records import Recorder
recorder = Recorder({path!r}, {{}}, resume_step={resume})
step = {resume} or 0
while True:
    step += 1
    recorder.completions(step, "train", texts(step, 128))
    recorder.event("step", **step_of(step, 200))
"""


def test_sigkill_loses_at_most_the_step_in_flight(tmp_path):
    resume = None
    for seed in range(3):
        code = WRITER.format(here=str(HERE), path=str(tmp_path), resume=resume)
        writer = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
        events = tmp_path / "divreg" / "events.jsonl"
        size = events.stat().st_size if events.exists() else 0
        deadline = time.time() + 60
        while not events.exists() or events.stat().st_size < size + 40_000:
            assert writer.poll() is None, writer.stderr.read().decode()
            assert time.time() < deadline
            time.sleep(0.01)
        time.sleep(random.Random(seed).random() * 0.02)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stderr.close()
        history = read(tmp_path)
        assert steps_of(history) == list(range(1, steps_of(history)[-1] + 1))
        assert 0 <= history.completion_steps[-1] - steps_of(history)[-1] <= 1
        for step in history.completion_steps[-3:]:
            assert len(history.completions(step)["completion"]) == 128
        resume = steps_of(history)[-1] - 1


def test_a_step_stays_under_20_kb_however_many_groups(tmp_path):
    record(tmp_path, [])
    with Recorder(tmp_path, resume_step=0) as recorder:
        for n, groups in enumerate((8, 300, 4096), start=1):
            recorder.event("step", **step_of(n, groups))
    lines = (tmp_path / "divreg" / "events.jsonl").read_bytes().splitlines()
    assert max(map(len, lines)) <= MAX_LINE
    small, _, large = read(tmp_path).steps
    assert "groups_of" not in small
    assert large["groups_of"] == 4096
    ids = large["groups"]["prompt_id"]
    assert len(ids) == len(large["groups"]["size"]) > 100
    assert (ids[0], ids[-1]) == ("00000000", f"{4095:08x}")


def test_texts_that_utf8_cannot_hold_are_kept_readable(tmp_path):
    odd = ["\ud800 alone", "nul \0", "", "🙂" * 3]
    with Recorder(tmp_path, {"name": "\udfff"}) as recorder:
        recorder.completions(1, "train", {**texts(1), "completion": odd})
        recorder.event("step", **step_of(1))
    assert read(tmp_path).completions(1)["completion"] == ["\\ud800 alone", *odd[1:]]


def test_columns_of_unequal_length_are_refused(tmp_path):
    with Recorder(tmp_path, {}) as recorder, pytest.raises(ValueError, match="one length; got"):
        recorder.completions(1, "train", {"prompt": ["a"], "completion": ["b", "c"]})


def test_a_full_disk_ends_the_records_and_not_the_run(tmp_path):
    class Full:
        def write(self, line):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    recorder = Recorder(tmp_path, {})
    recorder._file.close()
    recorder._file = Full()
    with pytest.warns(UserWarning, match="No space left"):
        recorder.event("step", step=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recorder.event("step", step=2)
        recorder.close()


def test_secrets_on_the_command_line_are_not_recorded(tmp_path, monkeypatch):
    argv = ["train.py", "--hub_token", "hf_abc", "--api_key=xyz", "--lr", "1e-6"]
    monkeypatch.setattr(sys, "argv", argv)
    with Recorder(tmp_path, {}):
        pass
    command = read(tmp_path).run["command"]
    assert "hf_abc" not in command
    assert "xyz" not in command
    assert command.endswith("--lr 1e-6")


def test_writing_a_part_costs_about_a_millisecond(tmp_path):
    """Best of 20, so that a busy machine does not fail it; 1.2 ms where it was written."""
    columns = {**texts(1, 128), "completion": ["a sentence of some length " * 30] * 128}
    with Recorder(tmp_path, {}) as recorder:
        took = []
        for n in range(20):
            start = time.perf_counter()
            recorder.completions(n, "train", columns)
            took.append(time.perf_counter() - start)
    assert min(took) < 0.01


@pytest.mark.parametrize("content", [None, "model.safetensors", "divreg/events.jsonl"])
def test_an_empty_or_foreign_directory_is_an_error_with_the_cure(tmp_path, content):
    if content:
        (tmp_path / content).parent.mkdir(exist_ok=True)
        (tmp_path / content).write_text("not ours\n")
    with pytest.raises(ValueError, match="log_completions=True"):
        open_run(tmp_path)
    with pytest.raises(ValueError, match="not a directory"):
        open_run(tmp_path / "nothing")


def test_records_of_a_newer_divreg_are_refused(tmp_path):
    events = record(tmp_path, [1])
    events.write_text('{"v":2,"event":"run","run":"x"}\n')
    with pytest.raises(ValueError, match="schema 2"):
        read(tmp_path)


def test_missing_evidence_is_named(tmp_path):
    with Recorder(tmp_path, {}) as recorder:
        recorder.event("step", step=1, mode="train", signals={"distinct_classes": 2.0}, groups={})
        recorder.event("log", step=1, mode="train", logs={"entropy": 0.0})  # as Unsloth logs it
    missing = " | ".join(read(tmp_path).missing)
    assert "correctness" in missing
    assert "token entropy" in missing
    assert "texts" in missing
    assert "distinct classes" not in missing


def test_reading_imports_neither_torch_nor_pandas():
    code = (
        "import sys; from divreg.records import open_run; from divreg import report\n"
        f"open_run({str(PLAIN / 'text')!r})\n"
        "bad = {'torch', 'transformers', 'trl', 'pandas'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Plain TRL runs, recorded by tests/report/record_plain_trl.py.


def test_a_plain_trl_run_is_read(tmp_path):
    history = open_run(PLAIN / "text")
    assert history.source == "trl"
    assert steps_of(history) == list(range(1, 31))
    assert history.run["config"]["num_generations"] == 8
    assert history.run["correct"] == "has_e>=1"
    assert sorted(history.run["rewards"]) == ["has_e", "mostly_ascii"]
    first = history.steps[0]
    assert first["groups"]["size"] == [8, 8]
    assert first["signals"]["distinct_classes"] > 6
    assert first["signals"]["pass_at_1"] == 0
    assert len(entropy_of(history)) == 30
    part = history.completions(30)
    assert len(part["completion"]) == 16
    assert set(part["reward/has_e"]) <= {0.0, 1.0}
    assert [c["step"] for c in history.checkpoints] == [30]
    assert history.missing == []


def test_conversations_are_read_as_their_texts():
    part = open_run(PLAIN / "messages").completions(1)
    assert part["prompt"][0].startswith("Say something about ")
    assert all(isinstance(c, str) for c in part["completion"])


def test_correctness_can_be_named():
    history = read_trl(PLAIN / "text", "mostly_ascii >= 0.5")
    assert history.run["correct"] == "mostly_ascii>=0.5"
    assert history.steps[0]["signals"]["pass_at_1"] == 0.5


@pytest.mark.parametrize(
    ("wanted", "message"),
    [("has_o>=1", "Did you mean 'has_e'"), ("has_e", "COLUMN>=X"), ("has_e>=x", "COLUMN>=X")],
)
def test_a_correctness_that_is_none_is_an_error(wanted, message):
    with pytest.raises(ValueError, match=message):
        read_trl(PLAIN / "text", wanted)


def write_completions(path, table, step=1):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (path / "completions").mkdir(exist_ok=True, parents=True)
    table = {"step": [step] * len(table["prompt"]), **table}
    pq.write_table(pa.table(table), path / "completions" / f"completions_{step:05d}.parquet")


def test_without_a_column_of_0_and_1_correctness_is_left_out(tmp_path):
    for step in range(1, 9):
        rows = {"prompt": ["a"] * 4, "completion": list("wxyz"), "score": [0.0, 1.0, 0.5, None]}
        write_completions(tmp_path, rows, step)
    history = read_trl(tmp_path)
    assert "pass_at_1" not in history.steps[0]["signals"]
    assert '--correct "score>=1"' in " ".join(history.missing)
    assert "token entropy" in " ".join(history.missing)


def test_two_columns_of_0_and_1_are_not_chosen_between(tmp_path):
    rows = {"prompt": ["a"] * 4, "completion": list("wxyz"), "a": [0, 1, 0, 1], "b": [1.0] * 4}
    write_completions(tmp_path, rows)
    assert "2 columns hold" in " ".join(read_trl(tmp_path).missing)


def test_steps_whose_groups_disagree_are_left_out_in_words(tmp_path):
    for step in range(1, 6):
        size = 4 if step != 3 else 3
        write_completions(
            tmp_path, {"prompt": ["a"] * size + ["b"] * 4, "completion": ["x"] * (size + 4)}, step
        )
    history = read_trl(tmp_path)
    assert steps_of(history) == history.completion_steps == [1, 2, 4, 5]
    assert "1 of 5 steps are left out (the first is 3)" in " ".join(history.notes)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [(list("abcd"), "runs of 1"), (list("aabbb"), "groups of one size; got runs of 2, 3")],
)
def test_group_size_is_never_guessed(tmp_path, prompts, message):
    write_completions(tmp_path, {"prompt": prompts, "completion": list(prompts)})
    with pytest.raises(ValueError, match=message):
        read_trl(tmp_path)


def test_a_foreign_parquet_is_an_error(tmp_path):
    (tmp_path / "completions").mkdir()
    part = tmp_path / "completions" / "completions_00001.parquet"
    part.write_bytes(b"PAR1 not really")
    with pytest.raises(ValueError, match="cannot read"):
        open_run(tmp_path)
    write_completions(tmp_path, {"prompt": ["a"], "text": ["b"]})
    with pytest.raises(ValueError, match="no columns prompt and completion"):
        open_run(tmp_path)


def test_evaluation_completions_are_not_counted_as_training(tmp_path):
    """TRL writes the rows of an evaluation over those of the training step that came before."""
    for step in range(1, 5):
        write_completions(tmp_path, {"prompt": ["a"] * 4, "completion": list("wxyz")}, step)
    log = [{"step": n, "loss": 0.1, "entropy": 1.5} for n in range(1, 5)]
    state = {"global_step": 4, "log_history": [*log, {"step": 4, "eval_entropy": 1.2}]}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    history = read_trl(tmp_path)
    assert [row["mode"] for row in history.steps] == ["train", "train", "train", "eval"]
    assert history.completion_steps == [1, 2, 3]
    assert "evaluation" in " ".join(history.notes)
    assert entropy_of(history) == dict.fromkeys(range(1, 5), 1.5)
