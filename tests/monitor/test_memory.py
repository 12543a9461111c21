"""What is remembered across steps: answers of a prompt, and the formats of the first steps."""

import json
import math
import random
import time

import pytest

from divreg.metrics.format_shares import ECHO_CHAMBER
from divreg.monitor.memory import MOST_FORMATS, Explored, Memory
from divreg.monitor.observe import Batch, merged, observe


def step(memory, groups, **more):
    """Let the memory study one rollout; a group is words, after the name of its prompt."""
    words = [group.split() for group in groups]
    prompts = [w[0] for w in words for _ in w[1:]]
    texts = [t.replace("_", " ") for w in words for t in w[1:]]
    seen = observe(Batch(prompts, texts, len(words[0]) - 1, **more))
    memory.study(seen)
    return seen


def exploration(seen):
    names = ("new_answers", "new_answers_frac", "explored_answers")
    return tuple(seen.signals[name] for name in names)


def test_three_steps_counted_by_hand():
    memory = Memory()
    assert exploration(step(memory, ["p 1 2 2 3", "q 1 1 1 1"])) == (2.0, 1.0, 2.0)  # 3 and 1
    again = step(memory, ["p 1 2 3 3", "q 1 1 4 5"])  # nothing new; two new
    assert exploration(again) == (1.0, 0.5, 3.0)
    assert again.groups["explored"] == [3, 3]
    assert exploration(step(memory, ["r 7 7 7 8"])) == (2.0, 1.0, 8 / 3)  # a mean over p, q and r


def test_two_groups_of_one_prompt_find_an_answer_once():
    seen = step(Memory(), ["p 1 2", "p 2 3"])
    assert exploration(seen) == (3.0, 1.0, 3.0)
    assert seen.groups["explored"] == [3, 3]


def test_rollouts_of_one_step_are_counted_together():
    memory = Memory()
    parts = [
        observe(Batch([p] * 2, texts, 2)) for p, texts in (("p", ["1", "2"]), ("q", ["1"] * 2))
    ]
    whole = merged(parts)
    memory.study(whole)
    assert whole.groups["explored"] == [2, 1]


def test_a_class_is_new_only_if_none_of_its_wordings_was_said():
    memory = Memory()
    step(memory, ["p 1/2 3/4"])
    assert exploration(step(memory, ["p 2/4 1/2"], classes=[0, 0])) == (0.0, 0.0, 2.0)
    assert exploration(step(memory, ["p 2/4 7"])) == (1.0, 1.0, 3.0)  # 2/4 is known by now


def test_what_cannot_be_compared_is_absent():
    long = "so_" * 30
    seen = step(Memory(), [f"p {long}1 {long}2"])
    assert not {"new_answers", "explored_answers"} & set(seen.signals)
    assert "explored" not in seen.groups
    half = step(Memory(), [f"p {long}1 2", "q 1 2"])
    assert exploration(half) == (2.0, 1.0, 2.0)
    assert half.groups["explored"] == [None, 2]
    named = step(Memory(), [f"p {long}1 {long}2"], answers=["1", "2"], classes=[0, 1])
    assert exploration(named) == (2.0, 1.0, 2.0)
    silent = step(Memory(), ["p 1 2"], answers=[None, None], classes=[0, 1])
    assert exploration(silent) == (0.0, 0.0, 0.0)


def test_going_on_from_a_checkpoint_is_never_having_stopped():
    rng = random.Random(0)
    steps = [
        [f"{p} " + " ".join(str(rng.randint(0, 9)) for _ in range(4)) for p in "pqr"]
        for _ in range(8)
    ]
    whole, first = Memory(True, 3), Memory(True, 3)
    for groups in steps[:4]:
        step(whole, groups), step(first, groups)
    second = Memory(True, 3)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for groups in steps[4:]:
        assert step(whole, groups).signals == step(second, groups).signals
    assert whole.state_dict() == second.state_dict()


def test_beyond_its_bound_the_prompts_with_the_smallest_ids_stay_and_are_exact():
    rng = random.Random(1)
    ids = [f"{i:08x}" for i in rng.sample(range(16**8), 40)]
    small, large = Explored(most=60), Explored()
    for _ in range(30):
        chosen = rng.sample(ids, 5)
        answers = [[[f"{rng.randint(0, 5):08x}"] for _ in range(2)] for _ in chosen]
        small.add(chosen, answers), large.add(chosen, answers)
        assert small.size == len(small.said) + sum(map(len, small.said.values())) <= 60
    kept = sorted(small.counts)
    assert 0 < len(kept) < 40
    assert kept == sorted(ids)[: len(kept)]  # of all that were ever seen
    assert {p: large.counts[p] for p in kept} == small.counts
    assert small.of([max(ids)]) == [None]
    assert small.add([max(ids)], [[["00000000"]]]) == {}


def test_a_full_memory_fits_a_checkpoint_and_costs_little():
    explored = Explored()
    for start in range(0, 8192, 64):
        ids = [f"{i * 524287 % 16**8:08x}" for i in range(start, start + 64)]
        explored.add(ids, [[[f"{j:08x}"] for j in range(16)] for _ in ids])
    assert explored.size <= explored.most
    assert len(json.dumps(explored.state_dict())) < 1_000_000
    times = []
    for _ in range(10):
        began = time.perf_counter()
        explored.add(ids, [[[f"{j:08x}"] for j in range(16)] for _ in ids])
        times.append(time.perf_counter() - began)
    assert min(times) < 5e-3, f"{min(times) * 1e3:.2f} ms"


def test_without_formats_nobody_looks():
    for nothing in (None, False):
        memory = Memory(nothing)
        assert not [n for n in step(memory, ["p 1 2"]).signals if n.startswith("format")]
        assert memory.describe_formats() is None


def test_formats_of_a_step_and_their_drift_from_the_first_two():
    memory = Memory(True, baseline_steps=2)
    assert memory.describe_formats() == ECHO_CHAMBER
    first = step(memory, ["p def_f 7 8 9"], correct=[True, False, True, None]).signals
    assert first["format_share_def"] == 0.25
    assert first["format_share_text"] == 0.75
    assert first["format_share_llm-code"] == 0.0
    assert first["format_top_frac"] == 0.75
    assert first["format_accuracy_def"] == 1.0
    assert first["format_accuracy_text"] == 0.5
    assert "format_accuracy_llm-code" not in first
    even = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)) / math.log(3)
    assert first["format_entropy_frac"] == pytest.approx(even)
    assert "format_kl_nats" not in first
    step(memory, ["p def_f 7 8 9"])
    third = step(memory, ["p def_f def_g def_h def_i"]).signals
    base = (2 + 0.5) / (8 + 1.5)  # 2 of 8 completions, three formats
    assert third["format_kl_nats"] == pytest.approx(-math.log(base))
    assert memory.formats is not None
    assert memory.formats.base == {"def": 2, "text": 6}


def test_an_evaluation_is_measured_and_not_remembered():
    memory = Memory({"number": r"^\d+$"}, baseline_steps=2)
    seen = observe(Batch(["p"] * 2, ["7", "seven"], 2))
    before = memory.state_dict()
    memory.glance(seen)
    assert seen.signals["format_share_number"] == 0.5
    assert "new_answers" not in seen.signals
    assert memory.state_dict() == before


def test_formats_of_a_function_are_those_seen_so_far_and_at_most_sixteen():
    memory = Memory(lambda text: f"f{text}")
    step(memory, ["p 1 2"])
    later = step(memory, ["p 2 3"]).signals
    assert [later[f"format_share_f{i}"] for i in (1, 2, 3)] == [0.0, 0.5, 0.5]
    many = step(memory, ["p " + " ".join(map(str, range(40)))]).signals
    shares = {k: v for k, v in many.items() if k.startswith("format_share_")}
    assert len(shares) == MOST_FORMATS
    assert shares["format_share_other"] == 25 / 40
    assert sum(shares.values()) == pytest.approx(1)


def test_other_formats_after_a_resume_start_anew():
    memory, other = Memory({"a": "a"}, 1), Memory({"b": "b"}, 1)
    step(memory, ["p a b"])
    other.load_state_dict(memory.state_dict())
    assert other.formats is not None
    assert other.formats.updates == 0
    assert other.explored.counts == memory.explored.counts
