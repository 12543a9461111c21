"""Real rows stay, whatever is added."""

import pytest
from datasets import Dataset, interleave_datasets

from divreg.data.mixing import accumulate, require_all, shares


def data(*texts, **columns):
    return Dataset.from_dict({"text": list(texts), **columns})


REAL = data("a", "b", "b", "c")
FIRST, SECOND = data(*"uvwxyz"), data("p", "q")


def test_generations_are_added_and_marked():
    mix = accumulate(accumulate(REAL, first=FIRST), second=SECOND)
    assert mix["text"] == [*"abbc", *"uvwxyz", "p", "q"]
    assert mix["provenance"] == ["real"] * 4 + ["first"] * 6 + ["second"] * 2
    assert shares(mix) == {"real": 4 / 12, "first": 6 / 12, "second": 2 / 12}
    require_all(REAL, mix)


def test_a_share_that_real_rows_keep():
    mix = accumulate(REAL, least_real=0.5, first=FIRST, second=SECOND)  # room for 4: 3 and 1
    assert shares(mix) == {"real": 0.5, "first": 3 / 8, "second": 1 / 8}
    assert mix["text"][:4] == [*"abbc"]
    assert mix["text"] == accumulate(REAL, least_real=0.5, first=FIRST, second=SECOND)["text"]
    other = accumulate(REAL, least_real=0.5, seed=1, first=FIRST, second=SECOND)
    assert other["text"] != mix["text"]
    assert shares(accumulate(REAL, least_real=0.3, first=FIRST))["real"] == 0.4, "all fit"


def test_a_mix_that_lost_a_real_row_is_refused():
    lost = interleave_datasets([REAL, SECOND], stopping_strategy="first_exhausted")
    with pytest.raises(ValueError, match="lacks 2 of 4 rows of the real data, the first is row 2"):
        require_all(REAL, lost)
    with pytest.raises(ValueError, match=r"the first is row 2: \{'text': 'b'\}"):
        require_all(REAL, data("c", "a", "b", "z"))
    require_all(REAL, interleave_datasets([REAL, SECOND], stopping_strategy="all_exhausted"))


def test_what_cannot_be_mixed_is_refused():
    mixed = accumulate(REAL, first=FIRST)
    for call, message in (
        (lambda: accumulate(mixed, first=SECOND), "called 'first' already"),
        (lambda: accumulate(REAL, real=FIRST), "called 'real' already"),
        (lambda: accumulate(REAL, first=data("a", score=[1])), "needs the columns of the real"),
        (lambda: accumulate(REAL, least_real=1, first=FIRST), r"in \[0, 1\); got 1"),
        (lambda: accumulate(mixed, least_real=0.5, second=SECOND), "rows are never taken out"),
        (lambda: accumulate(mixed.select([5]), second=SECOND), "none of them real"),
        (lambda: shares(REAL), "needs a column 'provenance'"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
