"""What every page is made of: one HTML file that needs nothing from outside and runs offline.

Its one style and its one script stand inside, and a content policy lets through these two, by their
hashes, and nothing else. Every printed value is escaped, and what cannot be seen is made visible.
"""

import base64
import hashlib
import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from divreg.report.inert import visible
from divreg.report.numbers import percent, shown


def draw(template: str, *, part: str = "report", style: str | None = None, **values: Any) -> str:
    """Return a page.

    Args:
        template: A file of ``part``; it extends ``layout.html.jinja``, which names the values that
            every page needs: ``version``, ``sections``, ``data``.
        part: The part of divreg that has the template.
        style: A file of ``part`` with rules beside those of ``report.css``.
        values: What the template prints.
    """
    css = _text("report", "report.css") + (_text(part, style) if style else "")
    script = _text("report", "report.js")
    printed = {"style": Markup(css), "script": Markup(script), "policy": policy(css, script)}
    return _environment(part).get_template(template).render(values | printed)


def policy(style: str, script: str) -> str:
    """Return the content policy: our one style and our one script, and nothing from anywhere."""

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; style-src {source(style)}; script-src {source(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def replace_file(path: Path, text: str, who: str, cure: str) -> None:
    """Write a file in one step, so that a reader never sees half of it.

    Args:
        path: Its folder is made.
        text: Of the whole file.
        who: Writes, for the message.
        cure: What to type where that fails, for the message.

    Raises:
        ValueError: If it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise ValueError(f"{who} cannot write {path}: {error.strerror}. {cure}") from error


def _text(part: str, name: str) -> str:
    return (resources.files(f"divreg.{part}") / name).read_text(encoding="utf-8")


def _environment(part: str) -> jinja2.Environment:
    folders = dict.fromkeys((part, "report"))
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader("divreg", f) for f in folders]),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else _inert(value),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(shown=shown, percent=percent, pretty=_pretty)
    return environment


def _inert(value: Any) -> Any:
    """Make a printed value visible; every expression of a template passes through here."""
    return visible(value) if isinstance(value, str) else value


def _pretty(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
