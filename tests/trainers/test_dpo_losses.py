"""What divreg does to preference losses, against the same written out pair by pair."""

import functools

import pytest
import torch
from torch.nn.functional import logsigmoid
from trl import DPOTrainer

from divreg import losses

SEPARABLE = ["sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard"]
SEPARABLE += ["apo_zero", "apo_down", "discopop", "sigmoid_norm", "sft"]
WAYS = {
    "plain": {},
    "LoRA": {"lora": True},
    "computed before": {"args": {"precompute_ref_log_probs": True}},
    "length desensitised": {"args": {"ld_alpha": 0.5}},
    "weighted by likelihood": {"args": {"use_weighting": True}},
    "Jensen-Shannon": {"args": {"f_divergence_type": "js_divergence"}},
    "two losses": {"args": {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.3]}},
}


@pytest.fixture
def build(scenarios, tiny_checkpoint, tmp_path):
    """``build(interventions, **scenario)``: a trainer whose policy has left its reference."""

    def go(interventions, **scenario):
        given = {"trainer": "DiverseDPOTrainer", "interventions": interventions, **scenario}
        trainer = scenarios.build(tiny_checkpoint, given, tmp_path / "run")
        drawn = torch.Generator().manual_seed(1)
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data += 0.05 * torch.randn(parameter.shape, generator=drawn)
        return trainer

    return go


def loss_of(trainer, inputs):
    return trainer.compute_loss(trainer.model, dict(inputs))


def pairs(inputs):
    """Every pair of a batch by itself."""
    n = len(inputs["input_ids"]) // 2
    for i in range(n):
        yield {k: v[[i, n + i]] if len(v) == 2 * n else v[[i]] for k, v in inputs.items()}


def explicit(trainer, inputs, alone=DPOTrainer.compute_loss):
    """TRL's loss of every pair times its weight."""
    given = {k: v for k, v in inputs.items() if not k.startswith("divreg")}
    weights = inputs["divreg_pair_weight"].tolist()
    tokens = given["completion_mask"].chunk(2)[0].sum(1)
    types, parts = trainer.loss_types, trainer.loss_weights
    total = 0
    for kind, part in zip(types, parts, strict=True):
        trainer.loss_types, trainer.loss_weights = [kind], [part]
        shares = tokens / tokens.sum() if kind == "sft" else torch.full((4,), 1 / 4)
        for w, share, pair in zip(weights, shares.tolist(), pairs(given), strict=True):
            total = total + w * share * alone(trainer, trainer.model, pair)
    trainer.loss_types, trainer.loss_weights = types, parts
    return total


def close(ours, theirs):
    assert (ours - theirs).norm() <= 2e-6 * theirs.norm() + 1e-8
    assert theirs.norm() > 1e-4


CASES = [("plain", name) for name in SEPARABLE] + [(way, None) for way in WAYS]


@pytest.mark.parametrize(("way", "loss_type"), CASES)
def test_pair_weights_through_the_tap_are_weights_of_the_pairs_losses(
    way, loss_type, build, batch, gradient
):
    args = {"label_smoothing": 0.1, **WAYS[way].get("args", {})}
    if loss_type:
        args["loss_type"] = loss_type
    trainer = build([losses.ddpo], **{**WAYS[way], "args": args})
    inputs = batch(trainer)
    assert inputs["divreg_pair_weight"].min() < inputs["divreg_pair_weight"].max()
    ours = gradient(trainer, loss_of(trainer, inputs))[1]
    close(ours, gradient(trainer, explicit(trainer, inputs))[1])


def scored(model, inputs):
    """Log-probabilities ``(b, t)`` of the answers' tokens, from logits that are all in memory."""
    given = {k: inputs[k] for k in ("input_ids", "attention_mask")}
    l = model(**given, use_cache=False).logits[:, :-1].log_softmax(-1)
    found = l.gather(-1, inputs["input_ids"][:, 1:, None]).squeeze(-1)
    return found * inputs["completion_mask"][:, 1:]


def both(trainer, inputs, tiny_checkpoint):
    """What policy and reference say of the answers ``(b,)`` each."""
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(tiny_checkpoint)
    with torch.no_grad():
        theirs = scored(reference, inputs).sum(1)
    return scored(trainer.model, inputs).sum(1), theirs


def spl_rewards(policy, reference, alpha, beta):
    return (alpha * policy - beta * reference).chunk(2)


SPL = {
    "sigmoid": lambda c, r, n, alpha: -logsigmoid(c - r),
    "hinge": lambda c, r, n, alpha: (1 - (c - r)).clamp(min=0),
    "nca_pair": lambda c, r, n, alpha: -logsigmoid(c) - 0.5 * logsigmoid(-c) - 0.5 * logsigmoid(-r),
    "ipo": lambda c, r, n, alpha: ((c / n[0] - r / n[1]) / alpha - 1 / (2 * alpha)) ** 2,
}


SPLIT = [("plain", name) for name in SPL] + [("LoRA", "sigmoid"), ("computed before", "sigmoid")]


@pytest.mark.parametrize(("way", "loss_type"), SPLIT)
def test_spl_is_what_it_is_written_out(way, loss_type, build, tiny_checkpoint, batch, gradient):
    args = {**WAYS[way].get("args", {}), "loss_type": loss_type, "beta": 0.1}
    args["divreg"] = {"spl": {"alpha": 0.25}}
    trainer = build(None, **{**WAYS[way], "args": args})
    inputs = batch(trainer)
    assert ("ref_chosen_logps" in inputs) == (way == "computed before")
    ours = gradient(trainer, loss_of(trainer, inputs))
    chosen, rejected = spl_rewards(*both(trainer, inputs, tiny_checkpoint), 0.25, 0.1)
    tokens = inputs["completion_mask"].sum(1).chunk(2)
    theirs = gradient(trainer, SPL[loss_type](chosen, rejected, tokens, 0.25).mean())
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert (ours[1] - theirs[1]).norm() <= 1e-5 * theirs[1].norm()
    logged = trainer._metrics["train"]
    assert logged["rewards/chosen"][-1] == pytest.approx(chosen.mean().item(), rel=1e-5)
    assert logged["rewards/rejected"][-1] == pytest.approx(rejected.mean().item(), rel=1e-5)


def test_spl_is_what_is_evaluated_too(build, tiny_checkpoint, batch):
    trainer = build(None, args={"divreg": {"spl": {"alpha": 0.25}}, "beta": 0.1})
    inputs = batch(trainer)
    trainer.model.eval()
    with torch.no_grad():
        ours = loss_of(trainer, inputs).item()
        chosen, rejected = spl_rewards(*both(trainer, inputs, tiny_checkpoint), 0.25, 0.1)
        theirs = -logsigmoid(chosen - rejected).mean().item()
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_weights_leave_evaluation_alone(build, batch):
    trainer, stock = build([losses.ddpo]), build([])
    inputs = batch(trainer)
    plain = {k: v for k, v in inputs.items() if not k.startswith("divreg")}
    for each in (trainer, stock):
        each.model.eval()
    with torch.no_grad():
        assert loss_of(trainer, inputs).item() == loss_of(stock, plain).item()
    precomputed = trainer.compute_ref_log_probs(trainer.ref_model, inputs)
    for ours, theirs in zip(
        precomputed, stock.compute_ref_log_probs(stock.ref_model, plain), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_dorpo_takes_the_place_of_the_loss(build, batch, gradient):
    trainer = build([functools.partial(losses.dorpo, odds=0.4)])
    inputs = batch(trainer)
    ours = gradient(trainer, loss_of(trainer, inputs))
    mean = scored(trainer.model, inputs).sum(1) / inputs["completion_mask"].sum(1)
    odds = torch.log(mean.exp() / (1 - mean.exp()))
    margin = odds[:4] - odds[4:]
    w = inputs["divreg_pair_weight"]
    theirs = gradient(trainer, (-w * mean[:4] - 0.4 * logsigmoid(w * margin)).mean())
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert (ours[1] - theirs[1]).norm() <= 1e-5 * theirs[1].norm()


TERMS = {
    "confidence_penalty": lambda l: 0.1 * (l.exp() * l).sum(-1),
    "label_smoothing": lambda l: -0.1 * l.mean(-1),
}


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("way", ["plain", "LoRA"])
def test_a_term_of_fine_tuning_is_one_of_the_chosen_answers(name, way, build, batch, gradient):
    trainer = build([getattr(losses, name)], **WAYS[way])
    inputs = batch(trainer)
    ours = gradient(trainer, loss_of(trainer, inputs))
    kept = 0.9 if name == "label_smoothing" else 1.0
    chosen = {k: v[:4] for k, v in inputs.items()}
    logits = trainer.model(
        input_ids=chosen["input_ids"], attention_mask=chosen["attention_mask"], use_cache=False
    ).logits[:, :-1]
    mask = chosen["completion_mask"][:, 1:].bool()
    term = TERMS[name](logits.log_softmax(-1))[mask].mean()
    stock = DPOTrainer.compute_loss(trainer, trainer.model, inputs)
    theirs = gradient(trainer, kept * stock + term)
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert (ours[1] - theirs[1]).norm() <= 1e-5 * theirs[1].norm()


def seen(loss, *, ref_logprob, logprob, tokens, pair, chosen, pair_share, over_logits):
    assert ref_logprob.shape == logprob.shape == tokens.shape
    assert pair.tolist() == [0, 1, 2, 3] * 2
    assert chosen.tolist() == [True] * 4 + [False] * 4
    assert pair_share.tolist() == [0.25] * 8
    assert not ref_logprob.requires_grad
    seen.gap = (logprob - ref_logprob).detach().abs().max().item()
    return loss + 0 * over_logits(lambda z: z.logsumexp(-1)).sum()


@pytest.mark.parametrize("way", ["plain", "LoRA"])
def test_a_term_of_ones_own_reads_policy_and_reference(way, build, batch):
    trainer = build([seen], **WAYS[way])
    loss_of(trainer, batch(trainer)).backward()
    assert seen.gap > 1e-3


ADDED = {"confidence_penalty", "confidence_penalty_hinge", "label_smoothing", "sed", "unlikelihood"}
OF_PAIRS = {"ddpo", "dorpo"}


@pytest.mark.parametrize("name", losses.LOSSES)
def test_every_loss_trains_on_pairs_or_is_refused_with_a_cure(name, build, batch, gradient):
    active = {"least": 6.0} if name == "confidence_penalty_hinge" else {}  # on a random model
    chosen = [functools.partial(losses.LOSSES[name], **active)]
    if name not in ADDED | OF_PAIRS:
        with pytest.raises(ValueError, match=r"Use (DiverseSFTTrainer|divreg\.losses\.ddpo)"):
            build(chosen)
        return
    trainer = build(chosen)
    inputs = batch(trainer)
    ours = gradient(trainer, loss_of(trainer, inputs))[1]
    plain = {k: v for k, v in inputs.items() if not k.startswith("divreg")}
    theirs = gradient(trainer, DPOTrainer.compute_loss(trainer, trainer.model, plain))[1]
    assert ours.isfinite().all()
    assert (ours - theirs).norm() > 1e-6
