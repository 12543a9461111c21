"""What preference pairs cannot do is refused when the trainer is built, with a cure."""

import functools

import pytest

from divreg import losses, methods


@pytest.fixture
def build(scenarios, tiny_checkpoint, tmp_path):
    """``build(interventions, signals, data, **args)``: a DPO trainer."""

    def go(interventions, signals=None, data=None, lora=False, **args):
        given = {"trainer": "DiverseDPOTrainer", "interventions": interventions, "args": args}
        given |= {"signals": signals, "data": data, "lora": lora}
        return scenarios.build(tiny_checkpoint, given, tmp_path / "run")

    return go


def reads_the_reference(loss, *, ref_logprob):
    return loss


def weighs_the_reference(token_weights, *, ref_logprob):
    return token_weights


def by_row(token_weights, *, mean_entropy):
    return token_weights * mean_entropy[:, None]


def unknown(loss, *, pair_wieght):
    return loss


def spread(loss, *, varentropy):
    return loss


FOLLOWED = {"probe_prompts": ["What is "], "indicators": {"k": 5}}
DDPO, SPL = {"interventions": ["ddpo"]}, {"spl": {"alpha": 0.2}}
REFUSED = {
    "a stage of rollouts": ([methods.darling], {}, r"darling changes rewards.*Use DiverseGRPO"),
    "a signal of rollouts": ([methods.flowrl], {}, r"comes from rollouts\. Use DiverseGRPO"),
    "a signal nobody computes": ([unknown], {}, r"Did you mean 'pair_weight'\?"),
    "weights of tokens": ([losses.eaft], {}, r"DPO weighs whole pairs; got eaft.*losses\.ddpo"),
    "weights of one answer": ([by_row], {}, r"DPO weighs whole pairs; got by_row"),
    "pairs that are sorted": (
        [losses.ddpo],
        {"loss_type": ["sigmoid", "aot"]},
        r"loss_type='aot', which sorts.*Use loss_type=\"sigmoid\"",
    ),
    "pairs that are sorted alone": (
        [losses.ddpo],
        {"loss_type": "aot_unpaired"},
        r"Use loss_type=\"sigmoid\", or any other than aot and aot_unpaired",
    ),
    "a loss of texts": ([losses.gem], {}, r"gem takes the place.*or divreg\.losses\.dorpo"),
    "shares of texts": ([losses.diffuse], {}, r"only fine-tuning on texts has"),
    "an old policy": ([losses.psft], {}, r"only fine-tuning on texts has"),
    "weights that would be lost": (
        [losses.ddpo, losses.dorpo],
        {},
        r"dorpo takes the place of the loss; got ddpo too, which would be lost",
    ),
    "a term that would be lost": (
        [losses.confidence_penalty, losses.dorpo],
        {},
        r"got confidence_penalty too.*put dorpo first",
    ),
    "a split that would be lost": ([losses.dorpo], {"divreg": SPL}, r"got spl too"),
    "a reference that is not kept": (
        [reads_the_reference],
        {"precompute_ref_log_probs": True},
        r"keeps sums only\. Use precompute_ref_log_probs=False",
    ),
    "a reference that comes later": ([weighs_the_reference], {}, r"a method of the loss stage"),
    "a statistic of divreg's head": ([spread], {}, r"Use a loss without it"),
    "divreg's head": (None, {"divreg": {"head": "divreg"}}, r"mean logits.*Use head: trl"),
    "spl of another divergence": (
        None,
        {"divreg": SPL, "f_divergence_type": "forward_kl"},
        r"splits the reverse KL.*Use f_divergence_type=\"reverse_kl\"",
    ),
    "spl without a reference": (None, {"divreg": SPL, "loss_type": "sft"}, r"which has none"),
    "spl of nothing": (None, {"divreg": {"spl": {"alpha": 0}}}, r"alpha > 0; got \{'alpha': 0\}"),
    "spl misspelt": (None, {"divreg": {"spl": {"alhpa": 1}}}, r"Write `spl: \{alpha: 0\.2\}`"),
    "weights nobody reads": (
        None,
        {"divreg": {"signals": {"pair_weight": "weight"}}},
        r"Add divreg\.losses\.ddpo, or leave it out",
    ),
    "a column by number": (
        None,
        {"divreg": {**DDPO, "signals": {"pair_weight": 3}}},
        r"needs the name of a column; got 3",
    ),
    "a column that is not there": (
        None,
        {"divreg": {**DDPO, "signals": {"pair_weight": "wieght"}}},
        r"the column 'wieght'; got a data set with prompt, chosen.*Did you mean 'weight'\?",
    ),
    "an answer": (
        None,
        {"divreg": {"signals": {"answer": "textwrap.dedent"}}},
        r"signals\['answer'\] is about completions",
    ),
    "a monitor with nothing to look at": (
        [losses.ddpo],
        {"divreg": {"monitor": True}},
        r"needs prompts to sample",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_when_built_with_the_cure(case, build, refused):
    interventions, args, message = REFUSED[case]
    with refused(message):
        build(interventions, **args)


@pytest.mark.parametrize("bad", [-0.5, float("nan"), float("inf"), None, "2"])
def test_a_bad_weight_names_its_row(bad, build, scenarios):
    data = scenarios.preferences()
    weights = [bad if i == 7 else float(w) for i, w in enumerate(data["weight"])]
    if bad == "2":
        weights = [str(w) for w in weights[:7]] + weights[7:8] + [str(w) for w in weights[8:]]
    message = rf"got .* in column 'weight', row {0 if bad == '2' else 7}\. Mend that row"
    with pytest.raises(ValueError, match=message):
        build([losses.ddpo], data={**data, "weight": weights})


def test_a_streamed_weight_is_looked_at_when_it_comes(build, scenarios):
    import datasets

    from divreg.trainers import _weights

    data = scenarios.preferences()
    data["weight"] = [1.0] * 5 + [-1.0] + [1.0] * 6
    streamed = datasets.Dataset.from_dict(data).to_iterable_dataset()
    _weights.check(streamed, "weight")
    collate = _weights.Carrying(lambda examples: {}, "weight")
    rows = list(streamed)
    assert collate(rows[:4])["divreg_pair_weight"].tolist() == [1.0] * 4
    with pytest.raises(ValueError, match=r"got -1\.0 in column 'weight', row 1 of a micro-batch"):
        collate(rows[4:8])


def turns_uneven(token_weights, *, logprob, step):
    return token_weights if step else token_weights * logprob.exp()


def test_weights_that_turn_out_uneven_are_refused_in_the_run(build):
    trainer = build([turns_uneven])
    with pytest.raises(ValueError, match=r"DPO weighs whole pairs; got weights from .* to "):
        trainer.train()


@pytest.mark.parametrize("name", ["GRPO", "SFT"])
@pytest.mark.parametrize("method", ["ddpo", "dorpo"])
def test_a_loss_of_pairs_is_refused_elsewhere(name, method, scenarios, tiny_checkpoint, tmp_path):
    given = {"trainer": f"Diverse{name}Trainer", "args": {"divreg": {"interventions": [method]}}}
    with pytest.raises(ValueError, match=r"only preference pairs have\. Use DiverseDPOTrainer"):
        scenarios.build(tiny_checkpoint, given, tmp_path / "run")


def test_spl_is_refused_without_pairs(scenarios, tiny_checkpoint, tmp_path):
    given = {"trainer": "DiverseSFTTrainer", "args": {"divreg": SPL}}
    with pytest.raises(ValueError, match=r"spl is about preference pairs.*Use DiverseDPOTrainer"):
        scenarios.build(tiny_checkpoint, given, tmp_path / "run")


@pytest.mark.parametrize("divreg", [{"interventions": ["dorpo"]}, {"monitor": FOLLOWED}])
def test_prompt_tuning_is_refused(divreg, scenarios, tiny_checkpoint, tmp_path):
    import peft

    from divreg import DiverseDPOConfig, DiverseDPOTrainer

    built = scenarios.build(tiny_checkpoint, {"trainer": "DPOTrainer"}, tmp_path / "run")
    with pytest.raises(ValueError, match=r"got prompt tuning, which adds some\. Use LoraConfig"):
        DiverseDPOTrainer(
            built.model,
            args=DiverseDPOConfig(str(tmp_path), use_cpu=True, bf16=False, divreg=divreg),
            train_dataset=built.train_dataset,
            processing_class=built.processing_class,
            peft_config=peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
        )


def test_stock_trls_config_is_enough(scenarios, tiny_checkpoint, tmp_path):
    import trl

    import divreg

    built = scenarios.build(tiny_checkpoint, {"trainer": "DPOTrainer"}, tmp_path / "run")
    args = trl.DPOConfig(str(tmp_path / "run"), use_cpu=True, bf16=False)
    trainer = divreg.DiverseDPOTrainer(
        built.model,
        args=args,
        train_dataset=built.train_dataset,
        processing_class=built.processing_class,
        interventions=[functools.partial(losses.dorpo, odds=0.2)],
    )
    assert list(trainer.pipeline.methods) == ["dorpo"]
