"""Means, standard errors, pairs and the front, by hand; the table and the page that show them."""

import pytest

from divreg.bench import command, page, summary


def line(row, seed, right, distinct, *, curve=None):
    return {
        "row": row, "seed": seed, "pass_at_1": right, "distinct_correct": distinct,
        "pass_at": curve or {"1": right, "2": right}, "k": 32, "targets": 14, "samples": 2,
        "entropy_curve": [[1, 1.0], [10, 0.5]],
    }  # fmt: skip


def results(*lines, baselines=("plain",)):
    names = list(dict.fromkeys(x["row"] for x in lines))
    rows = [
        {"name": n, "label": n.title(), "baseline": n in baselines, "config": {}, "divreg": None}
        for n in names
    ]
    return {
        "task": "expressions", "steps": 3, "learning_rate": 1e-3, "rows": rows, "runs": list(lines)
    }  # fmt: skip


@pytest.fixture
def rows():
    return summary.summarise(
        results(
            line("plain", 0, 0.8, 2.0),
            line("plain", 1, 0.6, 4.0),
            line("ours", 0, 0.7, 6.0),
            line("ours", 1, 0.5, 10.0),
            line("worse", 0, 0.5, 2.5),
            line("worse", 1, 0.5, 3.5),
        )
    )


def test_held_out_answers_have_a_column_each_and_a_sentence():
    def nats(x, value):
        return {**x, "held_out_nats": {"demos": value}}

    plain = [nats(line("plain", s, 0.8, 2.0 + s), 2.0 + s) for s in (0, 1, 2)]
    ours = [nats(line("ours", s, 0.8, 3.0 + s), 1.0 + s + s / 10) for s in (0, 1, 2)]
    rows = summary.summarise(results(*plain, *ours))
    assert rows[0].nats["demos"].value == pytest.approx(3.0)
    more = rows[1].more_nats["demos"]  # -1, -0.9, -0.8: paired, the seeds' own spread is gone
    assert (more.value, more.error) == (pytest.approx(-0.9), pytest.approx(0.1 / 3**0.5))
    assert "demos, nats" in page.headings(rows, 32)
    assert len(page.cells(2, rows[1], rows[0])) == len(page.headings(rows, 32))
    assert any("Held-out answers (demos) are likelier" in x for x in command.verdict(rows, 32))


def test_what_all_runs_measured_besides_has_columns_of_its_own():
    def more(x, **fields):
        train = {"pass_at_1": 0.9, "distinct_correct": 7.0 + x["seed"]}
        return {**x, "class_entropy_nats": 1.5, "vendi": 3.0, "on": {"train": train}, **fields}

    lines = [line("plain", 0, 0.8, 2.0), line("plain", 1, 0.8, 2.0), line("ours", 0, 0.7, 3.0)]
    plain, ours = summary.summarise(results(*map(more, lines)))
    assert list(plain.others) == [
        "class entropy, nats", "Vendi", "train: pass@1", "train: different in 32",
    ]  # fmt: skip
    assert plain.others["train: different in 32"].show() == "7.5±0.5"
    cells = page.cells(2, ours, plain)
    assert len(cells) == len(page.headings([plain, ours], 32))
    assert cells[7:11] == ["1.50", "3.0", "0.900", "7.0"]
    without, _ = summary.summarise(results(more(lines[0], vendi=None), *map(more, lines[1:])))
    assert "Vendi" not in without.others


def test_means_have_standard_errors_and_differences_are_paired_by_seed(rows):
    plain, ours, _ = rows
    assert plain.right.show(2) == "0.70±0.10"
    assert ours.distinct.show(1) == "8.0±2.0"
    right, distinct = ours.gains
    assert (right.show(2), distinct.show(1)) == ("-0.10±0.00", "5.0±1.0")
    assert plain.gains is None


def test_the_front_is_what_nothing_beats_in_both(rows):
    assert [r.on_front for r in rows] == [True, True, False]


def test_one_seed_has_no_error_and_a_row_without_a_run_is_left_out():
    found = results(line("plain", 0, 0.8, 2.0))
    found["rows"].append({"name": "none", "label": "None", "baseline": False})
    (only,) = summary.summarise(found)
    assert only.right.show(2) == "0.80"
    assert only.right.error is None


def test_pairs_are_of_equal_seeds_only():
    _, ours = summary.summarise(
        results(line("plain", 0, 0.8, 2.0), line("plain", 1, 0.2, 2.0), line("ours", 1, 0.3, 5.0))
    )
    assert ours.gains
    right, distinct = ours.gains
    assert right.value == pytest.approx(0.1)
    assert distinct.value == pytest.approx(3.0)


def test_the_verdict_names_the_best_and_what_did_not_help(rows, monkeypatch):
    assert "2 rows have fewer than 3 seeds" in command.verdict(rows, 32, cost=0.1)[-1]
    monkeypatch.setattr(command, "JUDGED", 2)
    assert command.verdict(rows, 32) == ["No method stays within 0.05 of the pass@1 of Plain."]
    text = " ".join(command.verdict(rows, 32, cost=0.1))
    assert "Ours keeps most different right answers: 8.0±2.0 in 32 at pass@1 0.600±0.100" in text
    assert "Ours keeps 2.67 times as many" in text
    assert "no help here: Worse" in text
    assert "Right less often than Plain by more than two standard errors: Ours" in text


def test_a_row_with_too_few_seeds_is_not_the_best_where_others_have_enough():
    lucky = line("lucky", 0, 0.8, 9.0)
    steady = [line("steady", seed, 0.8, 5.0 + seed / 10) for seed in range(3)]
    plain = [line("plain", seed, 0.8, 2.0) for seed in range(3)]
    found = summary.summarise(results(*plain, lucky, *steady))
    assert "Steady keeps most different right answers" in command.verdict(found, 32)[0]
    found = summary.summarise(results(*plain, lucky))
    assert "Lucky keeps most different right answers" in command.verdict(found, 32)[0]


def test_the_table_has_a_line_for_each_row_and_marks_the_front(rows):
    lines = command.markdown(rows, 32).splitlines()
    assert len(lines) == 2 + len(rows)
    assert "| **Ours** | 0.600±0.100 | 8.0±2.0 |" in lines[3]
    assert "| Worse |" in lines[4]


def test_the_page_shows_every_row_and_escapes_labels():
    found = results(line("plain", 0, 0.8, 2.0), line("b", 0, 0.7, 3.0))
    found["rows"][1]["label"] = "<script>alert(1)</script>"
    html = page.render("A & B", ["said"], summary.summarise(found), 32)
    assert "<script>" not in html
    assert "A &amp; B" in html
    assert html.count("<circle") >= 2
    assert "http" not in html.replace("http://www.w3.org", "")


def test_the_costs_stand_in_the_table_as_a_share_of_the_step_without_them():
    found = results(line("plain", 0, 0.8, 2.0), line("ours", 0, 0.7, 6.0))
    found["costs"] = [
        {"row": "plain", "step_ms": 100.0, "method_ms": 0.0},
        {"row": "ours", "step_ms": 102.0, "method_ms": 2.0},
    ]
    shown = [page.cells(1, row, row)[-3:-1] for row in summary.summarise(found)]
    assert shown == [["100", ""], ["102", "2.0 (2.0 %)"]]
