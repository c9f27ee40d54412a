"""The notebooks of examples/ run from their first cell to the last."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_outputs(path: Path) -> None:
    """Pictures of a few kB aside; what a cell gave goes with the machine that it ran on."""
    assert path.stat().st_size < 100_000
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        for output in cell.get("outputs", ()):
            assert set(output.get("data", {})) & {"image/png", "image/jpeg"}, cell["source"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """run(name) -> the notebook with its outputs, run on a copy of examples/ in a checkout."""
    import nbformat
    from nbclient import NotebookClient

    for name in ("male.wav", "female.wav"):
        (tmp_path / "examples").mkdir(exist_ok=True)
        shutil.copy(ROOT / "examples" / name, tmp_path / "examples")
    for package in ("s2f_edge", "s2f_train", "export", "artifacts"):
        (tmp_path / package).symlink_to(ROOT / package)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    def executed(name: str) -> Any:
        notebook = nbformat.read(ROOT / "examples" / f"{name}.ipynb", 4)
        where = {"metadata": {"path": str(tmp_path / "examples")}}
        return NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=where).execute()

    return executed


def _shown(notebook: Any, kind: str) -> list[str]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    if kind == "text":
        return [output.text for output in outputs if output.output_type == "stream"]
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


@pytest.mark.slow
def test_quickstart(run: Any) -> None:
    done = run("quickstart")
    assert len(_shown(done, "image/png")) == 2  # a face, candidates
    told = "".join(_shown(done, "text"))
    assert "'gender': 'male'" in told
    assert "'gender': 'female'" in told
    assert "18 recordings; cosine with the first: [1." in told
    (chart,) = _shown(done, "image/svg+xml")
    assert chart.count("<circle") == 18


@pytest.mark.slow
def test_train_your_own(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2F_NOTEBOOK_STEPS", "10")
    done = run("train_your_own")
    charts = _shown(done, "image/svg+xml")
    assert [name for chart in charts for name in ("speaker", "pixel") if f", {name}:" in chart] == ["speaker", "pixel"]
    assert len(_shown(done, "image/png")) == 4 + 1 + 2  # painted faces, the newest sample, two faces
    (work,) = tmp_path.glob("s2f-*")
    assert {path.name for path in work.iterdir()} >= {"data", "store", "runs", "pack", "report"}
    assert (work / "report" / "report.html").stat().st_size > 10_000
