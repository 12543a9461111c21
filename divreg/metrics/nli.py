"""NLI diversity: how far the texts of a group are from entailing each other."""

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

# Pairs (premise, hypothesis) to a row of probabilities each: contradiction, neutral, entailment.
Predict = Callable[[list[tuple[str, str]]], ArrayLike]

_END_OF_SENTENCE = re.compile(r"[.!?]+\s+|\n+")


def nli_diversity(there: ArrayLike, back: ArrayLike) -> float:
    """Measure how far texts are from entailing each other: one less their mean agreement.

    Range [0, 2], dimensionless, higher is more diverse: 0 if all entail each other for certain, 1
    if all are neutral, above 1 where contradiction outweighs entailment. No pairs: 0.

    Args:
        there: ``(m, 3)``, of each pair of texts the probabilities of contradiction, neutral and
            entailment, in this order, with the first as premise.
        back: ``(m, 3)``, the same pairs with the second as premise.

    Raises:
        ValueError: If the two have not the shape ``(m, 3)``, or rows are not probabilities.

    Source:
        Karouzos et al., arXiv:2604.16027, released code, ``NLIDiversityEvaluator``.

    >>> round(nli_diversity([[0.1, 0.2, 0.7]], [[0.3, 0.3, 0.4]]), 6)
    0.65
    """
    agreement = nli_agreement(there, back)
    return 1.0 - float(agreement.mean()) if len(agreement) else 0.0


def nli_agreement(there: ArrayLike, back: ArrayLike) -> np.ndarray:
    r"""Measure how far two texts agree: entailment less contradiction, both ways.

    .. math:: s_{ij} = \tfrac12 [(e - c)_{i \to j} + (e - c)_{j \to i}]

    Args:
        there: ``(m, 3)``, see :func:`nli_diversity`.
        back: ``(m, 3)``.

    Returns:
        ``(m,)`` float64, in [-1, 1], dimensionless: 1 entail each other, 0 neutral, -1 contradict.

    Raises:
        ValueError: If the two have not the shape ``(m, 3)``, or rows are not probabilities.

    Source:
        Sign: Stasaski and Hearst, arXiv:2205.01497. Both ways: Karouzos et al., arXiv:2604.16027.

    Differs from the released code:
        That of Kirk et al. (arXiv:2310.06452) has the opposite sign, and is not copied.

    >>> nli_agreement([[0.1, 0.2, 0.7]], [[0.3, 0.3, 0.4]]).round(6).tolist()
    [0.35]
    """
    one, other = (_probabilities(p) for p in (there, back))
    if len(one) != len(other):
        raise ValueError(
            f"NLI diversity needs both directions of every pair; got {len(one)} and {len(other)}. "
            f"Ask for (b, a) wherever you ask for (a, b)."
        )
    return (one[:, 2] - one[:, 0] + other[:, 2] - other[:, 0]) / 2


def nli_diversity_of_texts(texts: Sequence[str], predict: Predict, most: int = 3) -> float:
    """Measure how far the texts of a group are from entailing each other, sentence by sentence.

    :func:`nli_diversity` over the :func:`aligned_sentences` of every two texts: each pair of
    sentences counts the same. NLI models know sentences, not paragraphs. Fewer than two texts with
    a sentence: 0. Not for code.

    Args:
        texts: The texts of one group; without their reasoning, if they reason.
        predict: An NLI model: it is called once, with every different ordered pair of sentences,
            and returns the probabilities of contradiction, neutral and entailment, ``(m, 3)``.
        most: Sentences compared in a pair of texts, at least 1.

    Raises:
        ValueError: If ``predict`` returns something else, or ``most`` is below 1.

    Source:
        Karouzos et al., arXiv:2604.16027, with ``roberta-large-mnli``.

    Differs from the released code:
        Of two texts with more aligned sentences than ``most`` it draws some by chance; here the
        first count, so that the same texts give the same number.

    >>> def predict(pairs):
    ...     return [[0, 0, 1] if a == b else [0, 1, 0] for a, b in pairs]
    >>> nli_diversity_of_texts(["Yes. It is.", "Yes. It rains."], predict)
    0.5
    """
    return nli_diversity_of_groups([texts], predict, most)[0]


def nli_diversity_of_groups(
    groups: Sequence[Sequence[str]], predict: Predict, most: int = 3
) -> list[float]:
    """Measure :func:`nli_diversity_of_texts` of several groups, asking the model once.

    Args:
        groups: The texts of each group.
        predict: As there; it is asked of all groups together, and of each pair once.
        most: Sentences compared in a pair of texts, at least 1.

    Raises:
        ValueError: As there.

    >>> def predict(pairs):
    ...     return [[0, 0, 1] if a == b else [0, 1, 0] for a, b in pairs]
    >>> nli_diversity_of_groups([["Yes.", "Yes."], ["Yes.", "No."], ["Yes."]], predict)
    [0.0, 1.0, 0.0]
    """
    each = [
        [
            pair
            for i, a in enumerate(texts)
            for b in texts[i + 1 :]
            for pair in aligned_sentences(a, b, most)
        ]
        for texts in groups
    ]
    asked = list(dict.fromkeys(p for own in each for a, b in own for p in ((a, b), (b, a))))
    said = _probabilities(predict(asked)) if asked else np.zeros((0, 3))
    if len(said) != len(asked):
        raise ValueError(
            f"NLI diversity needs one row per pair from predict; got {len(said)} for {len(asked)}. "
            f"Return a list as long as the list of pairs."
        )
    row = {pair: i for i, pair in enumerate(asked)}
    return [
        nli_diversity(said[[row[a, b] for a, b in own]], said[[row[b, a] for a, b in own]])
        if own
        else 0.0
        for own in each
    ]


def aligned_sentences(a: str, b: str, most: int = 3) -> list[tuple[str, str]]:
    """Pair the first sentence of one text with the first of the other, and so on.

    As many pairs as the shorter text has sentences, at most ``most``; none if one has none.

    Args:
        a: A text.
        b: Another.
        most: Pairs at most, at least 1.

    Raises:
        ValueError: If ``most`` is below 1.

    >>> aligned_sentences("It rains. I stay. Bye.", "It snows! I go.")
    [('It rains', 'It snows'), ('I stay', 'I go.')]
    """
    if most < 1:
        raise ValueError(f"aligned_sentences needs most of at least 1; got {most}. Use most=3.")
    return list(zip(sentences(a), sentences(b), strict=False))[:most]


def sentences(text: str) -> list[str]:
    r"""Split a text after full stops, question and exclamation marks that white space follows.

    And at newlines. The marks between two sentences go, those at the end of the text stay.

    Args:
        text: A text.

    Source:
        Karouzos et al., arXiv:2604.16027, released code.

    >>> sentences("Pi is 3.14. Why?\nI see...")
    ['Pi is 3.14', 'Why', 'I see...']
    """
    plain = text.replace("\r", " ").replace("\t", " ")
    found = [part.strip() for part in _END_OF_SENTENCE.split(plain)]
    whole = plain.strip()
    return [part for part in found if part] or ([whole] if whole else [])


def _probabilities(rows: ArrayLike) -> np.ndarray:
    """Return rows of three probabilities, ``(m, 3)`` float64."""
    p = np.asarray(rows, dtype=np.float64)
    if not p.size:
        return np.zeros((0, 3))
    if p.ndim != 2 or p.shape[1] != 3:
        raise ValueError(
            f"NLI diversity needs probabilities of shape (m, 3); got {p.shape}. Pass "
            f"[contradiction, neutral, entailment] for each pair."
        )
    if not ((p >= 0).all() and np.allclose(p.sum(axis=1), 1.0, atol=1e-2)):
        raise ValueError(
            "NLI diversity needs rows of probabilities that add up to 1; got others. Take the "
            "softmax of the logits."
        )
    return p
