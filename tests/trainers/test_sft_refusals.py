"""What fine-tuning on texts cannot do is refused when the trainer is built, with a cure."""

import functools
import types

import peft
import pytest
from transformers import AutoModelForCausalLM

from divreg import losses, methods


@pytest.fixture
def build(scenarios, tiny_checkpoint, tmp_path):
    """``build(interventions, signals, **args)``: an SFT trainer."""

    def go(interventions, signals=None, **args):
        given = {"trainer": "DiverseSFTTrainer", "interventions": interventions, "args": args}
        given["signals"] = signals
        return scenarios.build(tiny_checkpoint, given, tmp_path / "run")

    return go


def unknown(loss, *, logprop):
    return loss


def compared(loss, *, partition):
    return loss


def far_from_sampling(loss, *, ref_logprob):
    return loss


def spread(loss, *, varentropy, token_share):
    return loss - (varentropy * token_share).sum()


REFUSED = {
    "a stage of rollouts": ([methods.darling], {}, r"darling changes rewards.*DiverseGRPOTrainer"),
    "advantages": ([methods.dqo], {}, r"dqo changes \w+.*one of divreg\.losses"),
    "a method of GRPO's loss": ([methods.flowrl], {}, r"comes from rollouts\. Use DiverseGRPO"),
    "classes of completions": ([compared], {}, r"which comes from rollouts"),
    "a reference": ([far_from_sampling], {}, r"which comes from rollouts"),
    "a signal nobody computes": ([unknown], {}, r"Did you mean 'logprob'\?"),
    "DFT beside a loss": ([losses.gem], {"loss_type": "dft"}, r'loss_type="nll".*losses\.dft'),
    "TRL's label smoothing": (
        [losses.gem],
        {"label_smoothing_factor": 0.1},
        r"divreg\.losses\.label_smoothing",
    ),
    "two losses in one place": ([losses.gem, losses.tofu], {}, r"tofu takes the place .*Keep one"),
    "a term that would be lost": (
        [losses.confidence_penalty, losses.gem],
        {},
        r"got confidence_penalty before it, which would be lost\. Put gem first",
    ),
    "weights that would be lost": ([losses.eaft, losses.focal], {}, r"got eaft, which weighs"),
    "a statistic of divreg's head": ([spread], {}, r"head: divreg"),
    "an impossible dial": ([functools.partial(losses.gem, beta=0.0)], {}, r"gem needs beta > 0"),
    "a loss that is not known": (
        None,
        {"divreg": {"interventions": ["gme"]}},
        r"Did you mean 'gem",
    ),
    "an answer": (
        None,
        {"divreg": {"signals": {"answer": "textwrap.dedent"}}},
        r"signals\['answer'\] is about completions",
    ),
    "an old policy nobody reads": (
        [losses.gem],
        {"signals": {"old_logprob": {"every": 4}}},
        r"Add divreg\.losses\.psft",
    ),
    "an old policy that is never old": (
        [losses.psft],
        {"signals": {"old_logprob": {"every": 1}}},
        r"2 or more.*Write \{'every': 8\}",
    ),
    "a monitor with nothing to look at": (
        [losses.gem],
        {"divreg": {"monitor": True}},
        r"needs prompts to sample",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_when_built_with_the_cure(case, build, refused):
    interventions, args, message = REFUSED[case]
    with refused(message):
        build(interventions, **args)


@pytest.mark.parametrize("name", ["gem", "eaft", "confidence_penalty", "unlikelihood"])
def test_a_loss_of_sft_is_refused_by_grpo(name, scenarios, tiny_checkpoint, tmp_path):
    given = {"trainer": "DiverseGRPOTrainer", "args": {"divreg": {"interventions": [name]}}}
    with pytest.raises(ValueError, match=r"only fine-tuning on texts has\. Use DiverseSFTTrainer"):
        scenarios.build(tiny_checkpoint, given, tmp_path / "run")


def other_loss(outputs, labels, num_items_in_batch=None):
    return outputs.logits.sum()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_another_loss_function_model_or_launch_is_refused(
    scenarios, tiny_checkpoint, tmp_path, monkeypatch
):
    import divreg

    built = scenarios.build(tiny_checkpoint, {"trainer": "SFTTrainer"}, tmp_path / "run")
    common = {"train_dataset": built.train_dataset, "processing_class": built.processing_class}

    def build(**more):
        model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint)
        args = divreg.DiverseSFTConfig(str(tmp_path / "run"), use_cpu=True, bf16=False)
        chosen = more.pop("interventions", [losses.gem])
        return divreg.DiverseSFTTrainer(model, args, **common, **more, interventions=chosen)

    with pytest.raises(ValueError, match=r"got a compute_loss_func.*interventions=\[my_loss\]"):
        build(compute_loss_func=other_loss)
    assert build(compute_loss_func=other_loss, interventions=[])
    tuning = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    with pytest.raises(ValueError, match=r"got prompt tuning.*Use LoraConfig"):
        build(peft_config=tuning)
    trainer = build()
    sharded = types.SimpleNamespace(sp_enabled=True)
    monkeypatch.setattr(trainer.accelerator.state, "parallelism_config", sharded)
    with pytest.raises(ValueError, match=r"gem.* needs whole sequences.*Use sp_size=1"):
        trainer._plan.check_trainer(trainer)
    monkeypatch.undo()
    trainer.aux_loss_enabled = True
    with pytest.raises(ValueError, match=r"loss of routers.*Use output_router_logits=False"):
        trainer._plan.check_trainer(trainer)


def test_stock_trls_config_is_enough(scenarios, tiny_checkpoint, tmp_path):
    import trl

    import divreg

    built = scenarios.build(tiny_checkpoint, {"trainer": "SFTTrainer"}, tmp_path / "run")
    args = trl.SFTConfig(str(tmp_path / "run"), use_cpu=True, bf16=False)
    trainer = divreg.DiverseSFTTrainer(
        AutoModelForCausalLM.from_pretrained(tiny_checkpoint),
        args,
        train_dataset=built.train_dataset,
        processing_class=built.processing_class,
        interventions=[losses.gem],
    )
    assert list(trainer.pipeline.methods) == ["gem"]
