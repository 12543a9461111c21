"""Summaries: TL;DR of Reddit, CNN / Daily Mail, XSum. Open: no summary is the right one.

Source:
    Karouzos et al., arXiv:2604.16027, and its repository: the data sets, splits, and the prompts of
    models without chat template. Columns: of the hub's pages for the second and third, of programs
    that read the first.

Not run here: there was no hub on the machine on which this was written; the rows in ``rows/`` are
divreg's own.

Differs from the paper:
    Models with a chat template are asked in words, in divreg's.
"""

from typing import Any

from divreg.trace.families.family import Family, Row, ask


def _tldr(row: Row) -> dict[str, Any]:
    where = "r/" + row["subreddit"].removeprefix("r/")
    post = f"SUBREDDIT: {where}\nTITLE: {row['title']}\nPOST: {row['post']}"
    return {
        "prompt": ask(f"Sum up this post in one or two sentences.\n\n{post}"),
        "plain": f"{post}\nTL;DR:",
    }


def _article(column: str, length: str) -> Any:
    def prepare(row: Row) -> dict[str, Any]:
        return {
            "prompt": ask(f"Sum up this article in {length}.\n\n{row[column]}"),
            "plain": f"ARTICLE: {row[column]}\nTL;DR:",
        }

    return prepare


FAMILIES = (
    Family(
        name="tldr",
        group="summaries",
        hub="UCL-DARK/openai-tldr-filtered",
        config=None,
        split="test",
        columns={"subreddit": str, "title": str, "post": str},
        prepare=_tldr,
        max_tokens=256,
        stop=("\n\n",),
    ),
    Family(
        name="cnn-dailymail",
        group="summaries",
        hub="abisee/cnn_dailymail",
        config="3.0.0",
        split="test",
        columns={"article": str},
        prepare=_article("article", "three or four sentences"),
        max_tokens=256,
        stop=("\n\n",),
    ),
    Family(
        name="xsum",
        group="summaries",
        hub="EdinburghNLP/xsum",
        config="default",
        split="test",
        columns={"document": str},
        prepare=_article("document", "one sentence"),
        max_tokens=128,
        stop=("\n",),
        # The main branch was a loading script, which datasets 4 runs no more.
        revision="refs/convert/parquet",
    ),
)
