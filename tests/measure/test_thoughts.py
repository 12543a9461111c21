"""Columns that divreg trace writes become numbers; those that cannot be read are said."""

import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from divreg.cli import main
from divreg.measure import groups

LOGPROBS = [-0.2, -0.4, -1.0, -2.0]
STEPS = [[1.2, 0.8, 0.4], [1.0, 0.6, 0.2], [0.8, 1.0, 0.6], [1.0, 0.8]]
THOUGHTS = {"logprob": LOGPROBS, "entropy": [0.5, 1.5, 1.0, 1.0], "top_mass": [0.9, 0.7, 0.8, 0.8]}


def table(**more):
    """Four samples of one prompt, of the classes a, a, b and c."""
    columns = {**THOUGHTS, "step_entropies": STEPS, **more}
    return [
        {"prompt": "p", "completion": text, "top_p": 1.0, **{k: v[i] for k, v in columns.items()}}
        for i, text in enumerate(["a", "a", "b", "c"])
    ]


@pytest.fixture
def measured(tmp_path, capsys):
    """``measured(rows)``: what is printed, and what the JSON holds."""

    def run(rows, *words):
        path, out = tmp_path / "x.jsonl", tmp_path / "out.json"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert main(["measure", str(path), "--json", str(out), *words]) == 0
        return capsys.readouterr().out, json.loads(out.read_text())

    return run


def expected():
    """Every number by hand; the third position is reached by three samples, so it is left out."""
    mass = {c: sum(math.exp(x) for x in xs) for c, xs in zip("abc", ([-0.2, -0.4], [-1], [-2]))}  # noqa: B905
    shares = [m / sum(mass.values()) for m in mass.values()]
    return {
        "token_entropy": 1.0,
        "top_mass": 0.8,
        "branching_factor": math.exp((4.0 / 4 + 3.2 / 4) / 2),
        "branching_factor_aep": math.exp(3.6 / 4),
        "semantic_entropy": 0.5 * math.log(2) + 0.5 * math.log(4),
        "semantic_entropy_rao": -sum(p * math.log(p) for p in shares),
    }


def test_every_number_by_hand(measured):
    out, found = measured(table())
    (p,) = found["prompts"]
    for name, value in expected().items():
        assert p[name] == pytest.approx(value), name
        assert name in out
    assert found["columns_unread"] == {}


def test_samples_that_were_cut_by_top_p_have_no_probability_of_what_they_came_from(measured):
    _, found = measured([{**row, "top_p": 0.9} for row in table()])
    assert "branching_factor_aep" not in found["prompts"][0]
    assert found["prompts"][0]["branching_factor"] is not None


def test_lists_of_numbers_wait_on_the_disk_like_texts(measured, monkeypatch):
    """Short texts, long lists: what is held counts the lists, and they come back as they were."""
    rows = table(step_entropies=[[*row, *[0.5] * 500] for row in STEPS])
    _, whole = measured(rows)
    spills, spill = [], groups.Groups._spill
    monkeypatch.setattr(
        groups.Groups, "_spill", lambda self: (spills.append(len(self._held)), spill(self))[1]
    )
    monkeypatch.setattr(groups.Groups.__init__, "__defaults__", (5000,))
    _, spilled = measured(rows)
    assert spills == [2, 2, 0]
    assert spilled == whole


def test_parquet_and_rows_of_all_samples_have_lists_too(measured, tmp_path, capsys):
    _, lines = measured(table())
    together = {k: [row[k] for row in table()] for k in ("completion", "step_entropies", *THOUGHTS)}
    row = {"prompt": "p", "completions": together.pop("completion"), **together}
    _, several = measured([row])
    pq.write_table(pa.Table.from_pylist(table()), tmp_path / "x.parquet")
    out = tmp_path / "out.json"
    assert main(["measure", str(tmp_path / "x.parquet"), "--json", str(out)]) == 0
    assert lines["prompts"] == several["prompts"] == json.loads(out.read_text())["prompts"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("logprob", 0.3),
        ("logprob", math.nan),
        ("top_mass", 1.5),
        ("entropy", None),
        ("entropy", "high"),
        ("step_entropies", 0.5),
        ("step_entropies", [0.5, None]),
        ("step_entropies", [-1.0]),
    ],
)
def test_a_column_that_is_not_what_its_name_says_is_said_and_left_out(measured, column, value):
    rows = table()
    rows[1][column] = value
    out, found = measured(rows)
    assert f"1 prompt has a sample without the column {column}, or with another thing" in out
    assert found["columns_unread"] == {column: 1}
    left = set(expected()) - set(found["prompts"][0])
    assert (
        left
        == {
            "logprob": {"semantic_entropy", "semantic_entropy_rao", "branching_factor_aep"},
            "entropy": {"token_entropy"},
            "top_mass": {"top_mass"},
            "step_entropies": {"branching_factor"},
        }[column]
    )


def test_without_the_columns_nothing_is_said_of_them(measured):
    out, found = measured([{"prompt": "p", "completion": text} for text in "aabc"])
    assert not set(expected()) & set(found["prompts"][0])
    assert "the column" not in out
