"""`release/dist.py`: what it stops at. Building and installing are `make dist`'s own business."""

from __future__ import annotations

import importlib.util
import os
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"


@pytest.fixture
def dist() -> Any:
    """The script as a module of its own, so that a test may change its constants."""
    spec = importlib.util.spec_from_file_location("dist", ROOT / "release" / "dist.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(dist: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small one under git, with a file that git does not know."""
    for name in (
        "s2f_edge/__init__.py", "s2f_edge/_version.py", "s2f_edge/web/page.js", "artifacts/default/light/voice.onnx",
        "LICENSE", "LICENSES/Other.txt", "README.md", "CHANGELOG.md",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "s2f_edge" / "_version.py").write_text(f'__version__ = "{VERSION}"\n')
    (tmp_path / "CHANGELOG.md").write_text(f"# Changes\n\n## {VERSION} (not yet released)\n\n## 0.0.9\n")
    monkeypatch.setattr(dist, "ROOT", tmp_path)
    dist.run("git", "-C", str(tmp_path), "init", "--quiet")
    dist.run("git", "-C", str(tmp_path), "add", ".")
    (tmp_path / "s2f_edge" / "left.orig").write_text("x")
    return tmp_path


def test_what_belongs_inside(dist: Any, checkout: Path) -> None:
    about = f"s2f_edge-{VERSION}.dist-info"
    assert dist.expected_in_wheel(VERSION) == {
        "s2f_edge/__init__.py", "s2f_edge/_version.py", "s2f_edge/web/page.js",
        "s2f_edge/packs/default/light/voice.onnx", f"{about}/licenses/LICENSE", f"{about}/licenses/LICENSES/Other.txt",
        f"{about}/METADATA", f"{about}/RECORD", f"{about}/WHEEL", f"{about}/entry_points.txt",
    }  # fmt: skip
    assert {"artifacts/default/light/voice.onnx", "LICENSES/Other.txt", "PKG-INFO"} < dist.expected_in_sdist()
    assert "s2f_edge/left.orig" not in dist.expected_in_sdist()


def test_a_file_too_many_or_too_few(dist: Any, checkout: Path) -> None:
    expected = dist.expected_in_wheel(VERSION)
    wheel = checkout / "a.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for name in expected:
            file.writestr(name, "x")
    dist.check_contents("a.whl", dist.inside_wheel(wheel), expected)
    with zipfile.ZipFile(wheel, "a") as file:
        file.writestr("s2f_edge/left.orig", "x")
    with pytest.raises(dist.Failed, match=r"a\.whl has what it should not have: s2f_edge/left\.orig"):
        dist.check_contents("a.whl", dist.inside_wheel(wheel), expected)
    licence = f"s2f_edge-{VERSION}.dist-info/licenses/LICENSE"
    with pytest.raises(dist.Failed, match=f"lacks {licence}"):
        dist.check_contents("a.whl", dict.fromkeys(expected - {licence}, 1), expected)


def test_an_sdist_is_read_without_its_top_folder(dist: Any, checkout: Path) -> None:
    with tarfile.open(checkout / "a.tar.gz", "w:gz") as file:
        file.add(checkout / "LICENSE", "s2f_edge-0.1.0/LICENSE")
        file.add(checkout / "s2f_edge" / "web", "s2f_edge-0.1.0/s2f_edge/web")
    sizes = dist.inside_sdist(checkout / "a.tar.gz")
    assert sizes == {"LICENSE": 1, "s2f_edge/web/page.js": 1}
    assert [line.split()[-1] for line in dist.table(sizes).splitlines()] == [".", "s2f_edge/web"]


def test_the_changelog_has_the_version(dist: Any, checkout: Path) -> None:
    assert dist.released_version() == VERSION
    (checkout / "CHANGELOG.md").write_text("# Changes\n\n## 0.2.0\n")
    with pytest.raises(dist.Failed, match=r"the package says version 0\.1\.0, CHANGELOG\.md 0\.2\.0"):
        dist.released_version()


def test_too_much_to_download(dist: Any) -> None:
    sizes = {"s2f_edge-0.1.0.whl": 37_000_000, "onnxruntime-1.whl": 90_000_000, "numpy-2.whl": 20_000_000}
    assert "beside onnxruntime and numpy: 37.0 MB; all: 147.0 MB" in dist.downloaded(sizes)
    with pytest.raises(dist.Failed, match=r"60\.5 MB of downloads"):
        dist.downloaded(sizes | {"onnxruntime_extensions-1.whl": 23_500_000})


@pytest.mark.skipif(os.name == "nt", reason="Scripts of a shell.")
def test_pythons_are_asked_what_they_are(dist: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pyenv's shims stand on the path for versions that are not chosen."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for folder, script in (("shims", "echo no such version >&2; exit 127"), ("pyenv/versions/3.97.1/bin", "echo 3.97")):
        (tmp_path / folder).mkdir(parents=True)
        name = "python3.97" if folder == "shims" else "python"
        (tmp_path / folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / folder / name).chmod(0o755)
    (tmp_path / "shims" / f"python{here}").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert dist.interpreter("3.97") == tmp_path / "pyenv/versions/3.97.1/bin/python"
    assert dist.interpreter(here) == tmp_path / "shims" / f"python{here}"
    assert dist.interpreter("3.98") is None


def test_a_step_that_fails_says_what_was_run(dist: Any) -> None:
    with pytest.raises(dist.Failed, match=r"(?s)-c .* ended with status 3: it broke"):
        dist.run(sys.executable, "-c", "import sys; print('it broke', file=sys.stderr); sys.exit(3)")
    with pytest.raises(dist.Failed, match="no-such-program cannot be started"):
        dist.run("no-such-program")


def test_nothing_leads_back_into_the_checkout(dist: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert dist.run(sys.executable, "-c", "import os; print(os.environ.get('PYTHONPATH'))").strip() == "None"
