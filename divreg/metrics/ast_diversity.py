"""How unlike each other Python programs are: overlap of the subtrees of their syntax trees."""

import ast
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


def ast_diversity(programs: Sequence[str], highest: int = 4, lowest: int = 1) -> float:
    """Measure how unlike Python programs are: :func:`multiset_diversity` of their subtrees.

    Range [0, 1], dimensionless, higher is more diverse: 0 if all trees are the same, layout and
    comments aside; 1 if no two share a subtree. Fewer than two programs: 0. It counts names and
    constants, so a renamed variable is another subtree: syntax, not behaviour.

    Args:
        programs: Sources of one group, usually the correct ones.
        highest: See :func:`ast_subtrees`.
        lowest: See :func:`ast_subtrees`.

    Raises:
        ValueError: If a program is not Python; the message says which.

    Source:
        Karouzos et al., arXiv:2604.16027, AST diversity.

    Differs from the released code:
        ``compute_code_diversity.py`` takes subtrees of height 4 alone, which is ``lowest=4``, and
        leaves out programs that do not parse or have none.

    >>> ast_diversity(["x = 1", "x=1  # one", "x = 2"])
    0.5
    """
    return multiset_diversity(
        [ast_subtrees(p, highest, lowest, name=f"program {i}") for i, p in enumerate(programs)]
    )


def multiset_diversity(multisets: Sequence[Mapping[Any, int]]) -> float:
    r"""Measure how unlike multisets are: one less the mean Jaccard index over pairs.

    .. math:: 1 - \frac{\sum_k \min(a_k, b_k)}{\sum_k \max(a_k, b_k)}

    of two, averaged over every two. Range [0, 1], dimensionless, higher is more diverse. Two empty
    ones are the same; fewer than two: 0.

    Args:
        multisets: How often each element occurs, at least 0 times.

    >>> round(multiset_diversity([{"a": 2, "b": 1, "c": 1}, {"a": 1, "b": 1, "d": 2}]), 6)
    0.666667
    """
    counted = [Counter(dict(m)) for m in multisets]
    sizes = [c.total() for c in counted]
    distances = []
    for i, a in enumerate(counted):
        for j in range(i):
            shared = (a & counted[j]).total()
            union = sizes[i] + sizes[j] - shared
            distances.append(1.0 - shared / union if union else 0.0)
    return sum(distances) / len(distances) if distances else 0.0


def ast_subtrees(
    source: str, highest: int = 4, lowest: int = 1, name: str = "the program"
) -> Counter[str]:
    """Count the subtrees of a program: each node with all that is below it, up to some height.

    A node without children has height 1. The nodes are Python's, so that a name has a child, how
    it is used (``Load``, ``Store``), and height 2. Layout and comments are not in the tree.

    Args:
        source: A Python program; it is parsed, never run.
        highest: Height of the highest subtree counted.
        lowest: Height of the lowest.
        name: What the message of an error calls the program.

    Returns:
        How often each subtree occurs, as ``ast.dump`` writes it.

    Raises:
        ValueError: If the source is not Python, or the heights do not fit.

    >>> ast_subtrees("x = 1", lowest=2, highest=2)
    Counter({"Name(id='x', ctx=Store())": 1})
    """
    if not 1 <= lowest <= highest:
        raise ValueError(
            f"ast_subtrees needs heights 1 <= lowest <= highest; got {lowest} and {highest}. "
            f"Use lowest=1, highest=4."
        )
    height: dict[int, int] = {}
    found: Counter[str] = Counter()
    # Breadth first, backwards: children come before their parents, without recursion.
    for node in reversed(list(ast.walk(_tree(source, name)))):
        below = (height[id(child)] for child in ast.iter_child_nodes(node))
        height[id(node)] = 1 + max(below, default=0)
        if lowest <= height[id(node)] <= highest:
            found[ast.dump(node)] += 1
    return found


def _tree(source: str, name: str) -> ast.AST:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a sample's escapes, say
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"AST diversity needs Python; got {name}, which does not parse: {error}. Leave it out, "
            f"or take the code out of the text around it."
        ) from error
