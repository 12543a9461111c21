"""Hand-labelled rows: 1 opens a tag, 2 stands before its value, 3 closes it; 8 and 9 are keys."""

import pytest
import torch

from divreg.losses import anchored

MARKERS = (1, 2, 3)


def weights(rows, document=None, mask=None, format_share=0.0):
    tokens = torch.tensor(rows)
    document = torch.zeros_like(tokens) if document is None else torch.tensor(document)
    mask = torch.ones_like(tokens) if mask is None else torch.tensor(mask)
    return anchored(
        torch.ones(tokens.shape),
        tokens=tokens,
        document=document,
        mask=mask > 0,
        markers=MARKERS,
        format_share=format_share,
    ).tolist()


def test_prompt_and_response_are_learned_and_two_tags_are_not():
    row = [[20, 1, 8, 2, 30, 31, 3, 1, 9, 2, 32, 3, 40, 41]]
    assert weights(row) == [[1, *[0] * 11, 1, 1]]


def test_a_format_example_leaves_out_values_only():
    row = [[20, 1, 8, 2, 30, 31, 3, 1, 9, 2, 32, 3, 40, 41]]
    assert weights(row, format_share=1.0) == [[1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 1, 1]]


def test_an_annotation_without_an_end_is_left_out_to_the_end_of_its_text():
    row, document = [[1, 8, 2, 30, 31, 40, 1, 8, 2, 30, 3, 41]], [[0] * 6 + [1] * 6]
    assert weights(row, document) == [[0] * 11 + [1]]
    assert weights(row, document, format_share=1.0)[0][:6] == [0] * 6


def test_a_row_whose_first_marker_is_cut_off_is_read_like_a_whole_one():
    assert weights([[8, 2, 30, 3, 40]]) == [[0, 0, 0, 0, 1]]
    assert weights([[30, 3, 40]], format_share=1.0) == [[0, 1, 1]]
    assert weights([[40, 41]]) == [[1, 1]]


def test_the_choice_of_format_examples_depends_on_the_response_alone():
    def chosen(response, lead=(), pad=()):
        row = [*lead, 1, 8, 2, 30, 3, *response, *pad]
        document = [[0] * len(lead) + [1] * (5 + len(response)) + [2] * len(pad)]
        mask = [[1] * (len(row) - len(pad)) + [0] * len(pad)]
        return weights([row], document, mask, format_share=0.3)[0][len(lead)] == 1

    responses = [[40 + i, 50 + i // 7, 60] for i in range(60)]
    alone = [chosen(r) for r in responses]
    assert 8 <= sum(alone) <= 28  # 30 % of 60
    assert [chosen(r, lead=(11, 12)) for r in responses] == alone
    assert [chosen(r, pad=(0, 0, 0)) for r in responses] == alone
    assert [chosen(r[::-1]) for r in responses] != alone


def test_a_share_beyond_one_is_refused():
    with pytest.raises(ValueError, match="format_share in"):
        weights([[1, 8, 2, 30, 3, 40]], format_share=1.5)


def test_what_is_learned_is_the_old_share_of_topics_times_the_new_responses():
    """Four topics z and two responses y: P(y) = sum of R(z) Q(y|z), oracle 1 of the method."""
    wanted = torch.tensor([0.85, 0.05, 0.05, 0.05])
    given = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    rows = torch.tensor([[1, 8, 2, 30 + z, 3, 40 + y] for z in range(4) for y in range(2)])
    often = (wanted[:, None] * given).flatten()
    found = {}
    for name in ("anchored", "plain"):
        topic = torch.zeros(4, requires_grad=True)  # R before: all topics alike
        response = torch.zeros(4, 2, requires_grad=True)
        ones = torch.ones(rows.shape)
        words = {"document": rows * 0, "mask": rows > 0, "markers": MARKERS, "format_share": 0.0}
        weight = anchored(ones, tokens=rows, **words) if name == "anchored" else ones
        solver = torch.optim.LBFGS([topic, response], max_iter=200, line_search_fn="strong_wolfe")

        def loss(topic=topic, response=response, weight=weight, solver=solver):
            solver.zero_grad()
            nll = torch.zeros(rows.shape)
            nll[:, 3] = -topic.log_softmax(0).repeat_interleave(2)
            nll[:, 5] = -response.log_softmax(1).flatten()
            value = (often[:, None] * weight * nll).sum()
            value.backward()
            return value

        solver.step(loss)
        found[name] = topic.softmax(0) @ response.softmax(1)
    torch.testing.assert_close(
        found["plain"].detach(), torch.tensor([0.87, 0.13]), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        found["anchored"].detach(), torch.tensor([0.75, 0.25]), atol=1e-3, rtol=0
    )
