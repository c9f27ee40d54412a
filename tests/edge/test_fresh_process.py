"""What a process that only uses the runtime loads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "scipy", "pandas", "librosa", "matplotlib", "onnx", "s2f_train", "export")


def _loaded(code: str) -> set[str]:
    code += "\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_import_alone_loads_nothing_heavy() -> None:
    loaded = _loaded("import s2f_edge")
    assert not loaded & {*HEAVY, "onnxruntime", "typer"}


@pytest.mark.slow
def test_a_whole_inference_loads_neither_torch_scipy_nor_pandas(tiny_pack: Path, examples: Path) -> None:
    loaded = _loaded(
        "from s2f_edge import Speech2Face\n"
        f"result = Speech2Face({str(tiny_pack)!r}).infer({str(examples / 'male.wav')!r}, samples=2)\n"
        "assert result.faces.shape == (2, 64, 64, 3)\n"
        "assert result.png(128)[:4] == b'\\x89PNG'"
    )
    assert "onnxruntime" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.slow
def test_the_command_loads_nothing_heavy(tiny_pack: Path, examples: Path, tmp_path: Path) -> None:
    code = (
        "import sys, atexit\n"
        f"sys.argv = ['s2f-edge', 'infer', {str(examples / 'male.wav')!r}, '--pack', {str(tiny_pack)!r}, '--quiet', "
        f"'--out', {str(tmp_path / 'face.png')!r}]\n"
        "atexit.register(lambda: print('\\n'.join(sys.modules)))\n"
        "from s2f_edge.cli.main import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    unneeded = {"asyncio", "concurrent", "http", "multiprocessing", "pydantic", "rich", "ssl", "tomllib", "xml"}
    assert not {name.split(".")[0] for name in modules} & {*HEAVY, *unneeded}
    assert not {name for name in modules if name.startswith(("s2f_edge.talk", "numpy.random"))}
    assert (tmp_path / "face.png").exists()


def test_nothing_is_left_in_the_home_folder(tiny_pack: Path, examples: Path, tmp_path: Path) -> None:
    """onnxruntime's telemetry would write a device identifier there, and send events."""
    code = (
        "from s2f_edge import Speech2Face\n"
        f"Speech2Face({str(tiny_pack)!r}).infer({str(examples / 'male.wav')!r})\n"
        "import os; assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY" and not k.startswith("XDG_")}
    environment |= {"HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert not list(tmp_path.iterdir())


def test_help_loads_neither_numpy_nor_what_pictures_need() -> None:
    loaded = _loaded("import s2f_edge.cli.main")
    assert "typer" in loaded
    assert not loaded & {*HEAVY, "numpy", "PIL", "c2pa", "cryptography"}


def test_what_signs_pictures_is_loaded_when_one_is_made() -> None:
    loaded = _loaded("import s2f_edge.pipeline, s2f_edge.marks.provenance, s2f_edge.marks.credentials")
    assert "PIL" in loaded
    assert not loaded & {"c2pa", "cryptography"}


def test_what_hears_loads_nothing_of_what_makes_pictures() -> None:
    assert not _loaded("import s2f_edge.pipeline") & {"PIL", "c2pa", "cryptography"}


def test_what_hears_and_draws_does_not_read_what_is_installed() -> None:
    """importlib.metadata brings email and zipfile: 20 ms before the first sound is heard."""
    code = "import sys, s2f_edge.pipeline; assert not {'email', 'importlib.metadata', 'tomllib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("given", [None, "3"])
@pytest.mark.slow
def test_numpys_threads_leave_the_cores_to_the_networks(
    tiny_pack: Path, examples: Path, tmp_path: Path, given: str | None
) -> None:
    code = (
        "import atexit, os, sys; from s2f_edge.cli.main import main; assert 'numpy' not in sys.modules\n"
        "atexit.register(lambda: print(os.environ['OPENBLAS_NUM_THREADS'], 'numpy' in sys.modules))\n"
        f"sys.argv[1:] = ['embed', {str(examples / 'male.wav')!r}, '--pack', {str(tiny_pack)!r}, '-q', "
        f"'--out', {str(tmp_path / 'v.npy')!r}]\n"
        "main()"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    environment |= {"OPENBLAS_NUM_THREADS": given} if given else {}
    done = subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True)
    assert done.stdout == f"{given or 1} True\n"
