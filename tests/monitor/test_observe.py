"""What one rollout shows, on groups that can be counted in the head."""

import math
import time

import numpy as np
import pytest

from divreg.monitor.diagnose import repeats_in_order
from divreg.monitor.observe import Batch, observe


def batch(groups: list[str], **more) -> Batch:
    """One word per completion; groups of equal length, a prompt each."""
    texts = [g.split() for g in groups]
    prompts = [f"prompt {i}" for i, g in enumerate(texts) for _ in g]
    return Batch(prompts, [t for g in texts for t in g], len(texts[0]), **more)


def rewarded(groups: list[str], rewards: list[list[float]], **more) -> Batch:
    table = np.array(rewards, dtype=float).reshape(len(rewards), -1)
    names = [f"r{i}" for i in range(table.shape[1])]
    return batch(groups, rewards=table, reward_names=names, totals=np.nansum(table, 1), **more)


def test_two_groups_counted_by_hand():
    seen = observe(
        batch(["a a b c", "d d d d"], correct=[True, True, True, False, False, False, False, False])
    )
    s = seen.signals
    assert s["distinct_classes"] == 2.0  # (3 + 1) / 2
    assert s["distinct_frac"] == 0.5
    assert s["dup_frac"] == pytest.approx(4 / 8)
    assert s["identical_frac"] == 0.5
    assert s["answer_entropy_nats"] == pytest.approx((0.5 * math.log(2) + 0.5 * math.log(4)) / 2)
    assert s["answer_entropy_mm_nats"] == pytest.approx(s["answer_entropy_nats"] + (2 / 8 + 0) / 2)
    assert s["pair_distinct_frac"] == pytest.approx((5 / 6 + 0) / 2)
    assert s["distinct_correct"] == 1.0  # a and b, then none
    assert s["pair_distinct_correct_frac"] == pytest.approx(2 / 3)
    assert s["pass_at_1"] == pytest.approx(3 / 8)
    assert s["pass_k"] == 2
    assert s["pass_at_k"] == 0.5  # of two draws one is always right, then never
    assert s["all_wrong_frac"] == 0.5
    assert seen.groups["distinct"] == [3, 1]
    assert seen.groups["n_correct"] == [3, 0]
    assert seen.columns["group"] == [0] * 4 + [1] * 4
    assert len(set(seen.columns["prompt_id"])) == 2


def test_missing_evidence_is_absent():
    s = observe(batch(["a b", "c d"])).signals
    assert not {"pass_at_1", "reward_mean", "zero_variance_frac", "truncated_frac"} & set(s)


@pytest.mark.parametrize(
    ("group", "rewards", "more", "cause"),
    [
        ("a b", [[0.0], [1.0]], {}, None),
        ("a a", [[1.0], [1.0]], {"correct": [True, True]}, "identical_text"),
        ("a b", [[1.0, 0.0], [0.0, 1.0]], {}, "rewards_cancel"),
        ("a b", [[1.0, 0.0], [1.0, 5.0]], {"weights": [1.0, 0.0]}, "equal_rewards"),
        ("a b", [[1.0], [1.0]], {"correct": [True, True]}, "all_correct"),
        ("a b", [[0.0], [0.0]], {"correct": [False, False]}, "all_wrong"),
        (
            "a b",
            [[0.0], [0.0]],
            {"correct": [False, False], "truncated": [True, True]},
            "truncated",
        ),
        ("a b", [[0.0], [0.0]], {}, "equal_rewards"),
        ("a b", [[math.nan], [1.0]], {}, None),
    ],
)
def test_a_group_that_cannot_teach_is_diagnosed(group, rewards, more, cause):
    seen = rewarded([group], rewards, **more)
    assert seen.totals is not None
    if math.isnan(rewards[0][0]):
        seen.totals[0] = math.nan
    if "weights" in more:
        seen.totals = seen.rewards @ np.array(more["weights"])
    assert observe(seen).groups["zero_variance"] == [cause]


def test_halves_that_repeat_are_a_seed_bug_and_chance_is_not():
    assert observe(batch(["a b c d a b c d"])).signals["cross_group_dup_frac"] == 1.0
    assert observe(batch(["a b c d d c b a"])).signals["cross_group_dup_frac"] == 0.0
    assert not repeats_in_order(list("aaaaaaaa"))
    assert not repeats_in_order(list("abab"))  # 1 ordering in 3 of two texts twice each
    assert repeats_in_order(list("abcabcabc"))


def test_the_same_prompt_sampled_twice_in_the_same_order_is_a_seed_bug():
    twice = Batch(["p"] * 8, list("abcd") * 2, group_size=4)
    assert observe(twice).signals["cross_group_dup_frac"] == 0.5  # the second of the two groups


def test_one_answer_for_every_prompt():
    assert observe(batch(["a b", "a c"])).signals["cross_prompt_dup_frac"] == 0.5


def test_answers_are_known_again_by_their_text_if_it_is_short():
    (first,), (second,) = (observe(batch([g])).answers for g in ("7 12 7", "12 8 8"))
    assert [len(keys) for keys in first] == [1, 1]  # two classes, one wording each
    assert first[1] == second[0]
    assert second[1] not in first
    assert observe(Batch(["p"] * 2, ["7", "so " * 30], 2)).answers == [None]


def test_answers_are_known_again_by_what_was_extracted_if_anything_was():
    texts = ["so " * 30 + "7", "thus 7", "no idea", "12"]
    seen = Batch(["p"] * 4, texts, 4, classes=[0, 0, 1, 2], answers=["7", "7", None, "12"])
    (group,) = observe(seen).answers
    assert [len(keys) for keys in group] == [1, 1]  # without an answer there is no class


def test_half_a_group_is_refused():
    with pytest.raises(ValueError, match="whole groups"):
        observe(Batch(["p"] * 3, ["a"] * 3, 2))


def test_odd_text_passes_through():
    odd = ["", "\x00", "\u202eabc", "<script>", "🙂" * 3, "\ud800", "x" * 100_000, " "]
    seen = observe(Batch(["p"] * 8, odd, 8))
    assert seen.columns["completion"] == odd
    assert seen.signals["distinct_classes"] >= 6


def test_it_costs_little():
    """Under 1.5 ms for 128 short completions (the bound here is loose: the CPU may be shared)."""
    rng = np.random.default_rng(0)
    texts = [f"{a}+{b}*{c}" for a, b, c in rng.integers(0, 9, (128, 3))]
    right = rng.random(128) < 0.4
    seen = Batch(
        [f"Make {i // 16}: " for i in range(128)],
        texts,
        16,
        right[:, None].astype(float),
        ["accuracy"],
        right.astype(float),
        correct=right.tolist(),
        lengths=[6] * 128,
        truncated=[False] * 128,
    )
    observe(seen)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        observe(seen)
        times.append(time.perf_counter() - start)
    assert min(times) < 5e-3, f"{min(times) * 1e3:.2f} ms"
