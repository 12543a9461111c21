"""``divreg compare`` as a user types it."""

import json

import pytest

from divreg.cli import main


@pytest.fixture
def write(tmp_path):
    """``write(name, {prompt: texts}, **columns)``: a file of JSON lines; 'R' texts are right."""

    def to(name, groups, **columns):
        path = tmp_path / f"{name}.jsonl"
        rows = [
            {"prompt": p, "completion": t, "correct": t.startswith("R"), **columns}
            for p, texts in groups.items()
            for t in texts
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return f"{name}={path}"

    return to


@pytest.fixture
def compared(tmp_path, capsys):
    """``compared(*words)``: what is printed, and the JSON of the last set's change."""

    def run(*words):
        out = tmp_path / "out.json"
        code = main(["compare", *words, "--json", str(out)])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed.out, json.loads(out.read_text())

    return run


# All pairs differ, among right ones too; then right ones are all the same and wrong ones are gone.
BASE = {f"p{i}": ["R1", "R2", "w3", "w4"] for i in range(6)}
TUNED = {f"p{i}": ["R1", "R1", "R1", "R2"] for i in range(6)}


def test_differences_and_the_two_parts_by_hand(write, compared):
    out, found = compared(write("base", BASE), write("tuned", TUNED))
    (change,) = found["changes"]
    assert found["held_to"] == "base"
    differences = {n: x["estimate"] for n, x in change["differences"].items()}
    assert differences["different_pairs"] == pytest.approx(3 / 6 - 1)
    assert differences["different_pairs_correct"] == pytest.approx(3 / 6 - 1)
    assert differences["pass_at_1"] == pytest.approx(0.5)
    parts = {
        n: x["estimate"]
        for n, x in change["parts"]["different_pairs"].items()
        if n != "undefined_frac"
    }
    assert parts["total"] == pytest.approx(0.5)
    assert parts["residual"] == pytest.approx(0.5)
    assert parts["genuine_frac"] == pytest.approx(1.0)
    assert "tuned: 50% less variety (different_pairs -0.500" in out
    assert "Of what was lost, 100% is among right answers" in out
    assert "Different right answers in 4: 2.00 to 2.00" in out
    assert "pass@1: 0.50 to 1.00 (+0.50 to +0.50)." in out


def test_what_only_fewer_errors_took_is_no_narrowing(write, compared):
    """Right answers differ as before; wrong ones, which differed from all, are gone."""
    before = {f"p{i}": ["R1", "R1", "R2", "R2", "w3", "w4", "w5", "w6"] for i in range(6)}
    after = {f"p{i}": ["R1", "R2"] * 4 for i in range(6)}
    out, found = compared(write("base", before), write("tuned", after))
    parts = found["changes"][0]["parts"]["different_pairs"]
    right = 4 / 6, 16 / 28  # pairs of two and two, of four and four
    assert parts["total"]["estimate"] == pytest.approx((28 - 2) / 28 - right[1])
    assert parts["residual"]["estimate"] == pytest.approx(right[0] - right[1])
    assert "is among right answers" in out


def test_prompts_that_one_set_lacks_are_left_out_and_sizes_are_brought_together(write, compared):
    other = {p: texts * 2 for p, texts in BASE.items() if p != "p0"} | {"q": ["R1"] * 8}
    out, found = compared(write("base", BASE), write("other", other))
    assert found["changes"][0]["prompts"] == 5
    assert {facts["k"] for facts in found["sets"].values()} == {4}
    assert "other: 6 prompts, 48 samples; 5 prompts are in base too." in out


def test_one_shared_prompt_is_too_few(write, compared):
    out, _ = compared(write("base", {"p": ["a", "b"]}), write("tuned", {"p": ["a", "a"]}))
    assert "tuned: 1 prompt in both is too few to say anything." in out


def test_no_change_is_called_none(write, compared):
    out, _ = compared(write("base", BASE), write("same", BASE), write("third", TUNED))
    assert "same: 6 prompts show no change of variety" in out
    assert "third: 50% less variety" in out


def test_sets_that_were_sampled_in_different_ways(write, compared, capsys):
    sets = write("base", BASE, temperature=1.0), write("tuned", TUNED, temperature=0.6)
    assert main(["compare", *sets]) == 2
    err = capsys.readouterr().err
    assert "the same temperature; got 1.0 in base and 0.6 in tuned" in err
    assert "Use --force" in err
    assert "50% less variety" in compared(*sets, "--force")[0]


def test_an_encoder_leads_the_verdict(write, compared, minilm):
    base = {f"p{i}": ["R a cat", "R tax law", "w rain", "w a dog"] for i in range(4)}
    same = {f"p{i}": ["R a cat"] * 4 for i in range(4)}
    out, found = compared(write("base", base), write("tuned", same), "--encoder", minilm)
    assert "tuned: 100% less variety (cosine_diversity" in out
    assert set(found["changes"][0]["parts"]) == {"cosine_diversity", "different_pairs"}


def test_what_cannot_be_compared_is_refused(write, capsys):
    base, other = write("base", BASE), write("other", {"z": ["a", "b"]})
    for words, message in (
        ([base], "needs two sets or more, each with a name of its own; got base"),
        ([base, base], "got base, base. Write base=FILE"),
        ([base, other], "base and other share none of 6 and 1"),
    ):
        assert main(["compare", *words]) == 2
        assert message in capsys.readouterr().err
