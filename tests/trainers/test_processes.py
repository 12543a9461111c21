"""Two gloo processes whose groups lie across both: whole groups, and the same numbers."""

import pytest
import torch

from divreg import methods, signals
from divreg.compose import contract

SPLIT = {"per_device_train_batch_size": 2, "num_generations": 4}
STAGES = [
    ("GRPO", ["darling", "progrpo", "outcome_exploration", "steer", "entropy_bonus"], {}),
    ("RLOO", ["rarity", "progrpo", "outcome_exploration", "steer", "entropy_bonus"], {}),
    ("GRPO", ["flowrl"], {"beta": 0.001}),
    ("GRPO", ["steer_exact", "entropy_bonus"], {"divreg": {"head": "divreg"}}),
]


@pytest.fixture(scope="module")
def two(launch):
    """Rollouts of two processes with darling on, groups of four, two rows a process and step."""
    scenario = {"interventions": ["darling"], "record": True}
    return [
        launch([{"trainer": "DiverseGRPOTrainer", "args": {**SPLIT, **more}, **scenario}])[0]
        for more in ({}, {"scale_rewards": "none", "gradient_accumulation_steps": 2})
    ]


@pytest.mark.parametrize("scaled", [True, False])
def test_groups_across_processes_get_the_advantages_of_one_process(two, scaled, scenarios):
    result = two[0] if scaled else two[1]
    assert result["world"] == 2
    assert len(result["rollouts"]) == 3
    for rollout in result["rollouts"]:
        texts = [rollout["texts"][i : i + 4] for i in range(0, len(rollout["texts"]), 4)]
        rewards = torch.tensor(rollout["rewards"]).view(-1, 4)
        answers = [[scenarios.answer(t) for t in group] for group in texts]
        adjusted = methods.darling(rewards, partition=signals.by_answer(answer=answers))
        expected = adjusted - adjusted.mean(1, keepdim=True)
        if scaled:
            expected = expected / (adjusted.std(1, keepdim=True) + 1e-4)
        found = torch.tensor(rollout["advantages"]).view(-1, 4)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


GROUPED = [
    *("rarity", "ips", "gapo", "dra", "mmr", "dqo", "evol_rl", "evol_rl_correct"),
    *("uniqueness", "pass_at_k", "f_grpo", "outcome_exploration_batch"),
]


@pytest.fixture(scope="module")
def grouped(launch):
    """Rollouts of two processes for every method that compares the completions of a group."""
    common = {"trainer": "DiverseGRPOTrainer", "args": SPLIT, "record": True}
    results = launch([{**common, "interventions": [name]} for name in GROUPED])
    return dict(zip(GROUPED, results, strict=True))


@pytest.mark.parametrize("name", GROUPED)
def test_a_method_sees_whole_groups_wherever_their_rows_are(name, grouped, scenarios):
    """The advantages of two processes are what the method gives for the group written out."""
    method, result = getattr(methods, name), grouped[name]
    known = contract(method)
    for rollout in result["rollouts"]:
        rewards = torch.tensor(rollout["rewards"]).view(-1, 4)
        rows = [rollout["texts"][i : i + 4] for i in range(0, len(rollout["texts"]), 4)]
        given = {
            "answer": [[scenarios.answer(t) for t in group] for group in rows],
            "similarity": signals.similarity(
                embedding=torch.stack([scenarios.letters(group) for group in rows])
            ),
        }
        given["correct"] = rewards == 1
        given["partition"] = signals.by_answer(answer=given["answer"])
        words = {signal: given[signal] for signal in known.signals}
        expected = method(rewards, **words) if known.stage == "rewards" else rewards
        centred = expected - expected.mean(1, keepdim=True)
        expected = centred / (expected.std(1, keepdim=True) + 1e-4)
        if known.stage == "advantages":
            expected = method(expected, **words)
        found = torch.tensor(rollout["advantages"]).view(-1, 4)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


WEIGHTED = {
    "steer": ["advantages", "logprob", "old_logprob", "entropy", "mask"],
    "steer_exp": ["advantages", "logprob", "old_logprob", "entropy", "mask"],
    "clip_cov": ["advantages", "logprob", "mask"],
}
SURE = {"clip_cov": {"low": 0.0, "share": 0.2}}  # so that it draws something on a random model


@pytest.fixture(scope="module")
def weighted(launch):
    """Micro-batches of two processes for every method that weighs tokens by global statistics."""
    common = {"trainer": "DiverseGRPOTrainer", "args": {**SPLIT, "num_iterations": 2}}
    results = launch(
        [
            {**common, "interventions": [{name: SURE.get(name, {})}], "rows": WEIGHTED[name]}
            for name in WEIGHTED
        ]
    )
    return dict(zip(WEIGHTED, results, strict=True))


@pytest.mark.parametrize("name", WEIGHTED)
def test_token_weights_are_decided_for_the_rows_of_all_processes(name, weighted):
    """Each process's weights are its rows of what the method gives for all rows at once."""
    spread = []
    for first, second in zip(*weighted[name]["rows"], strict=True):
        width = max(len(first["mask"][0]), len(second["mask"][0]))
        rows = {
            key: torch.cat([_wide(first[key], width), _wide(second[key], width)])
            for key in (*WEIGHTED[name], "weights")
        }
        mask = rows.pop("mask").bool()
        found = rows.pop("weights")
        expected = getattr(methods, name)(
            torch.ones(mask.shape), **rows, mask=mask, **SURE.get(name, {})
        )
        torch.testing.assert_close(found[mask], expected[mask], rtol=1e-5, atol=1e-6)
        spread.append(float(found[mask].max() - found[mask].min()))
    assert max(spread) > 0


def _wide(rows, width):
    rows = torch.tensor(rows).float()
    return torch.nn.functional.pad(rows, (0, width - rows.shape[1]))


def test_log_z_is_that_of_the_group_wherever_its_rows_are(launch):
    flow = {"interventions": ["flowrl"], "rows": ["log_z"], "args": {**SPLIT, "beta": 0.001}}
    (result,) = launch([{"trainer": "DiverseGRPOTrainer", **flow}])
    first, second = ([rows["log_z"] for rows in kept] for kept in result["rows"])
    assert first == second
    for rows in first:
        assert len(set(rows)) == 1
    assert abs(first[-1][0]) > 0  # the policy has left the reference


@pytest.fixture(scope="module")
def every_stage():
    """One scenario per trainer with an intervention at every stage, and one with a reference."""
    common = {"rewards": ["variety"], "correct": {"reward": "variety", "at_least": 0.4}}
    return [
        {
            "trainer": f"Diverse{name}Trainer",
            "interventions": chosen,
            "args": {**SPLIT, "num_iterations": 2, "max_steps": 4, **more},
            "by_path": True,
            **common,
        }
        for name, chosen, more in STAGES
    ]


@pytest.fixture(scope="module")
def plain(launch, every_stage):
    """Those scenarios on two plain processes."""
    return launch(every_stage)


def numbers(result):
    """Loss and gradient norm of every logged step."""
    return torch.tensor([[r["loss"], r["grad_norm"]] for r in result["logs"] if "loss" in r])


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_gives_the_losses_of_two_plain_processes(
    stage, launch, every_stage, plain, deepspeed_launcher
):
    args = {"use_cpu": False, "ddp_backend": "gloo"}
    listed = [{**s, "args": {**s["args"], **args}} for s in every_stage]
    sharded = launch(listed, deepspeed_launcher(stage))
    for ours, reference in zip(sharded, plain, strict=True):
        assert ours["world"] == reference["world"] == 2
        assert ours["deepspeed_stage"] == stage
        assert ours["sharded"] == (stage == 3)
        torch.testing.assert_close(numbers(ours), numbers(reference), rtol=1e-4, atol=1e-5)
        assert numbers(reference)[:, 1].min() > 0
