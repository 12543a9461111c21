"""Everything of TRL that divreg touches, in one place, with the signatures it relies on.

The classes below are stubs for the type checker: a mixin that uses a private name of TRL which is
not listed here does not type-check, and :func:`check` says at start-up what another TRL broke.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

OLDEST, TESTED = (1, 16), (1, 16)

SHARED = {
    "compute_loss": ("self", "model", "inputs", "return_outputs", "num_items_in_batch"),
    "_save_checkpoint": ("self", "model", "trial"),
    "_load_optimizer_and_scheduler": ("self", "checkpoint"),
}
ONLINE = {
    "_calculate_rewards": ("self", "inputs", "prompts", "completions", "completion_ids_list"),
    "_generate_and_score_completions": ("self", "inputs"),
    "_tokenize_prompts": ("self", "prompts"),
    **SHARED,
}
SFT = {
    "get_batch_samples": ("self", "epoch_iterator", "num_batches", "device"),
    "_get_num_items_in_batch": ("self", "batch_samples", "device"),
    **SHARED,
}
DPO = {
    "_set_signature_columns_if_needed": ("self",),
    "compute_ref_log_probs": ("self", "model", "inputs"),
    **SHARED,
}
HEAD = ("log_probs", "entropy", "label_mask")

if TYPE_CHECKING:
    from transformers import Trainer

    class Seams(Trainer):
        """What every trainer has that divreg reads or overrides."""

        accelerator: Any
        callback_handler: Any
        current_gradient_accumulation_steps: int
        model: Any
        state: Any
        _is_vlm: bool
        _metrics: dict[str, Any]

        def compute_loss(
            self,
            model: Any,
            inputs: Any,
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any: ...
        def _save_checkpoint(self, model: Any, trial: Any) -> None: ...
        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None: ...
        def _get_output_dir(self, trial: Any) -> str: ...

    class SFTSeams(Seams):
        """What SFT has that its mixin reads or overrides."""

        aux_loss_enabled: bool
        compute_loss_func: Any

        def get_batch_samples(
            self, epoch_iterator: Any, num_batches: int, device: Any
        ) -> tuple[list[Any], Any]: ...
        def get_tp_size(self) -> int: ...
        def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any: ...

    class DPOSeams(Seams):
        """What DPO has that its mixin reads or overrides."""

        aux_loss_enabled: bool
        beta: float
        data_collator: Any
        precompute_ref_logps: bool
        ref_model: Any
        _signature_columns: list[str] | None

        def _set_signature_columns_if_needed(self) -> None: ...
        def compute_ref_log_probs(self, model: Any, inputs: Any) -> tuple[Tensor, Tensor]: ...

    class OnlineSeams(Seams):
        """What GRPO and RLOO have that their mixin reads or overrides."""

        eos_token_ids: list[int]
        loss_is_scaled_for_ga: bool | None
        num_generations: int
        num_generations_eval: int
        pad_to_multiple_of: int | None
        processing_class: Any
        reward_funcs: list[Any]
        reward_func_names: list[str]
        reward_processing_classes: list[Any]
        reward_weights: Tensor
        _logs: dict[str, Any]
        _tokenizer: Any

        def _calculate_rewards(
            self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
        ) -> Tensor: ...
        def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]: ...
        def _tokenize_prompts(self, prompts: list[Any]) -> tuple[Any, Any, Any]: ...

else:
    Seams = SFTSeams = DPOSeams = OnlineSeams = object


def check(
    version: str | None = None, trainers: Mapping[type, Mapping[str, tuple[str, ...]]] | None = None
) -> None:
    """Compare the installed TRL with what divreg was written for.

    Args:
        version: TRL's version; read from the installed package when None.
        trainers: The trainer classes to look at, each with its seams; all of them when None.

    Raises:
        ImportError: If TRL is too old, or a seam has another signature; the message names it.
    """
    if version is None:
        import trl

        version = str(trl.__version__)
    numbers = tuple(int(n) for n in version.split(".")[:2])
    if numbers < OLDEST or numbers[0] >= 2:
        raise ImportError(
            f"divreg's trainers need trl>={OLDEST[0]}.{OLDEST[1]},<2; got trl {version}. "
            f'Type: pip install "trl>={OLDEST[0]}.{OLDEST[1]},<2". '
            f"`divreg report` and the metrics work with any version."
        )
    for trainer, seams in (_trainers() if trainers is None else trainers).items():
        for name, expected in seams.items():
            found = getattr(trainer, name, None)
            got = tuple(inspect.signature(inspect.unwrap(found)).parameters) if found else "nothing"
            if got != expected:
                raise ImportError(
                    f"divreg needs {trainer.__name__}.{name}{expected}; got {got} in trl {version}."
                    f' Type: pip install "trl=={TESTED[0]}.{TESTED[1]}.*" and tell us.'
                )
    if numbers > TESTED:
        warnings.warn(
            f"divreg was tested up to trl {TESTED[0]}.{TESTED[1]}; this is {version}, and every "
            f"seam is still there.",
            stacklevel=2,
        )


def _trainers() -> dict[type, Mapping[str, tuple[str, ...]]]:
    from trl.trainer.dpo_trainer import DPOTrainer
    from trl.trainer.grpo_trainer import GRPOTrainer
    from trl.trainer.rloo_trainer import RLOOTrainer
    from trl.trainer.sft_trainer import SFTTrainer

    return {GRPOTrainer: ONLINE, RLOOTrainer: ONLINE, SFTTrainer: SFT, DPOTrainer: DPO}


@contextmanager
def head_tap(model: nn.Module, listen: Callable[[Any], Any]):
    """See, and perhaps change, what TRL's fused head returns for one stretch of code.

    A forward hook on the unwrapped model runs inside DDP, DeepSpeed and PEFT, so that gradient
    reduction is untouched. It comes after the hooks that are there when the block is entered:
    ZeRO-3 wraps the outputs in one, and gathers weights only for a loss made of those. Calls of
    other models, and of this one without the head, pass by.

    Args:
        model: The trainer's unwrapped model.
        listen: Called with the output of every fused forward inside the block; what it returns,
            unless None, takes the output's place.
    """

    def hook(_module: nn.Module, _args: Any, kwargs: Any, output: Any) -> Any:
        return listen(output) if kwargs.get("fused_lm_head") else None

    handle = model.register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def hidden_tap(model: Any, keep: Callable[[Tensor, Tensor | None], Any] | None) -> Iterator[None]:
    """See the hidden states ``(b, l, h)`` that TRL's fused head gets, for one stretch of code.

    ZeRO-3 gathers the weights of the head when the backward comes to an output of the model. A loss
    that uses the head outside the model comes to the head first: it has to begin with a scalar that
    left the model as one more output, and that nothing was made of.

    Args:
        model: The trainer's unwrapped model; LoRA adapters are looked through.
        keep: Called with the last hidden states of every fused forward, and that scalar, None where
            weights are whole; None for nobody.
    """
    if keep is None:
        yield
        return
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    sharded = hasattr(inner.get_output_embeddings().weight, "ds_id")
    caught: list[Tensor] = []

    def catch(_module: nn.Module, _args: Any, output: Any) -> None:
        caught[:] = [output.last_hidden_state]

    def carry(_module: nn.Module, _args: Any, kwargs: Any, output: Any) -> None:
        if sharded and kwargs.get("fused_lm_head"):
            output["begin"] = torch.zeros((), requires_grad=True)

    def hand_over(_module: nn.Module, _args: Any, kwargs: Any, output: Any) -> None:
        if kwargs.get("fused_lm_head"):
            keep(caught.pop(), output["begin"] if sharded else None)

    handles = [
        inner.base_model.register_forward_hook(catch),
        model.register_forward_hook(carry, with_kwargs=True, prepend=True),
        model.register_forward_hook(hand_over, with_kwargs=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class ScaleGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by ``weights``.

    A loss that reaches the model through log-probabilities only is thereby weighted per token,
    exactly, whatever its formula and its normaliser.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return ``x`` unchanged; shapes of ``x`` and ``weights`` are equal."""
        ctx.save_for_backward(weights)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Multiply the incoming gradient by the weights."""
        (weights,) = ctx.saved_tensors
        return grad * weights, None


def gathered_head(*parameters: Any) -> Any:
    """Return a context in which ZeRO-3's shards of the loss head are whole; in vain elsewhere."""
    from trl.trainer.utils import maybe_gather_lm_head_ctx

    return maybe_gather_lm_head_ctx(*parameters)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, so that dropout draws nothing, and back again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def fused_forward(trainer: Any, **inputs: Any) -> Any:
    """Score rows without gradient, as TRL scores them: same head, same temperature."""
    from trl.models.utils import disable_gradient_checkpointing

    with (
        torch.no_grad(),
        disable_gradient_checkpointing(trainer.model, trainer.args.gradient_checkpointing_kwargs),
        trainer.accelerator.autocast(),
    ):
        return trainer.model(**inputs, fused_lm_head=True)


def log_metric(trainer: Any, name: str, value: float) -> None:
    """Average ``value`` into the trainer's next log line; every tracker receives it.

    The value must already be the same on all processes.
    """
    trainer._metrics["train" if trainer.model.training else "eval"][name].append(value)


def read_rollout(trainer: Any) -> dict[str, Any] | None:
    """Return the latest generation batch that a TRL trainer remembers, gathered over processes.

    Keys: ``prompt``, ``completion``, ``advantages`` (lists of rows) and ``rewards`` (name -> list).
    None for trainers without rollouts.
    """
    logs = getattr(trainer, "_logs", None)
    if not isinstance(logs, dict) or "completion" not in logs:
        return None
    rows: dict[str, Any] = {key: list(logs[key]) for key in ("prompt", "completion", "advantages")}
    return {**rows, "rewards": {name: list(v) for name, v in logs["rewards"].items()}}


def read_metrics(trainer: Any) -> dict[str, list[float]]:
    """Return what TRL has collected since its last log line: one value an entry, already global."""
    metrics = getattr(trainer, "_metrics", None)
    if metrics is None:
        return {}
    return metrics["train" if trainer.model.training else "eval"]


@contextmanager
def generation_model(trainer: Any):
    """Yield the model unwrapped for ``generate``, gathered under ZeRO-3, as TRL does it.

    TRL's own context manager leaves the model open when the block raises: this one does not let it
    see the exception before it has closed.
    """
    from trl.models.utils import unwrap_model_for_generation

    gather = getattr(trainer.args, "ds3_gather_for_generation", True)
    raised: BaseException | None = None
    with unwrap_model_for_generation(
        trainer.model_wrapped,
        trainer.accelerator,
        gather_deepspeed3_params=gather,
        gradient_checkpointing_kwargs=trainer.args.gradient_checkpointing_kwargs,
    ) as model:
        try:
            yield model
        except BaseException as error:
            raised = error
    if raised is not None:
        raise raised
