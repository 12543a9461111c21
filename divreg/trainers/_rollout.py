"""One generation batch, whole groups on every process, and the signals that can be had from it."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from divreg.monitor.observe import Batch
from divreg.pipeline import Signals
from divreg.rollouts import Rollouts, completion_text
from divreg.trainers._head import EXTRAS, scores
from divreg.trainers._seams import fused_forward


class Rollout:
    """What the trainer captured of one generation batch.

    Args:
        trainer: A GRPO or RLOO trainer with the mixin.
        prompts: This process's prompts, ``n`` of them.
        completions: This process's completions, ``n`` of them.
        completion_ids: Their token ids.
        rewards: Rewards of all processes ``(N, F)``, one column a reward function of the user.
    """

    def __init__(
        self,
        trainer: Any,
        prompts: list[Any],
        completions: list[Any],
        completion_ids: list[list[int]],
        rewards: Tensor,
    ):
        self.trainer, self.rewards = trainer, rewards
        self.local_prompts, self.local_completions = prompts, completions
        self.local_ids = [torch.tensor(ids, dtype=torch.long) for ids in completion_ids]
        self.training: bool = trainer.model.training
        self.group: int = trainer.num_generations if self.training else trainer.num_generations_eval
        self.groups = Rollouts.whole(gather_object(prompts), gather_object(completions), self.group)
        self.lengths: Tensor = trainer.accelerator.gather(
            torch.tensor([len(ids) for ids in completion_ids], device=rewards.device)
        )
        self.signals = Signals(self.sources(), trainer.pipeline.recipes)
        self._scores: dict[str, Tensor] = {}
        self.reference: Tensor | None = None  # this process's rows, once TRL has scored them

    @property
    def mode(self) -> str:
        """``train`` or ``eval``."""
        return "train" if self.training else "eval"

    @property
    def totals(self) -> Tensor:
        """Weighted sum of the user's rewards ``(N,)``; NaN where no function gave a number."""
        weights = self.trainer.reward_weights[: self.rewards.shape[1]].to(self.rewards.device)
        totals = (self.rewards * weights).nansum(dim=1)
        totals[torch.isnan(self.rewards).all(dim=1)] = torch.nan
        return totals

    def grouped(self, x: Tensor) -> Tensor:
        """View flat rows ``(N, ...)`` as groups ``(P, G, ...)``."""
        return x.view(-1, self.group, *x.shape[1:])

    def local(self, x: Tensor) -> Tensor:
        """Return this process's rows of flat, gathered rows ``(N, ...)``."""
        n = len(self.local_prompts)
        start = self.trainer.accelerator.process_index * n
        return x[start : start + n]

    def sources(self) -> Mapping[str, Callable[[], Any]]:
        """Return the base signals of the rewards and advantages stages."""
        trainer = self.trainer
        return {
            "prompts": lambda: self.groups.prompts,
            "prompt_id": lambda: self.groups.prompt_ids,
            "texts": lambda: self.groups.texts,
            "answer": lambda: [*map(trainer.answers, self.groups.prompts, self.groups.texts)],
            "correct": self._correct,
            "embedding": self._embedding,
            "mask": self._mask,
            "logprob": lambda: self._score("logprob"),
            "entropy": lambda: self._score("entropy"),
            **{name: functools.partial(self._score, name) for name in EXTRAS},
            "ref_logprob": self._ref_logprob,
            "prompt_logprob": lambda: self._score("prompt_logprob"),
            "prompt_mask": lambda: self._score("prompt_mask"),
            "step": lambda: trainer.state.global_step,
            "boost": lambda: trainer.pipeline.boost,
        }

    def keep(self, found: Mapping[str, Tensor], columns: int) -> None:
        """Take over scores ``(n, >= columns)`` that TRL computed anyway."""
        start = found["logprob"].shape[1] - columns
        end = start + max(len(ids) for ids in self.local_ids)
        self._scores = self._gathered({n: x[:, start:end].float() for n, x in found.items()})

    def batch(self, advantages: Tensor) -> Batch:
        """Return what the monitor looks at; ``advantages`` ``(N,)`` or ``(N, t)`` as trained."""
        trainer = self.trainer
        if advantages.dim() > 1:
            advantages = advantages.mean(dim=1)
        size = self.rewards.shape[1]
        ended = [int(ids[-1]) in trainer.eos_token_ids for ids in self.local_ids]
        ends = torch.tensor(ended, device=self.rewards.device)
        return Batch(
            prompts=[p for p in self.groups.prompts for _ in range(self.group)],
            completions=[t for row in self.groups.texts for t in row],
            group_size=self.group,
            rewards=self.rewards.cpu().numpy(),
            reward_names=list(trainer.reward_func_names[:size]),
            totals=self.totals.cpu().numpy(),
            advantages=advantages.float().cpu().numpy(),
            correct=self._known_correct(),
            truncated=(~trainer.accelerator.gather(ends)).tolist(),
            lengths=self.lengths.tolist(),
            weights=trainer.reward_weights[:size].tolist(),
        )

    def _known_correct(self) -> list[bool | None] | None:
        try:
            return self.signals["correct"].flatten().tolist()
        except ValueError:  # not configured, and nobody but the monitor asks
            return None

    def _correct(self) -> Tensor:
        column, threshold = self.trainer.correctness(self.rewards)
        return self.grouped(self.rewards[:, column] >= threshold)

    def _embedding(self) -> Tensor:
        texts = [completion_text(c) for c in self.local_completions]
        vectors = torch.as_tensor(self.trainer.encoder(texts), dtype=torch.float32)
        gathered = self.trainer.accelerator.gather(vectors.to(self.rewards.device))
        return self.grouped(gathered)

    def _mask(self) -> Tensor:
        columns = torch.arange(int(self.lengths.max()), device=self.lengths.device)
        return self.grouped(columns < self.lengths[:, None])

    def _ref_logprob(self) -> Tensor:
        assert self.reference is not None
        columns = max(len(ids) for ids in self.local_ids)
        own = {"ref_logprob": self.reference[:, :columns].float()}
        return self.grouped(self._gathered(own)["ref_logprob"])

    def _score(self, name: str) -> Tensor:
        if name not in self._scores:
            self._scores = self._gathered(self._forward())
        return self.grouped(self._scores[name])

    def _gathered(self, scores: dict[str, Tensor]) -> dict[str, Tensor]:
        pad, gather = self.trainer.accelerator.pad_across_processes, self.trainer.accelerator.gather
        return {name: gather(pad(x, dim=1)) for name, x in scores.items()}

    def _forward(self) -> dict[str, Tensor]:
        """Score prompts and completions in one pass without gradient: all that anyone asks for."""
        trainer, device = self.trainer, self.rewards.device
        prompts = [torch.tensor(p) for p in trainer._tokenize_prompts(self.local_prompts)[0]]
        completions, real = _right_padded(self.local_ids, trainer._tokenizer.pad_token_id)
        flipped, seen = _right_padded([p.flip(0) for p in prompts], trainer._tokenizer.pad_token_id)
        ids = torch.cat([flipped.flip(1), completions], 1).to(device)
        attention = torch.cat([seen.flip(1), real], 1).to(device)
        labels = ids.masked_fill(~attention, -100)
        labels[:, 1:].masked_fill_(~attention[:, :-1], -100)  # the first token follows padding
        args = trainer.args
        at_once = (
            args.per_device_train_batch_size if self.training else args.per_device_eval_batch_size
        )
        parts = [
            fused_forward(trainer, input_ids=i, attention_mask=a.long(), labels=y)
            for i, a, y in zip(
                ids.split(at_once), attention.split(at_once), labels.split(at_once), strict=True
            )
        ]
        rows = [scores(part) for part in parts]
        found = {name: torch.cat([row[name] for row in rows]).float() for name in rows[0]}
        start = flipped.shape[1] - 1
        return {
            **{name: x[:, start:] for name, x in found.items()},
            "prompt_logprob": found["logprob"][:, :start],
            "prompt_mask": (labels != -100)[:, 1 : start + 1],
        }


def _right_padded(rows: list[Tensor], value: int) -> tuple[Tensor, Tensor]:
    """Stack rows of different lengths ``(n, longest)``; the mask is True on real tokens."""
    stacked = pad_sequence(rows, batch_first=True, padding_value=value)
    lengths = torch.tensor([len(row) for row in rows])
    return stacked, torch.arange(stacked.shape[1]) < lengths[:, None]
