"""What GRPO and RLOO have in common: whole groups through a pipeline, rows through the loss."""

from typing import Any

import torch
from torch import Tensor

from divreg.trainers import _head, _seams
from divreg.trainers._attached import Attached
from divreg.trainers._plan import Plan
from divreg.trainers._rollout import Rollout
from divreg.trainers._rows import CARRIED, Rows


class InterventionMixin(Attached, _seams.OnlineSeams):
    """Puts a :class:`divreg.pipeline.Pipeline` into a GRPO-like trainer of TRL."""

    always_scores = False  # whether TRL computes old log-probs for every rollout
    token_advantages = True  # whether TRL's loss takes one advantage per token
    keeps_reference = True  # whether TRL sends the reference model's log-probs with the rows
    plan_class = Plan

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: Any = None,
        *rest: Any,
        interventions: list[Any] | None = None,
        signals: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        args = self._config(args, model)
        self._attach(self.plan_class(args, interventions, signals, type(self)))
        self._rollout: Rollout | None = None
        super().__init__(model, reward_funcs, args, *rest, **kwargs)  # pyright: ignore[reportArgumentType]
        self._plan.check_trainer(self)
        self.answers, self.encoder = self._plan.answers, self._plan.encoder
        self._user_rewards = len(self.reward_funcs)
        if self.pipeline.acts_on("rewards"):
            self._add_reward_column()
        if self._plan.head == "divreg":
            config: Any = self.args
            in_fp32 = getattr(config, "cast_lm_head_to_fp32", False)
            _head.install(self.model, config.temperature, in_fp32=in_fp32)
        self._scored: list[Any] = []
        self._start()

    def correctness(self, rewards: Tensor) -> tuple[int, float]:
        """Return the column of the reward function that decides correctness, and its threshold."""
        return self._plan.correctness(rewards, self.reward_func_names[: self._user_rewards])

    def _add_reward_column(self) -> None:
        """Add a reward that answers None: its column later holds what the interventions changed."""

        def divreg(prompts: list[Any], **kwargs: Any) -> list[None]:  # noqa: ARG001
            return [None] * len(prompts)

        self.reward_funcs.append(divreg)
        self.reward_func_names.append("divreg")
        self.reward_processing_classes.append(None)
        self.reward_weights = torch.cat([self.reward_weights, torch.ones(1)])

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
    ) -> Tensor:
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if not self.pipeline and not self._monitors:
            return rewards
        theirs = rewards[:, : self._user_rewards]
        self._rollout = Rollout(self, prompts, completions, completion_ids_list, theirs)
        self._keep_scores(self._rollout)
        if self.pipeline.acts_on("rewards") and self._rollout.group > 1:
            rewards[:, self._user_rewards] = self._reward_change(self._rollout)
        return rewards

    def _reward_change(self, rollout: Rollout) -> Tensor:
        """Return what the rewards stage adds to each total ``(N,)``; NaN where nobody scored."""
        totals = rollout.totals
        adjusted = self.pipeline.apply(
            "rewards",
            rollout.grouped(totals.nan_to_num(0.0)),
            rollout.signals,
            learn=rollout.training,
        )
        return adjusted.flatten() - totals

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        self._scored.clear()
        if not (self._plan.reads_scores or self._plan.carries_old):
            batch = super()._generate_and_score_completions(inputs)
        else:
            with _seams.head_tap(self.model, self._scored.append):
                batch = super()._generate_and_score_completions(inputs)
        if self._rollout is not None:
            self._finish_rollout(self._rollout, batch)
            self._rollout = None
        return batch

    def _keep_scores(self, rollout: Rollout) -> None:
        """Use the log-probs that TRL computed for its old policy instead of a forward of ours."""
        kept = self._policy_scores(rollout)
        if kept and self._plan.reads_scores and not self._plan.reads_prompt_scores:
            width = max(len(ids) for ids in rollout.local_ids)
            multiple = self.pad_to_multiple_of or 1
            rows = [_head.scores(output) for output in kept]
            found = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
            rollout.keep(found, -(-width // multiple) * multiple)

    def _policy_scores(self, rollout: Rollout) -> list[Any]:
        """Return TRL's forwards of the sampling policy over this rollout's rows, if it made any."""
        rows = 0
        kept: list[Any] = []
        for output in self._scored:  # a reference model behind the same adapter comes later
            if rows < len(rollout.local_prompts):
                kept.append(output)
                rows += len(output.log_probs)
        return kept

    def _finish_rollout(self, rollout: Rollout, batch: dict[str, Any]) -> None:
        """Run the advantages stage, send signals along with their rows, tell the monitors."""
        rollout.reference = batch.get("ref_per_token_logps")
        advantages = self.accelerator.gather(batch["advantages"])
        if self.pipeline.acts_on("advantages") and rollout.group > 1:
            adjusted = self.pipeline.apply(
                "advantages", rollout.grouped(advantages), rollout.signals, learn=rollout.training
            )
            advantages = adjusted.flatten(0, 1)
            batch["advantages"] = _fit(rollout.local(advantages), batch["completion_ids"])
        for name in self._plan.carried:
            batch[CARRIED + name] = _flat_rows(rollout, rollout.signals[name])
        if self._plan.carries_old:
            scores = torch.cat([o.log_probs for o in self._policy_scores(rollout)])
            batch[CARRIED + "old_logprob"] = scores[:, -batch["completion_ids"].shape[1] :].float()
        self._log_effects()
        if self._monitors:
            seen = rollout.batch(advantages)
            for monitor in self._monitors:
                monitor.on_rollout(seen, self.state.global_step + 1, rollout.mode)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        if not self.pipeline.acts_on("token_weights", "loss") and self._plan.head == "trl":
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        rows = Rows(self, inputs)
        with _seams.head_tap(self.model, rows.listen):
            loss = super().compute_loss(model, rows.inputs, return_outputs, num_items_in_batch)
        loss = rows.finish(loss)
        for name, value in rows.statistics().items():
            _seams.log_metric(self, f"diversity/{name}", value)
        self._log_effects()
        return loss


def _fit(advantages: Tensor, completion_ids: Tensor) -> Tensor:
    """Cut or pad per-token advantages ``(n, t)`` to the width of this process's completions."""
    if advantages.dim() == 1:
        return advantages
    width = completion_ids.shape[1]
    return torch.nn.functional.pad(advantages, (0, width - advantages.shape[1]))


def _flat_rows(rollout: Rollout, value: Any) -> Any:
    """Return this process's rows of a signal ``(P, G)``: a tensor ``(n,)`` or a list of ``n``."""
    if isinstance(value, Tensor):
        return rollout.local(value.flatten(0, 1)).to(rollout.rewards.device)
    flat = [x for row in value for x in row]
    n = len(rollout.local_prompts)
    start = rollout.trainer.accelerator.process_index * n
    return flat[start : start + n]
