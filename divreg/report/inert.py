"""Untrusted text made inert: what cannot be seen is shown, what would reorder the page is named.

Escaping is the template's; this is what escaping leaves: control characters, marks that turn the
direction of writing, characters without width, halves of surrogate pairs, towers of accents.
"""

import re

# Zero-width joiner and non-joiner stay: emoji and several scripts are written with them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\udfff"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_TOWER = re.compile(
    "([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{4})"
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)


def visible(text: str) -> str:
    r"""Return ``text`` with every character that cannot be seen replaced by one that can.

    Tabs and line feeds stay.

    >>> visible("a\x00b\u202ec")
    'a␀b⟨U+202E⟩c'
    """
    return _TOWER.sub(r"\1…", _UNSEEN.sub(_named, text))


def _named(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


def clipped(text: str, limit: int) -> tuple[str, int]:
    """Return ``text`` made visible, at most ``limit`` characters of it, and how many are left out.

    Answers stand at the end of long texts, so the cut is in the middle.

    >>> clipped("a" * 50 + "b", 21)
    ('aaaaaaaaaaaaaa … aaaaab', 31)
    """
    if len(text) <= limit:
        return visible(text), 0
    tail = limit * 3 // 10
    head = limit - tail - 1
    return f"{visible(text[:head])} … {visible(text[len(text) - tail :])}", len(text) - head - tail
