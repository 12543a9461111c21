"""A recipe and command-line arguments -> a run: ``divreg grpo``, ``rloo``, ``sft`` and ``dpo``.

The keys are those of ``trl grpo`` and so on, read by TRL's own parser, and ``divreg:``. What can be
checked without loading a model is checked before any process is started.
"""

import gc
import importlib
import importlib.resources
import json
import logging
import os
import re
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from trl import DatasetMixtureConfig, ModelConfig, ScriptArguments, TrlParser

from divreg import spec

logger = logging.getLogger("divreg")
LAUNCHED = "DIVREG_LAUNCHED"  # set in the processes that we start, so that they do not start more


@dataclass
class RecipeArguments(ScriptArguments):
    """TRL's script arguments; ``dataset_name`` may also name a function.

    Args:
        reward_model_name_or_path: A reward model: a name on the hub or a folder.
        reward_funcs: TRL's reward functions by name, or dotted paths of your own.
    """

    reward_model_name_or_path: str | None = field(
        default=None, metadata={"help": "Reward model: a name on the hub or a folder."}
    )
    reward_funcs: list[str] | None = field(
        default=None,
        metadata={
            "help": "Reward functions: accuracy_reward, reasoning_accuracy_reward, "
            "think_format_reward, get_soft_overlong_punishment (1280 tokens, 256 of them soft), "
            "or dotted paths such as my_package.rewards.length."
        },
    )


class Names(NamedTuple):
    """A recipe with its overrides, read but not built: one value for each key that is known."""

    values: Namespace
    launch: list[str]
    """What is meant for ``accelerate launch``."""
    passed: list[str]
    """What the started processes get: the command line without ``launch``."""


class Parsed(NamedTuple):
    """A recipe with its overrides, built: TRL's four dataclasses, rewards in the first if any."""

    script: Any
    config: Any
    model: ModelConfig
    mixture: DatasetMixtureConfig


class _Parser(TrlParser):
    """TRL's parser, with errors of one sentence instead of pages of usage."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}. `{self.prog} --help` lists every argument.")


def run(method: str, arguments: list[str]) -> int:
    """Train from a recipe: check it, start the processes it asks for, or train in this one.

    Returns:
        The exit code: 0 after training, that of the first process that failed otherwise.

    Raises:
        ValueError: For anything in the recipe that cannot be, before a process is started.
    """
    names = read(method, arguments)
    started = os.environ.get(LAUNCHED) or "LOCAL_RANK" in os.environ
    launching = not started and _needs_launcher(names.launch)
    check_names(method, names.values)
    try:
        parsed = parse(method, arguments)
    except ValueError:
        if not launching:  # some settings are right or wrong only for the number of processes
            raise
    else:
        check_plan(method, parsed.config)
        if not launching:
            _train(build(method, parsed), parsed)
            return 0
    return _launch(method, names)


def read(method: str, arguments: list[str]) -> Names:
    """Read the keys of a recipe (``--config``) and of the command line, which wins.

    Raises:
        ValueError: If neither TRL, divreg nor accelerate's launcher knows a key.
    """
    parser, words, from_file = _parser(method), list(arguments), []
    if "--config" in words:
        at = words.index("--config")
        if at + 1 == len(words):
            raise ValueError("--config needs a path; got nothing. Give the path of a YAML file.")
        keys = spec.read_yaml(words[at + 1])
        keys.pop("env", None)
        del words[at : at + 2]
        from_file = parser.set_defaults_with_config(**keys)
    values, from_line = parser.parse_known_args(words)
    _refuse_unknown(parser, [*from_file, *from_line])
    launch = _launcher_arguments([*_flags(from_file), *from_line])
    return Names(values, launch, _without(arguments, from_line))


def parse(method: str, arguments: list[str]) -> Parsed:
    """Build TRL's dataclasses from a recipe and its overrides, as ``trl grpo`` does.

    Raises:
        ValueError: If TRL's or transformers' own checks of the config refuse it.
    """
    try:
        *built, _ = _parser(method).parse_args_and_config(arguments, return_remaining_strings=True)
    except (ValueError, TypeError) as error:
        fact = " ".join(str(error).split())
        raise ValueError(f"{fact} Change it in the recipe, or on the command line.") from error
    return Parsed(*built)


def check_names(method: str, values: Namespace) -> None:
    """Resolve every name of a recipe without loading a model or a data set.

    Raises:
        ValueError: If something is missing or not known.
    """
    text = values.divreg
    spec.load(json.loads(text) if isinstance(text, str) and text.startswith("{") else text)
    if _rolls_out(method) and not reward_functions(values):
        raise ValueError(
            f"divreg {method} needs a reward; got none. Add reward_funcs: [accuracy_reward], or "
            "the dotted path of a function of your own."
        )
    if values.model_name_or_path is None:
        raise ValueError(
            f"divreg {method} needs a model; got none. Add model_name_or_path: "
            "Qwen/Qwen2.5-0.5B-Instruct, or a folder."
        )
    if not values.dataset_name and not values.datasets:
        raise ValueError(
            f"divreg {method} needs data; got none. Add dataset_name: openai/gsm8k, a folder, or "
            "the dotted path of a function that returns a data set."
        )


def check_plan(method: str, config: Any) -> None:
    """Call every intervention once on random groups, and refuse what cannot work together.

    Raises:
        ValueError: As the trainer would, later.
    """
    trainer = _trainer(method)
    trainer.plan_class(config, None, None, trainer)


def reward_functions(script: RecipeArguments | Namespace) -> list[Any]:
    """Return the reward functions of a recipe, as ``trl grpo`` resolves them.

    Raises:
        ValueError: If one is not known.
    """
    from trl import rewards

    theirs = {
        "accuracy_reward": rewards.accuracy_reward,
        "reasoning_accuracy_reward": rewards.reasoning_accuracy_reward,
        "think_format_reward": rewards.think_format_reward,
        "get_soft_overlong_punishment": rewards.get_soft_overlong_punishment(
            max_completion_len=1280, soft_punish_cache=256
        ),
    }
    found: list[Any] = [m for m in [script.reward_model_name_or_path] if m]
    for name in script.reward_funcs or []:
        if name not in theirs and "." not in name:
            raise ValueError(spec.unknown("TRL", "reward function", name, theirs))
        found.append(theirs[name] if name in theirs else spec.named(name, "reward function"))
    return found


def build(method: str, parsed: Parsed) -> Any:
    """Load the model and the data of a recipe and build its trainer.

    Raises:
        ValueError: If the trainer refuses a combination.
    """
    from trl import get_peft_config, get_quantization_config

    script, config, model = parsed.script, parsed.config, parsed.model
    config.model_init_kwargs = {
        "revision": model.model_revision,
        "trust_remote_code": config.trust_remote_code,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        **(config.model_init_kwargs or {}),
    }
    load = _splits(parsed)
    rewards = {"reward_funcs": reward_functions(script)} if _rolls_out(method) else {}
    return _trainer(method)(
        model=_model(str(model.model_name_or_path)),
        **rewards,
        args=config,
        train_dataset=load(script.dataset_train_split),
        eval_dataset=load(script.dataset_test_split) if config.eval_strategy != "no" else None,
        quantization_config=get_quantization_config(model),
        peft_config=get_peft_config(model),
    )


def _parser(method: str) -> _Parser:
    config_class = _trainer(method).config_class
    arguments = RecipeArguments if _rolls_out(method) else ScriptArguments
    kinds: list[Any] = [arguments, config_class, ModelConfig, DatasetMixtureConfig]
    return _Parser(
        kinds,
        prog=f"divreg {method}",
        allow_abbrev=False,  # a typing error that is a prefix is still one
        usage=f"divreg {method} --config RECIPE.yaml [--KEY VALUE ...]",
        description=f"Train with {method.upper()} from a recipe: TRL's keys and `divreg:`. Every "
        "key of the file can be given here as well, and wins. Arguments of `accelerate launch` "
        "(--num_processes 4, --accelerate_config zero2) start that many processes.",
    )


def _trainer(method: str) -> Any:
    """Return the trainer class of a sub-command; it names its config."""
    module = importlib.import_module(f"divreg.trainers.{method}")
    return getattr(module, f"Diverse{method.upper()}Trainer")


def _rolls_out(method: str) -> bool:
    """Whether a sub-command's trainer samples completions, which rewards judge."""
    return method in ("grpo", "rloo")


def _splits(parsed: Parsed) -> Callable[[str], Any]:
    """Return ``split name -> data set``: a mixture, a function, or what ``load_dataset`` loads."""
    from datasets import load_dataset
    from trl import get_dataset

    script = parsed.script
    if parsed.mixture.datasets:
        return get_dataset(parsed.mixture).__getitem__
    name = script.dataset_name or ""
    if _is_function(name):
        return spec.named(name, "dataset_name")
    loaded: Any = load_dataset(name, name=script.dataset_config, streaming=script.dataset_streaming)
    return loaded.__getitem__


def _model(name: str) -> str:
    """Return a hub name or folder; a dotted path is a function that returns one."""
    if not _is_function(name):
        return name
    logger.warning("divreg: model from %s(); the first time this may take minutes", name)
    return str(spec.named(name, "model_name_or_path")())


def _is_function(name: str) -> bool:
    """Whether a name is the dotted path of something in an installed package, not a folder."""
    dotted = re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", name) is not None
    spec.search_working_directory()
    return dotted and not Path(name).exists() and find_spec(name.split(".")[0]) is not None


def _train(trainer: Any, parsed: Parsed) -> None:
    """Train, save, and take the process group down in the order that does not hang gloo."""
    config = parsed.config
    trainer.train(resume_from_checkpoint=config.resume_from_checkpoint)
    trainer.save_model(config.output_dir)
    if config.push_to_hub:
        trainer.push_to_hub(dataset_name=parsed.script.dataset_name)
    trainer.accelerator.print(f"Model saved to {config.output_dir}.")
    if (Path(config.output_dir) / "divreg").is_dir():
        trainer.accelerator.print(f"Read the run: divreg report {config.output_dir}")
    trainer.accelerator.wait_for_everyone()
    del trainer
    gc.collect()  # a trainer freed after its process group can wait for a thread that waits for it
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _refuse_unknown(parser: TrlParser, remaining: list[str]) -> None:
    """Raise for the first name that neither TRL, divreg nor accelerate's launcher knows."""
    launcher = {
        option.lstrip("-")
        for action in _launch_parser()._actions
        for option in action.option_strings
    }
    known = {a.dest for a in parser._actions} | launcher | {"accelerate_config", "config", "env"}
    for word in remaining:
        name = word.removeprefix("--").split("=")[0]
        if word.startswith("--") and name.replace("-", "_") not in known and name not in known:
            raise ValueError(spec.unknown(parser.prog, "argument", name, known))


def _launch_parser() -> Any:
    from accelerate.commands.launch import launch_command_parser

    return launch_command_parser()


def _without(arguments: list[str], removed: list[str]) -> list[str]:
    """Return ``arguments`` without the ordered sub-sequence ``removed``."""
    rest, kept = list(removed), []
    for word in arguments:
        if rest and word == rest[0]:
            rest.pop(0)
        else:
            kept.append(word)
    return kept


def _flags(pairs: list[str]) -> list[str]:
    """Turn ``--multi_gpu True``, which a file has to say, into the bare flag of the launcher."""
    bare = {o for a in _launch_parser()._actions if a.nargs == 0 for o in a.option_strings}
    words: list[str] = []
    for name, value in zip(pairs[::2], pairs[1::2], strict=True):
        if name not in bare:
            words += [name, value]
        elif value == "True":
            words.append(name)
    return words


def _launcher_arguments(remaining: list[str]) -> list[str]:
    """Turn ``--accelerate_config NAME`` into ``--config_file PATH``: a file or one of TRL's names.

    Raises:
        ValueError: If it is neither.
    """
    if "--accelerate_config" not in remaining:
        return remaining
    *_, at = (i for i, word in enumerate(remaining) if word == "--accelerate_config")
    chosen = "".join(remaining[at + 1 : at + 2])
    if not Path(chosen).is_file():
        folder = importlib.resources.files("trl.accelerate_configs")
        names = [f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")]
        if chosen not in names:
            raise ValueError(
                spec.unknown("accelerate_config", "file or name", chosen, names)
                + " Or give the path of a file, such as recipes/accelerate_configs/zero2.yaml."
            )
        chosen = str(folder.joinpath(f"{chosen}.yaml"))
    rest = [w for i, w in enumerate(remaining) if i not in (at, at + 1)]
    while "--accelerate_config" in rest:  # the command line overrides the file
        i = rest.index("--accelerate_config")
        del rest[i : i + 2]
    return ["--config_file", chosen, *rest]


def _needs_launcher(launch: list[str]) -> bool:
    """Whether ``accelerate launch`` would do more than start one process of the same thing."""
    import torch
    from accelerate.commands.config.config_args import default_config_file

    several = torch.cuda.is_available() and torch.cuda.device_count() > 1
    return bool(launch) or several or Path(default_config_file).is_file()


def _launch(method: str, names: Names) -> int:
    """Start the processes with ``accelerate launch``, as ``trl grpo`` does."""
    from accelerate.commands.launch import launch_command
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    _model(names.values.model_name_or_path)  # built once here, not by every process at once
    os.environ[LAUNCHED] = "1"
    words = [*names.launch, "--module", "divreg", method, *names.passed]
    sys.stdout.flush()
    try:
        launch_command(_launch_parser().parse_args(words))
    except subprocess.CalledProcessError as error:
        return error.returncode
    except ChildFailedError as error:
        return min(failure.exitcode for failure in error.failures.values()) or 1
    finally:
        del os.environ[LAUNCHED]
    return 0
