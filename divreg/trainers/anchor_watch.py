"""A callback that watches which annotations a model would write, while it is trained."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerCallback

from divreg.anchors import drift, watch
from divreg.anchors.markers import marker_ids
from divreg.trainers import _seams

START_FILE = "anchor_start.json"


class AnchorWatch(TrainerCallback):
    """Measures how far the annotations of a model move from where they were when training began.

    ``trainer.add_callback(AnchorWatch(trainer, prompts=[...], values={"class": [...]}))``. Logs
    ``anchor/entropy_nats`` and ``anchor/kl_nats``, exact; where values are not listed it samples,
    and logs ``anchor/js_nats`` in KL's place. A ``CollapseMonitor`` of the same trainer records
    them with its probes, and ``divreg report`` draws them. It draws from no random number generator
    of the training. What the model gave at the start is kept in ``OUTPUT_DIR/divreg`` for a resumed
    run.

    Args:
        trainer: The trainer to watch.
        prompts: Texts as the model is trained on them, before the annotation.
        values: Of every key, in the order in which keys are written, all its values; None samples.
        every: Optimizer steps between two looks.
        samples: Annotations per prompt where they are sampled.

    Raises:
        ValueError: If there are no prompts or too many combinations of values, or the tokenizer
            lacks the markers.
    """

    def __init__(
        self,
        trainer: Any,
        *,
        prompts: Sequence[str],
        values: Mapping[str, Sequence[str]] | None = None,
        every: int = 50,
        samples: int = 32,
    ):
        if not prompts or isinstance(prompts, str) or every < 1 or samples < 2:
            raise ValueError(
                f"AnchorWatch needs a list of prompts, every >= 1 and samples >= 2; got "
                f"prompts={prompts!r}, every={every}, samples={samples}. "
                f"Write prompts=['Define a noun.']."
            )
        self.tokenizer = getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
        marker_ids(self.tokenizer, "AnchorWatch")
        self.annotations = None if values is None else drift.every_annotation(values)
        self.trainer, self.prompts = trainer, list(prompts)
        self.every, self.samples = every, samples
        self.start: Any = None
        self._latest: tuple[int, dict[str, float]] | None = None
        trainer._divreg_watches = [*getattr(trainer, "_divreg_watches", ()), self]

    def look(self, step: int) -> dict[str, float]:
        """Measure now, once a step; collective. The first look is the start."""
        if self._latest is None or self._latest[0] != step:
            seen = self._see()
            self.start = seen if self.start is None else self.start
            compare = drift.sampled if self.annotations is None else drift.exact
            self._latest = step, compare(seen, self.start)
        return self._latest[1]

    def signals(self, step: int) -> dict[str, float]:
        """Return what a monitor records with its probes."""
        return {f"anchor_{name}": value for name, value in self.look(step).items()}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Look at the model before the first step, or read what was seen then."""
        path = Path(args.output_dir) / "divreg" / START_FILE
        if state.global_step == 0:
            self.look(0)
            if state.is_world_process_zero:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(np.asarray(self.start).tolist()))
        elif self.start is None:
            if not path.exists():
                raise ValueError(
                    f"AnchorWatch needs what the run began with, to resume it; got no {path}. "
                    f"Start the run with AnchorWatch, or leave it out."
                )
            kept = json.loads(path.read_text())
            self.start = kept if self.annotations is None else np.array(kept)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Look at the model every few steps."""
        if state.global_step % self.every == 0:
            for name, value in self.look(state.global_step).items():
                _seams.log_metric(self.trainer, f"anchor/{name}", value)

    def _see(self) -> Any:
        with _seams.generation_model(self.trainer) as unwrapped:
            model: Any = unwrapped
            return self._of(model)

    def _of(self, model: Any) -> Any:
        with _seams.evaluating(model):
            if self.annotations is None:
                return watch.write(model, self.tokenizer, self.prompts, self.samples)
            return watch.score(model, self.tokenizer, self.prompts, self.annotations)
