"""The benchmark of the kernels on tiny shapes: it judges first, and says what it did."""

import doctest
import json
import sys
from dataclasses import replace

import pytest
import torch

MODULES = (
    *("run", "compare", "cases", "ceilings", "gates", "losses", "machine", "others", "peak"),
    *("providers", "steps", "table"),
)
FP32 = torch.float32


@pytest.fixture
def bench(repo, monkeypatch):
    """The modules of ``kernels/bench``, with small cases."""
    monkeypatch.syspath_prepend(repo / "kernels" / "bench")
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    import run

    small = [run.Case(16, 97, h, FP32, zero) for h, zero in ((None, 0.0), (16, 0.5))]
    monkeypatch.setattr(run, "CPU", tuple(small))
    yield run
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def main(bench, tmp_path, capsys, monkeypatch):
    """``main(*words)``: what a run of the small cases prints and writes."""

    def run(*words):
        out = tmp_path / "k.json"
        fixed = ["run.py", "--rounds", "2", "--device", "cpu", "--no-memory", "--out", str(out)]
        monkeypatch.setattr(sys, "argv", [*fixed, *words])
        threads = torch.get_num_threads()
        try:
            bench.main()
        finally:
            torch.set_num_threads(threads)
        return capsys.readouterr().out, json.loads(out.read_text())

    return run


@pytest.fixture
def half(bench):
    """A provider that knows no entropy."""
    import providers

    def call(hidden, weight, targets):
        return providers.torch_hidden(hidden, weight, targets)[0], None

    return providers.Provider("half", call, entropy=False)


def test_every_provider_is_judged_and_timed_or_says_why_not(main):
    shown, found = main()
    assert [case["case"] for case in found["cases"]] == [
        "logits 16 x 97 float32",
        "hidden 16 x 16 x 97 float32, 50% of the rows without gradient",
    ]
    assert found["device"] == "CPU, one thread"
    assert found["versions"]["torch"] == torch.__version__
    for case in found["cases"]:
        assert {"divreg", "divreg again", "torch", "TRL"} <= set(case["providers"])
        assert set(case["noise"]) == set(case["extra"]) == {"no gradient", "both"}
        lines = [*case["providers"].items(), *case["loss"].items()]
        for name, line in lines:
            assert f"| {name} | " in shown
            if line["missing"]:
                assert f"| {name} | {line['missing']}" in shown
                continue
            assert line["p10"] <= line["ms"] <= line["p90"]
            assert line["of_trl"] > 0
            assert line["of_ceiling"] > 0
            assert not name.startswith("divreg") or not line["wrong"]
        for line in case["providers"].values():
            timed = {"no gradient", "forward", "log-prob", "both"}
            assert line["missing"] or set(line["modes"]) == timed
    assert not found["cases"][0]["loss"]
    assert {"divreg, one pass", "divreg", "torch", "TRL"} <= set(found["cases"][1]["loss"])


def test_what_is_left_out_or_has_no_time_says_so(main):
    shown, found = main("--only", "logits", "--without", "torch", "--without", "TRL")
    providers = found["cases"][0]["providers"]
    assert providers["torch"]["missing"] == providers["TRL"]["missing"] == "left out"
    assert "of_trl" not in providers["divreg"]
    shown, found = main("--minutes", "0")
    assert "**logits 16 x 97 float32**: skipped, no time is left" in shown
    assert all(case["skipped"] for case in found["cases"])
    with pytest.raises(SystemExit, match="No case has 'nothing' in its name"):
        main("--only", "nothing")


def test_what_is_wrong_of_ours_is_not_timed_and_fails_the_run(bench, main, monkeypatch, tmp_path):
    import cases

    ours, *_ = cases.on_logits("cpu")
    broken = replace(ours, call=lambda x, y: tuple(2 * v for v in ours.call(x, y)))
    others = replace(broken, name="theirs", exact=False)
    monkeypatch.setattr(cases, "on_logits", lambda *_: [broken, others])
    with pytest.raises(SystemExit, match=r"Ours fails: divreg, logits .*: log-prob off by .*"):
        main("--only", "logits")
    (case,) = json.loads((tmp_path / "k.json").read_text())["cases"]
    assert "ms" not in case["providers"]["divreg"]
    assert case["providers"]["theirs"]["ms"] > 0
    assert case["providers"]["theirs"]["wrong"]


def test_what_raises_says_so_and_the_others_go_on(bench, monkeypatch):
    import cases
    from compare import Settings, compare

    ours, *_ = cases.on_logits("cpu")

    def late(logits, targets):
        if len(logits) == 16 and logits.shape[1] == 97 and late.calls > 6:
            raise ValueError("no more\nof this")
        late.calls += 1
        return ours.call(logits, targets)

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")

    late.calls = 0
    arms = [ours, replace(ours, name="late", call=late), replace(ours, name="full", call=full)]
    monkeypatch.setattr(cases, "on_logits", lambda *_: arms)
    found = compare(bench.CPU[0], Settings("cpu", 3, memory=False))["providers"]
    assert found["late"]["missing"] == "ValueError: no more"
    assert found["full"]["missing"] == "out of memory"
    assert "ms" not in found["late"]
    assert found["divreg"]["ms"] > 0


def test_without_entropy_a_provider_is_judged_by_its_log_prob(bench, half, monkeypatch):
    import cases
    import losses
    from compare import Settings, compare
    from table import table

    ours = cases.on_hidden("cpu")[0]
    for module in (cases, losses):
        monkeypatch.setattr(module, "on_hidden", lambda *_: [ours, half])
    found = compare(bench.CPU[1], Settings("cpu", 2, memory=False))
    line = found["providers"]["half"]
    assert set(line["modes"]) == {"no gradient", "forward", "log-prob"}
    assert line["ms"] == line["modes"]["log-prob"]["ms"]
    assert not line["wrong"]
    assert not found["loss"]["half"]["wrong"]
    rows = [row for row in table(found).splitlines() if row.startswith("| half |")]
    assert ["log-prob only" in row for row in rows] == [True, True]


def test_gates_see_small_errors(bench, half):
    import gates
    import losses
    from steps import Batch

    case = bench.Case(16, 97, 32, FP32)
    tensors = case.inputs("cpu")
    sample = gates.Sample(Batch.draw(case, "cpu"))
    off = replace(half, call=lambda *x: (half.call(*x)[0] * (1 + 1e-3), None))
    for provider, right in ((half, True), (off, False)):
        loss = replace(provider, call=losses.grpo(provider.call))
        assert bool(gates.failures(provider, tensors)) != right
        assert bool(sample.failures(provider, "log-prob")) != right
        assert bool(gates.loss_failures(loss, tensors)) != right
        assert bool(sample.failures(loss, "loss")) != right
    silent = replace(half, entropy=True)
    assert gates.failures(silent, tensors) == ["no entropy"]


def test_ceilings_are_measured_once_for_each_shape(bench):
    import ceilings
    from table import ceilings as told

    case = bench.Case(16, 97, 32, FP32)
    found = ceilings.measure([case, replace(case, zero=0.5), bench.CPU[0]], "cpu", 1 << 20)
    assert list(found["products"]) == ["16 x 32 x 97 float32"]
    numbers = [found["copy"], found["read"], *found["products"]["16 x 32 x 97 float32"].values()]
    assert min(numbers) > 0
    assert "Product 16 x 32 x 97 float32: " in told(found)


def test_shares_of_the_ceiling_by_hand(bench):
    from ceilings import share

    best = {"copy": 1e6, "products": {"10 x 5 x 100 float32": {"same": 1e6, "fp32": 2e6}}}
    logits = bench.Case(10, 100, None, FP32)  # 4000 bytes
    assert share(logits, "no gradient", 0.01, best) == pytest.approx(0.4)
    assert share(logits, "both", 0.03, best) == pytest.approx(0.4)
    assert share(replace(logits, zero=0.5), "both", 0.01, best) == pytest.approx(1.0)
    assert share(replace(logits, dtype=torch.bfloat16), "log-prob", 0.03, best) == pytest.approx(
        0.2
    )
    hidden = bench.Case(10, 100, 5, FP32)  # 10,000 operations forward
    assert share(hidden, "forward", 0.02, best) == pytest.approx(0.5)
    assert share(hidden, "loss", 0.05, best) == pytest.approx(0.8)
    assert share(replace(hidden, n=11), "loss", 0.05, best) is None


def test_the_table_holds_what_was_found(bench):
    import table as module
    from table import table

    assert doctest.testmod(module) == (0, 2)

    def times(ms, of_ceiling):
        return {"ms": ms, "p10": ms - 1, "p90": ms + 1, "of_trl": 0.5, "of_ceiling": of_ceiling}

    modes = {"no gradient": times(20.0, 0.25), "both": times(1234.5, 0.0042)}
    line = {"missing": None, "wrong": [], "modes": modes, "peak_mib": 64.4, **modes["both"]}
    shown = table(
        {
            "case": "logits",
            "rounds": 8,
            "gradients_mib": 62.5,
            "providers": {
                "ours": line,
                "theirs": {"missing": "it | is not there"},
                "red": {"missing": None, "wrong": ["entropy off by 1 nats"]},
            },
            "loss": {},
            "extra": {"both": 0.031},
            "noise": {"both": -0.002},
        }
    )
    assert "**logits**, 8 rounds, ms; the gradients alone take 62.5 MiB" in shown
    assert "| ours | 20 | 1234 (1234 to 1236) | 0.50 | 25%, 0.42% | 64 | yes |" in shown
    assert "| theirs | it / is not there |  |  |  |  |  |" in shown
    assert "| red | not timed: entropy off by 1 nats |  |  |  |  |  |" in shown
    assert "cost +3.1% (forward and backward of both); noise: -0.2% (forward" in shown


def test_the_sizes_of_the_protocol_are_there(bench, repo):
    import cases

    recorded = json.loads((repo / "kernels/bench/results/cpu.json").read_text())["cases"]
    assert [case["case"] for case in recorded] == [case.name for case in cases.CPU]
    names = [case.name for case in cases.FULL]
    assert len(set(names)) == len(names) == 20 + 4 + 28 + 2
    assert set(cases.GPU) <= set(cases.FULL)
    assert {case.name for case in cases.GPU} >= {
        "logits 1 x 151936 bfloat16",
        "logits 8192 x 151665 bfloat16",
        "logits 8192 x 151936 float32",
        "hidden 8192 x 4096 x 151936 bfloat16, 80% of the rows without gradient",
        "hidden 8192 x 3584 x 152064 bfloat16",
    }
    for device, arms in (("cuda", {"verl", "cut-cross-entropy", "Liger"}), ("cpu", {"Liger"})):
        assert arms <= {p.name for p in cases.on_hidden(device)}
    assert [case.sets("cuda") for case in cases.COMPILED] == [2, 4]


def test_a_package_that_is_not_there_says_so(bench):
    import others

    assert others.absent("no_such_package", "cpu") == "no_such_package is not installed"
    assert others.absent("torch", "cpu", gpu_only=True) == "its kernels run on a GPU only"
    assert others.absent("torch", "cuda", gpu_only=True) is None


def test_a_peak_is_measured_in_a_process_of_its_own(bench):
    import cases
    from peak import peak
    from steps import Batch

    case = cases.CPU[0]
    arms = {p.name: p for p in case.providers("cpu")}
    batch = Batch.draw(bench.CPU[0], "cpu")  # the process draws its own
    ours, theirs = (peak(case, arms[name], "both", batch, "cpu") for name in ("divreg", "torch"))
    assert 0 < ours < theirs
