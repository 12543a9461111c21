"""The page of a trace: what it says, what it leaves out in words, and that samples stay inert.

``trace.json`` holds what ``divreg trace`` found of ``recipes/expressions/lineage.py``, of its first
two prompts the samples too.
"""

import base64
import copy
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from divreg.measure.numbers import NUMBERS
from divreg.trace import definitions, page

FOUND = json.loads(Path(__file__).with_name("trace.json").read_text(encoding="utf-8"))
BUDGET = 1_000_000  # bytes of a page
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
NASTY = {
    "script": "<script>document.title='OWNED'</script>",
    "close": "</script></style></title>--><svg/onload=document.title='OWNED'>",
    "image": "<img src=http://192.0.2.1/x onerror=\"document.title='OWNED'\">",
    "attribute": "\"'><a href='javascript:alert(1)' autofocus onfocus=document.title='OWNED'>x",
    "template": "{{ 7*7 }}{% raw %}",
    "bidi": "abc\u202edetrever\u202c\u2066x",
    "control": "a\x00b\x08c\x1b[2Jd\u200b",
    "half": "\ud83d half",
    "tower": "Z" + "\u0301" * 400,
    "line": "x" * 200_000,
}


@pytest.fixture
def found():
    return copy.deepcopy(FOUND)


class Page(HTMLParser):
    """The elements of a page, its text, and that of untrusted places."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.texts, self.words, self._in = [], [], [], []
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._in.append((tag, dict(attrs).get("class")))

    def handle_endtag(self, tag):
        while self._in and self._in.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if self._in and self._in[-1] == ("bdi", "text"):
            self.texts.append(data)
        if self._in and self._in[-1][0] not in ("script", "style"):
            self.words.append(data)

    def count(self, style):
        return sum(style in (attributes.get("class") or "") for _, attributes in self.elements)


def drawn(result):
    """The page, held to what holds for every one."""
    html = page.render(result)
    one = Page(html)
    tags = [tag for tag, _ in one.elements]
    assert tags.count("script") == 2  # the numbers, and the one script
    assert tags.count("style") == 1
    assert not {"iframe", "object", "embed", "img", "form", "base", "audio", "video"} & set(tags)
    ids = [attributes["id"] for _, attributes in one.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in one.elements:
        assert not {n for n in attributes if n.startswith("on") or n in ("src", "style")}
        href = attributes.get("href", "#main")
        assert href == "data:," or href.removeprefix("#") in ids
    assert "@import" not in html
    assert "url(" not in html
    assert "None" not in one.text
    assert "nan" not in one.text.lower().split()
    assert len(html.encode()) < BUDGET
    return one


def many(found, tasks=15, stages=5):
    """The same numbers as if of more tasks and stages; the last third of them is not graded."""
    names = [stage["name"] for stage in found["stages"]]
    for i in range(len(names), stages):
        found["stages"].append({"name": f"rl{i}", "model": f"runs/rl{i}", "parameters": None})
    (one,) = found["tasks"]
    for i in range(len(names), stages):
        one["stages"][f"rl{i}"] = one["stages"][names[-1]]
        for changes in ("against_the_stage_before", "against_the_first"):
            one[changes].append({**one[changes][-1], "stage": f"rl{i}"})
        for prompt in one["lost_most"]:
            for column in ("value", "samples", "more"):
                prompt[column][f"rl{i}"] = prompt[column][names[-1]]
    found["tasks"] = [{**copy.deepcopy(one), "task": f"task-{i}"} for i in range(tasks)]
    for task in found["tasks"][-tasks // 3 :]:
        ungraded(task)
    return found


def ungraded(task):
    """Take what needs right answers out of a task."""
    task |= {"graded": False, "classes": "text: equal up to 64 characters"}
    gone = [n.name for n in NUMBERS if "correct" in n.needs]
    for stage in task["stages"].values():
        stage["numbers"] = {n: x for n, x in stage["numbers"].items() if n not in gone}
    for change in (*task["against_the_stage_before"], *task["against_the_first"]):
        change["parts"] = {}
        change["differences"] = {n: x for n, x in change["differences"].items() if n not in gone}
    for prompt in task["lost_most"]:
        for samples in prompt["samples"].values():
            for sample in samples:
                sample["correct"] = None


def without_encoder(result):
    """Take what needs an encoder out."""
    gone = [n.name for n in NUMBERS if "embedding" in n.needs]
    result["encoder"] = None
    result["numbers"] = [n for n in result["numbers"] if n["name"] not in gone]
    for task in result["tasks"]:
        for stage in task["stages"].values():
            stage["numbers"] = {n: x for n, x in stage["numbers"].items() if n not in gone}
        for change in (*task["against_the_stage_before"], *task["against_the_first"]):
            change["parts"] = {n: x for n, x in change["parts"].items() if n not in gone}


def test_a_lineage_is_told_from_top_to_bottom(found):
    one = drawn(found)
    assert "Trace base to grpo – divreg" in one.text
    order = [
        found["tasks"][0]["verdict"][0],
        "What happened, stage by stage",
        "Variety among right answers",
        "Why: fewer wrong answers, or fewer right ones",
        "Lost at each stage",
        "Numbers",
        "Prompts that lost most",
        "How each number is defined",
        "How it was measured",
        "Reproduce",
        found["command"],
    ]
    places = [one.text.rindex(words) for words in order[1:]]
    assert places == sorted(places)
    assert one.text.index(order[0]) < places[0]
    assert one.text.count(order[0]) == 1  # of one task the verdict is said once
    for words in ("pass@32", "0.99 ±0.01", "+0.70 ±0.03", "from base to grpo", "1+22", "23="):
        assert words in one.text, words
    for words in ("arXiv:2604.16027", "arXiv:2107.03374", "all-MiniLM-L6-v2", "temperature 1.0"):
        assert words in one.text, words
    assert one.count("chart stages") == 4
    assert "594,000" in one.text


def test_a_loss_is_split_and_a_gain_lies_left_of_zero(found):
    """DPO makes right answers alike, 0.17; more wrong ones hide 0.14 of that."""
    parts = found["tasks"][0]["against_the_stage_before"][1]["parts"]["cosine_diversity"]
    assert parts["quality"]["estimate"] < 0 < parts["residual"]["estimate"]
    html = page.render(found)
    (losses,) = re.findall(r'<svg class="stages losses".*?</svg>', html)
    zero = float(re.search(r'class="zero" d="M([\d.]+)', losses)[1])
    bars = re.findall(r'<rect class="([\w-]+)" x="([\d.]+)" y="\d+" width="([\d.]+)"', losses)
    sft_narrow, sft_wrong, dpo_narrow, dpo_wrong, *_ = [(s, float(x), float(w)) for s, x, w in bars]
    assert sft_narrow[0] == dpo_narrow[0] == "narrowing"
    assert sft_narrow[1] == dpo_narrow[1] == zero
    assert sft_wrong[1] == pytest.approx(zero + sft_narrow[2], abs=0.2)  # after each other
    assert dpo_wrong[1] + dpo_wrong[2] == pytest.approx(zero, abs=0.2)
    text = Page(html).text
    assert "89 % (80 to 97)" in text
    assert "no sure loss" in text


def test_answers_keep_their_letter_from_stage_to_stage(found):
    html = page.render(found)
    prompt = html[html.index('id="prompts"') :].split('<details class="group"')[1]
    sides = prompt.split('<div class="side">')[1:]
    letters = [
        {t: c for c, t in re.findall(r'chip">(\w+)<.*?class="text" dir="auto">(.*?)<', s, re.S)}
        for s in sides
    ]
    assert letters[1]["1+22"] == letters[2]["1+22"] == letters[3]["1+22"]
    assert len(set(letters[0].values())) == len(letters[0]) == 8
    assert "and 20 more answers" in sides[0]
    assert '<span class="yes">✓</span>' in sides[3]
    assert '<span class="no">✗</span>' in sides[0]


def test_fifteen_tasks_and_five_stages(found):
    one = drawn(many(found))
    assert one.count("chart stages") == 3 + 15
    assert one.count("stages losses") == 1 + 10
    assert "Where: task by task" in one.text
    assert "Mean over the 10 of 15 tasks that have it at every stage." in one.text
    assert one.text.count("Not graded: the loss is not split.") == 5
    assert "Nobody says what is right in task-10, task-11" in one.text
    assert "rl4" in one.text


def test_two_stages(found):
    first, second, *_ = found["stages"]
    found["stages"] = [first, second]
    (task,) = found["tasks"]
    for changes in ("against_the_stage_before", "against_the_first"):
        del task[changes][1:]
    one = drawn(found)
    assert "With two stages, that is the change of the whole lineage." in one.text
    assert "from base to sft" not in one.text


def test_what_nobody_grades_is_not_split(found):
    ungraded(found["tasks"][0])
    found["numbers"] = [n for n in found["numbers"] if n["name"] in ("vendi", "cosine_diversity")]
    one = drawn(found)
    assert "Nobody says what is right in this task" in one.text
    assert "Nothing is known of right answers" in one.text
    assert one.count("stages losses") == 0
    assert "Fewer wrong answers" not in one.text  # no definition of what is not there
    assert "✓" not in one.text


def test_without_an_encoder_the_page_is_about_classes(found):
    without_encoder(found)
    one = drawn(found)
    assert "No encoder was given" in one.text
    assert "Vendi" not in one.text.replace("no Vendi score", "")
    assert "What a stage took from “two samples differ”, in share of pairs" in one.text


@pytest.mark.parametrize("tasks", [1, 15])
def test_intervals_of_which_nothing_is_known(found, tasks):
    if tasks > 1:
        many(found)
    unknown = {"estimate": None, "low": None, "high": None, "prompts": 0, "dropped": 26}
    for task in found["tasks"]:
        for stage in task["stages"].values():
            stage["numbers"] = dict.fromkeys(stage["numbers"], unknown)
        for change in (*task["against_the_stage_before"], *task["against_the_first"]):
            change["differences"] = dict.fromkeys(change["differences"], unknown)
            change["parts"] = {
                n: dict.fromkeys(("total", "residual", "quality", "genuine_frac"), unknown)
                | {"undefined_frac": None}
                for n in change["parts"]
            }
        task["lost_most"] = []
    one = drawn(found)
    assert "No number is known" in one.text
    assert "has fewer different answers at" in one.text
    assert "Not split at every stage, since too few prompts have two right answers" in one.text


def test_one_prompt_has_no_interval(found):
    def alone(x):
        if isinstance(x, dict) and "estimate" in x:
            x |= {"low": None, "high": None, "prompts": 1}
        for value in x.values() if isinstance(x, dict) else x if isinstance(x, list) else ():
            alone(value)

    alone(found["tasks"])
    found["tasks"][0]["prompts"] = 1
    one = drawn(found)
    assert "Few prompts (expressions 1)" in one.text
    assert not re.search(r"±\d", one.text)


def test_what_the_base_cannot_do_is_shown_from_where_it_can(found):
    """No right answers at first: lines start later, and say so."""
    many(found, tasks=2)
    for task in found["tasks"][:1]:
        numbers = task["stages"]["base"]["numbers"]
        for name in ("cosine_diversity_correct", "different_pairs_correct"):
            numbers[name] = None
    one = drawn(found)
    assert "right ones in % of sft: not known before." in one.text


def test_few_or_many_or_long_names_of_stages(found):
    names = [f"checkpoint-{i}-{'x' * 60}" for i in range(30)]
    many(found, tasks=2, stages=30)
    text = json.dumps(found)
    for old, new in zip((s["name"] for s in FOUND["stages"]), names, strict=False):
        text = text.replace(f'"{old}"', f'"{new}"')
    drawn(json.loads(text))


def hostile(result):
    """Put every payload where a model or a file could: samples, prompts, names, facts."""
    payloads = list(NASTY.values())
    for task in result["tasks"]:
        task["task"] += payloads[0]
        task["group"], task["source"], task["classes"] = payloads[1], payloads[2], payloads[3]
        task["verdict"] = [payloads[0]]
        for prompt in task["lost_most"]:
            prompt["prompt"] = "".join(payloads)
            for i, samples in enumerate(prompt["samples"].values()):
                for j, sample in enumerate(samples):
                    sample["text"] = payloads[(i + j) % len(payloads)]
                    sample["class"] = payloads[(i + j) % len(payloads)]
        for stage in task["stages"].values():
            stage["left_out"] = [payloads[4]]
            stage["facts"]["intervals"] = payloads[5]
    result["command"], result["written"], result["verdict"] = payloads[0], payloads[6], payloads[:8]
    result["encoder"]["model"] = payloads[1]
    result["versions"]["divreg"] = payloads[3]
    for stage in result["stages"]:
        stage["model"] = payloads[2]
    for number in result["numbers"]:
        number["unit"] = payloads[0]
    text = json.dumps(result).replace('"sft"', json.dumps(payloads[1] + payloads[5]))
    return json.loads(text)


@pytest.mark.parametrize("tasks", [1, 3])
def test_hostile_text_is_shown_inertly(found, tasks):
    if tasks > 1:
        many(found, tasks)
    result = hostile(found)
    one = drawn(result)
    html = page.render(result)
    html.encode()  # no half of a pair is left
    unseen = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
    assert not re.search(unseen, html)
    assert NASTY["script"] in one.texts  # as text, letter by letter
    assert "abc⟨U+202E⟩detrever⟨U+202C⟩⟨U+2066⟩x" in one.texts
    assert "{{ 7*7 }}" in " ".join(one.texts)
    assert "characters left out" in one.text
    assert max(map(len, one.texts)) < 2000


def test_samples_that_would_not_fit_are_left_out_and_counted(found):
    """Characters that take thirteen bytes each once they can be seen."""
    many(found)
    for task in found["tasks"]:
        task["lost_most"] *= 3
        for prompt in task["lost_most"]:
            for samples in prompt["samples"].values():
                template = dict(samples[0])
                samples[:] = [
                    {**template, "class": str(i), "text": "\U000e0001" * 5000} for i in range(8)
                ]
    one = drawn(found)
    said = re.search(r"(\d+) more prompts had no room here: trace.json has them.", one.text)
    assert 0 < int(said[1]) < 90


def test_the_policy_names_our_style_and_our_script(found):
    html = page.render(found)
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', html)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; ")
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.S)
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    for text, source in ((style, "style-src"), (script, "script-src")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{source} 'sha256-{digest}'" in policy
    assert ".loss1" in style  # the rules of both
    assert ".heatmap" in style


def test_the_page_is_written_whole_or_not_at_all(found, tmp_path):
    page.write(tmp_path / "new" / "trace.html", found)
    assert (tmp_path / "new" / "trace.html").read_text(encoding="utf-8") == page.render(found)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"divreg trace cannot write .* --output-dir"):
        page.write(tmp_path / "file" / "trace.html", found)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["trace.html"]


def test_an_older_trace_is_refused(found):
    with pytest.raises(ValueError, match=r"version 2; got version 1. Run divreg trace once more"):
        page.render({**found, "divreg_trace": 1})


def test_every_number_is_defined_with_its_source():
    assert {n.name for n in NUMBERS} <= definitions.DEFINITIONS.keys()
    sources = [d.source for name, d in definitions.DEFINITIONS.items() if name != "duplicates"]
    assert all(re.search(r"\d{4}|Shaib", source) for source in sources)


@pytest.mark.skipif(BROWSER is None, reason="needs chromium on the path")
def test_in_a_browser_only_our_own_script_runs(found, tmp_path):
    file = tmp_path / "trace.html"
    page.write(file, hostile(found))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    flags += ["--disable-component-update", "--no-first-run", "--enable-logging=stderr", "--v=0"]
    net = tmp_path / "net.json"
    flags += [f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={net}", "--dump-dom"]
    done = subprocess.run(
        [BROWSER, *flags, file.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert "<title>OWNED" not in done.stdout
    assert done.stdout.count("<script") == 2
    assert "CONSOLE" not in done.stderr, done.stderr
    assert "192.0.2.1" not in net.read_text()
