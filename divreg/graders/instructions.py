r"""Whether a text follows instructions that can be checked: the 25 kinds of IFEval.

Each kind is a function of the text and the instruction's arguments, under the name and with the
argument names of the public data set (``google/IFEval``). Nothing in a text can make a check slow:
all are linear in its length.

Three kinds need to know the language of a text, which the package langdetect tells
(``pip install 'divreg[language]'``). Without it they are not judged: the result is None, unless
something else about the text decides.

Source:
    Zhou et al., Instruction-Following Evaluation for Large Language Models, arXiv:2311.07911,
    Table 1 (the kinds), Section 2.2 (strict and loose).

Differs from the released code:
    Keywords are looked for as they are written, not as regular expressions. Sentences and words
    in capitals are counted by rules of this file, not by nltk's models. A bullet is followed by
    a space, so a rule (``---``) is none; what is highlighted begins and ends with no space. A
    postscript begins a line. Of paragraphs, blank ones do not count. A text without letters is in
    no language.
"""

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

Check = Callable[..., bool | None]

YES_NO_MAYBE = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
"""What ``detectable_format:constrained_response`` lets a text say."""

_WORD = re.compile(r"\w+(?:['’.&/-]\w+)*")
_HIGHLIGHT = re.compile(r"\*\*(?!\s)[^*\n]+(?<!\s)\*\*|\*(?!\s)[^*\n]+(?<!\s)\*")
_BULLET = re.compile(r"^[ \t]*[*-][ \t]+\S", re.M)
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]*\]")
_FENCE = re.compile(r"\A```\w*\s*|```\s*\Z")
_MARKS = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]*_]*+(?=\s|\Z)")
_TITLES = frozenset((
    "mr", "mrs", "ms", "dr", "prof", "rev", "hon", "st", "gen", "col", "capt", "lt", "sgt", "gov",
    "sen", "rep", "vs", "fig", "vol", "approx", "e.g", "i.e", "cf",
))  # fmt: skip
_ABBREVIATIONS = frozenset((
    "etc", "inc", "ltd", "co", "corp", "dept", "est", "ave", "blvd", "rd", "sr", "jr", "jan", "feb",
    "aug", "sept", "oct", "nov", "dec", "a.m", "p.m", "u.s", "u.k", "u.n", "d.c", "ph.d", "al",
))  # fmt: skip


def follows(
    text: str,
    instructions: Sequence[str],
    arguments: Sequence[Mapping[str, Any]],
    *,
    loose: bool = False,
) -> bool | None:
    r"""Whether a text follows all instructions.

    Args:
        text: A completion. One without a word follows nothing.
        instructions: Names of kinds, such as ``"punctuation:no_comma"``.
        arguments: Of each instruction, its arguments by name; those that are None are absent, as
            in the data set.
        loose: Take an instruction for followed if it is after the first line, the last line, both,
            or asterisks were removed: an answer may come with an introduction.

    Returns:
        None where it depends on what cannot be judged here.

    Raises:
        ValueError: For a kind that there is none of, or arguments that do not fit.

    >>> follows("no commas here", ["punctuation:no_comma"], [{}])
    True
    >>> follows("Sure, here:\nno commas", ["punctuation:no_comma"], [{}], loose=True)
    True
    """
    return _all(each(text, instructions, arguments, loose=loose))


def each(
    text: str,
    instructions: Sequence[str],
    arguments: Sequence[Mapping[str, Any]],
    *,
    loose: bool = False,
) -> list[bool | None]:
    """Whether a text follows each instruction; takes what :func:`follows` takes."""
    if len(instructions) != len(arguments):
        raise ValueError(
            f"IFEval needs arguments for every instruction; got {len(instructions)} instructions "
            f"and {len(arguments)} arguments. Write {{}} for an instruction without."
        )
    texts = [t for t in (_readings(text) if loose else [text]) if t.strip()]
    found = []
    for name, given in zip(instructions, arguments, strict=True):
        check = _check(name, {k: v for k, v in given.items() if v is not None})
        found.append(_any(check(t) for t in texts))
    return found


def _readings(text: str) -> list[str]:
    lines = text.split("\n")
    cut = [text, *("\n".join(x).strip() for x in (lines[1:], lines[:-1], lines[1:-1]))]
    return cut + [t.replace("*", "") for t in cut]


def _check(name: str, arguments: dict[str, Any]) -> Callable[[str], bool | None]:
    if name not in CHECKS:
        raise ValueError(
            f"IFEval has no instruction {name!r}; it has {', '.join(CHECKS)}. Leave its rows out."
        )
    check = CHECKS[name]
    names = check.__code__.co_varnames[1 : check.__code__.co_argcount]
    if set(arguments) != set(names):
        raise ValueError(
            f"{name} needs the arguments {', '.join(names) or '(none)'}; got "
            f"{', '.join(arguments) or '(none)'}. Pass those of the data set's column kwargs."
        )
    return lambda text: check(text, **arguments)


def _all(found: Sequence[bool | None]) -> bool | None:
    return False if False in found else None if None in found else True


def _any(found: Any) -> bool | None:
    found = list(found)
    return True if True in found else None if None in found else False


def _compared(count: int, relation: str, number: Any) -> bool:
    if relation not in ("at least", "less than"):
        raise ValueError(f"IFEval needs 'at least' or 'less than'; got {relation!r}. Use one.")
    return count >= int(number) if relation == "at least" else count < int(number)


# Keywords


def existence(text: str, keywords: Sequence[str]) -> bool:
    """All keywords are in the text, in any case, in longer words too."""
    return all(word.lower() in text.lower() for word in keywords)


def frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    """A keyword is there so often."""
    return _compared(text.lower().count(keyword.lower()), relation, frequency)


def forbidden_words(text: str, forbidden_words: Sequence[str]) -> bool:
    """None of the words is there; longer words that hold one may be."""
    return not any(
        re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.I) for word in forbidden_words
    )


def letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    """A letter, small or capital, is there so often."""
    return _compared(text.lower().count(letter.lower()), let_relation, let_frequency)


# Language and case


def response_language(text: str, language: str) -> bool | None:
    """The text is in a language, given by its ISO 639-1 code."""
    detect = _detector()
    return None if detect is None else detect(text) == language


def english_capital(text: str) -> bool | None:
    """The text is English, all in capitals."""
    return response_language(text, "en") if text.isupper() else False


def english_lowercase(text: str) -> bool | None:
    """The text is English, without capitals."""
    return response_language(text, "en") if text.islower() else False


def capital_word_frequency(text: str, capital_frequency: int, capital_relation: str) -> bool:
    """So many words are all in capitals."""
    count = sum(word.isupper() for word in _WORD.findall(text))
    return _compared(count, capital_relation, capital_frequency)


_DETECTING = threading.Lock()


@cache
def _detector() -> Callable[[str], str | None] | None:
    """Return what tells the language of a text; None without langdetect."""
    try:
        from langdetect import (  # pyright: ignore[reportMissingImports]
            DetectorFactory,
            LangDetectException,
            detect,
        )
    except ImportError:
        return None
    DetectorFactory.seed = 0  # it draws at random

    def language(text: str) -> str | None:
        with _DETECTING:
            try:
                return detect(text)
            except LangDetectException:  # no letters
                return None

    return language


# Length


def sentences(text: str) -> int:
    r"""Count the sentences of a text.

    One ends with ``.``, ``!``, ``?`` or ``...`` before a space, but not after a title, an initial
    or the number of a list's line, nor where no capital follows an abbreviation or ``...``.

    >>> sentences("Dr. A. Smith, e.g., came at 3.30 p.m. today! Why?\n1. To eat\n2. To sleep.")
    3
    """
    count = end = 0
    for marks in _MARKS.finditer(text):
        if not set(marks[0]) & set("!?"):
            before = text[max(end, marks.start() - 20) : marks.start()]
            word = re.split(r"[\s(\[\"'“‘*_]", before)[-1]
            goes_on = not text[marks.end() : marks.end() + 20].lstrip("\"'“‘(*_ \n")[:1].isupper()
            first = not before[: len(before) - len(word)].rpartition("\n")[2].strip()
            if (
                (goes_on and (marks[0][:2] == ".." or marks[0][0] == "…"))
                or (goes_on and word.lower() in _ABBREVIATIONS)
                or word.lower() in _TITLES
                or (len(word) == 1 and word.isupper() and word != "I")
                or (first and word.isdigit())
            ):
                continue
        count, end = count + 1, marks.end()
    return count + bool(re.search(r"\w", text[end:]))


def number_sentences(text: str, num_sentences: int, relation: str) -> bool:
    """The text has so many sentences."""
    return _compared(sentences(text), relation, num_sentences)


def number_words(text: str, num_words: int, relation: str) -> bool:
    """The text has so many words: runs of letters and digits."""
    return _compared(len(re.findall(r"\w+", text)), relation, num_words)


def number_paragraphs(text: str, num_paragraphs: int) -> bool:
    """The text has so many paragraphs, with ``***`` between two."""
    parts = [part.strip() for part in text.split("***")]
    inner = parts[bool(not parts[0]) : len(parts) - bool(not parts[-1])]
    return len(inner) == int(num_paragraphs) and all(inner)


def nth_paragraph_first_word(
    text: str, num_paragraphs: int, nth_paragraph: int, first_word: str
) -> bool:
    """The text has so many paragraphs, with a blank line between two; one begins with a word."""
    parts = [part.strip() for part in text.split("\n\n") if part.strip()]
    if len(parts) != int(num_paragraphs) or int(nth_paragraph) > len(parts):
        return False
    word = parts[int(nth_paragraph) - 1].split()[0].lstrip("'\"“‘*_")
    return re.split(r"[.,?!'\"”’*_:;]", word)[0].lower() == first_word.lower()


# Content and format


def number_placeholders(text: str, num_placeholders: int) -> bool:
    """The text has at least so many placeholders in square brackets, such as ``[name]``."""
    return len(_PLACEHOLDER.findall(text)) >= int(num_placeholders)


def postscript(text: str, postscript_marker: str) -> bool:
    r"""A line begins with the marker, such as ``P.S.``; spaces and the last dot do not matter.

    So does a line within JSON, after ``\n``.
    """
    letters = [re.escape(x.strip()) for x in postscript_marker.split(".") if x.strip()]
    marker = r"\.[ \t]?".join(letters)
    return bool(re.search(rf"(?:^|\\n)[ \t*_\"“]*{marker}(?!\w)", text, re.M | re.I))


def number_bullet_lists(text: str, num_bullets: int) -> bool:
    """The text has exactly so many bullets: lines that begin with ``*`` or ``-``."""
    return len(_BULLET.findall(text)) == int(num_bullets)


def constrained_response(text: str) -> bool:
    """The text says one of the three sentences of :data:`YES_NO_MAYBE`."""
    return any(said in text for said in YES_NO_MAYBE)


def number_highlighted_sections(text: str, num_highlights: int) -> bool:
    """At least so many pieces of a line are highlighted: ``*this*`` or ``**this**``."""
    return len(_HIGHLIGHT.findall(text)) >= int(num_highlights)


def multiple_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    """The text has at least so many sections, which begin with a word and a number."""
    heads = re.findall(rf"{re.escape(section_spliter.strip())}\s?\d+", text)
    return len(heads) >= int(num_sections)


def json_format(text: str) -> bool:
    """The whole text is JSON, in a fenced block or not."""
    try:
        json.loads(_FENCE.sub("", text.strip()))
    except (ValueError, RecursionError):
        return False
    return True


def title(text: str) -> bool:
    """A line holds a title in double angular brackets: ``<<this>>``."""
    for line in text.splitlines():
        _, opened, rest = line.partition("<<")
        inner, closed, _ = rest.rpartition(">>")
        if opened and closed and inner.strip("<> \t"):
            return True
    return False


# Combinations, beginnings and ends, punctuation


def two_responses(text: str) -> bool:
    """The text is two different answers with ``******`` between them."""
    parts = [part.strip() for part in text.split("******")]
    inner = parts[bool(not parts[0]) : len(parts) - bool(not parts[-1])]
    return len(inner) == 2 and all(inner) and inner[0] != inner[1]


def repeat_prompt(text: str, prompt_to_repeat: str) -> bool:
    """The text begins with the question."""
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def end_checker(text: str, end_phrase: str) -> bool:
    """The text ends with a phrase; quotation marks after it do not matter."""
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def quotation(text: str) -> bool:
    """The whole text stands between double quotation marks."""
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def no_comma(text: str) -> bool:
    """The text has no comma."""
    return "," not in text


CHECKS: dict[str, Any] = {
    "keywords:existence": existence,
    "keywords:frequency": frequency,
    "keywords:forbidden_words": forbidden_words,
    "keywords:letter_frequency": letter_frequency,
    "language:response_language": response_language,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:number_words": number_words,
    "length_constraints:nth_paragraph_first_word": nth_paragraph_first_word,
    "detectable_content:number_placeholders": number_placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:number_bullet_lists": number_bullet_lists,
    "detectable_format:constrained_response": constrained_response,
    "detectable_format:number_highlighted_sections": number_highlighted_sections,
    "detectable_format:multiple_sections": multiple_sections,
    "detectable_format:json_format": json_format,
    "detectable_format:title": title,
    "combination:two_responses": two_responses,
    "combination:repeat_prompt": repeat_prompt,
    "startend:end_checker": end_checker,
    "startend:quotation": quotation,
    "change_case:capital_word_frequency": capital_word_frequency,
    "change_case:english_capital": english_capital,
    "change_case:english_lowercase": english_lowercase,
    "punctuation:no_comma": no_comma,
}
"""The kinds of instruction, by the data set's names."""
