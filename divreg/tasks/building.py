"""The trainers that runs can be made with: their classes, their settings, and their data."""

import copy
import dataclasses
import hashlib
import importlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divreg import spec

if TYPE_CHECKING:
    from divreg.tasks.runs import Run

ONLINE: Mapping[str, dict[str, Any]] = {
    name: {
        "per_device_train_batch_size": 128,
        "num_generations": 16,
        "temperature": 1.0,
        "beta": 0.0,
    }
    for name in ("grpo", "rloo")
}
"""Trainers that sample and reward, with their settings."""
OFFLINE: Mapping[str, dict[str, Any]] = {
    "sft": {"per_device_train_batch_size": 32},
    "dpo": {"per_device_train_batch_size": 32},
}
"""Trainers that learn from a data set, with their settings."""
COLUMNS = {"sft": ("prompt", "completion"), "dpo": ("prompt", "chosen", "rejected")}
"""What such a data set needs."""
_FILES = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}


def config_class(method: str, diverse: bool) -> Any:
    """Return the config of a trainer, TRL's own or divreg's."""
    return _class(method, diverse, "Config")


def trainer_class(method: str, diverse: bool) -> Any:
    """Return a trainer, TRL's own or divreg's."""
    return _class(method, diverse, "Trainer")


def _class(method: str, diverse: bool, kind: str) -> Any:
    if diverse:
        return getattr(
            importlib.import_module(f"divreg.trainers.{method}"), f"Diverse{method.upper()}{kind}"
        )
    module = importlib.import_module(f"trl.trainer.{method}_{kind.lower()}")
    return getattr(module, f"{method.upper()}{kind}")


def keys(method: str, diverse: bool) -> set[str]:
    """Return the keys that a trainer's config has."""
    return {f.name for f in dataclasses.fields(config_class(method, diverse))}


def rows(name: str, split: str, seed: int | None = None) -> Any:
    """Return a data set by the dotted path of a function, or by the path of a file.

    Args:
        name: A function ``split -> Dataset``; or a ``.jsonl``, ``.json`` or ``.parquet`` file,
            which has one split.
        split: ``"train"`` or ``"held_out"``.
        seed: Passed on to a function that takes one: every run then draws its own data.

    Raises:
        ValueError: If there is no such function or file.
    """
    if Path(name).suffix in _FILES:
        from datasets import Dataset

        check_name(name)
        path = Path(name)
        read = Dataset.from_parquet if path.suffix == ".parquet" else Dataset.from_json
        return read(str(path))
    function = spec.named(name, "dataset")
    takes = seed is not None and "seed" in inspect.signature(function).parameters
    return function(split, seed=seed) if takes else function(split)


def check_name(name: str) -> None:
    """Look for a data set without loading it.

    Raises:
        ValueError: If there is no such function or file.
    """
    if Path(str(name)).suffix not in _FILES:
        spec.named(str(name), "dataset")
    elif not Path(name).is_file():
        raise ValueError(
            f"dataset {name!r} needs to be a file; there is none. Give the path of one, or the "
            f"dotted path of a function that returns a data set."
        )


def fingerprint(name: str) -> str:
    """Return what changes when a data set does: its name, and what its file holds."""
    path = Path(name)
    held = path.read_bytes() if path.suffix in _FILES and path.is_file() else b""
    return f"{name} {hashlib.sha256(held).hexdigest()[:8]}" if held else name


def data(run: "Run") -> dict[str, Any]:
    """Return what a trainer learns from: prompts and a reward, or a data set.

    Raises:
        ValueError: If a data set lacks a column that the trainer needs.
    """
    if run.method in ONLINE:
        return {
            "reward_funcs": run.found.need("reward", "a run"),
            "train_dataset": run.found.dataset("train"),
        }
    found = rows(str(run.learns_from), "train", run.seed)
    wanted = COLUMNS[run.method]
    if missing := [name for name in wanted if name not in found.column_names]:
        raise ValueError(
            f"{run.method} needs rows with {', '.join(wanted)}; {run.learns_from} has no "
            f"{missing[0]} (it has {', '.join(found.column_names)}). Name another dataset."
        )
    return {"train_dataset": found}


def trainer(run: "Run", base: Path, output_dir: Path, callbacks: list[Any]) -> Any:
    """Build the trainer of a run: TRL's own, or divreg's where the row has a block for it.

    Raises:
        ValueError: For a combination that cannot do what it says.
    """
    import torch

    from divreg.tasks import tiny

    given: dict[str, Any] = {"model": run.model, "callbacks": callbacks, **data(run)}
    settings: dict[str, Any] = {
        "output_dir": str(output_dir),
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 5,
        "disable_tqdm": True,
    }
    if run.model is None:
        given["model"], given["processing_class"] = tiny.load(base)
        settings |= {"use_cpu": True, "bf16": False, "gradient_checkpointing": False}
        if run.method == "dpo":
            given["ref_model"], _ = tiny.load(base)
    else:
        if not torch.accelerator.is_available():
            settings |= {"use_cpu": True, "bf16": False}
        if run.method in ONLINE and ends_itself(run):
            given["model"], given["processing_class"] = load(run, base)
    settings |= run.settings
    diverse = run.row.divreg is not None
    if diverse:
        settings["divreg"] = copy.deepcopy(dict(run.row.divreg or {})) or None
    config = config_class(run.method, diverse)(**settings)
    return trainer_class(run.method, diverse)(args=config, **given)


def load(run: "Run", base: Path) -> tuple[Any, Any]:
    """Return the model that a run begins with, and its tokenizer.

    Where the task asks in plain text, the model ends its answers where the task says.
    """
    import torch

    from divreg.tasks import tiny

    if run.model is None:
        return tiny.load(base)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(run.model, dtype=torch.float32)  # as TRL does
    names = AutoTokenizer.from_pretrained(run.model, padding_side="left", truncation_side="left")
    if ends_itself(run):
        end_at(model, names, run.found.stop)
    return model, names


def ends_itself(run: "Run") -> bool:
    """Whether the answers of a run end where its task says, and not where a chat template does."""
    if run.model is None or not run.found.stop:
        return False
    return isinstance(run.found.dataset("held_out")[0]["prompt"], str)


def end_at(model: Any, names: Any, stop: Sequence[str]) -> None:
    """Let a model end its text with every token that holds one of some texts.

    With every one: what a model may write instead of the end it learns to write, where that pays.

    Raises:
        ValueError: If no token does.
    """
    from divreg.tasks import sampling

    known = names.batch_decode([[i] for i in range(len(names))])
    ends = [i for i, text in enumerate(known) if any(end in text for end in stop)]
    if not ends:
        raise ValueError(
            f"answers that end with {stop[0]!r} need a tokenizer with a token that holds it; "
            f"{names.name_or_path} has none. Use a task whose prompts are conversations."
        )
    every = dict.fromkeys([*sampling.ends(model, names), *ends])
    model.generation_config.eos_token_id = list(every)
