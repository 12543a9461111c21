"""``divreg pairs``: preference pairs from scored responses, diverse ones preferred."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.table import Table

from divreg.data import preferences
from divreg.data.criteria import Options, criterion
from divreg.data.pairs import Threshold
from divreg.data.scored import Found, find_pairs
from divreg.measure import generations

_SHARES = {
    "range": "of the range of its rewards",
    "count": "of its responses, rounded up",
    "count-floor": "of its responses, rounded down",
}
_ROWS = {
    "reward": "mean",
    "diversity": "mean",
    "weight": "mean, of DDPO",
    "distinct_frac": "different texts / texts",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of ``divreg pairs``."""
    parser.description = (
        "Of each prompt's best responses the most diverse is chosen, of its worst the least "
        "diverse rejected (DivPO, arXiv:2501.18101). Writes a preference data set as TRL's "
        "DPOTrainer reads it, with weights for DDPO (arXiv:2503.17126)."
    )
    parser.add_argument(
        "scored", type=Path, metavar="SCORED", help=".jsonl or .parquet, several responses a prompt"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help=".jsonl or .parquet"
    )
    parser.add_argument("--reward", default="reward", metavar="COLUMN", help="(reward)")
    sides = parser.add_argument_group("which responses are the best and the worst of a prompt")
    sides.add_argument(
        "--rho", type=float, default=0.25, metavar="X",
        help="this share at either end, 0 to 0.5 (0.25); 0: the best and the worst reward only",
    )  # fmt: skip
    sides.add_argument(
        "--threshold", choices=get_args(Threshold), default="range",
        help="a share of the range of its rewards (range), or of how many there are",
    )  # fmt: skip
    sides.add_argument(
        "--pairs", type=int, default=1, metavar="N", help="at most, no response in two of them (1)"
    )
    rare = parser.add_argument_group("what makes a response diverse")
    rare.add_argument(
        "--diversity", metavar="WHAT",
        help="classes: few say the same (the usual one); distance: far from the others; logprob: "
        "unlikely; or a column of numbers",
    )  # fmt: skip
    rare.add_argument(
        "--classes", metavar="COLUMN", help="which responses say the same (by their texts)"
    )
    rare.add_argument(
        "--encoder", metavar="NAME", help="sentence-transformers model or folder; also for weights"
    )
    rare.add_argument(
        "--same", type=float, metavar="X", help="cosine from which two responses say the same"
    )
    rare.add_argument(
        "--logprob", metavar="COLUMN", help="mean log-prob of a token, or the list of all tokens'"
    )
    rare.add_argument("--logprob-sum", metavar="COLUMN", help="their sum; needs --tokens")
    rare.add_argument("--tokens", metavar="COLUMN", help="how many tokens that is the sum of")
    rare.add_argument("--keep-reasoning", action="store_true", help="keep <think> blocks in it")
    parser.add_argument(
        "--style-encoder", metavar="NAME", help="second axis of the weights, beside --encoder"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")


def main(chosen: argparse.Namespace) -> int:
    """Run ``divreg pairs`` and return its exit code.

    Raises:
        ValueError: If there is no pair, or an argument cannot be followed.
    """
    preferences.check(chosen.output, generations.files_of(chosen.scored, "divreg pairs"))
    options = Options(
        reward=chosen.reward,
        rho=chosen.rho,
        threshold=chosen.threshold,
        count=chosen.pairs,
        diversity=chosen.diversity,
        classes=chosen.classes,
        same=chosen.same,
        encoder=chosen.encoder,
        style=chosen.style_encoder,
        logprob=chosen.logprob,
        logprob_sum=chosen.logprob_sum,
        tokens=chosen.tokens,
        keep_reasoning=chosen.keep_reasoning,
    )
    criterion(options)  # a contradiction shows before an encoder is loaded
    encoders = {"encoder": _encoder(chosen.encoder), "style": _encoder(chosen.style_encoder)}
    found = find_pairs(chosen.scored, replace(options, **encoders))
    preferences.write(chosen.output, preferences.rows(found))
    console = Console(highlight=False, soft_wrap=True)
    show(console, found, chosen.output)
    if chosen.json:
        write_numbers(chosen.json, found, chosen.output)
        console.print(f"The numbers: {chosen.json}", markup=False)
    return 0


def _encoder(name: str | None) -> Any:
    if name is None:
        return None
    from divreg.encoders import SentenceEncoder

    return SentenceEncoder(name)


def show(console: Console, found: Found, output: Path) -> None:
    """Print how pairs were chosen, what has none, and the means of both sides."""
    facts = found.facts
    sizes = facts["responses_per_prompt"]
    each = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    console.print(
        f"\n{len(found.pairs):,} {'pair' if len(found.pairs) == 1 else 'pairs'} in {output}, of "
        f"{facts['prompt_count']:,} prompts with {each} responses each.",
        markup=False,
    )
    console.print(
        f"Chosen among the best, rejected among the worst {facts['rho']:g} "
        f"{_SHARES[facts['threshold']]}.",
        markup=False,
    )
    console.print(f"Diversity: {facts['diversity']}.", markup=False)
    console.print(f"Weights: by {facts['deviation']}.", markup=False)
    for sentence in found.sentences():
        console.print(sentence, style="yellow", markup=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in ("chosen", "rejected", "all responses"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", style="dim")
    for name, unit in _ROWS.items():
        values = [f"{side[name]:.3g}" if name in side else "" for side in found.numbers.values()]
        table.add_row(name, *values, unit)
    console.print(table)
    zero = sum(pair.chosen.weight == 0 for pair in found.pairs)
    if zero:
        console.print(
            f"{zero:,} of {len(found.pairs):,} pairs have weight 0: their chosen response deviates "
            f"least of its prompt. DDPO skips them, DPO does not."
        )


def write_numbers(path: Path, found: Found, output: Path) -> None:
    """Write what was chosen, how, and why the rest was not, as JSON."""
    left_out = {
        name: {"count": problems.total, "why": problems.counts, "first": problems.places}
        for name, problems in (
            ("rows", found.rows),
            ("responses", found.responses),
            ("prompts", found.prompts),
        )
    }
    whole = {
        "divreg_pairs": 1,
        **found.facts,
        "output": str(output),
        "pairs": len(found.pairs),
        "left_out": left_out,
        "means": found.numbers,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
