"""Open questions: TruthfulQA, WritingPrompts, PRISM, WildBench. No answer is the right one.

TruthfulQA is open as well: in its generation setting a judge, human or model, tells truth from
falsehood, and divreg has none.

Source:
    Karouzos et al., arXiv:2604.16027, and its repository: the data sets, splits, which rows of
    PRISM are taken, and the columns. Also of the hub's pages, but for WritingPrompts.

Not run here: there was no hub on the machine on which this was written; the rows in ``rows/`` are
divreg's own.

Differs from the paper:
    WildBench's conversations are asked whole, not by their first turn. Without a chat template,
    PRISM, WildBench and WritingPrompts have names before the turns.
"""

from typing import Any

from divreg.trace.families.family import Family, Row, ask

GREETINGS = frozenset(("hello", "hi", "hey", "hola"))
"""Prompts of PRISM that say no more than this are left out."""


def _truthfulqa(row: Row) -> dict[str, Any]:
    return {"prompt": ask(row["question"]), "plain": f"Q: {row['question']}\nA:"}


def _writingprompts(row: Row) -> dict[str, Any]:
    prompt = row["prompt"].strip()
    return {
        "prompt": ask(f"Write a story for this prompt.\n\n{prompt}"),
        "plain": f"Prompt: {prompt}\n\nStory:\n",
    }


def _prism(row: Row) -> dict[str, Any] | None:
    prompt = row["opening_prompt"].strip()
    foreign = sum(ord(c) > 127 for c in prompt) > 0.2 * len(prompt)
    greeting = prompt.lower().rstrip(".!?,") in GREETINGS
    if not row["included_in_balanced_subset"] or not prompt or foreign or greeting:
        return None
    return _spoken(ask(prompt))


def _wildbench(row: Row) -> dict[str, Any]:
    turns = [{"role": t["role"], "content": t["content"]} for t in row["conversation_input"]]
    return _spoken(turns)


def _spoken(turns: list[dict[str, str]]) -> dict[str, Any]:
    said = "".join(f"{turn['role'].title()}: {turn['content']}\n" for turn in turns)
    return {"prompt": turns, "plain": f"{said}Assistant:"}


FAMILIES = (
    Family(
        name="truthfulqa",
        group="knowledge",
        hub="truthfulqa/truthful_qa",
        config="generation",
        split="validation",
        columns={"question": str},
        prepare=_truthfulqa,
        max_tokens=512,
        stop=("\nQ:", "\n\n"),
        prompts=None,
    ),
    Family(
        name="writingprompts",
        group="creative",
        hub="euclaise/writingprompts",
        config=None,
        split="test",
        columns={"prompt": str},
        prepare=_writingprompts,
        max_tokens=2048,
        stop=("\nPrompt:",),
    ),
    Family(
        name="prism",
        group="dialogue",
        hub="HannahRoseKirk/prism-alignment",
        config="conversations",
        split="train",
        columns={"opening_prompt": str, "included_in_balanced_subset": bool},
        prepare=_prism,
        max_tokens=1024,
        stop=("\nUser:",),
    ),
    Family(
        name="wildbench",
        group="dialogue",
        hub="allenai/WildBench",
        config="v2",
        split="test",
        columns={"conversation_input": list},
        prepare=_wildbench,
        max_tokens=4096,
        stop=("\nUser:",),
    ),
)
