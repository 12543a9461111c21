"""``divreg pairs`` as a user types it, and what TRL makes of its output."""

import json

import pytest

from divreg.cli import main


@pytest.fixture
def write(tmp_path):
    """``write(rows)``: the path of a file of scored responses; a row that is a text is a line."""

    def to(rows, name="x.jsonl"):
        path = tmp_path / name
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return to


@pytest.fixture
def paired(tmp_path, capsys):
    """``paired(path, *words)``: what is printed, the rows that were written, and the JSON."""

    def run(path, *words, name="pairs.jsonl"):
        out, numbers = tmp_path / "out" / name, tmp_path / "n.json"
        code = main(["pairs", path, "--output", str(out), "--json", str(numbers), *words])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed.out, read(out), json.loads(numbers.read_text())

    return run


def read(path):
    from pyarrow import parquet

    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_text().splitlines()]


def scored(prompt, *responses, **columns):
    return [
        {"prompt": prompt, "completion": text, "reward": reward, **columns}
        for text, reward in responses
    ]


# The best say owl three times and wren once; the worst say cat twice and dog once.
BIRDS = scored(
    "a bird",
    *(("owl", 1), ("Owl", 1), ("owl", 0.9), ("wren", 0.9)),
    *(("cat", 0), ("dog", 0), ("cat", 0.1), ("bat", 0.5)),
)


def test_the_seldom_good_answer_is_chosen_and_the_frequent_bad_one_rejected(write, paired):
    out, (row,), found = paired(write(BIRDS))
    assert (row["prompt"], row["chosen"], row["rejected"]) == ("a bird", "wren", "cat")
    assert (row["chosen_reward"], row["rejected_reward"]) == (0.9, 0)
    assert (row["chosen_diversity"], row["rejected_diversity"]) == (8, 4)
    assert (row["chosen_row"], row["rejected_row"]) == ("x.jsonl:4", "x.jsonl:5")
    # Rarities 8/3 x 3, 4 x 2, 8 x 3 as shares of their range: 0, 1/4 and 1, which sum to 3.5.
    assert row["weight"] == pytest.approx(8 / 3.5)
    assert row["chosen_deviation"] == pytest.approx(8 / 3.5 - 1)
    assert row["rejected_deviation"] == pytest.approx(8 / 4 / 3.5 - 1)
    assert row["responses"] == 8
    assert row["selection"].startswith("divpo, range, rho 0.25; responses of the prompt over")
    assert "1 pair in" in out
    assert found["means"]["all"] == pytest.approx(
        {"reward": 4.4 / 8, "diversity": (3 * 8 / 3 + 2 * 4 + 3 * 8) / 8, "weight": 1}
    )
    assert found["means"]["chosen"]["distinct_frac"] == 1


def test_prompts_in_which_diversity_says_nothing_are_said(write, paired):
    out, _, found = paired(write([*BIRDS, *scored("all differ", ("a", 1), ("b", 0), ("c", 0.9))]))
    assert "In 1 prompt all responses are equally diverse, so that rewards alone chose" in out
    assert found["prompts_equally_diverse"] == 1


def test_every_criterion(write, paired, minilm):
    rows = scored("p", ("a cat", 1), ("a kitten", 1), ("tax law", 1), ("a cat", 0), ("rain", 0))
    extra = {
        "kind": ["x", "y", "x", "x", "y"],
        "novel": [1, 3, 2, 5, 4],
        "logprobs": [[-1, -1], [-4], [-1, -2, -3], [-9], [-1, -1, -1, -1]],
        "sum": [-2, -4, -6, -9, -4],
        "tokens": [2, 1, 3, 1, 4],
    }
    path = write([row | {k: v[i] for k, v in extra.items()} for i, row in enumerate(rows)])
    for words, pair in (
        (("--classes", "kind"), ("a kitten", "a cat")),
        (("--diversity", "novel"), ("a kitten", "rain")),
        (("--logprob", "logprobs"), ("a kitten", "rain")),
        (("--logprob-sum", "sum", "--tokens", "tokens"), ("a kitten", "rain")),
        (("--encoder", minilm), ("tax law", "a cat")),
        (("--encoder", minilm, "--same", "0.7"), ("tax law", "a cat")),
    ):
        _, (row,), _ = paired(path, *words)
        assert (row["chosen"], row["rejected"]) == pair, words


def test_weights_are_by_meaning_and_by_style_where_there_are_encoders(write, paired, minilm):
    rows = scored("p", ("a cat", 1), ("a kitten", 1), ("tax law", 0), ("a cat", 0))
    _, _, found = paired(write(rows), "--encoder", minilm, "--diversity", "classes")
    assert found["deviation"].startswith("mean cosine distance by ")
    assert found["diversity"].startswith("responses of the prompt over those that say the same")
    words = ("--encoder", minilm, "--style-encoder", minilm)
    _, (once,), _ = paired(write(rows), "--encoder", minilm)
    _, (twice,), found = paired(write(rows), *words)
    assert found["deviation"].count("mean cosine distance") == 2
    assert twice["weight"] == pytest.approx(once["weight"]), "two equal axes are one"


def test_reasoning_is_no_part_of_an_answer_and_stays_in_the_output(write, paired):
    rows = scored("p", *((f"<think>{i}</think>7", 1) for i in range(3)), ("8", 1), ("9", 0))
    assert paired(write(rows))[1][0]["chosen"] == "8"
    _, (row,), _ = paired(write(rows), "--rho", "0", "--diversity", "reward")
    assert row["rejected"] == "9"
    kept = paired(write(rows), "--keep-reasoning")[2]["means"]["all"]["diversity"]
    assert kept == 5, "with it, all differ"


def test_several_pairs_a_prompt(write, paired):
    _, rows, found = paired(write(BIRDS), "--pairs", "5")
    assert (rows[0]["chosen"], rows[0]["rejected"]) == ("wren", "cat")
    assert len(rows) == found["pairs"] == 2, "cat and dog are all that can be rejected"
    assert {r["rejected"] for r in rows} == {"cat", "dog"}


def test_lists_of_responses_as_noveltybench_scores_them(write, paired):
    row = {
        "id": "curated-1",
        "prompt": "a bird",
        "generations": ["owl", "an owl", "wren", "cat"],
        "partition": [0, 0, 1, 2],
        "generation_scores": [9, 9, 8, 1],
    }
    _, (found,), _ = paired(write([row]), "--reward", "generation_scores", "--classes", "partition")
    assert (found["chosen"], found["chosen_row"]) == ("wren", "x.jsonl:1[2]")


def test_what_is_left_out_is_counted_and_named(write, paired):
    path = write(
        [
            *BIRDS,
            *scored("alone", ("a", 1)),
            *scored("equal", ("a", 1), ("b", 1)),
            *scored("same", ("a", 1), ("a", 0)),
            *scored("unscored", ("a", None), ("b", "high"), ("c", 1), ("d", 0)),
            '{"prompt": "half',
            {"completion": "whose"},
        ]
    )
    out, rows, found = paired(path)
    assert [r["prompt"] for r in rows] == ["a bird", "unscored"]
    for sentence in (
        "1 row not JSON: x.jsonl:18.",
        "1 row without a prompt (known: prompt, question, instruction, input): x.jsonl:19.",
        "2 responses without a number in 'reward': x.jsonl:14, x.jsonl:15.",
        "1 prompt with one response only: x.jsonl:9.",
        "1 prompt whose rewards are all equal: x.jsonl:10.",
        "1 prompt whose chosen and rejected text are the same: x.jsonl:12.",
    ):
        assert sentence in out
    left_out = found["left_out"]
    assert [left_out[x]["count"] for x in ("rows", "responses", "prompts")] == [2, 2, 3]
    assert left_out["prompts"]["first"]["with one response only"] == ["x.jsonl:9"]


def test_prompts_that_overlap_are_named(write, paired):
    path = write([*BIRDS, *scored("middle", ("a", 0), ("b", 1), ("c", 1), ("d", 1))])
    out, _, _ = paired(path, "--rho", "0.5", "--threshold", "count")
    assert "1 prompt whose best and worst responses overlap: x.jsonl:9." in out


REFUSED = {
    "one response a prompt": (
        [*scored("p", ("a", 1)), *scored("q", ("b", 0))],
        (),
        "no pair among 2 prompts",
        "2 prompts with one response only: x.jsonl:1, x.jsonl:2. Draw several responses",
    ),
    "equal rewards": (
        scored("p", ("a", 1), ("b", 1)),
        (),
        "1 prompt whose rewards are all equal: x.jsonl:1. Draw more of each prompt",
    ),
    "nothing": (["{}"], (), '1 row without a prompt', '"reward": ..}'),
    "reward": (BIRDS, ("--reward", "rewards"), "8 responses without a number in 'rewards'",
               "Did you mean 'reward'?"),
    "classes": (BIRDS, ("--classes", "kind"), "8 responses without 'kind'", "columns are reward."),
    "diversity": (BIRDS, ("--diversity", "novelty"), "without a number in 'novelty'"),
    "log-probs of another sign": (
        scored("p", ("a", 1), ("b", 0), nll=[1.0, 2.0]),
        ("--logprob", "nll"),
        "2 responses with a log-prob above 0 in 'nll'",
    ),
    "rho": (BIRDS, ("--rho", "0.6"), "in [0, 0.5]; got 0.6. Use 0.25."),
    "pairs": (BIRDS, ("--pairs", "0"), "at least 1; got 0"),
    "two criteria": (
        BIRDS,
        ("--logprob", "l", "--classes", "c"),
        "--classes and --logprob each say what is rare. Add --diversity classes or",
    ),
    "an option that is not read": (
        BIRDS,
        ("--logprob", "l", "--diversity", "classes"),
        "--logprob is not read with --diversity classes",
    ),
    "a sum without its length": (BIRDS, ("--logprob-sum", "s"), "the sum grows with the length"),
    "same without an encoder": (BIRDS, ("--same", "0.7"), "--same needs an encoder"),
    "distance without one": (BIRDS, ("--diversity", "distance"), "Add --encoder NAME."),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_paired_is_bad_input_and_writes_nothing(write, tmp_path, capsys, kind):
    rows, words, *messages = REFUSED[kind]
    out = tmp_path / "pairs.jsonl"
    assert main(["pairs", write(rows), "--output", str(out), *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("divreg: ")
    assert said.count("\n") == 1
    for message in messages:
        assert message in said
    assert not out.exists()


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_read(write, capsys):
    path = write(BIRDS)
    for out, message in (
        (path, "is one of the files that are read"),
        (path.replace(".jsonl", ".csv"), "needs .jsonl or .parquet; got"),
    ):
        assert main(["pairs", path, "--output", out]) == 2
        assert message in capsys.readouterr().err
    assert main(["pairs", path + ".gone", "--output", "y.jsonl"]) == 2
    assert "divreg pairs needs generations; there is no" in capsys.readouterr().err


TALK = [
    {
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "p"}],
        "completion": [{"role": "assistant", "content": row["completion"]}],
        "reward": row["reward"],
    }
    for row in BIRDS
]


def test_conversations_stay_conversations(write, paired):
    one_is_text = [*TALK, *scored("a text", ("a", 1), ("b", 0))]
    for name in ("pairs.jsonl", "pairs.parquet"):
        _, (first, second), _ = paired(write(one_is_text), name=name)
        assert first["prompt"] == TALK[0]["prompt"]
        assert first["chosen"] == [{"role": "assistant", "content": "wren"}]
        assert second["prompt"] == [{"role": "user", "content": "a text"}]
        assert second["rejected"] == [{"role": "assistant", "content": "b"}]


def test_who_says_it_tells_prompts_apart(write, paired):
    other = [row | {"prompt": [{"role": "user", "content": "Be brief.\np"}]} for row in TALK]
    _, rows, found = paired(write([*TALK, *other]))
    assert found["prompt_count"] == len(rows) == 2


@pytest.mark.parametrize(
    ("rows", "name"),
    [(BIRDS, "pairs.jsonl"), (TALK, "pairs.parquet")],
    ids=["texts", "conversations"],
)
def test_trl_trains_on_it(rows, name, write, paired, tmp_path, make_tiny_model, tiny_tokenizer):
    import torch
    from datasets import load_dataset
    from trl import DPOConfig, DPOTrainer

    paired(write(rows), "--pairs", "2", name=name)
    kind = "json" if name.endswith("jsonl") else "parquet"
    files, cache = str(tmp_path / "out" / name), str(tmp_path / "cache")
    data = load_dataset(kind, data_files=files, split="train", cache_dir=cache)
    assert len(data) == 2
    arguments = DPOConfig(
        output_dir=str(tmp_path / "run"),
        max_steps=1,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    model = make_tiny_model()
    before = [p.detach().clone() for p in model.parameters()]
    trainer = DPOTrainer(
        model=model,
        ref_model=make_tiny_model(),
        args=arguments,
        train_dataset=data,
        processing_class=tiny_tokenizer,
    )
    found = trainer.train()
    assert found.training_loss == pytest.approx(torch.log(torch.tensor(2.0)).item(), abs=1e-4)
    assert any((p != q).any() for p, q in zip(model.parameters(), before, strict=True))
