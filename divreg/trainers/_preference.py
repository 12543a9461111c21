"""What training on preference pairs does differently: two answers a row, and a reference."""

from contextlib import nullcontext
from typing import Any

from torch import Tensor

from divreg.trainers import _seams, _weights
from divreg.trainers._attached import Attached
from divreg.trainers._pair_plan import PairPlan
from divreg.trainers._pairs import Pairs
from divreg.trainers._rows import CARRIED


class PreferenceMixin(Attached, _seams.DPOSeams):
    """Puts a :class:`divreg.pipeline.Pipeline` into TRL's ``DPOTrainer``."""

    plan_class = PairPlan
    heads_compared = False  # whether divreg's head was seen to say what TRL's says

    def __init__(
        self,
        model: Any,
        ref_model: Any = None,
        args: Any = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        *rest: Any,
        interventions: list[Any] | None = None,
        signals: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        args = self._config(args, model)
        self._attach(self.plan_class(args, interventions, signals, type(self)))
        if self._plan.column and train_dataset is not None:
            _weights.check(train_dataset, self._plan.column)
        super().__init__(model, ref_model, args, data_collator, train_dataset, *rest, **kwargs)
        self._plan.check_trainer(self)
        if self._plan.column:
            self.data_collator = _weights.Carrying(self.data_collator, self._plan.column)
        if self._plan.alpha is not None:
            self.beta = self._plan.alpha
        self._start()
        if any(indicators.k is not None for indicators in self._followed()):
            self._plan.check_model(self, "CollapseMonitor's indicators")

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        column = self._plan.column
        if column and column not in (self._signature_columns or []):
            self._signature_columns = [*(self._signature_columns or []), column]

    def compute_ref_log_probs(self, model: Any, inputs: Any) -> tuple[Tensor, Tensor]:
        theirs = {k: v for k, v in inputs.items() if not k.startswith(CARRIED)}
        return super().compute_ref_log_probs(model, theirs)

    def _indicators(self) -> int | None:
        """Return how many of the likeliest next tokens a monitor follows; None if not now."""
        every, step = self.state.logging_steps, self.state.global_step + 1
        first = self.args.logging_first_step and step == 1
        if not self.model.training or not (first or (every and step % every == 0)):
            return None
        return next((i.k for i in self._followed() if i.k is not None), None)

    def _followed(self) -> list[Any]:
        return [m.indicators for m in self._monitors if hasattr(m, "indicators")]

    def _indicate(self, found: dict[str, float]) -> None:
        for name, value in found.items():
            _seams.log_metric(self, f"diversity/{name}", value)
        for indicators in self._followed():
            indicators.keep(found)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        k = self._indicators()
        if self._plan.idle and k is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        rows, apart = Pairs(self, inputs), self.ref_model
        keep = rows.keep if self._plan.reads_logits or k is not None else None
        with (
            _seams.hidden_tap(self.model, keep),
            _seams.head_tap(self.model, rows.listen),
            nullcontext() if apart is None else _seams.head_tap(apart, rows.listen),
        ):
            said = super().compute_loss(model, rows.inputs, return_outputs, num_items_in_batch)
        loss = rows.finish(said[0] if return_outputs else said)
        if k is not None:
            self._indicate(rows.indicators(k))
        self._log_effects()
        return (loss, said[1]) if return_outputs else loss
