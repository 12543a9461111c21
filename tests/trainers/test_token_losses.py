"""What a loss does to a real model, against the same loss written out on all logits."""

import functools

import pytest
import torch

from divreg import losses, testing
from divreg.compose import contract
from divreg.losses import LOSSES
from divreg.signals import PAIRED, SIGNALS, _softmax
from divreg.signals.example import derive

ACTIVE = {"sed": {"tau": 0.99}, "confidence_penalty_hinge": {"least": 6.0}}  # on a random model
WAYS = {
    "texts": {},
    "completions": {"completions": True},
    "packed": {"args": {"packing": True}},
    "LoRA": {"lora": True, "args": {"gradient_checkpointing": True}},
    "divreg's head": {"args": {"divreg": {"head": "divreg"}}},
}


@pytest.fixture
def build(scenarios, tiny_checkpoint, tmp_path):
    """``build(interventions, **scenario)``: a trainer, not yet run."""

    def go(interventions, **scenario):
        given = {"trainer": "DiverseSFTTrainer", "interventions": interventions, **scenario}
        return scenarios.build(tiny_checkpoint, given, tmp_path / "run")

    return go


def from_all_logits(trainer, inputs):
    """Every signal of the loss, from logits that are all in memory."""
    given = {k: v for k, v in inputs.items() if k != "labels"}
    logits = trainer.model(**given, use_cache=False).logits[:, :-1]
    labels = inputs["labels"][:, 1:]
    mask = labels != -100
    found = {"logits": logits, "mask": mask, "tokens": labels.clamp(min=0)}
    found["document"] = torch.zeros_like(labels)
    if "position_ids" in inputs:
        found["document"] = (inputs["position_ids"] == 0).long().cumsum(1)[:, 1:]
    found["token_share"] = mask / mask.sum()
    texts = {(i, int(found["document"][i, j])) for i, j in mask.nonzero().tolist()}
    found["text_share"] = mask / len(texts)
    found |= _softmax.of_logits(logits, found["tokens"])
    return found


def explicit(f, trainer, inputs):
    """The loss that ``f`` makes of the cross-entropy, written out."""
    found = from_all_logits(trainer, inputs)
    words = {name: derive(name, found, SIGNALS) for name in contract(f).signals if name in KNOWN}
    words |= {name: v for name, v in found.items() if name in contract(f).signals}
    terms = -found["logprob"] * found["token_share"]
    if contract(f).stage == "token_weights":
        words = {k: v.detach() if isinstance(v, torch.Tensor) else v for k, v in words.items()}
        return (f(torch.ones_like(terms), **words).detach() * terms).sum()
    return f(terms.sum(), **words)


KNOWN = {*SIGNALS, *_softmax.SOURCES}


def close(ours, theirs):
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5, abs=1e-6)
    assert (ours[1] - theirs[1]).norm() <= 1e-5 * theirs[1].norm() + 1e-7
    assert theirs[1].norm() > 1e-4


ELSEWHERE = {*PAIRED, "generated", "continues"}  # of pairs, and of what the model writes
OF_TEXTS = [n for n, f in LOSSES.items() if not ELSEWHERE & set(contract(f).signals)]
KINDS = ("gem", "eaft", "unlikelihood", "label_smoothing", "diffuse")  # of what they ask for
CASES = [
    (name, way)
    for name in OF_TEXTS
    for way in WAYS
    if name not in ("psft", "anchored")  # psft: below; anchored: tests/anchors, with markers
    and (way == "completions" or name in KINDS)
]


@pytest.mark.parametrize(("name", "way"), CASES)
def test_a_loss_is_what_it_is_on_all_logits(name, way, build, batch, gradient):
    f = functools.partial(LOSSES[name], **ACTIVE.get(name, {}))
    trainer = build([f], **WAYS[way])
    inputs = batch(trainer)
    ours = gradient(trainer, trainer.compute_loss(trainer.model, dict(inputs)))
    close(ours, gradient(trainer, explicit(f, trainer, inputs)))


def test_gem_through_the_head_is_gem_written_out(build, batch, gradient):
    trainer = build([functools.partial(losses.gem, beta=0.6)])
    inputs = batch(trainer)
    ours = gradient(trainer, trainer.compute_loss(trainer.model, dict(inputs)))
    found = from_all_logits(trainer, inputs)
    q = (found["logits"] / 0.6).softmax(-1).detach()
    l = found["logits"].log_softmax(-1)
    chosen = l.gather(-1, found["tokens"].unsqueeze(-1))
    value = -(q * (chosen - l)).sum(-1) * found["token_share"]
    expected = gradient(trainer, value.sum())
    close(ours, expected)
    torch.testing.assert_close(ours[1], expected[1], rtol=0, atol=1e-6)


def test_psft_is_ppos_objective_against_the_policy_of_the_last_refresh(build):
    seen = []

    def spy(loss, *, logprob, old_logprob, mask):
        seen.append((logprob.detach(), old_logprob, mask))
        return loss

    trainer = build(
        [losses.psft, spy], signals={"old_logprob": {"every": 2}}, args={"max_steps": 4}
    )
    seen.clear()
    trainer.train()
    moved = [((new - old) * mask).abs().max().item() for new, old, mask in seen]
    assert max(moved[0], moved[2]) < 1e-6 < min(moved[1], moved[3])
    logged = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    for loss, (new, old, mask) in zip(logged, seen, strict=True):
        ratio = (new - old).exp().clamp(max=1.28)
        assert loss == pytest.approx(-ratio[mask].mean().item(), rel=1e-4)


def test_a_run_says_which_loss_it_logs_and_logs_the_cross_entropy_beside_it(build, caplog):
    stock = build([], args={"max_steps": 1})
    stock.train()
    with caplog.at_level("WARNING", logger="divreg"):
        trainer = build([losses.gem, losses.confidence_penalty], args={"max_steps": 1})
    assert "gem(beta=0.7), confidence_penalty(strength=0.1). The logged loss is what" in caplog.text
    trainer.train()
    trainer.evaluate()
    plain, row, held_out = stock.state.log_history[0], *trainer.state.log_history[::2]
    assert row["diversity/ce_nats"] == pytest.approx(plain["loss"], rel=1e-5)
    assert row["entropy"] == plain["entropy"]
    assert row["loss"] < row["diversity/ce_nats"] - 1
    assert row["diversity/gem_mean_change"] > 0
    assert held_out["eval_loss"] == pytest.approx(row["diversity/ce_nats"], rel=0.2)


def test_weights_make_the_logged_loss_the_weighted_one(build):
    def half(token_weights, *, share=0.5):
        return token_weights * share

    trainer = build([half], args={"max_steps": 1})
    trainer.train()
    row = trainer.state.log_history[0]
    assert row["loss"] == pytest.approx(row["diversity/ce_nats"] / 2, rel=1e-5)


def test_a_function_of_ones_own_sees_all_logits_and_obeys_the_laws(build, batch, gradient):
    def least_likely(loss, *, over_logits, token_share, strength=0.1):
        least = over_logits(lambda logits: logits.log_softmax(-1).amin(-1))
        return loss - strength * (least * token_share).sum()

    testing.check_method(least_likely, examples=5)
    trainer = build([least_likely])
    inputs = batch(trainer)
    ours = gradient(trainer, trainer.compute_loss(trainer.model, dict(inputs)))
    close(ours, gradient(trainer, explicit(least_likely, trainer, inputs)))


def test_a_function_of_the_wrong_shape_is_told_so(build):
    def whole(loss, *, over_logits, token_share):
        return loss + (over_logits(lambda logits: logits) * token_share).sum()

    with pytest.raises(ValueError, match=r"from logits \(n, v\) to \(n,\).*\.sum\(-1\)"):
        build([whole])
