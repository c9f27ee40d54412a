"""Devices and builds of onnxruntime: no silent fallback."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from s2f_edge import Speech2Face
from s2f_edge.errors import DeviceError, RuntimeSetupError, UsageError
from s2f_edge.pack import network


@pytest.fixture(autouse=True)
def fresh_onnxruntime():  # type: ignore[no-untyped-def]
    """The module is looked up once and kept; these tests need it looked up anew."""
    network.onnxruntime.cache_clear()
    yield
    network.onnxruntime.cache_clear()


def test_cpu_runs_on_cpu(tiny_pack: Path) -> None:
    assert Speech2Face(tiny_pack, device="cpu").provider == "CPUExecutionProvider"


def test_auto_takes_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for available, wanted in (
        (["CPUExecutionProvider"], ["CPUExecutionProvider"]),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], ["CUDAExecutionProvider", "CPUExecutionProvider"]),
    ):
        fake = SimpleNamespace(get_available_providers=lambda found=available: found)
        monkeypatch.setattr(network, "onnxruntime", lambda fake=fake: fake)
        assert network.chosen_providers("auto") == wanted
    monkeypatch.undo()


def test_cuda_that_is_missing_raises(tiny_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = network.onnxruntime()
    monkeypatch.setattr(module, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match=r"s2f-edge\[gpu\]"):
        Speech2Face(tiny_pack, device="cuda")


def test_cuda_that_falls_back_while_loading_raises(tiny_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime goes on without CUDA when one of its libraries is missing."""
    module = network.onnxruntime()
    real = module.InferenceSession
    monkeypatch.setattr(module, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(
        module,
        "InferenceSession",
        lambda data, options, providers, **_: real(data, options, providers=["CPUExecutionProvider"]),
    )
    with pytest.raises(DeviceError, match="CUDA or cuDNN"):
        Speech2Face(tiny_pack, device="cuda")
    # auto may fall back, and says what ran
    assert Speech2Face(tiny_pack, device="auto").provider == "CPUExecutionProvider"


def test_an_unknown_device_is_a_usage_error(tiny_pack: Path) -> None:
    with pytest.raises(UsageError, match="tpu"):
        Speech2Face(tiny_pack, device="tpu")


def test_no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeSetupError, match=r"s2f-edge\[cpu\]"):
        network.onnxruntime()


def test_which_build_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "not there"), *sys.path])
    (tmp_path / "onnxruntime_gpu_tools-1.0.dist-info").mkdir()
    assert network._is_installed("onnxruntime")
    assert network._is_installed("webrtcvad-wheels")
    assert not network.has_gpu_build()
    (tmp_path / "onnxruntime_gpu-1.22.0.dist-info").mkdir()
    assert network.has_gpu_build()


def test_both_onnxruntimes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_is_installed", lambda name: True)
    with pytest.raises(RuntimeSetupError, match="both installed"):
        network.onnxruntime()
