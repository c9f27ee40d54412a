"""Networks that are loaded once, and ahead of need."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from shutil import copytree
from threading import Barrier, Event, Thread
from threading import enumerate as enumerate_threads
from typing import Any
from weakref import ref

import numpy as np
import pytest

from s2f_edge import DeviceError, PackIntegrityError, Speech2Face
from s2f_edge.pack import network, networks
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


def test_a_network_that_is_needed_once_is_given_back(tiny_pack: Path, loads: list[str]) -> None:
    kept, given_back = Networks(Pack.open(tiny_pack), "cpu", 1), Networks(Pack.open(tiny_pack), "cpu", 1, once=True)
    for found in (kept, given_back):
        first = ref(found.get("voice.onnx"))
        found.done("voice.onnx")
        assert (first() is None) == found.once
        found.get("voice.onnx")
    assert loads == ["voice.onnx"] * 3


def test_what_follows_is_loaded_when_a_network_is_done(tiny_pack: Path, loads: list[str]) -> None:
    found = Networks(Pack.open(tiny_pack), "cpu", 1, once=True)
    found.get("voice.onnx")
    found.done("voice.onnx", ["generator_male.onnx"])
    for thread in [thread for thread in enumerate_threads() if thread.name == "s2f-load"]:
        thread.join()
    assert loads == ["voice.onnx", "generator_male.onnx"]


def test_one_recording_needs_the_voice_network_only_while_it_is_heard(
    tiny_drawn_pack: Path, examples: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Speech2Face(tiny_drawn_pack).infer(examples / "male.wav", samples=2, seed=1)
    loads.clear()
    model = Speech2Face(tiny_drawn_pack, once=True)
    assert loads == []
    embed = model.embed
    seen: list[list[str]] = []

    def heard(*given: Any, **options: Any) -> Any:
        voice = embed(*given, **options)
        seen.append(list(loads))
        return voice

    monkeypatch.setattr(model, "embed", heard)
    for turn in (1, 2):  # a second recording is no error
        result = model.infer(examples / "male.wav", samples=2, seed=1)
        np.testing.assert_array_equal(result.faces, kept.faces)
        assert loads.count("voice.onnx") == loads.count(f"generator_{result.generator}.onnx") == turn
    assert loads.count("renderer.onnx") == 1
    assert seen[0] == ["voice.onnx", *_traits(model)]  # and no renderer beside it


def test_what_is_wrong_is_said_when_one_recording_is_heard(
    tiny_pack: Path, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pack"
    copytree(tiny_pack, folder)
    (folder / "voice.onnx").write_bytes(b"other")
    model = Speech2Face(folder, once=True)
    for make in (model.embed, model.infer):
        with pytest.raises(PackIntegrityError, match=r"voice\.onnx has 5 bytes"):
            make(examples / "male.wav")
    monkeypatch.setattr(network.onnxruntime(), "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match=r"s2f-edge\[gpu\]"):
        Speech2Face(tiny_pack, "cuda", once=True)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are Unicode elsewhere")
def test_a_pack_in_a_folder_whose_name_is_not_unicode(tiny_pack: Path, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"b\xff")
    copytree(tiny_pack, folder)
    assert Speech2Face(folder, "cpu").provider == "CPUExecutionProvider"
