import ast
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divreg.metrics.ast_diversity import ast_diversity, ast_subtrees, multiset_diversity

LOOP = "def f(xs):\n    total = 0\n    for x in xs:\n        total += x\n    return total\n"
SUM = "def f(xs):\n    return sum(xs)\n"
RENAMED = LOOP.replace("total", "t")

multisets = st.lists(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3)), max_size=5)


def height(node):
    """The obvious way, by recursion."""
    return 1 + max((height(child) for child in ast.iter_child_nodes(node)), default=0)


def test_worked_numbers():
    a, b = {"a": 2, "b": 1, "c": 1}, {"a": 1, "b": 1, "d": 2}
    assert multiset_diversity([a, b]) == pytest.approx(0.666667, abs=1e-6)
    assert multiset_diversity([a, b, a]) == pytest.approx(2 * 0.666667 / 3, abs=1e-6)


def test_an_assignment_has_five_subtrees():
    # Store, Constant (height 1), Name (2), Assign (3), Module (4); x = 2 shares Store and Name.
    assert sorted(len(list(ast_subtrees("x = 1", h, h))) for h in (1, 2, 3, 4)) == [1, 1, 1, 2]
    assert ast_diversity(["x = 1", "x = 2"]) == pytest.approx(1 - 2 / 8)


@pytest.mark.parametrize("source", [LOOP, SUM, "", "a = [b + c for b in d if e]\nprint(a, a)"])
@pytest.mark.parametrize(("highest", "lowest"), [(4, 1), (4, 4), (2, 1), (50, 3)])
def test_subtrees_are_those_of_a_recursion(source, highest, lowest):
    nodes = [n for n in ast.walk(ast.parse(source)) if lowest <= height(n) <= highest]
    assert ast_subtrees(source, highest, lowest) == Counter(map(ast.dump, nodes))


@settings(max_examples=100)
@given(data=st.data(), multisets=multisets)
def test_it_is_one_less_the_mean_jaccard_index_in_any_order(data, multisets):
    pairs = [(a, b) for i, a in enumerate(multisets) for b in multisets[:i]]
    distances = []
    for a, b in pairs:
        keys = a.keys() | b.keys()
        union = sum(max(a.get(k, 0), b.get(k, 0)) for k in keys)
        shared = sum(min(a.get(k, 0), b.get(k, 0)) for k in keys)
        distances.append(1 - shared / union if union else 0)
    value = multiset_diversity(multisets)
    assert value == pytest.approx(sum(distances) / len(pairs) if pairs else 0)
    assert multiset_diversity(data.draw(st.permutations(multisets))) == pytest.approx(value)
    assert 0 <= value <= 1


def test_layout_and_comments_are_not_diversity_but_names_are():
    spread = LOOP.replace("total = 0", "total = (  # start\n        0\n    )")
    assert ast_diversity([LOOP, spread]) == 0
    assert 0 < ast_diversity([LOOP, RENAMED]) < ast_diversity([LOOP, SUM]) < 1


def test_only_one_height_as_in_the_released_code():
    assert ast_diversity([LOOP, LOOP], lowest=4) == 0
    assert ast_diversity([LOOP, SUM], lowest=4) == 1


def test_none_one_and_empty():
    assert ast_diversity([]) == ast_diversity([LOOP]) == 0
    assert ast_diversity(["", "# nothing"]) == 0
    assert multiset_diversity([{}, {}]) == 0
    assert multiset_diversity([{}, {"a": 1}]) == 1


def test_a_deep_tree_needs_no_recursion():
    deep = "x = " + "+".join(["1"] * 500)
    assert ast_diversity([deep, deep + "+ 1"]) < 0.1


def test_warnings_of_a_sample_are_its_own(recwarn):
    assert ast_diversity(["x = '\\d'", "x = 1 is 1"]) > 0
    assert not recwarn.list


@pytest.mark.parametrize("broken", ["def f(:", "\0", "  x", "(" * 5000])
def test_what_is_no_python_is_named(broken):
    with pytest.raises(ValueError, match=r"got program 1, which does not parse.*Leave it out"):
        ast_diversity(["x = 1", broken])
    with pytest.raises(ValueError, match="got the program"):
        ast_subtrees(broken)


@pytest.mark.parametrize("heights", [(4, 0), (1, 2)])
def test_heights_that_do_not_fit_are_refused(heights):
    with pytest.raises(ValueError, match="Use lowest=1, highest=4"):
        ast_subtrees("x", *heights)
