import gzip
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divreg.metrics.compression import compression_ratio

CAT = "the cat sat on the mat"
DOG = "a dog ran in the park"


def test_worked_numbers():
    # 67 bytes to 59; a byte or two of leave for another zlib.
    assert len(" ".join([CAT, CAT, DOG])) == 67
    assert compression_ratio([CAT, CAT, DOG]) == pytest.approx(67 / 59, abs=0.05)


def test_it_compresses_once():
    texts = [CAT] * 50
    once = gzip.compress(" ".join(texts).encode())
    twice = gzip.compress(once)
    size = len(" ".join(texts))
    assert compression_ratio(texts) == pytest.approx(size / len(once))
    assert compression_ratio(texts) > 1.2 * size / len(twice)


def test_copies_compress_and_noise_does_not():
    rng = random.Random(0)
    noise = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz ", k=22)) for _ in range(50)]
    assert compression_ratio([CAT] * 50) > 20 > 2 > compression_ratio(noise)
    assert compression_ratio([CAT]) < 1 < compression_ratio([CAT] * 3)


def test_no_text_has_no_bytes():
    assert compression_ratio([]) == compression_ratio([""]) == 0


@given(texts=st.lists(st.text(st.characters(), max_size=20), min_size=1, max_size=5))
def test_it_is_a_function_of_any_texts(texts):
    assert compression_ratio(texts) == compression_ratio(texts) >= 0


def test_hostile_texts_are_texts():
    assert compression_ratio(["\ud800", "\x00"]) > 0
