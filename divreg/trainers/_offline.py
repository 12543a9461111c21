"""What fine-tuning on texts does differently: no rollouts, a loss made of tokens."""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from divreg.anchors.markers import marker_ids
from divreg.trainers import _continuations, _head, _seams
from divreg.trainers._attached import Attached
from divreg.trainers._by_text import without_labels
from divreg.trainers._rows import CARRIED
from divreg.trainers._token_plan import TokenPlan
from divreg.trainers._tokens import Tokens, texts


class TokenLossMixin(Attached, _seams.SFTSeams):
    """Puts a :class:`divreg.pipeline.Pipeline` into TRL's ``SFTTrainer``."""

    plan_class = TokenPlan
    heads_compared = False  # whether divreg's head was seen to say what TRL's says

    def __init__(
        self,
        model: Any,
        args: Any = None,
        *rest: Any,
        interventions: list[Any] | None = None,
        signals: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        args = self._config(args, model)
        self._attach(self.plan_class(args, interventions, signals, type(self)))
        self._ahead: list[tuple[list[Any], Any]] = []
        self._source: Any = None
        self._counts: Counter[str] = Counter()
        self.markers: tuple[int, int, int] | None = None
        super().__init__(model, args, *rest, **kwargs)
        self._plan.check_trainer(self)
        if self._plan.reads_markers:
            self.markers = marker_ids(self.processing_class, self._plan.named)
        if self._plan.head == "divreg":
            _head.install(self.model, temperature=1.0, top1=True)
        self._start()

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: Any
    ) -> tuple[list[Any], Any]:
        draw = functools.partial(self._draw, super().get_batch_samples, num_batches, device)
        found = self._look_ahead(draw, epoch_iterator) if self._plan.every else draw(epoch_iterator)
        if self._plan.continuations is not None:
            found = self._continue(*found, device)
        if self._plan.counts_texts:
            self._count_texts(found[0])
        return found

    def _continue(self, batches: list[Any], count: Any, device: Any) -> tuple[list[Any], Any]:
        """Let the model write the micro-batches of a step that is set aside for it."""
        chosen = self._plan.continuations
        if not batches or not chosen.due(self.args.seed, self.state.global_step):
            for batch in batches:
                _continuations.mark(batch)
            return batches, count
        written = chosen.write(self, batches)
        return written, None if count is None else self._get_num_items_in_batch(written, device)

    def _draw(
        self, theirs: Callable[..., Any], num_batches: int, device: Any, epoch_iterator: Any
    ) -> tuple[list[Any], Any]:
        """Draw the micro-batches of a step, without the labels that the texts say count nothing."""
        if not self._plan.by_text:
            return theirs(epoch_iterator, num_batches, device)
        found = theirs(map(self._unlabelled, epoch_iterator), num_batches, device)
        if found[0]:
            self._log_counts()
        return found

    def _unlabelled(self, batch: Any) -> Any:
        """Take the label off every token whose weight is 0, whatever the model will say."""
        found = without_labels(batch, self._plan.by_text, self.markers)
        self._counts.update(found.counts)
        return found.batch

    def _log_counts(self) -> None:
        """Log the share of the step's labels that were taken off, over all processes."""
        names = ("labels", "left_out", "unfinished")
        here = torch.tensor([self._counts[n] for n in names], device=self.accelerator.device)
        labels, left_out, unfinished = self.accelerator.reduce(here, reduction="sum").tolist()
        self._counts.clear()
        _seams.log_metric(self, "anchor/left_out_frac", left_out / max(1, labels))
        _seams.log_metric(self, "anchor/unfinished", float(unfinished))

    def _count_texts(self, batches: list[Any]) -> None:
        """Send the number of texts of the whole optimizer step along with each micro-batch."""
        count = torch.tensor(sum(map(texts, batches)), device=self.accelerator.device)
        if self.args.average_tokens_across_devices:
            count = self.accelerator.reduce(count, reduction="sum")
        for batch in batches:
            batch[f"{CARRIED}texts"] = count

    def _look_ahead(self, draw: Callable[[Any], Any], epoch_iterator: Any) -> tuple[list[Any], Any]:
        """Return the next step's micro-batches, scored by the policy of the last refresh."""
        if self._source is not epoch_iterator:
            self._source, self._ahead = epoch_iterator, []
        if not self._ahead:  # the old policy becomes the current one: it scores what comes next
            for _ in range(self._plan.every):
                step = draw(epoch_iterator)
                if not step[0] and self._ahead:
                    break
                self._ahead.append(step)
            self._score(batch for samples, _ in self._ahead for batch in samples)
        return self._ahead.pop(0)

    def _score(self, batches: Any) -> None:
        """Send the current policy's log-probs along with each micro-batch."""
        with _seams.evaluating(self.model):
            for batch in batches:
                output = _seams.fused_forward(self, **self._prepare_inputs(batch))
                batch[f"{CARRIED}old_logprob"] = output.log_probs

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        idle = not self.pipeline and self._plan.head == "trl"
        if idle or not self.model.training:  # evaluation is TRL's: the cross-entropy
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        rows = Tokens(self, inputs, num_items_in_batch)
        with (
            _seams.hidden_tap(self.model, rows.keep if self._plan.reads_logits else None),
            _seams.head_tap(self.model, rows.listen),
        ):
            said = super().compute_loss(model, rows.inputs, return_outputs, num_items_in_batch)
        loss = rows.finish(said[0] if return_outputs else said)
        for name, value in rows.statistics().items():
            _seams.log_metric(self, f"diversity/{name}", value)
        self._log_effects()
        return (loss, said[1]) if return_outputs else loss
