"""Our numbers are those of independent implementations, on random inputs.

The pairs are those of recipes/benchmarks/references.py; of its packages, those that the tests
install are compared here. The README of the metrics shows what the whole benchmark found.
"""

import importlib.util
import json
import sys

import pytest

# What the tests install, and the module to look for.
INSTALLED = {
    "nltk": "nltk",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "torch": "torch",
    "transformers and torch": "transformers",
    "torch and scipy": "scipy",
}
MONTE_CARLO = 5e-3  # both draw at random


@pytest.fixture(scope="module")
def load(repo):
    """``load(name)``: a file of the benchmark as a module."""

    def of(name):
        path = repo / "recipes" / "benchmarks" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look themselves up
        spec.loader.exec_module(module)
        return module

    yield of
    for name in ("references", "metrics"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("package", INSTALLED)
def test_our_numbers_are_theirs(load, package):
    pytest.importorskip(INSTALLED[package])
    references, benchmark = load("references"), load("metrics")
    pairs = [p for p in references.PAIRS if p.package == package and len(p.checked)]
    assert pairs
    for pair in pairs:
        found = benchmark.agreement(pair, cases=11)
        most = MONTE_CARLO if pair.metric == "interval.mean_interval" else 1e-12
        assert found["apart"] < most, f"{pair.metric} and {package}"


def test_every_metric_has_a_reference_or_a_reason(load, repo):
    references = load("references")
    compared = {p.metric.partition(".")[0] for p in references.PAIRS}
    assert not compared & set(references.ALONE)
    files = {p.stem for p in (repo / "divreg" / "metrics").glob("[!_]*.py")}
    assert files == compared | set(references.ALONE)


def test_the_readme_shows_what_was_measured(load, repo):
    benchmark = load("metrics")
    found = json.loads(benchmark.RESULTS.read_text())
    readme = (repo / "divreg" / "metrics" / "README.md").read_text()
    assert benchmark.into(readme, benchmark.markdown(found)) == readme
    pairs = {(p.metric, p.package) for p in load("references").PAIRS if len(p.checked)}
    assert pairs == {(row["metric"], row["package"]) for row in found["agreement"]}
