"""Encoders: texts in, one vector each out.

Anything callable as ``list[str] -> (n, d) array`` is an encoder: a lambda around an endpoint, a
``model2vec`` model's ``encode``. :class:`SentenceEncoder` is the one that comes along; recipes know
it as ``embedding: {encoder: NAME_OR_FOLDER}``. Loads neither torch nor sentence-transformers.
"""

from divreg.encoders.sentence import SentenceEncoder as SentenceEncoder
