"""What cannot do what it says is refused when the trainer is built, and the message says a cure."""

import functools
import logging
import warnings

import pytest
import torch

from divreg import methods
from divreg.trainers import _seams


@pytest.fixture
def build(scenarios, tiny_checkpoint, tmp_path, monkeypatch):
    """``build(interventions, signals, trainer=..., rewards=..., **args)``."""

    def go(interventions, signals=None, trainer="GRPO", rewards=("parity",), **args):
        monkeypatch.setattr(scenarios, "interventions", lambda _: (interventions, signals or {}))
        scenario = {"trainer": f"Diverse{trainer}Trainer", "args": args, "rewards": list(rewards)}
        return scenarios.build(tiny_checkpoint, scenario, tmp_path / "run")

    return go


def unknown_signal(rewards, *, partitoin):
    return rewards


def wrong_shape(rewards):
    return rewards.sum()


def not_finite(advantages):
    return advantages / 0


def ratio(token_weights, *, logratio):
    return token_weights * torch.exp(-logratio.abs())


def anchored(rewards, *, ref_logprob):
    return rewards + 0 * ref_logprob.sum(-1)


def no_stage(scores):
    return scores


def novel(rewards, *, similarity):
    return rewards / similarity.sum(-1)


REFUSED = {
    "a reward-stage method under normalize_then_sum": (
        [methods.darling],
        {"multi_objective_aggregation": "normalize_then_sum"},
        r"darling changes rewards before they are normalised; .*Use .*sum_then_normalize",
    ),
    "a signal nobody computes": ([unknown_signal], {}, r"Did you mean 'partition'\?"),
    "an encoder that is missing": ([novel], {}, r"signals=\{'embedding': "),
    "an extractor that is missing": (
        [methods.outcome_exploration],
        {},
        r"needs the signal 'answer', which is not configured. Add it: signals=\{'answer': ",
    ),
    "a ratio on strictly on-policy data": ([ratio], {}, r"Use num_iterations=2"),
    "a method that is inert there": ([methods.kl_cov], {}, r"kl_cov needs .*Use num_iterations=2"),
    "a reference model that is not there": (
        [methods.flowrl],
        {},
        r"flowrl needs the signal '.*', which needs a reference model; got beta=0. Use beta=0.001",
    ),
    "the reference model before the rewards": (
        [anchored],
        {"beta": 0.1},
        r"which comes after the rewards\. Write a method of the advantages or loss stage",
    ),
    "groups too small for a method": (
        [functools.partial(methods.pass_at_k, k=8)],
        {},
        r"1 <= k <= the group's size; got k=8 and groups of 4",
    ),
    "groups too small in evaluation": (
        [methods.pass_at_k],
        {"num_generations_eval": 2},
        r"got k=4 and groups of 2",
    ),
    "a result of another shape": ([wrong_shape], {}, r"wrong_shape needs to return a tensor of"),
    "a result that is not finite": ([not_finite], {}, r"not_finite needs to return finite numbers"),
    "a function of no stage": ([no_stage], {}, r"must be one of rewards, advantages"),
    "something that is no function": (["darling"], {}, r"is not an intervention; got str"),
    "two places": ([methods.darling], {"divreg": {"interventions": []}}, r"one list of interv"),
    "a method that is not known": (
        None,
        {"divreg": {"interventions": ["darlin"]}},
        r"Did you mean 'darling'\?",
    ),
    "a hyper-parameter that is not known": (
        None,
        {"divreg": {"interventions": [{"darling": {"flor": 0.2}}]}},
        r"Did you mean 'floor'\?",
    ),
    "a key that is not known": (None, {"divreg": {"intervention": []}}, r"Did you mean 'interv"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_when_built_with_the_cure(case, build, refused):
    interventions, args, message = REFUSED[case]
    with refused(message):
        build(interventions, **args)


def test_two_rewards_need_to_say_which_one_is_correctness(build):
    with pytest.raises(ValueError, match=r"signals=\{'correct': \{'reward': 'parity'"):
        build([methods.progrpo], rewards=["parity", "variety"])
    with pytest.raises(ValueError, match=r"Did you mean 'variety'\?"):
        build([methods.progrpo], {"correct": {"reward": "varity"}}, rewards=["parity", "variety"])
    assert build(
        [methods.progrpo],
        {"correct": {"reward": "variety", "at_least": 0.4}},
        rewards=["parity", "variety"],
    )


def test_a_graded_reward_is_not_taken_for_correctness(build):
    trainer = build([methods.progrpo], rewards=["variety"])
    with pytest.raises(ValueError, match="a reward that is not always 0 or 1"):
        trainer.train()


def test_group_size_one_is_refused(build):
    with pytest.raises(ValueError, match=r"num_generations|at least 2 generations"):
        build([methods.darling], num_generations=1)
    with pytest.raises(ValueError, match=r"num_generations|at least 2 generations"):
        build([methods.darling], trainer="RLOO", num_generations=1)


def test_the_bare_swap_runs_the_preset_and_says_so(build, caplog):
    with caplog.at_level(logging.WARNING, logger="divreg"):
        trainer = build(None)
    (line,) = [r.getMessage() for r in caplog.records if r.name == "divreg"]
    assert "rarity(power=0.5)" in line
    assert "interventions=[]" in line
    trainer.train()
    assert any("diversity/rarity_mean_change" in row for row in trainer.state.log_history)


def test_the_preset_says_where_it_cannot_act(build, caplog):
    with caplog.at_level(logging.WARNING, logger="divreg"):
        trainer = build(None, multi_objective_aggregation="normalize_then_sum")
    (line,) = [r.getMessage() for r in caplog.records if r.name == "divreg"]
    assert "trains as TRL does" in line
    assert not trainer.pipeline


WORKS_WITH = {
    "no scale": {"scale_rewards": "none"},
    "the batch's scale": {"scale_rewards": "batch"},
    "Dr. GRPO": {"loss_type": "dr_grpo", "scale_rewards": "none"},
    "two updates": {"num_iterations": 2},
    "a reference": {"beta": 0.1},
    "the entropy bonus": {"entropy_coef": 0.01},
    "top entropies": {"top_entropy_quantile": 0.5},
    "two rewards": {"rewards": ("parity", "variety"), "reward_weights": [1.0, 0.5]},
    "RLOO": {"trainer": "RLOO"},
}


@pytest.mark.parametrize("option", WORKS_WITH)
def test_the_preset_works_with_what_trl_can_be_told_besides(build, option):
    trainer = build(None, **WORKS_WITH[option], max_steps=1)
    trainer.train()
    assert any("diversity/rarity_mean_change" in row for row in trainer.state.log_history)


def test_stock_trls_config_is_enough(scenarios, tiny_checkpoint, tmp_path, monkeypatch):
    import divreg

    monkeypatch.setattr(divreg, "DiverseGRPOConfig", __import__("trl").GRPOConfig, raising=False)
    scenario = {"trainer": "DiverseGRPOTrainer", "interventions": ["darling"]}
    assert scenarios.build(tiny_checkpoint, scenario, tmp_path / "run").pipeline


def test_a_checkpoint_of_other_methods_is_refused(build):
    trainer = build([functools.partial(methods.darling, floor=0.2)])
    with pytest.raises(ValueError, match="Resume with the interventions the run was started with"):
        trainer.pipeline.load_state_dict({"boost": 1.0, "methods": {"outcome_exploration": {}}})


@pytest.mark.parametrize("version", ["1.15.3", "0.24.0", "2.0.0"])
def test_another_trl_is_refused_by_name(version):
    with pytest.raises(ImportError, match=r'Type: pip install "trl>=1.16,<2"'):
        _seams.check(version, {})


def test_a_newer_trl_is_warned_about_once():
    with pytest.warns(UserWarning, match="tested up to trl 1.16"):
        _seams.check("1.17.0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _seams.check("1.16.4")


def test_a_moved_seam_is_named():
    class Moved:
        def compute_loss(self, model, batch):
            pass

    with pytest.raises(ImportError, match=r"divreg needs Moved\._calculate_rewards.*got nothing"):
        _seams.check("1.16.0", {Moved: _seams.ONLINE})


@pytest.mark.parametrize(
    ("interventions", "monitor", "watched"),
    [
        ([], None, False),
        ([], True, True),
        ([methods.darling], None, True),
        ([methods.darling], {"on_collapse": "stop"}, True),
        ([methods.darling], False, False),
    ],
)
def test_a_run_with_interventions_is_watched_unless_told_otherwise(
    interventions, monitor, watched, build
):
    from divreg import CollapseMonitor

    trainer = build(interventions, divreg=None if monitor is None else {"monitor": monitor})
    found = [c for c in trainer.callback_handler.callbacks if isinstance(c, CollapseMonitor)]
    assert len(found) == watched
    if isinstance(monitor, dict):
        assert found[0].on_collapse == "stop"
