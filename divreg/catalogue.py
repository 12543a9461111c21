"""The table of methods: read from signatures and docstrings, so that it cannot be out of date."""

import inspect
from typing import NamedTuple

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
    """Return one row for each method, in the order of the stages, then of their names."""
    from divreg.compose import STAGES
    from divreg.methods import METHODS

    found = []
    for name, f in METHODS.items():
        known, text = contract(f), inspect.getdoc(f) or ""
        hyper = ", ".join(f"{k}={show(v)}" for k, v in known.hyper.items())
        found.append(
            Row(
                name,
                text.split("\n", 1)[0],
                known.stage,
                ", ".join(known.signals),
                hyper,
                section(text, "Source"),
            )
        )
    return sorted(found, key=lambda row: (STAGES.index(row.stage), row.name))


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
        f"| `{r.name}` | {r.stage} | {r.does} | {r.signals} | {r.source} |\n" for r in rows()
    )


def show_table() -> None:
    """Print the table on the console, one method a block."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_lines=True, title_justify="left")
    for column in ("method", "stage", "what it does, and where it is from", "reads", "takes"):
        table.add_column(column, overflow="fold", no_wrap=column == "method")
    for r in rows():
        table.add_row(
            r.name,
            r.stage,
            f"{r.does}\n[dim]{r.source}[/dim]",
            r.signals.replace(", ", "\n"),
            r.hyper.replace(", ", "\n"),
        )
    console = Console()
    console.print(table)
    console.print("In a recipe:  divreg: {interventions: [{darling: {floor: 0.1}}]}", markup=False)
