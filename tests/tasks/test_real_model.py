"""SmolLM2-135M-Instruct, made from its package: it loads, is saved again, and knows some kinds.

``DIVREG_REAL_MODEL=FOLDER pytest -m real_model``, with the folder that
``python recipes/smollm2/make_model.py FOLDER`` makes.
"""

import json
import subprocess
import sys
from statistics import fmean

import pytest
import torch

from divreg.tasks import kinds

pytestmark = pytest.mark.real_model


def test_it_loads_answers_and_is_saved_again(real_model, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    names = AutoTokenizer.from_pretrained(real_model)
    model = AutoModelForCausalLM.from_pretrained(real_model, dtype=torch.float32)
    assert model.num_parameters() == 134_515_008
    assert (names.eos_token, names.pad_token_id) == ("<|im_end|>", 2)
    chat = names.apply_chat_template(
        kinds.prompt("bird"), add_generation_prompt=True, tokenize=False
    )
    assert chat.startswith("<|im_start|>system\n")
    assert chat.endswith("<|im_end|>\n<|im_start|>assistant\n")
    ids = names("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        said = model.generate(ids, max_new_tokens=4, do_sample=False)
        assert "Paris" in names.decode(said[0])
        before = model(ids).logits
    model.save_pretrained(tmp_path)  # refused for a model that was read from the packed file
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(again(ids).logits, before)


def test_its_base_rates_leave_room_both_ways_and_samples_are_kept(real_model, repo, tmp_path):
    some = ["bird", "fruit", "color", "musical instrument"]
    command = [sys.executable, repo / "recipes" / "kinds" / "base_rates.py", real_model]
    command += ["--samples", "16", "--output-dir", tmp_path, "--categories", *some]
    command += ["--styles", "few-shot"]

    def run():
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        return done.stdout

    table = run()
    rates = json.loads((tmp_path / "base_rates.json").read_text())
    assert {style: set(of) for style, of in rates.items()} == {"few-shot": set(some)}
    found = rates["few-shot"].values()
    assert 0.2 < fmean(r["right"] / r["samples"] for r in found) < 0.8  # .45 of 32 samples
    assert all(1 < r["distinct"] <= r["right"] <= r["samples"] == 16 for r in found)
    path = tmp_path / "samples.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["sample"] for line in lines] == list(range(16)) * len(some)
    changed = path.stat().st_mtime_ns
    assert run() == table
    assert path.stat().st_mtime_ns == changed


def test_check_counts_its_answers(real_model, tmp_path, capsys):
    from divreg.cli import main

    some = ["bird", "fruit", "color", "sport"]
    words = ["check", f"smol={real_model}", "--style", "few-shot", "--samples", "8", "--categories"]
    assert main([*words, *some, "--encoder", "none", "--output-dir", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "check.json").read_text())["models"]["smol"]["numbers"]
    assert 0.2 < numbers["pass_at_1"]["estimate"] < 0.8
    assert 1 < numbers["distinct_correct_at_k"]["estimate"] < 8
    assert "there are" in capsys.readouterr().out
