"""The table of methods and losses: read from signatures and docstrings, so never out of date."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from divreg.compose import contract, show


class Row(NamedTuple):
    """What a user wants to know about a method before they choose it, in words."""

    name: str
    does: str
    stage: str
    signals: str
    hyper: str
    source: str


def rows() -> list[Row]:
    """Return one row for each method, each loss of SFT, each of DPO, by stage and name."""
    from divreg.losses import LOSSES, OPTIONS
    from divreg.methods import METHODS
    from divreg.signals import PAIRED

    pairs = {k: f for k, f in LOSSES.items() if set(PAIRED) & set(contract(f).signals)}
    texts = {k: f for k, f in LOSSES.items() if k not in pairs}
    options = [_option(name, f) for name, f in OPTIONS.items()]
    return _table(METHODS, "") + _table(texts, "SFT, ") + _table(pairs, "DPO, ") + options


def _option(name: str, f: Callable[..., Any]) -> Row:
    """Return the row of a setting, whose first argument is what it changes."""
    text = inspect.getdoc(f) or ""
    changed, *hyper = inspect.signature(f).parameters
    does, source = text.split("\n", 1)[0], section(text, "Source")
    return Row(name, does, f"DPO, `{name}:`", changed, ", ".join(hyper), source)


def _table(functions: Mapping[str, Callable[..., Any]], home: str) -> list[Row]:
    """Return the rows of one table; ``home`` says before the stage where it is at home."""
    from divreg.compose import STAGES

    found = []
    for name, f in functions.items():
        known, text = contract(f), inspect.getdoc(f) or ""
        hyper = ", ".join(f"{k}={show(v)}" for k, v in known.hyper.items())
        row = Row(
            name,
            text.split("\n", 1)[0],
            f"{home}{known.stage}",
            ", ".join(known.signals),
            hyper,
            section(text, "Source"),
        )
        found.append((STAGES.index(known.stage), row))
    return [row for _, row in sorted(found)]


def section(docstring: str, title: str) -> str:
    """Return the text of a docstring's section on one line, empty if there is none.

    >>> section('''Do it.
    ...
    ... Source:
    ...     A. Author, A title,
    ...     arXiv:1234.56789.
    ...
    ... More text.''', "Source")
    'A. Author, A title, arXiv:1234.56789.'
    """
    lines = iter(docstring.splitlines())
    for line in lines:
        if line.strip() == f"{title}:":
            body = []
            for below in lines:
                if below.strip() and not below.startswith(" "):
                    break
                if not below.strip() and body:
                    break
                body.append(below.strip())
            return " ".join(filter(None, body))
    return ""


def markdown() -> str:
    """Return the README's table."""
    head = "| method | stage | what it does | reads | source |\n|---|---|---|---|---|\n"
    return head + "".join(
        f"| `{r.name}` | {r.stage} | {_plain(r.does)} | {r.signals} | {_link(r.source)} |\n"
        for r in rows()
    )


def show_table() -> None:
    """Print the table on the console, one method a block."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("method", "", box=box.SIMPLE_HEAD, pad_edge=False)
    for r in rows():
        block = Text.assemble(
            f"{_plain(r.does)}\n",
            *(part for label, text in _facts(r) for part in ((f"{label} ", "dim"), f"{text}\n")),
            (r.source, "dim"),
            "\n",
        )
        table.add_row(Text(r.name, "bold"), block)
    console = Console()
    console.print(table)
    console.print("In a recipe:  divreg: {interventions: [{darling: {floor: 0.1}}]}", markup=False)
    console.print("Losses are for divreg sft and divreg dpo.", markup=False)


def _facts(row: Row) -> list[tuple[str, str]]:
    return [("stage", row.stage), ("reads", row.signals), ("takes", row.hyper or "nothing more")]


def _plain(text: str) -> str:
    return text.replace("``", "`")


def _link(source: str) -> str:
    """Return the paper's link where the source names one on arXiv, else the source itself."""
    found = re.search(r"arXiv:(\d{4}\.\d{4,5})", source)
    kin = "ours, kin to " if source.startswith("Ours") else ""
    return f"{kin}[{found[0]}](https://arxiv.org/abs/{found[1]})" if found else _plain(source)
