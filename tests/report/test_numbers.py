import pytest

from divreg.history import History
from divreg.report.build import build
from divreg.report.charts import binned, smoothed
from divreg.report.decomposition import decompose
from divreg.report.heatmap import heatmap
from divreg.report.inert import clipped, visible
from divreg.report.numbers import Change, changes_of, k_of, series_of, windows_of
from divreg.report.svg import ticks
from divreg.report.verdict import judge
from divreg.report.wording import wording


def history(tmp_path, values, **signals):
    """A run whose distinct classes per group of 8 are ``values``, one a step."""
    steps = [
        {
            "step": i,
            "mode": "train",
            "signals": {"distinct_classes": v, **{k: s[i - 1] for k, s in signals.items()}},
            "groups": {"prompt_id": ["a", "b"], "size": [8, 8], "distinct": [v, v]},
        }
        for i, v in enumerate(values, start=1)
    ]
    return History(path=tmp_path, run={"config": {"num_generations": 8}}, steps=steps)


def test_baseline_and_now_are_the_first_and_last_fifth_of_the_steps(tmp_path):
    run = history(tmp_path, [8] * 4 + [5] * 12 + [2] * 4)
    windows = windows_of(run)
    assert (windows.baseline, windows.now, windows.count) == ((1, 4), (17, 20), 4)
    change = changes_of(series_of(run), windows)["distinct_classes"]
    assert (change.baseline, change.now, change.difference) == (8, 2, -6)
    assert change.relative == -0.75
    assert change.baseline_se == 0


def test_the_windows_of_a_long_run_have_ten_steps(tmp_path):
    windows = windows_of(history(tmp_path, [8] * 1000))
    assert (windows.baseline, windows.now) == ((1, 10), (991, 1000))


def test_four_steps_are_too_few(tmp_path):
    run = history(tmp_path, [8, 8, 1, 1])
    assert windows_of(run) is None
    (found,) = build([run])["runs"]
    assert found["verdict"]["word"] == "Cannot tell"
    assert found["verdict"]["exit_code"] == 0
    assert "4 steps were recorded" in found["verdict"]["sentence"]


def test_signals_win_over_logs_and_entropy_comes_from_the_trainer(tmp_path):
    run = history(tmp_path, [8] * 6, reward_mean=[0.5] * 6, pass_k=[4] * 6)
    run.logs = [
        {"step": 1, "mode": "train", "logs": {"reward": 9.0, "entropy": 1.5, "kl": 0.1}},
        {"step": 2, "mode": "train", "logs": {"entropy": 0.0}},
        {"step": 2, "mode": "eval", "logs": {"entropy": 7.0}},
    ]
    found = series_of(run)
    assert found["reward_mean"].values == [0.5] * 6
    assert (found["entropy"].steps, found["entropy"].values) == ([1], [1.5])
    assert found["kl"].values == [0.1]
    assert "pass_k" not in found
    assert k_of(run) == 4


def test_an_evaluation_is_not_part_of_the_baseline(tmp_path):
    run = history(tmp_path, [8] * 6)
    run.steps.append({"step": 6, "mode": "eval", "signals": {"distinct_classes": 1.0}})
    assert series_of(run)["distinct_classes"].values == [8] * 6
    assert series_of(run, "eval")["distinct_classes"].values == [1.0]
    (found,) = build([run])["runs"]
    assert found["evaluation"][0]["last"] == 1.0


def change(key, before, now):
    return Change(key, key, "classes", before, None, now, None)


@pytest.mark.parametrize(
    ("classes", "right", "lost_right", "says"),
    [
        ((10, 4), (4, 2), 2, "4.0 of those were wrong, which is what training is for; 2.0 (33 %)"),
        ((10, 6), (3, 5), -2, "All of the loss is in wrong answers, and 2.0 right ones came in"),
        ((5, 2), (5, 2), 3, "All of the loss is in right answers."),
        ((5, 5), (2, 4), -2, "did not lose distinct answers; 2.0 more of them are right"),
    ],
)
def test_the_loss_is_split_into_right_and_wrong_answers(classes, right, lost_right, says):
    changes = {
        "distinct_classes": change("distinct_classes", *classes),
        "distinct_correct": change("distinct_correct", *right),
    }
    parts = decompose(changes)
    assert parts["lost_right"] == lost_right
    assert parts["lost_right"] + parts["lost_wrong"] == parts["lost"]
    assert says in parts["says"]
    assert decompose({"distinct_classes": changes["distinct_classes"]}) is None


def test_the_map_has_a_row_for_each_prompt_that_comes_back(tmp_path):
    run = history(tmp_path, list(range(8, 0, -1)))
    for row in run.steps:
        row["groups"] = {
            "prompt_id": list("abcde"),
            "size": [8] * 5,
            "distinct": [8, 8, 8, 8, row["signals"]["distinct_classes"]],
        }
    heat = heatmap(run)
    assert heat["rows"] == "prompt"
    assert heat["labels"][0] == "e"  # the one that lost most is on top
    assert heat["values"][0] == [v / 8 for v in range(8, 0, -1)]
    assert heat["columns"] == [[n, n] for n in range(1, 9)]


def test_the_map_has_ranks_where_prompts_do_not_come_back(tmp_path):
    run = history(tmp_path, [8] * 200)
    for row in run.steps:
        row["groups"]["prompt_id"] = [f"{row['step']}a", f"{row['step']}b"]
        row["groups"]["distinct"] = [2, 6]
    heat = heatmap(run)
    assert (heat["rows"], len(heat["columns"]), len(heat["values"])) == ("rank", 60, 4)
    assert heat["values"][0] == [0.75] * 60
    assert heat["values"][-1] == [0.25] * 60


def test_phrases_that_came_and_went_are_found(tmp_path):
    run = history(tmp_path, [8] * 10)
    run.parts = {("train", n): tmp_path / str(n) for n in range(1, 11)}
    old = [f"let us see what {w} is worth" for w in "abcdefgh"]
    new = ["so the answer is always the same one"] * 8
    run.load = lambda path: {"completion": old * 10 if int(path.name) < 6 else new * 10}
    found = wording(run, windows_of(run))
    gained = {row["text"]: (row["before"], row["now"]) for row in found["openings"]["gained"]}
    assert gained == {"so the answer is": (0, 1)}
    assert found["openings"]["lost"][0]["text"] == "let us see what"
    assert found["completions"]["gained"][0]["text"] == new[0]
    assert (found["top_share_before"], found["top_share_now"]) == (0.125, 1.0)


def test_runs_that_cannot_be_compared_say_so(tmp_path):
    one, other = history(tmp_path / "a", [8] * 6), history(tmp_path / "b", [8] * 9)
    other.run = {"config": {"num_generations": 4, "temperature": 0.7}}
    one.run["config"]["temperature"] = 1.0
    says = " ".join(build([one, other])["cautions"])
    for word in ("temperature (1.0, 0.7)", "num_generations (8, 4)", "different steps: 6, 9"):
        assert word in says


def test_names_tell_runs_apart(tmp_path):
    runs = [history(tmp_path / x / "out", [8] * 6) for x in ("plain", "diverse")]
    assert [run["name"] for run in build(runs)["runs"]] == ["plain/out", "diverse/out"]
    twice = build([runs[0], runs[0]])["runs"]
    assert len({run["name"] for run in twice}) == 2


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x00\x1b[31m\r\x7f\x9b", "␀␛[31m␍␡⟨U+009B⟩"),
        ("a\u202eb\u2066c\u200fd\ufeff", "a⟨U+202E⟩b⟨U+2066⟩c⟨U+200F⟩d⟨U+FEFF⟩"),
        ("\ud800\U000e0041", "⟨U+D800⟩⟨U+E0041⟩"),
        ("line\n\ttab 👩‍👩‍👧 שלום é", "line\n\ttab 👩‍👩‍👧 שלום é"),
        ("z" + "\u0301" * 50, "z" + "\u0301" * 4 + "…"),
    ],
)
def test_what_cannot_be_seen_is_shown(text, seen):
    assert visible(text) == seen
    assert visible(seen) == seen


def test_long_texts_keep_both_ends():
    text, more = clipped("begin " + "x" * 100_000 + " end", 100)
    assert text.startswith("begin ")
    assert text.endswith(" end")
    assert len(text) < 110
    assert more > 99_000


def test_axes_have_round_numbers():
    assert ticks(0, 1) == [0, 0.25, 0.5, 0.75, 1]
    assert ticks(0, 0.0123)[-1] >= 0.0123
    assert ticks(-3, 7)[0] <= -3
    assert ticks(0, 0) == [0, 0.25, 0.5, 0.75, 1]


def test_long_lines_are_binned_and_keep_their_mean():
    xs, ys = binned(list(range(1000)), [float(i) for i in range(1000)])
    assert len(xs) == len(ys) == 180
    assert abs(sum(ys) / 180 - 499.5) < 3
    assert smoothed([1.0] * 50) == [1.0] * 50


@pytest.mark.parametrize(
    ("standing", "word", "code"),
    [
        ([], "Healthy", 0),
        (["narrowing"], "Narrowing", 0),
        (["narrowing", "collapsed"], "Collapsed", 3),
        (["saturated"], "Saturated", 0),
        (["saturated", "narrowing"], "Narrowing", 0),
        (["stalled"], "Stalled", 0),
        (["exploding"], "Exploding", 3),
        (["collapsed", "seed_bug"], "Seed bug", 3),
    ],
)
def test_the_gravest_alert_that_stands_is_the_verdict(tmp_path, standing, word, code):
    run = history(tmp_path, [8] * 10)
    windows = windows_of(run)
    verdict = judge(run, windows, changes_of(series_of(run), windows), standing)
    assert (verdict.word, verdict.exit_code) == (word, code)


def test_without_classes_nothing_is_called_healthy(tmp_path):
    run = History(path=tmp_path, steps=[{"step": n, "signals": {"entropy": 2.0}} for n in range(9)])
    windows = windows_of(run)
    assert judge(run, windows, changes_of(series_of(run), windows), []).word == "Cannot tell"


def test_that_wrong_answers_go_is_no_evidence_of_less_variety(tmp_path):
    falls, rises = [1.0] * 10 + [0.5] * 10, [4] * 10 + [8] * 10
    run = history(tmp_path, [14] * 10 + [9] * 10, entropy=falls, distinct_correct=rises)
    windows = windows_of(run)
    verdict = judge(run, windows, changes_of(series_of(run), windows), [])
    assert (
        verdict.means == "The model gives as many different right answers as at the start, or more."
    )
    assert [e["points_to"] for e in verdict.evidence[:2]] == ["fewer", "more"]
    assert verdict.agree == "Kinds of evidence: 1 for less variety, 1 for more variety"


def test_a_rise_of_pass_at_1_alone_is_called_concentration(tmp_path):
    rise = [0.3] * 10 + [0.6] * 10
    run = history(tmp_path, [8] * 10 + [3] * 10, pass_at_1=rise, pass_at_k=[0.62] * 20)
    windows = windows_of(run)
    verdict = judge(run, windows, changes_of(series_of(run), windows), ["narrowing"])
    entropy, classes, gap = verdict.evidence
    assert not entropy["known"]
    assert (classes["points_to"], gap["points_to"]) == ("fewer", "fewer")
    assert "concentration, not new solutions" in gap["says"]
    assert verdict.agree == "2 of 2 kinds of evidence point to less variety"
    assert "fell from 8.0 to 3.0 (−62 %)" in verdict.sentence


def test_numbers_of_one_format_have_its_name_a_unit_and_one_definition(tmp_path):
    shares = {"format_share_def": [0.25] * 6, "format_share_my_own": [0.75] * 6}
    run = history(tmp_path, [8] * 6, **shares, format_accuracy_def=[0.5] * 6)
    report = build([run])
    named = {n["name"]: n["unit"] for n in report["runs"][0]["numbers"]}
    expected = {"Format def": "share", "Format my_own": "share", "Right in format def": "share"}
    assert expected.items() <= named.items()
    keys = [d["key"] for d in report["definitions"]]
    assert keys == ["distinct_classes", "format_share_*", "format_accuracy_*"]


def test_the_monitors_numbers_of_exploration_and_formats_are_all_defined():
    from divreg.monitor.memory import Memory
    from divreg.monitor.observe import Batch, observe
    from divreg.report.numbers import quantity_of

    memory = Memory(True, baseline_steps=1)
    for _ in range(2):
        seen = observe(Batch(["p"] * 2, ["def f", "7"], 2, correct=[True, False]))
        memory.study(seen)
    added = [k for k in seen.signals if k.startswith(("format", "new", "explored", "answer"))]
    assert len(added) == 13
    assert not [k for k in added if quantity_of(k) is None]
