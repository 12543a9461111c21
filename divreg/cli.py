"""The command line: ``divreg demo | grpo | rloo | sft | dpo | report | measure | compare | ...``.

Every sub-command imports what it needs when it runs: ``divreg --help`` and ``divreg report`` load
neither torch nor TRL. Exit codes: 0 done or healthy, 2 bad input, 3 collapsed or exploding.
"""

import argparse
import difflib
import functools
import importlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from divreg import __version__

BAD_INPUT = 2
_PACKAGES = (
    *("torch", "trl", "transformers", "accelerate", "datasets", "peft", "deepspeed", "vllm"),
    *("sentence-transformers", "triton", "numpy", "pyarrow"),
)
# Commands whose module has `add_arguments` and `main`, and is imported when one of them runs.
_MODULES = {
    "check": ("divreg.check", "Count how many different right answers a model has. No training."),
    "demo": ("divreg.demo", "Train a tiny model both ways and compare: a few minutes on a CPU."),
    "report": ("divreg.report", "Explain one run, or compare two, in one HTML file."),
    "measure": ("divreg.measure", "Count how different the completions in files are."),
    "compare": (
        "divreg.measure.compare",
        "Compare generations of the same prompts, before and after.",
    ),
    "trace": ("divreg.trace", "Sample a lineage of checkpoints: where the variety went."),
    "bench": ("divreg.bench", "Compare methods x seeds on one task: data and a Pareto page."),
    "pairs": ("divreg.data.command", "Make preference pairs that prefer diverse good responses."),
    "annotate": ("divreg.anchors.command", "Say in front of texts what they are about."),
    "calibrate": ("divreg.calibrate", "Pick the threshold of the same from labelled pairs."),
}
_TRAINING = ("grpo", "rloo", "sft", "dpo")  # TRL's parser reads everything that follows
COMMANDS = (
    *("check", "demo", *_TRAINING, "report", "measure", "compare", "trace", "bench"),
    *("calibrate", "pairs", "annotate", "methods", "env"),
)

_EXAMPLES = """\
examples:
  divreg check MODEL                           how many different right answers it has
  divreg demo                                  see plain GRPO collapse and DiverseGRPOTrainer hold
  divreg report runs/my-grpo                   explain a run that already happened
  divreg measure samples.jsonl                 how different are the completions of each prompt
  divreg compare base=a.jsonl tuned=b.jsonl    what changed, prompt by prompt
  divreg trace base=DIR sft=DIR rl=DIR         at which stage the variety went
  divreg grpo --config recipes/expressions/tiny/darling.yaml --max_steps 50
  divreg sft --config recipes/expressions/tiny/sft_gem.yaml
  divreg dpo --config recipes/expressions/tiny/dpo_ddpo.yaml
  divreg bench recipes/benchmarks/expressions.yaml   every method side by side, hours
  divreg calibrate pairs.jsonl --encoder NAME  when two texts are the same, from labelled pairs
  divreg pairs scored.jsonl --output pairs.jsonl   diverse preference pairs for DPO
  divreg annotate docs.jsonl --output annotated.jsonl --key topic --model DIR   for anchoring
  divreg methods                               what there is, with hyper-parameters and sources

exit codes: 0 done or healthy, 2 bad input, 3 collapsed or exploding (report)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words and words[0] in _TRAINING:
            return _train(words[0], words[1:])
        _refuse_unknown_command(words)
        parser = _parser(words[0] if words else "")
        if not words:
            parser.print_help()
            return 0
        chosen = parser.parse_args(words)
        return chosen.run(chosen) or 0
    except (ValueError, TypeError, ImportError) as error:
        if isinstance(error, ModuleNotFoundError) or not _is_ours(error):
            raise
        _complain(str(error))
        return BAD_INPUT
    except KeyboardInterrupt:
        _complain("interrupted.")
        return 130


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence and its cure."""

    def error(self, message: str) -> NoReturn:
        _complain(f"{message}. Type {self.prog} --help to see what it takes.")
        raise SystemExit(BAD_INPUT)


def _refuse_unknown_command(words: Sequence[str]) -> None:
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        cure = f"Did you mean {near[0]!r}?" if near else "Type divreg --help."
        raise ValueError(
            f"divreg has no command {words[0]!r}; it has {', '.join(COMMANDS)}. {cure}"
        )


def _parser(command: str) -> argparse.ArgumentParser:
    """Build the parser; only the chosen sub-command's module is imported for its arguments."""
    parser = _Parser(
        prog="divreg",
        description="Keep a language model diverse while you post-train it with TRL.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"divreg {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, text: str, run: Callable[[argparse.Namespace], int | None]) -> _Parser:
        added = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        added.set_defaults(run=run)
        return added

    for name in COMMANDS:
        if name in _MODULES:
            home, text = _MODULES[name]
            own = add(name, text, functools.partial(_run, home))
            if name == command:
                importlib.import_module(home).add_arguments(own)
        elif name in _TRAINING:
            text = f"Train with {name.upper()} from a recipe; takes what `trl {name}` takes."
            add(name, text, _unreachable)
    methods = add("methods", "List the methods with their hyper-parameters and sources.", _methods)
    methods.add_argument("--markdown", action="store_true", help="print the table of the README")
    add("env", "Print versions and devices, for a bug report.", _env)
    return parser


def _run(home: str, chosen: argparse.Namespace) -> int | None:
    return importlib.import_module(home).main(chosen)


def _unreachable(chosen: argparse.Namespace) -> NoReturn:
    raise AssertionError(f"{chosen} is read by TRL's parser")


def _train(method: str, words: list[str]) -> int:
    from divreg.trainers import recipe

    return recipe.run(method, words)


def _methods(chosen: argparse.Namespace) -> None:
    from divreg import catalogue

    if chosen.markdown:
        sys.stdout.write(catalogue.markdown())
    else:
        catalogue.show_table()


def _env(_: argparse.Namespace) -> None:
    """Print what a bug report needs: versions without importing, devices with torch."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    lines = {"divreg": __version__, "python": platform.python_version()}
    lines["platform"] = platform.platform()
    for name in _PACKAGES:
        try:
            lines[name] = version(name)
        except PackageNotFoundError:
            lines[name] = "not installed"
    lines["trl, tested"] = _tested()
    lines["devices"] = _devices()
    for name, value in lines.items():
        sys.stdout.write(f"- {name}: {value}\n")


def _tested() -> str:
    from divreg.trainers import _seams

    oldest, newest = (".".join(map(str, v)) for v in (_seams.OLDEST, _seams.TESTED))
    return f"{oldest} to {newest}; a newer 1.x warns"


def _devices() -> str:
    import torch

    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    if torch.backends.mps.is_available():
        return "Apple GPU (mps)"
    return f"CPU only, {torch.get_num_threads()} threads"


def _is_ours(error: BaseException) -> bool:
    """Whether divreg raised the error itself: such a message is complete without a traceback."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    home = Path(__file__).resolve().parent
    return at is not None and home in Path(at.tb_frame.f_code.co_filename).resolve().parents


def _complain(message: str) -> None:
    """Say it once: of several processes the first speaks, and the others give it the time to."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        sys.stderr.write(f"divreg: {message}\n")
    else:
        time.sleep(10)  # the launcher ends every process when one of them has ended


if __name__ == "__main__":
    raise SystemExit(main())
