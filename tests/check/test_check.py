"""``divreg check`` on models that were taught a few answers, so that what they know is known."""

import json

import pytest
import torch

from divreg.cli import main
from divreg.metrics.interval import mean_interval
from divreg.tasks import kinds

KNOWN = {
    "bird": ["robin", "owl", "crow", "eagle"],
    "fruit": ["apple", "pear", "plum", "peach"],
    "insect": ["ant", "fly", "wasp", "moth"],
}


def taught(make_tiny_model, names, folder, answers):
    """Save a model that gives each of the first ``answers`` of a category equally often."""
    model = make_tiny_model(seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rows = []
    for category, known in KNOWN.items():
        for answer in known[:answers]:
            asked = names.encode(kinds.prompt(category, "short"))
            rows.append((asked, [*names.encode(f" {answer}"), names.eos_token_id]))
    width = max(len(a) + len(b) for a, b in rows)
    ids = torch.tensor([a + b + [0] * (width - len(a) - len(b)) for a, b in rows])
    labels = torch.tensor(
        [[-100] * len(a) + b + [-100] * (width - len(a) - len(b)) for a, b in rows]
    )
    for _ in range(120):
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    names.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def models(make_tiny_model, tiny_tokenizer, tmp_path_factory):
    """``base`` has four answers to everything, ``tuned`` one."""
    folder = tmp_path_factory.mktemp("models")
    return {
        name: taught(make_tiny_model, tiny_tokenizer, folder / name, answers)
        for name, answers in (("base", 4), ("tuned", 1))
    }


@pytest.fixture
def check(tmp_path, capsys, monkeypatch):
    """``check(*words)``: exit code, what was printed, the numbers."""
    monkeypatch.setenv("COLUMNS", "120")

    def run(*words, output="out", style="short"):
        code = main(["check", *words, "--categories", *KNOWN, "--style", style, "--encoder", "none",
                     "--output-dir", str(tmp_path / output)])  # fmt: skip
        path = tmp_path / output / "check.json"
        said = capsys.readouterr()
        return code, said.out + said.err, json.loads(path.read_text()) if path.exists() else None

    return run


def test_it_counts_the_answers_that_a_model_was_taught(check, models):
    code, said, found = check(models["base"])
    assert code == 0
    numbers = found["models"]["base"]["numbers"]
    assert numbers["pass_at_1"]["estimate"] > 0.8
    assert numbers["distinct_correct_at_k"]["estimate"] == pytest.approx(4, abs=0.1)
    assert {c["category"] for c in found["models"]["base"]["categories"]} == set(KNOWN)
    said_of_birds = {text for text, _, right in found["models"]["base"]["answers"]["bird"] if right}
    assert said_of_birds == set(KNOWN["bird"])
    assert "3 categories x 32 samples of 1 model: up to" in said
    assert "among 32 there are 4.0 different right ones" in said


def test_the_same_seed_says_the_same_and_another_does_not(check, models):
    once, again = (check(models["base"], output=name)[2]["models"]["base"] for name in "ab")
    assert once == again
    other = check(models["base"], "--seed", "1", output="c")[2]["models"]["base"]
    assert other["answers"] != once["answers"]


def test_of_two_models_it_says_how_much_went_among_right_answers(check, models, tmp_path):
    _, said, found = check(f"base={models['base']}", f"tuned={models['tuned']}")
    assert found["models"]["tuned"]["numbers"]["distinct_correct_at_k"]["estimate"] < 1.1
    assert "right answers" in said.partition("tuned:")[2]
    page = (tmp_path / "out" / "check.html").read_text()
    assert "robin" in page
    assert "the answers are there already" in check(
        f"base={models['base']}", f"tuned={models['tuned']}"
    )[1]  # fmt: skip


def test_a_model_without_chat_template_is_asked_in_the_few_shot_style_and_told(
    check, models, tiny_tokenizer, make_tiny_model, tmp_path
):
    tiny_tokenizer.save_pretrained(tmp_path / "plain")
    (tmp_path / "plain" / "chat_template.jinja").unlink()
    make_tiny_model().save_pretrained(tmp_path / "plain")
    _, said, _ = check(str(tmp_path / "plain"), style="chat")
    assert "plain has no chat template: it is asked in the few-shot style" in said
    assert asked_as(tmp_path / "out" / "samples") == "text"
    _, said, _ = check(models["base"], style="chat", output="chat")
    assert "no chat template" not in said
    assert asked_as(tmp_path / "chat" / "samples") == "chat"


def asked_as(folder):
    """Return in which style the only model was asked."""
    (path,) = folder.iterdir()
    return json.loads(path.read_text().splitlines()[0])["style"]


REFUSED = {
    "category": (["--categories", "brid"], "no category 'brid'. Did you mean 'bird'?"),
    "samples": (["--samples", "1"], "--samples needs at least 2; got 1"),
    "temperature": (["--temperature", "0"], "needs --temperature above 0"),
    "engine": (["--engine", "vllm"], "needs vLLM, which is not installed"),
    "one name": (["a=x", "a=y"], "needs a name of its own for every model"),
    "slash": (["a/b=x"], "needs a name without '/'"),
    "encoder": (["--encoder", "nothing/here"], "SentenceEncoder needs"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_asked_is_refused(tmp_path, models, capsys, kind):
    words, message = REFUSED[kind]
    assert main(["check", models["base"], *words, "--output-dir", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_models_that_cannot_answer_are_refused(
    check, make_judge, make_tiny_model, tiny_tokenizer, tmp_path
):
    code, said, _ = check(str(tmp_path / "gone"))
    assert code == 2
    assert "is no folder here, and the hub does not have it or cannot be reached" in said
    code, said, _ = check(make_judge("no", "yes"))
    assert code == 2
    assert "is a Bert, an encoder that fills gaps and writes nothing" in said
    short = tmp_path / "short"
    make_tiny_model(max_position_embeddings=32).save_pretrained(short)
    tiny_tokenizer.save_pretrained(short)
    code, said, _ = check(str(short))
    assert code == 2
    assert "kinds needs room for" in said
    assert f"{short} has 32. Pass a model with a longer context" in said
    endless = tmp_path / "endless"
    make_tiny_model().save_pretrained(endless)
    tiny_tokenizer.save_pretrained(endless)
    path = endless / "tokenizer_config.json"
    config = {k: v for k, v in json.loads(path.read_text()).items() if k != "eos_token"}
    path.write_text(json.dumps(config))
    code, said, _ = check(str(endless))
    assert code == 2
    assert "sampling needs an end of text" in said


def test_the_interval_covers_the_truth():
    """Forty categories of unknown sizes, 32 samples each: the mean is inside 95 times of 100."""
    draw = torch.Generator().manual_seed(0)
    inside, times = 0, 200
    for _ in range(times):
        answers = torch.randint(1, 16, (40,), generator=draw)  # equally likely ones of a category
        said = [int(torch.randint(int(n), (32,), generator=draw).unique().numel()) for n in answers]
        found = mean_interval([float(x) for x in said], seed=0)
        inside += found.low <= TRUTH <= found.high
    assert 0.9 < inside / times < 0.99


TRUTH = sum(n * (1 - (1 - 1 / n) ** 32) for n in range(1, 16)) / 15
"""Expected number of different answers of 32, over categories of 1 to 15 answers."""
