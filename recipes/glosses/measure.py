"""How different the answers to one prompt are, and whether they do what it says."""

import hashlib
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from glosses import Gloss, Task, content

from divreg.anchors.sample import Sample
from divreg.metrics.answer_entropy import answer_entropy_nats
from divreg.metrics.cosine import cosine_diversity
from divreg.metrics.vendi import vendi_score_from_embeddings

MOST = 400  # glosses of a class that classes are learned from


class Classes:
    """The lexicographer class of a text: logistic regression on its embedding.

    Args:
        encoder: Texts -> embeddings.
        known: Glosses to learn from, up to ``MOST`` of a class.
        tested: Others, as they come, to count how often it is right.
        folder: Where the embeddings are kept.
    """

    def __init__(self, encoder: Any, known: list[Gloss], tested: list[Gloss], folder: Path):
        from sklearn.linear_model import LogisticRegression

        seen: dict[str, int] = {}
        chosen: list[Gloss] = []
        for gloss in known:
            seen[gloss.kind] = seen.get(gloss.kind, 0) + 1
            if seen[gloss.kind] <= MOST:
                chosen.append(gloss)
        texts = [[g.text for g in part] for part in (chosen, tested)]
        digest = hashlib.sha256(repr(texts).encode()).hexdigest()[:8]
        cache = folder / f"classes-{digest}.npz"
        if not cache.exists():
            np.savez(cache, chosen=encoder(texts[0]), tested=encoder(texts[1]))
        kept = np.load(cache)
        self._model: Any = LogisticRegression(C=10.0, max_iter=300)
        self._model.fit(kept["chosen"], [g.kind for g in chosen])
        said = self._model.predict(kept["tested"]).tolist()
        right = [a == g.kind for a, g in zip(said, tested, strict=True)]
        self.accuracy = statistics.mean(right)
        self.learned_from, self.tested_on = len(chosen), len(tested)

    def __call__(self, vectors: np.ndarray) -> list[str]:
        """Name the class of each embedding."""
        return self._model.predict(vectors).tolist()


def measure(
    tasks: list[Task], samples: list[list[Sample]], encoder: Any, classes: Classes
) -> dict[str, float]:
    """Return means over the prompts.

    What is compared is the content: opening and end are left out, for every model alike. Answers
    without any are no answers: they are counted and compared with nothing.
    """
    entropy, distance, vendi, followed, kept = [], [], [], [], []
    for task, answers in zip(tasks, samples, strict=True):
        texts = [t for t in (content(a.text) for a in answers) if t]
        vectors = encoder(texts)
        entropy.append(answer_entropy_nats(classes(vectors)))
        distance.append(cosine_diversity(vectors))
        vendi.append(vendi_score_from_embeddings(vectors))
        followed.append(statistics.mean(task.followed(a.text) for a in answers))
        kept.append(len(texts) / len(answers))
    every = [a for answers in samples for a in answers]
    return {
        "class_entropy_nats": statistics.mean(entropy),
        "cosine_distance": statistics.mean(distance),
        "vendi": statistics.mean(vendi),
        "followed_frac": statistics.mean(followed),
        "nonempty_frac": statistics.mean(kept),
        "annotated_frac": statistics.mean(bool(a.tags) for a in every),
        "finished_frac": statistics.mean(a.finished for a in every),
        "words": statistics.mean(len(content(a.text).split()) for a in every),
    }
