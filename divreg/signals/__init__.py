"""The vocabulary of signals: what a method may ask for, each computed at most once per step.

``BASE`` signals come from the trainer or from the configuration; ``SIGNALS`` are computed from
them by functions whose keyword-only arguments without a default are signals again; any such
function may stand in for one of them, as ``by_answer`` for ``partition``. To add a signal: one
file, one import line, its name in ``SIGNALS``.
"""

from collections.abc import Callable
from typing import Any

from divreg.signals.confidence import confidence as confidence
from divreg.signals.distinct import distinct as distinct
from divreg.signals.entropy_change import entropy_change as entropy_change
from divreg.signals.lengths import lengths as lengths
from divreg.signals.log_z import log_z as log_z
from divreg.signals.logratio import logratio as logratio
from divreg.signals.mean_entropy import mean_entropy as mean_entropy
from divreg.signals.mean_logprob import mean_logprob as mean_logprob
from divreg.signals.mean_varentropy import mean_varentropy as mean_varentropy
from divreg.signals.ngram_similarity import ngram_similarity as ngram_similarity
from divreg.signals.partition import by_answer as by_answer
from divreg.signals.partition import by_callable as by_callable
from divreg.signals.partition import by_embedding as by_embedding
from divreg.signals.partition import by_ngram as by_ngram
from divreg.signals.partition import by_pairs as by_pairs
from divreg.signals.partition import by_text as by_text
from divreg.signals.partition import partition as partition
from divreg.signals.similarity import similarity as similarity

# Shapes at the stages `rewards` and `advantages`; at `token_weights` and `loss` a completion is a
# row: `*p, g` becomes `b`. Per-token signals are then those of the current policy.
BASE: dict[str, str] = {
    "prompts": "prompt texts, nested lists (*p)",
    "prompt_id": "hash of each prompt, 8 hex digits, nested lists (*p)",
    "texts": "completion texts, nested lists (*p, g)",
    "answer": "extracted answers, nested lists (*p, g) of str or None; configured, never guessed",
    "correct": "bool (*p, g); configured, or the one reward function where it gives only 0 and 1",
    "embedding": "float (*p, g, d), any unit; needs a configured encoder",
    "logprob": "float (*p, g, t), nats; of the sampling policy, of the current one in the loss",
    "old_logprob": "float (b, t), nats; of the sampling policy, in the loss",
    "ref_logprob": "float (*p, g, t), nats; of the reference, not before advantages; GRPO, DPO",
    "entropy": "float (*p, g, t), nats; of the next-token distribution, as `logprob`",
    "varentropy": "float (*p, g, t), squared nats; variance of log p under p; `head: divreg`",
    "log_sum_p2": "float (*p, g, t); log of the sum of p^2, the collision mass; `head: divreg`",
    "sum_p2_logp": "float (*p, g, t), nats; sum of p^2 log p; `head: divreg`",
    "mask": "bool (*p, g, t); True where a completion has a token",
    "prompt_logprob": "float (*p, g, s), nats; of the prompt's tokens, sampling policy",
    "prompt_mask": "bool (*p, g, s); True where `prompt_logprob` holds a conditioned token",
    "advantages": "float (b, t); what the loss multiplies, in the loss",
    "token_share": "float (b, t); what each token counts in the loss, 0 where there is none; SFT",
    "text_share": "float (b, t); what the text of each token counts, 0 where there is none; SFT",
    "tokens": "int (b, t); the token that each column predicts; SFT",
    "document": "int (b, t); which text of its row a column belongs to, if rows are packed; SFT",
    "generated": "bool (b,); whether the model wrote a row itself, in steps set aside for it; SFT",
    "continues": "int (b,); which prompt such a row continues, -1 for all rows of data; SFT",
    "markers": "three ints; ids of the tokens around annotations, from the tokenizer; SFT",
    "tempered": "function T -> log-probability and entropy (b, t) at temperature T, nats; SFT",
    "top": "function k -> probability and entropy (b, t) of the k likeliest tokens, nats; SFT",
    "over_logits": "function f, *columns -> (b, t): f(logits (n, v), *n of each column) -> n; SFT",
    "pair": "int (b,); which preference pair a row belongs to; DPO",
    "chosen": "bool (b,); whether a row is the chosen answer of its pair; DPO",
    "pair_weight": "float (b,), >= 0; what its pair should count, from a column of the data; DPO",
    "pair_share": "float (b,); what its pair counts in the loss; DPO",
    "step": "int; the optimizer step",
    "boost": "float; factor on scheduled strengths, 1 until the monitor intervenes",
}

SIGNALS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        partition,
        distinct,
        ngram_similarity,
        similarity,
        confidence,
        mean_entropy,
        mean_varentropy,
        mean_logprob,
        entropy_change,
        logratio,
        log_z,
        lengths,
    )
}

# What compares the completions of a group: computed while groups are whole, and sent along with
# each completion to the stages where rows are shuffled.
COMPARED = ("partition", "distinct", "ngram_similarity", "similarity", "log_z")

# What preference pairs alone have: a loss that reads one of them is for DPO.
PAIRED = ("pair", "chosen", "pair_weight", "pair_share")
