"""The benchmark of the tables still runs; what it measures is no test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
def test_the_benchmark_of_the_tables_runs() -> None:
    command = [sys.executable, "benchmarks/evaluation.py", "--people", "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["benchmark"] == "evaluation"
    assert set(last["seconds"]) == {"20"}
    assert min(last["seconds"]["20"].values()) >= 0
