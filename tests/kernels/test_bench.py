"""The benchmark of the kernels on tiny shapes: it judges first, and says what it did."""

import json
import sys

import pytest
import torch


@pytest.fixture
def bench(repo, monkeypatch):
    """The modules of ``kernels/bench``, with small cases."""
    monkeypatch.syspath_prepend(repo / "kernels" / "bench")
    for name in ("run", "gates", "providers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import run

    small = [run.Case(16, 97, h, torch.float32, zero) for h, zero in ((None, 0.0), (16, 0.5))]
    monkeypatch.setattr(run, "CPU", tuple(small))
    monkeypatch.setattr(run, "peak", lambda *_: 1.0)  # a process for each provider
    yield run
    for name in ("run", "gates", "providers"):
        sys.modules.pop(name, None)


def test_every_provider_is_judged_and_timed_or_says_why_not(bench, tmp_path, capsys, monkeypatch):
    out = tmp_path / "k.json"
    words = ["run.py", "--rounds", "2", "--device", "cpu", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    threads = torch.get_num_threads()
    try:
        bench.main()
    finally:
        torch.set_num_threads(threads)
    shown = capsys.readouterr().out
    found = json.loads(out.read_text())
    assert [case["case"] for case in found["cases"]] == [
        "logits 16 x 97 float32",
        "hidden 16 x 16 x 97 float32, 50% of the rows without gradient",
    ]
    for case in found["cases"]:
        assert {"divreg", "divreg again", "torch", "TRL"} <= set(case["providers"])
        for name, line in case["providers"].items():
            assert f"| {name} |" in shown
            assert line["missing"] or line["ms"] > 0
            assert line["missing"] or not name.startswith("divreg") or not line["wrong"]


def test_what_is_wrong_is_not_timed(bench, monkeypatch):
    wrong = bench.on_logits("cpu")[0]
    broken = type(wrong)("divreg", lambda x, y: tuple(2 * v for v in wrong.call(x, y)), exact=True)
    monkeypatch.setattr(bench, "on_logits", lambda _: [broken])
    with pytest.raises(SystemExit, match=r"divreg, logits .*: log-prob off by .* Not timed"):
        bench.compare(bench.CPU[0], "cpu", 2)


def test_a_peak_is_measured_in_a_process_of_its_own(bench, monkeypatch, repo):
    monkeypatch.undo()
    monkeypatch.syspath_prepend(repo / "kernels" / "bench")
    import run

    case = run.Case(512, 32_000, None, torch.float32)
    assert case in run.CPU
    assert run.peak(case, "divreg", "cpu") < run.peak(case, "torch", "cpu")
