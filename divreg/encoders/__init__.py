"""Encoders: texts in, one vector each out; judges: pairs of texts in, how alike each is out.

Anything callable as ``list[str] -> (n, d) array`` is an encoder: a lambda around an endpoint, a
``model2vec`` model's ``encode``, or :func:`character_ngrams`, which has no model.
:class:`SentenceEncoder` and :class:`EndpointEncoder` come along; recipes know them as
``embedding: {encoder: NAME_OR_FOLDER}`` and ``{endpoint: URL, model: NAME}``.
Anything callable as ``list[(str, str)] -> (n,) numbers`` is a judge for ``signals.by_pairs``:
:class:`PairClassifier` and :class:`NLIEquivalence`. :class:`NLIClassifier` says all of what an NLI
model says. Loads neither torch nor transformers.
"""

from divreg.encoders.endpoint import EndpointEncoder as EndpointEncoder
from divreg.encoders.ngrams import character_ngrams as character_ngrams
from divreg.encoders.pair import NLIClassifier as NLIClassifier
from divreg.encoders.pair import NLIEquivalence as NLIEquivalence
from divreg.encoders.pair import PairClassifier as PairClassifier
from divreg.encoders.sentence import SentenceEncoder as SentenceEncoder
