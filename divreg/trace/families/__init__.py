"""The 15 task families of "Where does output diversity collapse in post-training?", as tasks.

Summaries (``tldr``, ``cnn-dailymail``, ``xsum``), code (``humaneval``, ``mbpp``, ``cruxeval``),
maths (``gsm8k``, ``math-algebra``, ``math-geometry``), knowledge (``truthfulqa``), instructions
(``alpaca``, ``ifeval``), creative (``writingprompts``) and dialogue (``prism``, ``wildbench``). A
right answer can be told for code, maths and ``ifeval``; the others are open.

Prompts come from the hub by name, or, without one, from five rows of each that are divreg's own, in
the data set's columns. The hub's were not loaded when this was written, as there was none: they are
checked for their columns when they are.

Source:
    Karouzos et al., Where does output diversity collapse in post-training?, arXiv:2604.16027.
"""

import difflib

from divreg.tasks.task import Task
from divreg.trace.families import code, instructions, maths, open_ended, summaries
from divreg.trace.families.family import Family

FAMILIES: dict[str, Family] = {
    family.name: family
    for part in (summaries, code, maths, open_ended, instructions)
    for family in part.FAMILIES
}
"""All families by name."""
NAMES = tuple(FAMILIES)
"""What the families are called."""


def find(name: str, *, embedded: bool = False, unsandboxed: bool = False) -> Task:
    """Return a family as a task.

    Args:
        name: One of :data:`NAMES`.
        embedded: Take the five rows of each that come with divreg instead of the hub's.
        unsandboxed: Run programs that a model wrote without a sandbox: see
            :func:`divreg.graders.sandbox.run`.

    Raises:
        ValueError: If there is none of that name, or what grades it does not work here.
    """
    if name not in FAMILIES:
        near = difflib.get_close_matches(str(name), NAMES, n=1)
        cure = f"Did you mean {near[0]!r}?" if near else "Use one of them."
        raise ValueError(f"there is no task family {name!r}; there are {', '.join(NAMES)}. {cure}")
    return FAMILIES[name].task(embedded=embedded, unsandboxed=unsandboxed)
