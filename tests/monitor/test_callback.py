"""CollapseMonitor on stock trainers of TRL: what it sees and says: nothing is disturbed."""

import copy
import json
import logging
import sqlite3
import sys

import pytest
import torch

from divreg.history import read, replay

TIMES = {"train_runtime", "train_samples_per_second", "train_steps_per_second", "step_time"}


def letters(completions, **_):
    """1 for a completion whose first character is a letter."""
    return [float(c[:1].isalpha()) for c in completions]


@pytest.fixture
def make_trainer(make_tiny_model, tiny_tokenizer, tiny_dataset, grpo_arguments):
    """``make(monitor_settings=None, trainer="GRPO", **config)``: a stock trainer, maybe watched."""

    def make(monitor=None, kind="GRPO", reward=letters, evaluated=None, **config):
        import trl

        from divreg.monitor.callback import CollapseMonitor

        args = getattr(trl, f"{kind}Config")(**{**grpo_arguments, **config})
        trainer = getattr(trl, f"{kind}Trainer")(
            make_tiny_model(),
            reward_funcs=reward,
            args=args,
            train_dataset=tiny_dataset,
            eval_dataset=evaluated,
            processing_class=tiny_tokenizer,
        )
        if monitor is not None:
            trainer.add_callback(CollapseMonitor(trainer, **monitor))
        return trainer

    return make


def monitor_of(trainer):
    return next(c for c in trainer.callback_handler.callbacks if hasattr(c, "detector"))


def events(trainer):
    from pathlib import Path

    lines = (Path(trainer.args.output_dir) / "divreg/events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def theirs(trainer):
    """The trainer's logs without what takes time and without what the monitor added."""
    ours = ("diversity/", "monitor/")
    return [
        {k: v for k, v in row.items() if k not in TIMES and not k.startswith(ours)}
        for row in trainer.state.log_history
    ]


@pytest.mark.parametrize("kind", ["GRPO", "RLOO"])
@pytest.mark.parametrize("config", [{}, {"num_iterations": 2, "gradient_accumulation_steps": 2}])
def test_training_is_bit_identical_with_and_without(make_trainer, kind, config):
    if kind == "RLOO":
        config = {**config, "beta": 0.0}
    plain = make_trainer(None, kind, max_steps=4, **config)
    plain.train()
    watched = make_trainer({"formats": True}, kind, max_steps=4, **config)
    watched.train()
    assert theirs(plain) == theirs(watched)
    for a, b in zip(plain.model.parameters(), watched.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any("diversity/distinct_classes" in row for row in watched.state.log_history)
    assert any("monitor/health" in row for row in watched.state.log_history)


def test_records_of_a_run(make_trainer):
    trainer = make_trainer({}, max_steps=3, save_strategy="steps", save_steps=2)
    trainer.train()
    history = read(trainer.args.output_dir)
    assert [row["step"] for row in history.steps] == [1, 2, 3]
    assert history.run["trainer"] == "GRPOTrainer"
    assert history.run["config"]["num_generations"] == 4
    assert [c["step"] for c in history.checkpoints] == [2, 3]
    assert history.completion_steps == [1, 2, 3]
    part = history.completions(2)
    assert len(part["completion"]) == 8
    assert set(part) >= {"prompt", "class", "correct", "reward", "advantage", "reward/letters"}
    row = history.steps[0]["signals"]
    assert {"pass_at_1", "distinct_classes", "entropy", "truncated_frac"} <= set(row)
    assert events(trainer)[-1]["event"] == "end"
    assert not history.torn_lines


def test_evaluation_is_marked(make_trainer, tiny_dataset):
    trainer = make_trainer(
        {},
        max_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        per_device_eval_batch_size=8,
        evaluated=tiny_dataset.select(range(4)),
    )
    trainer.train()
    rows = [e for e in events(trainer) if e["event"] == "step"]
    assert [r["mode"] for r in rows] == ["train", "train", "eval"]
    assert len(rows[-1]["groups"]["prompt_id"]) == 4
    assert any("eval_diversity/distinct_classes" in row for row in trainer.state.log_history)


def test_rollouts_that_could_not_be_seen_are_counted(make_trainer):
    trainer = make_trainer({}, max_steps=2, gradient_accumulation_steps=4, steps_per_generation=2)
    trainer.train()
    assert monitor_of(trainer).unseen == 2  # two generations a step, the second is seen


def test_a_collapse_is_told_and_stops_the_run_if_asked(make_trainer, caplog):
    def repeat(trainer):
        generate = trainer._generate

        def same(*args, **kwargs):
            out = generate(*args, **kwargs)
            if trainer.state.global_step >= 3:
                for column in out:
                    if isinstance(column, list) and len(column) == 8:
                        column[:] = [column[0]] * 4 + [column[4]] * 4
            return out

        trainer._generate = same

    quick = {"thresholds": {"baseline_steps": 3, "patience": 2, "smoothing": 0.5}}
    watched = make_trainer(quick, max_steps=12)
    repeat(watched)
    with caplog.at_level(logging.WARNING, logger="divreg"):
        watched.train()
    assert watched.state.global_step == 12  # never stopped unless told to
    alert = next(a for a in monitor_of(watched).alerts if a.kind == "collapsed")
    assert len(alert.lines()) <= 4
    assert "one and the same text" in caplog.text
    assert "[divreg ERROR step" in caplog.text
    assert [e for e in events(watched) if e["event"] == "alert"]
    _, standing = replay(read(watched.args.output_dir))
    assert "collapsed" in standing  # a report judges by the thresholds of the monitor

    stopped = make_trainer({**quick, "on_collapse": "stop"}, max_steps=12)
    repeat(stopped)
    stopped.train()
    assert stopped.state.global_step < 12
    assert next(e for e in events(stopped) if e["event"] == "action")["what"] == "stop"
    assert events(stopped)[-1]["reason"] == "stopped early"


@pytest.mark.parametrize("restore", [False, True])
def test_state_survives_resume(make_trainer, restore):
    saving = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    whole = make_trainer({}, **saving)
    whole.train()
    after = copy.deepcopy(monitor_of(whole).detector.state_dict())
    other = make_trainer({}, **saving)  # never trained: its monitor is not taken
    resumed = make_trainer({}, **saving, restore_callback_states_from_checkpoint=restore)
    checkpoint = f"{whole.args.output_dir}/checkpoint-2"
    resumed.train(resume_from_checkpoint=checkpoint)
    monitor = monitor_of(resumed)
    assert monitor.trainer is resumed
    assert monitor_of(other).trainer is other
    state = monitor.detector.state_dict()
    assert state["series"]["distinct_classes"]["n"] == 4
    assert state["series"] == after["series"]
    from divreg.history import read

    history = read(resumed.args.output_dir)
    assert [row["step"] for row in history.steps] == [1, 2, 3, 4]
    assert history.resumes == [2]


def test_a_checkpoint_without_a_monitor_can_be_resumed_with_one(make_trainer):
    saving = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    plain = make_trainer(None, **saving)
    plain.train()
    watched = make_trainer({}, **saving)
    watched.train(resume_from_checkpoint=f"{plain.args.output_dir}/checkpoint-2")
    assert monitor_of(watched).detector.series["distinct_classes"].n == 2


@pytest.fixture
def trackio_store(tmp_path, monkeypatch):
    """A trackio store of this test's own; trackio reads its folder once, when it is imported."""
    trackio = pytest.importorskip("trackio")
    folder = tmp_path / "trackio"
    folder.mkdir()
    for module in [m for name, m in sys.modules.items() if name.split(".")[0] == "trackio"]:
        if hasattr(module, "TRACKIO_DIR"):
            monkeypatch.setattr(module, "TRACKIO_DIR", folder)
    assert folder == trackio.utils.TRACKIO_DIR
    return folder


def test_trackers_receive_the_numbers(make_trainer, tmp_path, monkeypatch, trackio_store):
    """TensorBoard's event files and trackio's store, read back; alerts too."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    quick = {"thresholds": {"baseline_steps": 2, "patience": 1, "stall": 0.0}}
    trainer = make_trainer(
        quick, max_steps=4, report_to=["tensorboard", "trackio"], run_name="watched", project="mine"
    )
    trainer.train()
    board = accumulator(str(next((tmp_path / "board").rglob("events.*")).parent))
    board.Reload()
    expected = {"train/diversity/distinct_classes", "train/monitor/health", "train/monitor/alerts"}
    assert expected <= set(board.Tags()["scalars"])
    assert len(board.Scalars("train/diversity/distinct_classes")) == 4
    with sqlite3.connect(next(trackio_store.glob("*.db"))) as store:
        rows = [json.loads(m) for (m,) in store.execute("select metrics from metrics")]
        alerts = store.execute("select title from alerts").fetchall()
    assert any(expected <= set(row) for row in rows)
    assert len(alerts) == len(monitor_of(trainer).alerts) > 0


@pytest.mark.parametrize(
    ("settings", "cure"),
    [
        ({"on_collapse": "halt"}, "on_collapse='stop'"),
        ({"on_collapse": "intervene"}, "DiverseGRPOTrainer"),
        ({"probe_prompts": ["a"]}, "Remove probe_prompts"),
        ({"correct": {"reward": "accuracy"}}, "Known: letters"),
        ({"correct": {"rewards": "letters"}}, "at_least"),
        ({"answer": "extract"}, "my_extractor"),
        ({"formats": "code"}, "formats=True or a function"),
        ({"formats": {"code": "("}}, "Escape what is meant literally"),
        ({"thresholds": {"patiense": 3}}, "patience"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_cure(make_trainer, settings, cure):
    with pytest.raises(ValueError, match=cure):
        make_trainer(settings)


def test_correct_and_answer_are_the_users(make_trainer):
    def two(completions, **_):
        return [len(c) / 10 for c in completions]

    seen = make_trainer({"answer": lambda t: t[:1] or None}, reward=two, max_steps=1)
    seen.train()
    row = next(e for e in events(seen) if e["event"] == "step")
    assert "pass_at_1" not in row["signals"]  # a reward that is not 0 or 1 decides nothing
    named = make_trainer({"correct": {"reward": "two", "at_least": 0.5}}, reward=two, max_steps=1)
    named.train()
    row = [e for e in events(named) if e["event"] == "step"][-1]
    assert "pass_at_1" in row["signals"]


STARTS = {"digit": r"^\d", "letter": r"^[a-z]"}


def said(trainer, prefix):
    """Every number of the trainer's logs whose name begins so, by name."""
    rows = trainer.state.log_history
    return {k: v for row in rows for k, v in row.items() if k.startswith(prefix)}


def test_formats_and_new_answers_reach_the_logs_and_the_records(make_trainer):
    trainer = make_trainer({"formats": STARTS, "thresholds": {"baseline_steps": 2}}, max_steps=4)
    trainer.train()
    logged = said(trainer, "diversity/")
    shares = [logged[f"diversity/format_share_{f}"] for f in ("digit", "letter", "text")]
    assert sum(shares) == pytest.approx(1)
    assert {"diversity/format_entropy_frac", "diversity/format_kl_nats"} <= set(logged)
    assert {"diversity/new_answers", "diversity/explored_answers"} <= set(logged)
    assert {"diversity/answer_entropy_nats", "diversity/answer_entropy_mm_nats"} <= set(logged)
    history = read(trainer.args.output_dir)
    assert history.run["formats"] == STARTS
    assert "format_kl_nats" not in history.steps[1]["signals"]
    told = {}
    for row in history.steps:  # by hand: short texts, one string a class
        part = history.completions(row["step"])
        for prompt, text in zip(part["prompt_id"], part["completion"], strict=True):
            told.setdefault(prompt, set()).add(" ".join(text.casefold().split()))
        explored = [len(told[p]) for p in row["groups"]["prompt_id"]]
        assert row["groups"]["explored"] == explored
        mean = sum(map(len, told.values())) / len(told)
        assert row["signals"]["explored_answers"] == pytest.approx(mean)


def test_by_default_nobody_looks_at_formats(make_trainer):
    trainer = make_trainer({}, max_steps=1)
    trainer.train()
    assert not said(trainer, "diversity/format")
    assert read(trainer.args.output_dir).run["formats"] is None


@pytest.mark.parametrize("restore", [False, True])
def test_what_was_explored_survives_a_resume(make_trainer, restore):
    saving = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    watch = {"formats": STARTS, "thresholds": {"baseline_steps": 3}}
    whole = make_trainer(watch, **saving)
    whole.train()
    resumed = make_trainer(watch, **saving, restore_callback_states_from_checkpoint=restore)
    resumed.train(resume_from_checkpoint=f"{whole.args.output_dir}/checkpoint-2")
    assert monitor_of(resumed).memory.state_dict() == monitor_of(whole).memory.state_dict()
    assert sum(monitor_of(whole).memory.explored.counts.values()) > 0


def test_an_evaluation_explores_nothing(make_trainer, tiny_dataset):
    watched = {"per_device_eval_batch_size": 8, "evaluated": tiny_dataset.select(range(4))}
    trainer = make_trainer({"formats": STARTS}, max_steps=2, **watched)
    before = monitor_of(trainer).memory.state_dict()
    trainer.evaluate()
    assert "eval_diversity/format_share_letter" in said(trainer, "eval_diversity/")
    assert not said(trainer, "eval_diversity/new_answers")
    assert monitor_of(trainer).memory.state_dict() == before


@pytest.fixture
def make_diverse(make_tiny_model, tiny_tokenizer, tiny_dataset, grpo_arguments):
    """``make(monitor, interventions)``: a Diverse trainer that binds the monitor itself."""

    def make(monitor, interventions, reward=letters, **config):
        import divreg

        return divreg.DiverseGRPOTrainer(
            make_tiny_model(),
            reward_funcs=reward,
            args=divreg.DiverseGRPOConfig(**{**grpo_arguments, **config}),
            train_dataset=tiny_dataset,
            processing_class=tiny_tokenizer,
            interventions=interventions,
            callbacks=[divreg.CollapseMonitor(**monitor)],
        )

    return make


def test_a_diverse_trainer_binds_it_and_every_rollout_is_seen(make_diverse):
    trainer = make_diverse({}, [], gradient_accumulation_steps=4, steps_per_generation=2)
    trainer.train()
    rows = [e for e in events(trainer) if e["event"] == "step"]
    assert [len(r["groups"]["prompt_id"]) for r in rows] == [8, 8]  # two rollouts of four groups
    assert [len(r["groups"]["explored"]) for r in rows] == [8, 8]
    assert monitor_of(trainer).unseen == 0
    assert "truncated_frac" in rows[0]["signals"]
    assert events(trainer)[0]["trainer"] == "DiverseGRPOTrainer"


@pytest.mark.parametrize(("chosen", "advice"), [(None, "diverse_grpo"), ([], "grpo")])
def test_who_has_swapped_already_is_not_told_to(make_diverse, chosen, advice):
    assert monitor_of(make_diverse({}, chosen)).detector.advice == advice


def test_a_config_that_names_formats_has_them_followed(
    make_tiny_model, tiny_tokenizer, tiny_dataset, grpo_arguments
):
    import divreg

    block = {"interventions": [], "monitor": {"formats": STARTS}}
    trainer = divreg.DiverseGRPOTrainer(
        make_tiny_model(),
        reward_funcs=letters,
        args=divreg.DiverseGRPOConfig(**{**grpo_arguments, "max_steps": 1}, divreg=block),
        train_dataset=tiny_dataset,
        processing_class=tiny_tokenizer,
    )
    trainer.train()
    logged = said(trainer, "diversity/")
    assert "diversity/format_share_letter" in logged
    assert logged["diversity/new_answers"] == logged["diversity/explored_answers"]


def test_intervening_moves_a_scheduled_strength_and_writes_it_down(make_diverse):
    import divreg

    rarity = divreg.scheduled(divreg.methods.rarity, power=lambda step: 0.25)
    trainer = make_diverse({"on_collapse": "intervene"}, [rarity], max_steps=4)
    monitor_of(trainer).detector.update = lambda step, signals: _collapse_at(step, 3)
    trainer.train()
    assert trainer.pipeline.boost == 2.0
    (action,) = [e for e in events(trainer) if e["event"] == "action"]
    assert (action["what"], action["step"]) == ("intervene", 3)
    assert "2 times" in action["detail"]


def _collapse_at(step, when):
    from divreg.monitor.detect import Alert

    alert = Alert(step, "collapsed", "error", "collapsed", "because", "not", "this", None)
    return [alert] if step == when else []


def test_intervening_needs_something_to_move(make_diverse):
    import divreg

    with pytest.raises(ValueError, match="scheduled strength; got rarity"):
        make_diverse({"on_collapse": "intervene"}, [divreg.methods.rarity])


def test_hostile_completions_are_recorded_as_they_are(make_trainer):
    from divreg.history import read

    odd = ["<script>alert(1)</script>", "\x00", "\u202eabc", "🙂", "\ud800", "", " ", "x" * 100_000]
    trainer = make_trainer({}, max_steps=1)
    generate = trainer._generate

    def hostile(*args, **kwargs):
        out = list(generate(*args, **kwargs))
        out[3] = list(odd)
        return tuple(out)

    trainer._generate = hostile
    trainer.train()
    said = read(trainer.args.output_dir).completions(1)["completion"]
    assert said[:4] == odd[:4]
    assert said[7] == odd[7]
