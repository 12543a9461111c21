"""Labels by hand: prompt P P, annotation K V V K V, response Y Y and its end E."""

from divreg.anchors.labels import drawn, labels, row

IDS = [11, 12, 21, 31, 32, 22, 33, 41, 42, 2]
OFFSETS = [(i, i + 1) for i in range(10)]
PARTS = {"prompt": 2, "response": 7, "values": [(3, 5), (6, 7)]}


def test_prompt_and_annotation_are_not_learned():
    assert labels(IDS, OFFSETS, **PARTS) == [-100] * 7 + [41, 42, 2]


def test_a_format_example_learns_its_keys():
    expected = [-100, -100, 21, -100, -100, 22, -100, 41, 42, 2]
    assert labels(IDS, OFFSETS, **PARTS, keeps_format=True) == expected


def test_a_token_that_value_and_response_share_is_the_responses():
    offsets = [*OFFSETS[:6], (6, 8), *OFFSETS[8:]]
    ids = [*IDS[:7], *IDS[8:]]
    assert labels(ids, offsets, **PARTS) == [-100] * 6 + [33, 42, 2]
    assert labels(ids, offsets, **PARTS, keeps_format=True)[5:7] == [22, 33]


def test_a_row_ends_with_the_end_of_the_text(tiny_tokenizer):
    written = row(tiny_tokenizer, "Say hi.", {"mood": "calm"}, " Hi!", format_share=0.0)
    learned = [token for token in written["labels"] if token != -100]
    assert tiny_tokenizer.decode(learned[:-1]).endswith("Hi!")
    assert learned[-1] == tiny_tokenizer.eos_token_id
    assert "calm" in tiny_tokenizer.decode(written["input_ids"])


def test_format_examples_are_chosen_by_the_response():
    share = sum(drawn(f"response {i}") < 0.3 for i in range(1000)) / 1000
    assert 0.25 < share < 0.35
    assert drawn("a") == drawn("a") != drawn("b")
