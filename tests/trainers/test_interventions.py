"""What each stage does to TRL's training, against the same thing written out by hand."""

import functools
import json

import pytest
import torch

from divreg import Linear, Stateful, methods, scheduled
from divreg.compose import contract

CONFIG = {
    "max_steps": 1,
    "logging_steps": 1,
    "per_device_train_batch_size": 8,
    "num_generations": 4,
    "learning_rate": 1e-3,
}


@pytest.fixture
def build(scenarios, tiny_checkpoint, tmp_path):
    """``build(interventions, trainer=..., signals=..., **args)``: a trainer, not yet run."""

    def go(interventions, name="DiverseGRPOTrainer", signals=None, rewards=("parity",), **args):
        import divreg

        scenario = {"trainer": name, "args": {**CONFIG, **args}, "rewards": list(rewards)}
        original = scenarios.interventions
        scenarios.interventions = lambda _: (interventions, signals)
        try:
            return scenarios.build(tiny_checkpoint, scenario, tmp_path / "run")
        finally:
            scenarios.interventions = original
            assert divreg.__version__

    return go


def gradient(trainer, inputs):
    """The gradient of the trainer's loss on one micro-batch, as one vector."""
    trainer.model.train()
    trainer.model.zero_grad()
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    parts = [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
    return loss.detach(), torch.cat(parts)


def rollout(trainer):
    """One buffered micro-batch of a fresh rollout."""
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    return trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))


def close(a, b, rtol=1e-4):
    torch.testing.assert_close(a, b, rtol=rtol, atol=1e-7)


def halve_wrong(token_weights, *, advantages, share=0.5):
    return torch.where(advantages < 0, token_weights * share, token_weights)


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "dr_grpo", "cispo", "sapo", "vespo"])
def test_token_weights_are_weights_of_the_advantages(loss_type, build):
    ours = build([halve_wrong], loss_type=loss_type)
    inputs = rollout(ours)
    loss, weighted = gradient(ours, inputs)
    assert inputs["advantages"].dim() == 1, "the buffered rollout stays as it is"
    stock = build(None, name="GRPOTrainer", loss_type=loss_type)
    advantages = inputs["advantages"]
    explicit = torch.where(advantages < 0, advantages * 0.5, advantages)
    expected_loss, expected = gradient(stock, {**inputs, "advantages": explicit})
    close(weighted, expected)
    close(loss, expected_loss)


def uneven(token_weights, *, mask):
    places = torch.arange(token_weights.shape[1])
    return token_weights * torch.where(places % 2 == 0, 0.25, 1.5) * mask


def test_token_weights_leave_the_kl_alone(build):
    ours = build([uneven], beta=0.2)
    inputs = rollout(ours)
    _, weighted = gradient(ours, inputs)
    per_token = inputs["advantages"][:, None] * uneven(
        torch.ones(inputs["completion_ids"].shape), mask=inputs["completion_mask"].bool()
    )
    stock = build(None, name="GRPOTrainer", beta=0.2)
    _, expected = gradient(stock, {**inputs, "advantages": per_token})
    close(weighted, expected)


def test_rloo_weighs_tokens_through_the_gradient(build):
    ours = build([uneven], name="DiverseRLOOTrainer")
    inputs = rollout(ours)
    _, weighted = gradient(ours, inputs)

    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    width = inputs["completion_ids"].shape[1]
    ours.model.zero_grad()
    logps = ours._get_per_token_logps_and_entropies(ours.model, ids, attention, width)[0]
    mask = inputs["completion_mask"]
    weights = uneven(torch.ones(mask.shape), mask=mask.bool())
    # On-policy the ratio is 1, so the gradient of -A * exp(sum w (lp - old)) is the weighted one.
    per_row = torch.exp(((logps - logps.detach()) * weights * mask).sum(1)) * inputs["advantages"]
    (-per_row.mean()).backward()
    parts = [p.grad.flatten() for p in ours.model.parameters() if p.grad is not None]
    close(weighted, torch.cat(parts))


def bonus(loss, *, entropy, mask, strength=0.1):
    return loss - strength * (entropy * mask).sum() / mask.sum().clamp(min=1)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_loss_term_equals_trls_entropy_bonus(accumulation, build):
    args = {"gradient_accumulation_steps": accumulation}
    ours = build([bonus], **args)
    inputs = rollout(ours)
    _, with_bonus = gradient(ours, inputs)
    stock = build(None, name="GRPOTrainer", entropy_coef=0.1, **args)
    _, expected = gradient(stock, inputs)
    close(with_bonus, expected)


def test_rewards_change_before_and_advantages_after_normalisation(build):
    def double(rewards, *, factor=2.0):
        return rewards * factor

    def shift(advantages, *, by=0.25):
        return advantages + by

    ours = build([double, shift], scale_rewards="none")
    inputs = rollout(ours)
    stock = build(None, name="GRPOTrainer", scale_rewards="none")
    plain = rollout(stock)
    assert torch.equal(inputs["completion_ids"], plain["completion_ids"])
    close(inputs["advantages"], 2 * plain["advantages"] + 0.25)
    assert "divreg" not in stock.reward_func_names
    assert ours.reward_func_names[-1] == "divreg"


def test_advantages_may_be_given_per_token(build):
    def early(advantages, *, mask):
        places = torch.arange(mask.shape[-1])
        return advantages[..., None] * torch.where(places < 3, 1.0, 0.5)

    trainer = build([early])
    trainer.train()
    assert rollout(trainer)["advantages"].dim() == 2
    with pytest.raises(ValueError, match="one advantage per token"):
        build([early], name="DiverseRLOOTrainer")


@pytest.mark.parametrize("name", ["DiverseGRPOTrainer", "DiverseRLOOTrainer"])
@pytest.mark.parametrize("iterations", [1, 2])
def test_rollout_logprobs_are_trls_old_ones(name, iterations, build):
    seen = {}

    def look(advantages, *, logprob, entropy, mask):
        seen.update(logprob=logprob, entropy=entropy, mask=mask)
        return advantages

    def look_at_prompts(advantages, *, logprob, prompt_logprob, prompt_mask):
        seen.update(ours=logprob, prompt=prompt_logprob, prompt_mask=prompt_mask)
        return advantages

    trainer = build([look], name=name, num_iterations=iterations)
    inputs = rollout(trainer)
    one_forward = build([look_at_prompts], name=name, num_iterations=iterations)
    rollout(one_forward)
    flat = (seen["logprob"] * seen["mask"]).flatten(0, 1)
    close(flat, (seen["ours"] * seen["mask"]).flatten(0, 1))
    assert seen["prompt_mask"].sum(-1).min() > 3
    assert (seen["prompt"][seen["prompt_mask"]] < 0).all()
    if "old_per_token_logps" in inputs:
        expected = inputs["old_per_token_logps"] * inputs["completion_mask"]
        close(flat.sum(1).sort().values, expected.sum(1).sort().values)


@pytest.mark.parametrize("name", ["DiverseGRPOTrainer", "DiverseRLOOTrainer"])
def test_old_logprobs_of_tokens_stay_those_of_the_sampling_policy(name, build):
    seen = []

    def look(loss, *, old_logprob, logratio, mask):
        seen.append(((old_logprob * mask).sum(1), (logratio * mask).abs().max().item()))
        return loss

    trainer = build([look], name=name, num_iterations=2)
    inputs = rollout(trainer)
    gradient(trainer, inputs)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    gradient(trainer, inputs)
    if name == "DiverseRLOOTrainer":
        expected = inputs["old_logps"]
    else:
        expected = (inputs["old_per_token_logps"] * inputs["completion_mask"]).sum(1)
    (first, still), (second, moved) = seen[-2:]
    close(first, expected)
    close(second, expected)
    assert still < 1e-4 < moved


def test_signals_of_completions_travel_with_their_row(build):
    def by_length(rewards, *, lengths):
        return rewards + 0 * lengths

    def check(token_weights, *, lengths, partition, correct, mask):
        assert torch.equal(lengths, mask.sum(1))
        assert partition.shape == correct.shape == lengths.shape
        return token_weights * torch.where(correct, 1.0, 0.5)[:, None]

    trainer = build([by_length, check], steps_per_generation=2, gradient_accumulation_steps=2)
    trainer.train()


def test_flowrl_takes_the_place_of_the_loss(build):
    """From what TRL sends with the rows; the groups, which it shuffled, are found by their Z."""
    trainer = build([methods.flowrl], beta=0.1, steps_per_generation=2)
    move(trainer)  # away from the reference
    inputs = rollout(trainer)
    move(trainer)  # and away from what sampled
    loss, ours = gradient(trainer, inputs)

    mask = inputs["completion_mask"]
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    attention = torch.cat([inputs["prompt_mask"], mask], 1)
    trainer.model.zero_grad()
    score = trainer._get_per_token_logps_and_entropies
    logps = score(trainer.model, ids, attention, mask.shape[1])[0]

    def mean(x):
        return (x * mask).sum(1) / mask.sum(1)

    old, ref = inputs["old_per_token_logps"], inputs["ref_per_token_logps"]
    log_z = inputs["divreg_log_z"]
    residual = log_z + mean(logps) - 15 * inputs["advantages"] - mean(ref)
    weight = torch.exp(((logps - old) * mask).sum(1)).clamp(0.8, 1.2).detach()
    expected = (weight * residual**2).mean()
    expected.backward()
    parts = [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
    close(loss, expected.detach())
    assert (ours - torch.cat(parts)).norm() < 1e-5 * ours.norm()

    batches = trainer._buffered_inputs
    found, gaps = (
        torch.cat([b["divreg_log_z"] for b in batches]),
        torch.cat([gap(b) for b in batches]),
    )
    for z in found.unique():
        assert (found == z).sum() == 4
        torch.testing.assert_close(gaps[found == z].mean(), z, rtol=1e-3, atol=1e-6)


def test_flowrl_with_lora_has_the_model_without_its_adapter_as_reference(train):
    flow = {"interventions": ["flowrl"], "rows": ["log_z"], "args": {"beta": 0.001}}
    first, *_, last = train("DiverseGRPOTrainer", lora=True, **flow)["rows"][0]
    assert max(map(abs, first["log_z"])) < 1e-6  # a new adapter changes nothing
    assert max(map(abs, last["log_z"])) > 1e-6


def move(trainer):
    """Change every weight a little."""
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))


def gap(rows):
    """Mean over each row's tokens of reference minus sampling policy."""
    mask = rows["completion_mask"]
    gaps = rows["ref_per_token_logps"] - rows["old_per_token_logps"]
    return (gaps * mask).sum(1) / mask.sum(1)


def test_memory_continues_after_a_resume(build, tmp_path):
    def counting() -> Stateful:
        def update(advantages, state, *, prompt_id):
            seen = {**state["seen"]}
            for name in prompt_id:
                seen[name] = seen.get(name, 0) + 1
            return advantages, {"seen": seen}

        return Stateful(lambda: {"seen": {}}, update, "counting")

    args = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    whole = build([counting], **args)
    whole.train()
    first = json.loads((tmp_path / "run" / "checkpoint-2" / "divreg_state.json").read_text())
    assert sum(first["methods"]["counting"]["seen"].values()) == 4
    resumed = build([counting], **args)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    assert resumed.pipeline.state_dict() == whole.pipeline.state_dict()
    resumed.evaluate()
    assert resumed.pipeline.state_dict() == whole.pipeline.state_dict(), "evaluation only reads"


def test_a_schedule_follows_the_optimizer_step(build):
    def scale(rewards, *, factor=1.0):
        return rewards * factor

    trainer = build([scheduled(scale, factor=Linear(1.0, 3.0, 2))], max_steps=3)
    trainer.train()
    changes = [
        row["diversity/scale_mean_change"]
        for row in trainer.state.log_history
        if "diversity/scale_mean_change" in row
    ]
    rewards = [row["rewards/parity/mean"] for row in trainer.state.log_history if "loss" in row]
    close(torch.tensor(changes), torch.tensor(rewards) * torch.tensor([0.0, 1.0, 2.0]))
    assert trainer.pipeline.strengthen(1.5) == 1.5
    assert contract(trainer.pipeline.methods["scale"]).stage == "rewards"


def test_unscorable_completions_stay_unscorable(build, scenarios):
    def sometimes(completions, **kwargs):
        return [None if i % 4 == 0 else 1.0 * (i % 2) for i, _ in enumerate(completions)]

    scenarios.sometimes = sometimes
    trainer = build(
        [functools.partial(lambda rewards, *, a=2.0: rewards * a)], rewards=["sometimes"]
    )
    advantages = rollout(trainer)["advantages"]
    assert torch.isfinite(advantages).all()
    assert (advantages == 0).sum() >= 2


def count_forwards(trainer):
    """Count the rows that the model scores through the fused head while a rollout is made."""
    rows = []

    def hook(module, args, kwargs, output):
        if kwargs.get("fused_lm_head"):
            rows.append(len(output.log_probs))

    trainer.model.register_forward_hook(hook, with_kwargs=True)
    rollout(trainer)
    return sum(rows)


def test_rollouts_are_scored_once_however_many_ask_and_not_where_trl_has_scores(build):
    def a(rewards, *, logprob, prompt_logprob):
        return rewards

    def b(advantages, *, logprob, entropy, prompt_logprob):
        return advantages

    def c(advantages, *, logprob, entropy):
        return advantages

    assert count_forwards(build([])) == 0
    assert count_forwards(build([a, b, c])) == 8
    assert count_forwards(build([c])) == 8
    stock = count_forwards(build(None, name="GRPOTrainer", num_iterations=2))
    assert count_forwards(build([c], num_iterations=2)) == stock == 8
    assert count_forwards(build([c], name="DiverseRLOOTrainer")) == 8


def test_an_extractor_that_asks_for_the_prompt_is_told_it(build):
    from divreg import signals

    seen, told = [], []

    def extract(text, *, prompt):
        told.append((prompt, text))
        return f"{prompt}{text[:1]}"

    def look(rewards, *, answer, prompts, texts):
        seen.append((answer, prompts, texts))
        return rewards

    trainer = build([look], signals={"answer": extract, "partition": signals.by_answer})
    rollout(trainer)
    (answers, prompts, texts) = seen[-1]
    assert set(told) >= {(p, t) for p, row in zip(prompts, texts, strict=True) for t in row}
    assert answers == [[f"{p}{t[:1]}" for t in row] for p, row in zip(prompts, texts, strict=True)]
