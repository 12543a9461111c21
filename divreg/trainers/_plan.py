"""What a run will do, decided and checked before anything is loaded."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from divreg.compose import Intervention
from divreg.rollouts import told
from divreg.signals import COMPARED, PAIRED
from divreg.trainers._choice import Choice, suggest
from divreg.trainers._head import EXTRAS
from divreg.trainers._rows import ROW_SIGNALS

FORWARD_SIGNALS = frozenset({"logprob", "entropy", "prompt_logprob", "prompt_mask"}) | EXTRAS
SFT_SIGNALS = frozenset(
    {"token_share", "text_share", "tokens", "document", "tempered", "top", "over_logits"}
    | {"generated", "continues"}
)
ROLLOUT_SIGNALS = FORWARD_SIGNALS | frozenset(
    {"prompts", "prompt_id", "texts", "answer", "correct", "embedding", "mask", "step", "boost"}
    | {"ref_logprob"}
)


class Plan(Choice):
    """The choice for a run with rollouts, with every refusal that can be known now.

    Args:
        args: As :class:`Choice`.
        interventions: As :class:`Choice`.
        signals: As :class:`Choice`.
        trainer: The trainer's class: ``always_scores`` says whether it computes old log-probs for
            every rollout, ``token_advantages`` whether its loss takes one advantage per token,
            ``keeps_reference`` whether rows come with the reference model's log-probs.

    Raises:
        ValueError: For a combination that cannot do what it says; the message says what to type.
    """

    def __init__(
        self,
        args: Any,
        interventions: list[Intervention] | None,
        signals: dict[str, Any] | None,
        trainer: Any,
    ):
        self.always_scores, self._keeps_reference = trainer.always_scores, trainer.keeps_reference
        self.preset = self.idle_preset = False
        super().__init__(args, interventions, signals)
        rollout = self.pipeline.wanted("rewards", "advantages")
        self.carried = sorted(
            name
            for name in self.pipeline.wanted("token_weights", "loss")
            if not self._in_rows(name)
        )
        base = self.pipeline.ingredients(rollout | set(self.carried))
        self.reads_prompt_scores = bool(base & {"prompt_logprob", "prompt_mask"})
        self.reads_scores = bool(base & FORWARD_SIGNALS) and self._trl_scores()
        self._reads_forward = bool(base & FORWARD_SIGNALS)
        in_loss = self.pipeline.ingredients(self.pipeline.wanted("token_weights", "loss"))
        # RLOO keeps the sampling policy's log-prob of a completion, not those of its tokens.
        self.carries_old = trainer.always_scores and self._off_policy() and "old_logprob" in in_loss
        self._refuse_impossible()
        per_token = self.pipeline.rehearse(self._missing, self._smallest_group())
        self._refuse_token_advantages(per_token, trainer.token_advantages)

    def _unsaid(self) -> list[Intervention]:
        self.preset, self.idle_preset = True, self._reward_stage_is_off()
        return [] if self.idle_preset else preset()

    def _unwatched(self) -> dict[str, Any] | None:
        return {} if self.pipeline else None

    def _configure(self, signals: dict[str, Any]) -> None:
        self._correct: dict[str, Any] | None = signals.pop("correct", None)
        self._answer: Callable[..., str | None] | None = signals.pop("answer", None)
        self._encoder: Callable[[list[str]], Any] | None = signals.pop("embedding", None)
        if self._correct is not None and set(self._correct) - {"reward", "at_least"}:
            raise ValueError(
                f"signals['correct'] needs the keys 'reward' and 'at_least'; got "
                f"{sorted(self._correct)}. Write {{'reward': 'accuracy_reward', 'at_least': 1.0}}."
            )
        super()._configure(signals)

    def answers(self, prompt: str, texts: list[str]) -> list[str | None]:
        """Extract the answers of completions of one prompt with the user's extractor."""
        assert self._answer is not None
        return [*map(told(self._answer, prompt), texts)]

    def encoder(self, texts: list[str]) -> Any:
        """Embed texts with the user's encoder: ``(n, d)``."""
        assert self._encoder is not None
        return self._encoder(texts)

    def correctness(self, rewards: Tensor, names: list[str]) -> tuple[int, float]:
        """Return which reward column decides correctness, and from which value on.

        Raises:
            ValueError: If nothing was configured and the only reward is not 0 or 1.
        """
        if self._correct is not None:
            return names.index(self._correct.get("reward", names[0])), float(
                self._correct.get("at_least", 1.0)
            )
        scored = rewards[~torch.isnan(rewards)]
        if len(names) == 1 and bool(((scored == 0) | (scored == 1)).all()):
            return 0, 1.0
        raise ValueError(_ask_for_correct(names, "a reward that is not always 0 or 1"))

    def check_trainer(self, trainer: Any) -> None:
        """Refuse what only the built trainer shows: names of rewards, images in prompts."""
        names = trainer.reward_func_names
        wanted = None if self._correct is None else self._correct.get("reward")
        if wanted is not None and wanted not in names:
            raise ValueError(
                f"signals['correct'] needs the name of a reward function; got {wanted!r}. "
                f"{suggest(wanted, names)}"
            )
        unnamed = self._correct is None or wanted is None
        if unnamed and len(names) > 1 and "correct" in self._all_ingredients():
            raise ValueError(_ask_for_correct(names, f"{len(names)} reward functions"))
        if self._reads_forward and trainer._is_vlm:
            raise ValueError(
                "log-probs of a rollout need text prompts; got a processor for images. "
                "Use a method that reads texts or answers, such as divreg.methods.darling."
            )

    def announcement(self) -> str | None:
        """Return the line printed at the start: what acts, why, and how to turn it off."""
        if self.idle_preset:
            return (
                'divreg: the preset cannot act under multi_objective_aggregation="normalize_then_'
                'sum", so this trains as TRL does. Use "sum_then_normalize" to have it.'
            )
        if self.preset:
            return (
                f"divreg: {self.named} (the preset: completions that say the same share what they "
                f"earn; `divreg demo` shows what it does). interventions=[] turns it off."
            )
        return super().announcement()

    def _in_rows(self, name: str) -> bool:
        return name not in COMPARED and self.pipeline.ingredients([name]) <= ROW_SIGNALS

    def _all_ingredients(self) -> set[str]:
        return self.pipeline.ingredients(
            self.pipeline.wanted("rewards", "advantages", "token_weights", "loss")
        )

    def _reward_stage_is_off(self) -> bool:
        return getattr(self.args, "multi_objective_aggregation", "") == "normalize_then_sum"

    def _smallest_group(self) -> int:
        """Completions of the smallest group that methods see; a single one is left alone."""
        sizes = (self.args.num_generations, self.args.num_generations_eval)
        return min((n for n in sizes if n and n > 1), default=1)

    def _off_policy(self) -> bool:
        args = self.args
        every = (args.steps_per_generation or 1) * args.num_iterations
        return args.gradient_accumulation_steps % every != 0

    def _trl_scores(self) -> bool:
        corrected = getattr(self.args, "vllm_importance_sampling_correction", False)
        return self.always_scores or self._off_policy() or (self.args.use_vllm and corrected)

    def _refuse_impossible(self) -> None:
        names = ", ".join(c.name for c in self.pipeline.contracts.values())
        if self.pipeline.acts_on("rewards") and self._reward_stage_is_off():
            raise ValueError(
                f"{names} changes rewards before they are normalised; got "
                f'multi_objective_aggregation="normalize_then_sum", which normalises each function '
                f'by itself. Use multi_objective_aggregation="sum_then_normalize".'
            )
        if self.pipeline and self.args.num_generations < 2:
            raise ValueError(
                f"{names} compares the completions of one prompt; got num_generations="
                f"{self.args.num_generations}. Use num_generations=8 or more."
            )

    def _refuse_token_advantages(self, per_token: list[str], allowed: bool) -> None:
        if per_token and not allowed:
            raise ValueError(
                f"{per_token[0]} returns one advantage per token; got a trainer whose loss takes "
                f"one per completion. Use DiverseGRPOTrainer, or a method of the token_weights "
                f"stage."
            )

    def _missing(self, stage: str, name: str) -> str | None:
        """Say why a signal cannot be had at a stage, in words that end an error message."""
        in_rows = stage in ("token_weights", "loss") and self._in_rows(name)
        if name == "logratio" and not self._off_policy():
            return (
                "which is zero on strictly on-policy data: every generation is used for one "
                "optimizer step. Use num_iterations=2, or steps_per_generation larger than "
                "gradient_accumulation_steps."
            )
        if name in EXTRAS and self.head != "divreg":
            return (
                "which TRL's own loss head does not compute. Use divreg's: `head: divreg` in the "
                "`divreg:` block, or divreg={'head': 'divreg'} in the config."
            )
        if name == "ref_logprob" and (reason := self._no_reference(stage)):
            return reason
        if in_rows or name in self.pipeline.recipes:
            return None
        if name == "correct":
            return None  # one 0/1 reward is enough; anything else is refused once it is known
        given = {"answer": self._answer, "embedding": self._encoder}
        if name in given:
            examples = {"answer": "my_extractor", "embedding": "divreg.encoders.SentenceEncoder()"}
            return (
                None
                if given[name] is not None
                else (f"which is not configured. Add it: signals={{'{name}': {examples[name]}}}.")
            )
        if name in ROLLOUT_SIGNALS:
            return None
        if name in PAIRED:
            return "which only preference pairs have. Use DiverseDPOTrainer."
        if name in SFT_SIGNALS:
            return "which only fine-tuning on texts has. Use DiverseSFTTrainer."
        known = sorted({*ROLLOUT_SIGNALS, *ROW_SIGNALS, *self.pipeline.recipes})
        return f"which nobody computes. {suggest(name, known)}"

    def _no_reference(self, stage: str) -> str | None:
        """Say why the reference model's log-probs cannot be had at a stage."""
        if not self._keeps_reference:
            return "which RLOO keeps to itself. Use DiverseGRPOTrainer."
        if not self.args.beta:
            return "which needs a reference model; got beta=0. Use beta=0.001."
        if stage == "rewards":
            return "which comes after the rewards. Write a method of the advantages or loss stage."
        return None


def preset() -> list[Intervention]:
    """Return what GRPO and RLOO run when nothing is said: a share of the reward per class."""
    from divreg import methods

    return [functools.partial(methods.rarity, power=0.5)]


def _ask_for_correct(names: list[str], got: str) -> str:
    return (
        f"the signal 'correct' needs to know which reward decides; got {got}. Add signals="
        f"{{'correct': {{'reward': '{names[0]}', 'at_least': 1.0}}}} (known: {', '.join(names)})."
    )
