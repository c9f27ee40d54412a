"""Networks that are loaded once, and ahead of need."""

from __future__ import annotations

from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any

import pytest

from s2f_edge import PackIntegrityError, Speech2Face
from s2f_edge.pack import networks
from s2f_edge.pack.networks import Networks
from s2f_edge.pack.pack import Pack


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files, as they are loaded."""
    names: list[str] = []
    real = networks.Network

    def counted(pack: Pack, name: str, *how: Any) -> Any:
        names.append(name)
        return real(pack, name, *how)

    monkeypatch.setattr(networks, "Network", counted)
    return names


def test_threads_share_what_one_of_them_loads(tiny_pack: Path, loads: list[str]) -> None:
    found, together = Networks(Pack.open(tiny_pack), "cpu", 1), Barrier(4)
    seen = []

    def ask() -> None:
        together.wait()
        seen.append(found.get("voice.onnx"))

    threads = [Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["voice.onnx"]
    assert len(seen) == 4
    assert len(set(map(id, seen))) == 1


def test_what_a_face_needs_is_loaded_while_the_recording_is_heard(
    tiny_drawn_pack: Path, examples: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, drawn = Speech2Face(tiny_drawn_pack), Event()
    get = Networks.get

    def told(self: Networks, name: str) -> Any:
        network = get(self, name)
        if name == "renderer.onnx":
            drawn.set()
        return network

    monkeypatch.setattr(Networks, "get", told)
    embed = model.embed

    def heard(*given: Any, **options: Any) -> Any:
        assert drawn.wait(30)  # before anything is heard
        return embed(*given, **options)

    monkeypatch.setattr(model, "embed", heard)
    model.infer(examples / "male.wav", gender="general")
    assert sorted(loads) == sorted({"voice.onnx", "generator_general.onnx", "renderer.onnx", *_traits(model)})


def test_what_cannot_be_loaded_ahead_is_told_when_it_is_needed(
    tiny_drawn_pack: Path, examples: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for file in tiny_drawn_pack.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "renderer.onnx").write_bytes(b"\0" * (tmp_path / "renderer.onnx").stat().st_size)
    model = Speech2Face(tmp_path)
    with pytest.raises(PackIntegrityError, match=r"renderer\.onnx has sha256"):
        model.infer(examples / "male.wav")
    assert capfd.readouterr().err == ""


def _traits(model: Speech2Face) -> list[str]:
    traits = model.pack.manifest.traits
    return [traits.file] if traits else []
