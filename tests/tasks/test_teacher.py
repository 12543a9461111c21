"""The narrow teacher, its judge, and the likelihood of held-out answers."""

import math
import types

import pytest
import torch

from divreg.tasks import expressions, judge, teacher
from divreg.tasks.likelihood import nats_an_answer


def test_every_answer_is_right_and_none_is_said_twice():
    for n in (10, 24, 43):
        answers = teacher.ranked(n)
        assert all(expressions.is_correct(text, n) for text in answers)
        assert len({expressions.answer(text) for text in answers}) == len(answers)
        assert sum(teacher.probabilities(n)) == pytest.approx(1)
        assert teacher.probabilities(n)[0] == pytest.approx(4 * teacher.probabilities(n)[1])


def test_demonstrations_are_four_a_number_and_each_seed_draws_its_own():
    rows = teacher.demonstrations("train")
    assert len(rows) == 4 * len(expressions.targets("train"))
    assert rows.to_dict() == teacher.demonstrations("train", seed=0).to_dict()
    assert rows.to_dict() != teacher.demonstrations("train", seed=1).to_dict()
    asked = {row["prompt"] for row in teacher.demonstrations("held_out")}
    assert not asked & set(rows["prompt"])


def test_the_judge_wants_right_answers_first_and_then_its_favourites():
    best, second, third = (judge.reward(text, 24) for text in teacher.ranked(24)[:3])
    assert (best, second, third) == (2.0, 1.5, pytest.approx(4 / 3))
    assert judge.reward("3*", 24) == 0.0
    assert judge.reward("2*8+9", 24) == judge.reward("9*2+7", 24) == 0.25  # both are 25
    assert judge.reward("8*8+8", 24) < 0.25


def test_pairs_prefer_what_has_more_reward_in_every_way_to_choose(monkeypatch):
    texts = [*teacher.ranked(24)[:6], "24", "9*9", "1+1", "3*", "2*9+5", "5*5"]
    pools = tuple(tuple(texts) for _ in expressions.targets("train"))
    monkeypatch.setattr(judge, "_samples", lambda split, seed: pools)
    monkeypatch.setattr(expressions, "targets", lambda split: [24] * len(pools))
    ways = (judge.preferences, judge.best_and_worst, judge.divpo_by_range, judge.divpo_by_count)
    for choose in ways:
        rows = choose("train")
        assert rows.column_names == ["prompt", "chosen", "rejected", "weight"]
        for row in rows:
            assert judge.reward(row["chosen"], 24) > judge.reward(row["rejected"], 24)
    assert {row["chosen"] for row in judge.preferences("train")} == {"9*2+6"}


class Half:
    """A model that gives every token of four the same probability."""

    device = torch.device("cpu")

    def eval(self):
        return self

    def __call__(self, input_ids, attention_mask, use_cache):
        return types.SimpleNamespace(logits=torch.zeros(*input_ids.shape, 4))


class Letters:
    eos_token_id = 3

    def encode(self, text, add_special_tokens=True):
        return [min(2, ord(c) - ord("a")) for c in text]


def test_an_answer_costs_all_its_tokens_and_the_end_of_the_text():
    rows = [{"prompt": "ab", "completion": "c"}, {"prompt": "a", "completion": "abc"}]
    assert nats_an_answer(Half(), Letters(), rows) == pytest.approx(3 * math.log(4))
    assert nats_an_answer(Half(), Letters(), rows, rows_at_once=1) == pytest.approx(3 * math.log(4))
    for wrong, says in ([{"prompt": "a"}], "a completion that is a text"), ([], "got none"):
        with pytest.raises(ValueError, match=says):
            nats_an_answer(Half(), Letters(), wrong)
