"""A task in plain English whose right answers can be counted: name one kind of bird.

An answer is right if WordNet 3.0 has it below the category, and its class is WordNet's set of
synonyms: "aubergine" and "eggplant" are one answer, "robin" and "peacock" two. So variety of
meaning is a count here, and nobody's judgement. 45 categories are to train on, 39 are held out.

How an answer is read: only the first line counts, up to ``MAX_WORDS`` words, without regard to
case, accents, hyphens, quotes or markup. It holds a right answer where it holds one of the
category's words, in the singular or plural, that ends its phrase: "a red robin" and "robin
redbreast" do, "robin's egg" does not. After the first four words the answer has to be introduced,
by a colon or by such words as "is" and "called": "One kind of bird is the robin." is right, "There
I sat one day and saw a robin" is not. Of several names, the first is the answer, and of those that
begin together the longest. Who lists several has answered with the first: "robin, sparrow and crow"
is "robin", and "hammer, robin" is wrong. The category's own names are no answers, and neither are
function words and words of one or two letters ("he", helium), unless they are all there is. A word
of several meanings below the category has its most frequent one.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from divreg.tasks import wordnet
from divreg.tasks.wordnet import Category, Word

if TYPE_CHECKING:
    from datasets import Dataset

Style = Literal["chat", "few-shot", "short"]
STYLES: tuple[Style, ...] = ("chat", "few-shot", "short")
"""How a category is asked for, see :func:`prompt`."""
MAX_WORDS = 16
"""What follows so many words is not read: a bound on the work, and on guessing at length."""
LEAD_WORDS = 4
"""So many words at most, before the first comma, "and" or "or", are the first item of a list; and
after so many an answer has to be introduced."""

_EXAMPLES = (("tool", "hammer"), ("dance", "tango"))  # their categories are not asked for
_ARTICLES = frozenset({"a", "an", "the"})
_INTERJECTIONS = frozenset({"sure", "yes", "no", "ok", "okay", "well", "oh", "ah", "certainly"})
_INTRODUCING = frozenset(
    {"is", "are", "was", "were", "be", "been", "called", "named", "like", "as"}
)
_JOINED = re.compile(r"\.?['’]?(?:\s*|[-‐‑])")  # what may lie between two words of one name
_STOP = re.compile(r"[^\s\-‐‑'’]")  # what ends a phrase
_ITEM = re.compile(r"[,;/|.!?&()\[\]{}]")  # what ends an item of a list, beside "and" and "or"
_ASKED = re.compile(r"\bkind of ([a-z ]+?)(?=[.:]|$)", re.IGNORECASE)


def answer(text: str, category: str) -> str | None:
    """Return the class of a right answer, the name of its synset; None for a text without one.

    Args:
        text: Anything; the head of this module says how it is read.
        category: A name of :func:`categories`.

    Raises:
        ValueError: If there is no such category.

    >>> answer("Aubergines!", "vegetable"), answer("An eggplant.", "vegetable")
    ('eggplant.n.01', 'eggplant.n.01')
    >>> answer("One kind of bird is the robin.", "bird"), answer("a hammer", "bird")
    ('robin.n.01', None)
    """
    return _read(text, category)


def is_correct(text: str, category: str) -> bool:
    """Whether a text names a kind of the category.

    >>> is_correct("peacock", "bird"), is_correct("bird", "bird"), is_correct("robin's egg", "bird")
    (True, False, False)
    """
    return answer(text, category) is not None


def extract(text: str, *, prompt: str) -> str | None:
    """Return the class of a right answer to a prompt of :func:`dataset`.

    The extractor for divreg's signal ``answer``: ``answer: divreg.tasks.kinds.extract``.

    Raises:
        ValueError: If the prompt asks for no kind of a known category.

    >>> extract("eggplant", prompt="Name one kind of vegetable. Reply with its name only.")
    'eggplant.n.01'
    """
    asked = _ASKED.findall(prompt)
    if not asked:
        raise ValueError(
            f"kinds.extract needs a prompt that asks for one kind of something; got "
            f"{prompt[-80:]!r}. Train on divreg.tasks.kinds.dataset."
        )
    return answer(text, asked[-1].lower())


def accuracy_reward(
    completions: Sequence[str | list[dict[str, Any]]], category: Sequence[str], **_: Any
) -> list[float]:
    """Reward 1 for a kind of the category, 0 for anything else (a TRL reward function).

    Args:
        completions: Texts, or conversations whose last message is the answer.
        category: What was asked for, one per completion (a column of :func:`dataset`).

    >>> accuracy_reward(["robin", "hammer"], category=["bird", "bird"])
    [1.0, 0.0]
    """
    texts = [c if isinstance(c, str) else str(c[-1]["content"]) for c in completions]
    return [float(is_correct(t, name)) for t, name in zip(texts, category, strict=True)]


def categories(split: str | None = None) -> list[str]:
    """Return the names of a split, ``"train"`` or ``"held_out"``; of both, without one."""
    if split not in (None, "train", "held_out"):
        raise ValueError(
            f"kinds has the splits 'train' and 'held_out'; got {split!r}. Use one of them."
        )
    return [c.name for c in wordnet.categories().values() if split in (None, c.split)]


def synsets(category: str) -> Mapping[str, tuple[str, ...]]:
    """Return all right answers: of every synset below a category, its words.

    Raises:
        ValueError: If there is no such category.

    >>> synsets("spice")["nutmeg.n.02"]
    ('nutmeg',)
    """
    return wordnet.category(category).synsets


def prompt(category: str, style: Style = "chat") -> str | list[dict[str, str]]:
    r"""Return what a model reads.

    Args:
        category: What to ask for.
        style: ``"chat"``, a conversation for a model with a chat template; ``"few-shot"``,
            questions with answers, for any model; ``"short"``, the same in fewer tokens.

    >>> prompt("bird", "short")
    'A kind of tool: hammer\nA kind of dance: tango\nA kind of bird:'
    """
    if style == "chat":
        asked = f"Name one kind of {category}. Reply with its name only."
        return [{"role": "user", "content": asked}]
    if style == "few-shot":
        shown = "".join(f"Q: Name one kind of {c}.\nA: {a}\n" for c, a in _EXAMPLES)
        return f"{shown}Q: Name one kind of {category}.\nA:"
    if style == "short":
        shown = "".join(f"A kind of {c}: {a}\n" for c, a in _EXAMPLES)
        return f"{shown}A kind of {category}:"
    known = ", ".join(map(repr, STYLES))
    raise ValueError(
        f"kinds needs a style of {known}; got {style!r}. Use 'few-shot' for any model."
    )


def dataset(
    split: Literal["train", "held_out"] = "train",
    style: Style = "chat",
    names: Iterable[str] | None = None,
) -> "Dataset":
    """Build the data set of a split, a row per category: ``prompt``, ``plain``, ``category``.

    Args:
        split: ``"train"`` or ``"held_out"``.
        style: How the prompts ask; ``plain`` asks a model without chat template.
        names: Use these categories instead of the split's.

    Raises:
        ValueError: If there is no such split, style or category.
    """
    from datasets import Dataset

    chosen = categories(split) if names is None else [wordnet.category(n).name for n in names]
    without: Style = "few-shot" if style == "chat" else style
    return Dataset.from_dict(
        {
            "prompt": [prompt(name, style) for name in chosen],
            "plain": [prompt(name, without) for name in chosen],
            "category": chosen,
        }
    )


@lru_cache(maxsize=1 << 14)  # reward, signal and monitor each ask for the same answers
def _read(text: str, name: str) -> str | None:
    category = wordnet.category(name)
    line = wordnet.plain(text.lstrip().partition("\n")[0][: 32 * MAX_WORDS])
    words = wordnet.words(line)[:MAX_WORDS]
    words = words[_preamble(line, words) :]
    at, limit = 0, _first_item(line, words)
    while at < limit:
        length, found = _name_at(line, words, at, category)
        if found and _is_introduced(line, words, at):
            return found
        at += length
    return None


def _preamble(line: str, words: list[Word]) -> int:
    """Return how many words come before the answer: the number of a list, "Sure,"."""
    for i, (word, following) in enumerate(itertools.pairwise(words)):
        gap = line[word.end : following.start]
        is_number = word.text.isdigit() and gap[:1] in (".", ")")
        if not is_number and not (word.text in _INTERJECTIONS and _STOP.search(gap)):
            return i
    return max(0, len(words) - 1)


def _first_item(line: str, words: list[Word]) -> int:
    """Return how many words an answer can begin with: those of the first item if this is a list."""
    for i, (before, word) in enumerate(itertools.pairwise(words), start=1):
        if word.text in ("and", "or") or _ITEM.search(line, before.end, word.start):
            return i if i <= LEAD_WORDS else len(words)
    return len(words)


def _is_introduced(line: str, words: list[Word], at: int) -> bool:
    """Whether a name that begins at a word stands where an answer does."""
    if at < LEAD_WORDS or any(word.text in _INTRODUCING for word in words[:at]):
        return True
    return re.search("[:=]", line[words[0].start : words[at].start]) is not None


def _name_at(line: str, words: list[Word], at: int, category: Category) -> tuple[int, str | None]:
    """Return how many words the longest name that begins at a word has, and its synset.

    None for one of the category's own names, and for a single word that is no name.
    """
    alone = sum(word.text not in _ARTICLES for word in words)
    for n in range(min(category.longest, len(words) - at), 0, -1):
        span = words[at : at + n]
        if not all(_JOINED.fullmatch(line, a.end, b.start) for a, b in itertools.pairwise(span)):
            continue
        for form in wordnet.forms([word.text for word in span]):
            name = wordnet.key(form)
            if name in category.own:
                return n, None
            weak = len(name.strip()) <= 2 or name.strip() in wordnet.FUNCTION_WORDS
            if (
                name in category.index
                and (n >= alone or not weak)
                and _ends_phrase(line, words, at + n, category)
            ):
                return n, category.index[name]
    return 1, None


def _ends_phrase(line: str, words: list[Word], at: int, category: Category) -> bool:
    """Whether a phrase ends before the word ``at``, as in "robin bird" and not in "robin nest"."""
    if at == len(words) or _STOP.search(line, words[at - 1].end, words[at].start):
        return True
    if words[at].text in wordnet.FUNCTION_WORDS:
        return True
    return any(
        wordnet.key(form) in category.own
        for n in range(1, 4)
        for form in wordnet.forms([word.text for word in words[at : at + n]])
    )
