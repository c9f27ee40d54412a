"""Cores: those of the affinity, or fewer where a container has a quota."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from s2f_edge import cores, processes
from s2f_edge.cli import batch
from s2f_edge.service.settings import ServiceSettings

MANY = 64


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for cgroups, and a process that may use 64 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(MANY)), raising=False)
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)
    monkeypatch.setattr(cores, "OWN_CGROUPS", tmp_path / "own")
    return tmp_path


def put(system: Path, own: str, **files: str) -> None:
    (system / "own").write_text(own + "\n")
    for name, text in files.items():
        path = system / name.replace("__", "/").replace("cpu_", "cpu.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


@pytest.mark.parametrize(
    ("own", "files", "wanted"),
    [
        ("0::/", {"cpu_max": "200000 100000"}, 2),
        ("0::/", {"cpu_max": "150000 100000"}, 2),
        ("0::/", {"cpu_max": "50000 100000"}, 1),
        ("0::/", {"cpu_max": "max 100000"}, MANY),
        ("0::/", {"cpu_max": "what"}, MANY),
        ("0::/", {}, MANY),
        ("0::/a/b", {"a__cpu_max": "300000 100000", "a__b__cpu_max": "max 100000"}, 3),
        ("0::/a/b", {"a__cpu_max": "max 100000", "a__b__cpu_max": "400000 100000"}, 4),
        (
            "5:cpu,cpuacct:/docker/x\n4:memory:/",
            {"cpu__cpu_cfs_quota_us": "250000", "cpu__cpu_cfs_period_us": "50000"},
            5,
        ),
        ("5:cpu,cpuacct:/", {"cpu__cpu_cfs_quota_us": "-1", "cpu__cpu_cfs_period_us": "100000"}, MANY),
        ("no cgroup", {}, MANY),
    ],
)
def test_the_quota_counts(system: Path, own: str, files: dict[str, str], wanted: int) -> None:
    put(system, own, **files)
    assert cores.cores() == wanted
    assert ServiceSettings().slots == wanted
    assert processes.at_most(None) == wanted
    assert batch.cores() == wanted
    assert ServiceSettings(concurrency=7).slots == 7


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="The system has no affinity.")
def test_the_affinity_counts() -> None:
    says = "import os; os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1]); from s2f_edge import cores"
    assert subprocess.check_output([sys.executable, "-c", f"{says}; print(cores.cores())"], text=True) == "1\n"
