"""Sets in the order of their models' sizes, as a user compares them."""

import json

import pytest

from divreg.cli import main

# Six prompts, four samples: all different, two kinds, one.
SAID = {"small": "abcd", "middle": "aabb", "large": "aaaa"}


@pytest.fixture
def compared(tmp_path, capsys):
    """``compared(sets, *words)``: what is printed, and the JSON; sets are texts and columns."""

    def run(sets, *words, code=0):
        paths = []
        for name, (texts, columns) in sets.items():
            path = tmp_path / f"{name}.jsonl"
            rows = [
                {"prompt": f"p{i}", "completion": text, **columns}
                for i in range(6)
                for text in texts
            ]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            paths.append(f"{name}={path}")
        out = tmp_path / "out.json"
        assert main(["compare", *paths, "--json", str(out), *words]) == code
        printed = capsys.readouterr()
        return (printed.err, None) if code else (printed.out, json.loads(out.read_text()))

    return run


def sets(**sizes):
    mass = {"small": 0.5, "middle": 0.6, "large": 0.9}
    return {
        name: (SAID[name], {"parameters": size, "top_mass": mass[name]})
        for name, size in sizes.items()
    }


def test_larger_models_that_say_less(compared):
    out, found = compared(sets(large=1_700_000_000, small=135_000_000, middle=360_000_000))
    by_size = found["by_size"]
    assert by_size["parameters"] == {"small": 135e6, "middle": 360e6, "large": 1.7e9}
    unique = by_size["numbers"]["distinct_at_k"]
    assert list(unique["values"].values()) == [4, 2, 1]
    assert unique["rank_correlation"] == -1
    assert unique["largest_minus_smallest"]["estimate"] == -3
    assert by_size["numbers"]["top_mass"]["rank_correlation"] == 1
    assert "unique outputs in 4" in out
    heads = [line.split() for line in out.splitlines() if "1.7B" in line]
    assert heads[0][-5:] == ["135M", "360M", "1.7B", "smallest", "corr."]
    assert (
        "Unique outputs in 4: 4.00 at 135M parameters (small), 1.00 at 1.7B (large), a difference "
        "of -3.00 ±0.00 over 6 prompts; the largest model says fewer different things "
        "(3 sets: a direction, no proof)."
    ) in out
    assert by_size["said"] in out


def test_sizes_that_rows_do_not_say_are_typed(compared):
    bare = {name: (texts, {}) for name, texts in SAID.items()}
    assert compared(bare)[1]["by_size"] is None
    out, found = compared(bare, "--sizes", "small=2e9,middle=360M,large=1B")
    assert list(found["by_size"]["parameters"]) == ["middle", "large", "small"]
    assert found["by_size"]["numbers"]["distinct_at_k"]["rank_correlation"] == pytest.approx(0.5)
    assert set(found["by_size"]["numbers"]) == {"distinct_at_k"}
    assert "the largest model says more different things (3 sets" in out


def test_models_in_between_that_do_not_follow_are_said(compared):
    """The largest says a little less than the smallest; in between it rises: 3, 1, 4, 4, 2."""
    said = {"a": "aabc", "b": "aaaa", "c": "abcd", "d": "abcd", "e": "aabb"}
    sizes = {
        name: (texts, {"parameters": 10**6 * i}) for i, (name, texts) in enumerate(said.items(), 1)
    }
    out, found = compared(sizes)
    # Ranks 3 1 4.5 4.5 2: covariance 0.5 of the ranks less 3.
    assert 0 < found["by_size"]["numbers"]["distinct_at_k"]["rank_correlation"] < 0.2
    assert "fewer different things, but those between do not follow (5 sets" in out


def test_stages_of_one_model_are_not_ordered_by_size(compared):
    out, found = compared(sets(small=600_000, large=600_000))
    assert found["by_size"] is None
    assert "by size" not in out


def test_no_difference_is_called_none(compared):
    same = {name: ("aabc", {"parameters": n}) for name, n in (("a", 1e6), ("b", 2e6))}
    out, found = compared(same)
    assert "says as many different things as the smallest, as far as seen (2 sets" in out
    assert found["by_size"]["numbers"]["distinct_at_k"]["rank_correlation"] is None


@pytest.mark.parametrize("words", ["small=1M", "small=1M,middle=2M,large=big", "small"])
def test_sizes_name_every_set(compared, words):
    bare = {name: (texts, {}) for name, texts in SAID.items()}
    err, _ = compared(bare, "--sizes", words, code=2)
    assert "--sizes needs the parameters of every set" in err
    assert "Write --sizes small=135M,middle=270M,large=540M." in err
