import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from divreg.records import Recorder, read
from divreg.report import add_arguments, main, write_report

PLAIN = Path(__file__).parent / "plain_trl"
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
BUDGET = 1_000_000  # bytes of a page


@pytest.fixture(scope="module")
def runs(make_run, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    kinds = ("collapse", "healthy", "saturated", "exploding")
    return {kind: make_run(root / kind, kind, steps=60) for kind in kinds}


class Page(HTMLParser):
    """What a page is made of: its elements, and the texts that stand in untrusted places."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.texts, self._in = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._in.append((tag, dict(attrs).get("class")))

    def handle_endtag(self, tag):
        while self._in and self._in.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if self._in and self._in[-1] == ("bdi", "text"):
            self.texts.append(data)


def is_self_contained(html):
    page = Page(html)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 2  # the numbers, and the one script
    assert tags.count("style") == 1
    assert not {"iframe", "object", "embed", "img", "form", "base", "audio", "video"} & set(tags)
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        href = attributes.get("href", "#")
        assert href.startswith("#") or href == "data:,"
    assert "@import" not in html
    assert "url(" not in html
    assert len(html.encode()) < BUDGET


@pytest.mark.parametrize(
    ("kind", "word", "code"),
    [
        ("collapse", "Collapsed", 3),
        ("healthy", "Healthy", 0),
        ("saturated", "Saturated", 0),
        ("exploding", "Exploding", 3),
    ],
)
def test_the_verdict_is_a_word_and_an_exit_code(runs, tmp_path, kind, word, code):
    result = write_report(runs[kind], tmp_path / "r.html")
    assert (result.verdicts, result.exit_code) == ((word,), code)
    html = result.html.read_text()
    assert f'<p class="word">{word}</p>' in html
    assert word in result.summary
    is_self_contained(html)


def test_a_page_has_everything_that_was_asked_for(runs):
    result = write_report([runs["collapse"]])
    assert result.html == runs["collapse"] / "divreg" / "report.html"
    assert result.json == runs["collapse"] / "divreg" / "report.json"
    html, data = result.html.read_text(), json.loads(result.json.read_text())
    for title in (
        "Alerts",
        "Timeline",
        "Distinct answers per group",
        "Token entropy",
        "pass@1 against pass@8",
        "Numbers",
        "Where it happened",
        "Prompts that lost most",
        "Why: fewer wrong answers, or fewer right ones",
        "What it says now",
        "How each number is defined",
        "Reproduce",
    ):
        assert title in html, title
    assert "arXiv:2107.03374" in html
    assert f"divreg report {runs['collapse']}" in html
    assert 'class="alert error"' in html
    assert 'class="checkpoint"' in html
    (run,) = data["runs"]
    assert run["verdict"]["word"] == "Collapsed"
    assert len(run["series"]["distinct_classes"]["values"]) == 60
    assert run["collapsed"]["groups"][0]["now"]["classes"][0]["texts"]
    for alert in run["alerts"]:
        assert alert["message"].split("->")[0].split(":")[0] in html


def test_two_runs_lie_over_each_other(runs, tmp_path):
    result = write_report([runs["collapse"], runs["healthy"]], tmp_path / "two.html")
    assert result.verdicts == ("Collapsed", "Healthy")
    assert result.exit_code == 3
    html = result.html.read_text()
    assert "Comparison" in html
    assert "healthy ends with" in html
    assert 'class="line run1" d=' in html
    assert "stroke-dasharray" in html  # not by colour alone
    rows = {row["key"]: row["runs"] for row in json.loads(result.json.read_text())["comparison"]}
    assert rows["distinct_classes"][0]["now"] < rows["distinct_classes"][1]["now"]
    is_self_contained(html)


def test_a_plain_trl_run_is_reported(tmp_path):
    copied = tmp_path / "run"
    shutil.copytree(PLAIN / "text", copied)
    result = write_report(copied)
    assert result.html.parent == copied / "divreg"
    assert write_report(copied).exit_code == result.exit_code == 0  # divreg/ is not mistaken
    assert "has_e&gt;=1" in result.html.read_text()
    is_self_contained(result.html.read_text())


def test_missing_evidence_is_said(make_run, tmp_path):
    run = make_run(tmp_path / "bare", "healthy", steps=12, correct=False, entropy=False)
    result = write_report(run)
    for text in (result.html.read_text(), result.summary):
        assert "correctness" in text
        assert "token entropy" in text
    assert "the loss cannot be split" in result.html.read_text()


def test_resumes_torn_lines_and_earlier_runs_are_said(make_run, tmp_path):
    path = make_run(tmp_path / "x", "healthy", steps=8)
    make_run(path, "healthy", steps=10)
    make_run(path, "healthy", steps=12, resume=6)
    with (path / "divreg" / "events.jsonl").open("ab") as file:
        file.write(b'{"v":1,"event":"st')
    html = write_report(path).html.read_text()
    assert "1 line was cut short" in html
    assert "1 earlier run;" in html
    assert "Resumed from step 6" in html
    assert [row["step"] for row in read(path).steps] == list(range(1, 13))


def test_effects_and_actions_of_interventions_are_shown(make_run, tmp_path):
    path = make_run(
        tmp_path / "x", "healthy", steps=12, effects=True, interventions=["darling(floor=0.1)"]
    )
    with Recorder(path, resume_step=12) as recorder:
        recorder.event("action", step=12, what="stop", detail="on_collapse='stop'")
    html = write_report(path).html.read_text()
    assert "darling(floor=0.1)" in html
    assert "darling mean change" in html
    assert "on_collapse=&#39;stop&#39;" in html


def test_probes_without_rollouts_are_reported(tmp_path):
    """SFT and DPO: probe rows only, a dozen of them."""
    with Recorder(tmp_path, {"trainer": "SFTTrainer"}) as recorder:
        for i in range(12):
            groups = {"prompt_id": ["a", "b"], "size": [8, 8], "distinct": [8, 8]}
            signals = {"distinct_classes": 8.0, "distinct_frac": 1.0, "entropy": 2.0}
            recorder.event("step", step=50 * i, mode="probe", signals=signals, groups=groups)
    result = write_report(tmp_path)
    assert result.verdicts == ("Healthy",)
    assert "probe samples" in result.html.read_text()


def test_records_that_hold_almost_nothing_do_not_break_the_page(tmp_path):
    with Recorder(tmp_path, {}) as recorder:
        for n in range(1, 7):
            recorder.event("step", step=n)
            recorder.event("log", step=n, logs=None)
        recorder.event("alert", step=3)
        recorder.event("action", step=3)
        recorder.event("checkpoint", step=3)
    result = write_report(tmp_path)
    assert result.verdicts == ("Cannot tell",)


PAYLOADS = {
    "script": "<script>document.title='OWNED'</script>",
    "close": "</script></style></title></textarea>--><svg/onload=document.title='OWNED'>",
    "image": "<img src=http://192.0.2.1/x onerror=\"document.title='OWNED'\">",
    "attribute": "\"'><a href='javascript:alert(1)' autofocus onfocus=document.title='OWNED'>x",
    "template": "{{ 7*7 }}{% raw %}${7*7}",
    "link": "<link rel=stylesheet href=http://192.0.2.1/y.css><meta http-equiv=refresh content=0>",
    "nul": "a\x00b\x08c\x1b[2Jd",
    "rtl": "\u202eevil\u202c\u2066x \u200f\u061c abc",
    "surrogate": "\ud83d half",
    "emoji": "👩‍👩‍👧‍👦🏴󠁧󠁢󠁥󠁮󠁧󠁿 ️",
    "tower": "z" + "\u0335\u0301" * 300,
    "long": "x" * 100_000,
    "lines": "\n" * 5000 + "end",
    "empty": "",
    "comment": "<!-- <![CDATA[ ]]> &lt;b&gt; &amp;",
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A run in which everything that a model or a user can name is hostile."""
    path = tmp_path_factory.mktemp("hostile") / PAYLOADS["image"].replace("/", "∕")
    bad = list(PAYLOADS.values())
    meta = {"trainer": bad[0], "versions": {bad[0]: bad[1]}, "config": {bad[3]: bad[2]}}
    meta |= {"equivalence": bad[0], "correct": bad[1], "interventions": bad[:6]}
    with Recorder(path, meta) as recorder:
        for step in range(1, 13):
            kept = bad if step < 7 else [bad[0]] * len(bad)
            n = len(kept)
            ids = [PAYLOADS["attribute"]] * n
            columns = {"group": [0] * n, "prompt": [bad[step % n]] * n, "completion": kept}
            columns |= {"prompt_id": ids, "class": [kept.index(t) for t in kept]}
            columns |= {"correct": [i % 2 == 0 for i in range(n)]}
            recorder.completions(step, "train", columns)
            distinct = len(set(kept))
            groups = {"prompt_id": ids[:1], "size": [n], "distinct": [distinct]}
            groups |= {"zero_variance": [bad[0]]}
            signals = {"distinct_classes": float(distinct), bad[3]: 1.0 + step}
            fields = {"signals": signals, "groups": groups, "effects": {bad[1]: float(step)}}
            recorder.event("step", step=step, mode="train", **fields)
        alert = dict.fromkeys(("message", "why", "not_what", "try_what", "last_healthy"), bad[1])
        recorder.event("alert", step=5, level=bad[0], kind="narrowing", **alert)
        recorder.event("action", step=5, what=bad[0], detail={bad[1]: bad[2]})
        recorder.event("checkpoint", step=5, path=bad[1])
        recorder.event("end", step=12, reason=bad[0])
    return path


def test_hostile_text_is_shown_inertly(hostile, tmp_path):
    result = write_report([hostile, hostile], tmp_path / "r.html")
    html = result.html.read_text()
    is_self_contained(html)
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", html
    )
    shown = Page(html).texts
    assert PAYLOADS["script"] in shown  # as text, letter by letter
    assert any(text.startswith("a␀b␈c␛[2Jd") for text in shown)
    assert any("⟨U+202E⟩evil" in text for text in shown)
    assert "characters left out" in html
    assert max(map(len, shown)) < 5000
    json.loads(result.json.read_text())


def test_one_hostile_run_alone_is_shown_inertly(hostile, tmp_path):
    is_self_contained(write_report(hostile, tmp_path / "r.html").html.read_text())


def browse(page, *options):
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    flags += ["--disable-component-update", "--no-first-run", "--virtual-time-budget=2000"]
    command = [BROWSER, *flags, *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.skipif(BROWSER is None, reason="needs chromium on the path")
def test_the_browser_would_have_told(tmp_path):
    """What the next test finds nothing of is found where it is."""
    page, net = tmp_path / "control.html", tmp_path / "net.json"
    page.write_text(f"<title>x</title>{PAYLOADS['script']}{PAYLOADS['image']}")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    assert "<title>OWNED" in browse(page, "--dump-dom", profile, f"--log-net-log={net}")
    assert "192.0.2.1" in net.read_text()


@pytest.mark.skipif(BROWSER is None, reason="needs chromium on the path")
def test_in_a_browser_no_script_of_theirs_runs_and_nothing_is_requested(hostile, tmp_path):
    result = write_report(hostile, tmp_path / "r.html")
    net = tmp_path / "net.json"
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    dom = browse(result.html, "--dump-dom", profile, f"--log-net-log={net}")
    assert "<title>OWNED" not in dom
    assert dom.count("<script") == 2
    assert not re.search(r"<(img|link rel=.?stylesheet|meta http-equiv=.?refresh)", dom)
    assert "192.0.2.1" not in net.read_text()
    seen = tmp_path / "seen.html"  # our own script does run under the policy: it answers a key
    probe = (
        "<script>const s=document.querySelector('svg.chart');s.dispatchEvent(new KeyboardEvent("
        "'keydown',{key:'ArrowRight'}));document.title=document.getElementById('tip').textContent"
        "</script></body>"
    )
    text = result.html.read_text()
    policy = (
        text.index('content="default-src'),
        text.index('">', text.index('content="default-src')),
    )
    opened = text[: policy[0]] + 'content="' + text[policy[1] :]
    seen.write_text(opened.replace("</body>", probe))
    assert "<title>step 1" in browse(seen, "--dump-dom", profile)


@pytest.mark.skipif(BROWSER is None, reason="needs chromium on the path")
def test_the_policy_lets_our_own_style_and_script_through(runs, tmp_path):
    result = write_report(runs["collapse"], tmp_path / "r.html")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    flags = ["--dump-dom", profile, "--enable-logging=stderr", "--v=0"]
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", *flags, result.html.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "Content Security Policy" not in done.stderr
    assert "CONSOLE" not in done.stderr, done.stderr


def command(*words):
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return main(parser.parse_args([str(w) for w in words]))


def test_the_command_prints_the_verdict(runs, capsys):
    assert command(runs["collapse"]) == 3
    out = capsys.readouterr().out
    assert out.startswith("collapse: Collapsed.")
    assert "report.html" in out
    assert command(runs["healthy"]) == 0


def test_the_command_prints_json(runs, capsys, tmp_path):
    assert command(runs["collapse"], "--json", "--output", tmp_path / "x.html") == 3
    found = json.loads(capsys.readouterr().out)
    assert found["runs"][0]["verdict"]["word"] == "Collapsed"
    assert (tmp_path / "x.json").exists()


@pytest.mark.parametrize(
    "words", [["empty"], ["nothing"], [str(PLAIN / "text"), "--correct", "x>=1"]]
)
def test_bad_input_is_one_line_and_exit_code_2(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert command(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert "got" in captured.err


def test_where_the_page_goes(runs, tmp_path):
    assert write_report(runs["healthy"], tmp_path).html == tmp_path / "report.html"
    deep = write_report(runs["healthy"], tmp_path / "a" / "b" / "x.html")
    assert deep.json == tmp_path / "a" / "b" / "x.json"
    with pytest.raises(ValueError, match=r"Type .*x\.html"):
        write_report(runs["healthy"], tmp_path / "x.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="--output F"):
        write_report(runs["healthy"], tmp_path / "file" / "x.html")


def test_too_many_runs_are_refused(runs):
    with pytest.raises(ValueError, match="1 to 4 directories; got 5"):
        write_report([runs["healthy"]] * 5)


def formatted(path, names, steps=40, settings=None):
    """Record a run in which the first of some formats takes over; the detector is asked."""
    from divreg.monitor.detect import Detector

    detector = Detector()
    with Recorder(path, {"trainer": "GRPOTrainer", "monitor": {}, **(settings or {})}) as recorder:
        for step in range(1, steps + 1):
            top = 0.34 if step <= 15 else 0.97
            rest = (1 - top) / (len(names) - 1)
            shares = {f"format_share_{n}": top if n == names[0] else rest for n in names}
            signals = {"distinct_classes": 5.0, "distinct_frac": 0.6, "entropy": 1.0, **shares}
            signals |= {"explored_answers": 5 + step / 10, "new_answers": 1 / step}
            signals |= {"answer_entropy_nats": 1.5, "format_top_frac": top}
            groups = {"prompt_id": ["a", "b", "c"], "explored": [3, step, None]}
            recorder.event("step", step=step, mode="train", signals=signals, groups=groups)
            for alert in detector.update(step, signals):
                recorder.event("alert", **alert.as_event())
    return path


def test_formats_and_exploration_have_charts_and_a_takeover_is_told(tmp_path):
    run = formatted(tmp_path / "run", ["def", "text"], settings={"formats": {"def": "def"}})
    result = write_report(run)
    html = result.html.read_text()
    is_self_contained(html)
    (alert,) = json.loads(result.json.read_text())["runs"][0]["alerts"]
    assert alert["kind"] == "one_format"
    assert "one format takes over: def 34% -&gt; 9" in html
    assert result.verdicts == ("Healthy",)  # told, not held against the run
    for title in ("Formats", "Answers explored per prompt", "New answers per prompt"):
        assert f"<h3>{title}</h3>" in html
    assert "<h3>Answer entropy</h3>" in html
    assert "At the end (2 prompts): 3 to 40, median 40." in html
    assert "def: .34 to .97; text: .66 to .03." in html
    assert "else text. def: def" in html
    assert 'class="swatch cause-f1"' in html


def test_of_many_formats_the_rare_ones_are_drawn_as_one(tmp_path):
    names = ["<b>bold</b>", *(f"f{i}" for i in range(9))]
    run = formatted(tmp_path / "run", names, settings={"formats": "my_function"})
    html = write_report(run).html.read_text()
    is_self_contained(html)
    assert "5 more" in html
    assert "As my_function names them." in html
    assert "<b>bold" not in html


def test_without_formats_there_is_no_chart_of_them(runs, tmp_path):
    html = write_report(runs["healthy"], tmp_path / "r.html").html.read_text()
    assert "<h3>Formats" not in html
    assert "format_share" not in html
