"""What the numbers of a trace are called on its page, how they are defined and whose they are."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from divreg.metrics import (
    answer_entropy,
    ast_diversity,
    bleu,
    branching_factor,
    compression,
    cosine,
    decomposition,
    duplicates,
    ead,
    effective_diversity,
    next_token,
    ngrams,
    nli,
    noveltybench,
    pass_at_k,
    richness,
    semantic_entropy,
    topk,
    vendi,
)


@dataclass(frozen=True)
class Definition:
    """A number in words.

    Attributes:
        title: What it is called; ``{k}`` is the number of samples that it is brought to.
        says: How it is computed of one prompt; the number is the mean over prompts.
        of: The function whose docstring names the source.
    """

    title: str
    says: str
    of: Callable[..., Any]

    @property
    def source(self) -> str:
        """Who defined it, by the docstring's first sentence of it; else ``divreg``."""
        text = inspect.getdoc(self.of) or ""
        found = re.search(r"^Source:\n((?:    .*\n?)+)", text, re.MULTILINE)
        words = " ".join(found[1].split()) if found else "divreg"
        return words.split(". ")[0].replace("``", "").rstrip(".")


_PAIRS = "1 − Σ n(n−1) / N(N−1) over the classes (n) of"

DEFINITIONS = {
    "distinct_at_k": Definition(
        "Different in {k}",
        "expected number of classes among {k} of the samples, without bias",
        richness.rarefied_distinct,
    ),
    "different_pairs": Definition(
        "Two samples differ", f"{_PAIRS} a prompt's N samples", richness.simpson_unbiased
    ),
    "class_entropy": Definition(
        "Class entropy",
        "−Σ p ln p over the shares p of the classes, + (S − 1) / 2n for S classes among n samples",
        answer_entropy.answer_entropy_mm_nats,
    ),
    "coverage": Definition(
        "Coverage",
        "1 − the share of samples whose class came once: what was seen of all the model says",
        richness.coverage_frac,
    ),
    "distinct_2": Definition(
        "Distinct bigrams",
        "different pairs of words / all pairs of words, over a prompt's samples",
        ngrams.distinct_n_plain,
    ),
    "ead": Definition(
        "EAD",
        "different n-grams / as many as chance would give, mean of n = 1 to 5",
        ead.ead,
    ),
    "self_bleu": Definition(
        "Self-BLEU", "BLEU-4 of each sample with all others as references, mean", bleu.self_bleu
    ),
    "compression": Definition(
        "Compression",
        "bytes of a prompt's samples / bytes of their gzip file",
        compression.compression_ratio,
    ),
    "duplicates": Definition(
        "Duplicates",
        "share of samples whose text came before among the prompt's",
        duplicates.duplicate_frac,
    ),
    "cosine_diversity": Definition(
        "Cosine diversity",
        "1 − mean cosine of the embeddings of two samples",
        cosine.cosine_diversity,
    ),
    "vendi": Definition(
        "Vendi score",
        "e to the entropy of the eigenvalues of the samples' cosines / n: how many different ones "
        "there effectively are",
        vendi.vendi_score_from_embeddings,
    ),
    "pass_at_1": Definition("pass@1", "right samples / all samples", pass_at_k.pass_at_k),
    "pass_at_k": Definition(
        "pass@{k}", "1 − C(n−c, {k}) / C(n, {k}) for c right of n samples", pass_at_k.pass_at_k
    ),
    "distinct_correct_at_k": Definition(
        "Different right ones in {k}",
        "expected number of classes of right samples among {k} of all samples, without bias",
        effective_diversity.expected_distinct_valid,
    ),
    "different_pairs_correct": Definition(
        "Two right ones differ",
        f"{_PAIRS} a prompt's N right samples, of prompts with two; how many are right does not "
        f"matter",
        richness.simpson_unbiased,
    ),
    "cosine_diversity_correct": Definition(
        "Cosine diversity, right ones",
        "1 − mean cosine of the embeddings of two right samples, of prompts with two",
        cosine.cosine_diversity,
    ),
    "nli_diversity": Definition(
        "NLI diversity",
        "1 − mean of entailment − contradiction of two samples, both ways: 0 is the same, 1 "
        "unrelated, more contradicts",
        nli.nli_diversity,
    ),
    "ast_diversity": Definition(
        "Different code",
        "1 − shared / all subtrees of two programs, mean over pairs",
        ast_diversity.ast_diversity,
    ),
    "ast_diversity_correct": Definition(
        "Different code, right ones",
        "1 − shared / all subtrees of two right programs, mean over pairs",
        ast_diversity.ast_diversity,
    ),
    "utility_at_k": Definition(
        "Utility of {k}",
        "mean worth of {k} samples to a reader who goes on with probability 0.8 and gains from new "
        "classes alone",
        noveltybench.utility_k,
    ),
    "semantic_entropy": Definition(
        "Semantic entropy",
        "−Σ p ln p over the classes' shares of the samples",
        semantic_entropy.semantic_entropy_discrete_nats,
    ),
    "semantic_entropy_rao": Definition(
        "Semantic entropy, by probability",
        "−Σ p ln p over the classes' shares of the samples' mean token probabilities",
        semantic_entropy.semantic_entropy_rao_nats,
    ),
    "token_entropy": Definition(
        "Token entropy",
        "−Σ p ln p of the next token's distribution, mean over the drawn tokens",
        next_token.entropy_nats,
    ),
    "top_mass": Definition(
        "Top token",
        "probability of the likeliest next token, mean over the drawn tokens",
        topk.topk_mass,
    ),
    "branching_factor": Definition(
        "Branching factor",
        "e to the mean entropy of the next token among the likeliest that hold 0.9",
        branching_factor.branching_factor,
    ),
    "branching_factor_aep": Definition(
        "Branching factor, long texts",
        "e to minus the mean log-probability of the drawn tokens",
        branching_factor.branching_factor_aep,
    ),
}
_PARTS = (
    ("Lost", "of all samples: before − after"),
    ("Narrowing", "of right samples alone: before − after (the residual)"),
    (
        "Fewer wrong answers",
        "what was lost − narrowing (quality control): wrong answers differ from each other, so "
        "fewer of them means less variety",
    ),
    (
        "Share narrowing",
        "narrowing / what was lost; more than was lost where more wrong answers hide it",
    ),
)


def title(name: str, k: Any) -> str:
    """Return what a number is called.

    >>> title("pass_at_k", 32), title("token_entropy_at_k", 32)
    ('pass@32', 'token entropy at 32')
    """
    known = DEFINITIONS.get(name)
    if known is None:
        return re.sub(r"_at_k$", f"_at_{k}", name).replace("_", " ")
    return known.title.replace("{k}", str(k))


def rows(numbers: list[Mapping[str, Any]], k: Any, split: str | None) -> list[dict[str, str]]:
    """Return the table of definitions.

    Args:
        numbers: Name, unit and direction of each.
        k: Samples that counts are brought to.
        split: The number whose loss is split into parts; None if none is.
    """
    found = []
    for one in numbers:
        known = DEFINITIONS.get(one["name"])
        found.append(
            {
                "key": one["name"],
                "title": title(one["name"], k),
                "unit": one["unit"],
                "higher": one["higher"],
                "says": known.says.replace("{k}", str(k)) if known else "",
                "source": known.source if known else "",
            }
        )
    if split:
        source = Definition("", "", decomposition.decomposition).source
        unit = next((n["unit"] for n in numbers if n["name"] == split), "")
        for i, (name, says) in enumerate(_PARTS):
            share = name.startswith("Share")
            row = {"key": "", "title": name, "says": says, "source": "" if i else source}
            how = ("share", "") if share else (unit, "less variety")
            found.append({**row, "unit": how[0], "higher": how[1]})
    return found
