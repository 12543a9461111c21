"""What a report costs: seconds, memory, and bytes of the page."""

import os
import subprocess
import sys

import pytest

from divreg.records import Recorder

BUDGET = 1_000_000  # bytes of a page

MEASURE = """
import re, resource, sys, time
from pathlib import Path
start = time.time()
from divreg.report import write_report
result = write_report(sys.argv[1], sys.argv[2])
bad = {'torch', 'transformers', 'trl', 'pandas'} & set(sys.modules)
assert not bad, bad
status = Path("/proc/self/status")
if status.exists():  # where getrusage also counts what the process that started this one held
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) // 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(time.time() - start, peak, result.html.stat().st_size)
"""


def measured(run, page):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", MEASURE, str(run), str(page)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    seconds, megabytes, size = map(float, done.stdout.split())
    return seconds, megabytes, size


def test_200_steps_of_128_completions_are_quick_and_small(make_run, tmp_path):
    """0.5 s, 87 MB and 210 kB where it was written; 3.8 s from a plain TRL run's parquet files."""
    run = make_run(tmp_path / "run", "collapse", steps=200, observed=40)
    seconds, megabytes, size = measured(run, tmp_path / "r.html")
    assert seconds < 10
    assert megabytes < 1000
    assert size < BUDGET


@pytest.mark.slow
def test_10_000_steps_stay_under_a_gigabyte(make_run, tmp_path):
    """2.4 s, 208 MB and 250 kB where it was written."""
    run = make_run(tmp_path / "run", "collapse", steps=10_000, observed=100, record_every=10)
    _, megabytes, size = measured(run, tmp_path / "r.html")
    assert megabytes < 1000
    assert size < BUDGET


@pytest.mark.slow
def test_10_000_steps_of_300_groups_stay_under_a_gigabyte(tmp_path):
    """20 s and 290 MB where it was written."""
    with Recorder(tmp_path, {}) as recorder:
        for n in range(1, 10_001):
            groups = {
                "prompt_id": [f"{(n * 300 + i) % 7000:08x}" for i in range(300)],
                "size": [16] * 300,
                "distinct": [1 + (n + i) % 16 for i in range(300)],
                "reward_mean": [i / 300 for i in range(300)],
            }
            signals = {"distinct_classes": 8.0, "distinct_frac": 0.5}
            recorder.event("step", step=n, mode="train", signals=signals, groups=groups)
    _, megabytes, size = measured(tmp_path, tmp_path / "r.html")
    assert megabytes < 1000
    assert size < BUDGET
