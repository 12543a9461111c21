"""A tiny model and its tokenizer, with the markers."""

import copy

import pytest


@pytest.fixture(scope="session")
def names(tiny_tokenizer):
    """The tiny tokenizer with the markers."""
    from divreg.anchors.markers import add_markers

    own = copy.deepcopy(tiny_tokenizer)
    add_markers(None, own)
    return own


@pytest.fixture
def model(make_tiny_model, names):
    """The tiny model with rows for the markers."""
    from divreg.anchors.markers import add_markers

    own = make_tiny_model()
    add_markers(own, names)
    return own
