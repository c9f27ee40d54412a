"""Manifests and packs: what is read, what is refused, and with which words."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2f_edge.errors import ManifestError, PackIntegrityError, PackNotFoundError
from s2f_edge.pack.manifest import parse_manifest
from s2f_edge.pack.network import Network
from s2f_edge.pack.pack import MAX_MANIFEST_BYTES, Pack
from tests.tiny_packs import generator_model, make_pack, put, traits_model, voice_model


@pytest.fixture
def manifest(tiny_pack: Path) -> dict[str, Any]:
    return json.loads((tiny_pack / "manifest.json").read_text())


def test_a_pack_is_read(tiny_pack: Path) -> None:
    pack = Pack.open(tiny_pack)
    assert pack.manifest.voice.embedding_size == 8
    assert set(pack.manifest.generators) == {"general", "male", "female"}
    assert len(pack.sha256) == 64
    for name in pack.manifest.files:
        assert len(pack.read(name)) == pack.manifest.files[name].bytes


def test_a_pack_may_say_how_many_windows_are_heard(manifest: dict[str, Any]) -> None:
    for value in (None, 1, 96):
        manifest["voice"]["windows"] = value
        assert parse_manifest(json.dumps(manifest).encode()).voice.windows == value
    del manifest["voice"]["windows"]  # as in packs of before
    assert parse_manifest(json.dumps(manifest).encode()).voice.windows is None


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("schema",), 3, "schema 3; this version reads schema 1 and 2"),
        (("schema",), 2, "schema 2 and no renderer"),
        (("renderer",), {"file": "voice.onnx"}, "schema 1 and a renderer"),
        (("schema",), "1", "int is needed"),
        (("name",), None, "str is needed"),
        (("noise",), "a", "finite number"),
        (("noise",), -1, "from 0 to 10"),
        (("noise",), float("nan"), "finite number"),
        (("voice", "features"), "logmel-99", "logmel-99"),
        (("voice", "embedding_size"), 0, "1 to 65536"),
        (("voice", "embedding_size"), True, "bool"),
        (("voice", "windows"), 0, "voice.windows is 0; it must be 1 to 65536"),
        (("voice", "windows"), "30", "int is needed"),
        (("voice", "file"), "other.onnx", "does not stand under files"),
        (("generators",), {}, "generators has nothing"),
        (("generators",), {"robot": "voice.onnx"}, "robot"),
        (("files", "voice.onnx", "sha256"), "xyz", "64 hexadecimal"),
        (("files", "voice.onnx", "bytes"), -5, "from 1 to"),
        (("files", "voice.onnx", "inputs"), {}, "list is needed"),
        (("files", "voice.onnx", "inputs"), [3], "object is needed"),
        (("files",), [], "dict is needed"),
    ],
)
def test_a_wrong_manifest_is_refused(manifest: dict[str, Any], path: tuple[str, ...], value: Any, words: str) -> None:
    put(manifest, path, value)
    with pytest.raises(ManifestError, match=words):
        parse_manifest(json.dumps(manifest).encode())


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("voice", "features"), "logmel-64", "voice.onnx has inputs"),
        (("voice", "embedding_size"), 7, "voice.onnx has outputs"),
        (("traits", "file"), "voice.onnx", "voice.onnx has inputs"),
        (("generators", "general"), "traits.onnx", "traits.onnx has outputs"),
        (("files", "voice.onnx", "inputs"), [], "none"),
        (("files", "voice.onnx", "inputs", 0, "shape"), [1, None, 40], "voice.onnx has inputs"),
        (("name",), "bell\a", "cannot be shown"),
    ],
)
def test_a_network_in_the_wrong_place_is_refused(
    manifest: dict[str, Any], path: tuple[Any, ...], value: Any, words: str
) -> None:
    """The file itself is as the manifest says; it only cannot do what it is named for."""
    test_a_wrong_manifest_is_refused(manifest, path, value, words)


@pytest.fixture
def drawn(tiny_drawn_pack: Path) -> dict[str, Any]:
    """The manifest of a pack with a renderer."""
    return json.loads((tiny_drawn_pack / "manifest.json").read_text())


def test_a_pack_with_a_renderer_is_read(tiny_drawn_pack: Path, tiny_pack: Path) -> None:
    found = Pack.open(tiny_drawn_pack).manifest
    assert (found.renderer, found.latent_size, found.noise_size, found.face_size) == ("renderer.onnx", 5, 5, 256)
    without = Pack.open(tiny_pack).manifest
    assert (without.renderer, without.latent_size, without.noise_size, without.face_size) == (None, None, 8, 64)


GENERAL, RENDERER = ("files", "generator_general.onnx"), ("files", "renderer.onnx")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("schema",), 1, "schema 1 and a renderer"),
        (("renderer",), None, "schema 2 and no renderer"),
        (("renderer",), "renderer.onnx", "dict is needed"),
        (("renderer",), {}, "file is missing"),
        (("renderer", "file"), "other.onnx", "does not stand under files"),
        (("renderer", "file"), "voice.onnx", "voice.onnx has inputs"),
        (("noise",), 0.05, "with a renderer it must be 0"),
        (("generators", "male"), "traits.onnx", "traits.onnx has inputs"),
        ((*GENERAL, "inputs", 1, "name"), "noise", r"has inputs .*latent float32 \['any', 'any'\] is needed"),
        ((*GENERAL, "inputs", 1, "dtype"), "float16", "generator_general.onnx has inputs"),
        ((*GENERAL, "inputs", 1, "shape"), [None, None], "generator_general.onnx any, generator_male.onnx 5"),
        ((*GENERAL, "inputs", 1, "shape"), [None, 6], "generator_general.onnx 6, generator_male.onnx 5"),
        ((*GENERAL, "inputs", 1, "shape"), [None, 5, 1], "generator_general.onnx has inputs"),
        ((*GENERAL, "outputs", 0, "shape"), [None, 3, 32, 32], r"in its place inner float32 \['any', 3, 64, 64\]"),
        ((*GENERAL, "outputs", 2, "name"), "points", "generator_general.onnx has outputs"),
        ((*GENERAL, "outputs"), [], "generator_general.onnx has outputs none"),
        ((*RENDERER, "inputs", 0, "shape"), [None, 3, None, 64], "all but the first length must be fixed"),
        ((*RENDERER, "inputs", 2, "shape"), [None, 136], "renderer.onnx has inputs"),
        ((*RENDERER, "outputs", 0, "shape"), [None, 3, None, None], "all but the first length must be fixed"),
        ((*RENDERER, "outputs", 0, "shape"), [None, 3, 256, 128], "128 x 256 pixels; they must be square"),
        ((*RENDERER, "outputs", 0, "shape"), [1, 3, 256, 256], "renderer.onnx has outputs"),
        ((*RENDERER, "outputs", 0, "name"), "picture", "renderer.onnx has outputs"),
    ],
)
def test_halves_that_do_not_fit_are_refused(
    drawn: dict[str, Any], path: tuple[Any, ...], value: Any, words: str
) -> None:
    test_a_wrong_manifest_is_refused(drawn, path, value, words)


@pytest.mark.parametrize("name", ["../voice.onnx", "/etc/passwd", "a/b.onnx", "..", "", ".hidden", "a\\b", "x" * 200])
def test_file_names_cannot_leave_the_folder(manifest: dict[str, Any], name: str) -> None:
    manifest["files"][name] = manifest["files"]["voice.onnx"]
    with pytest.raises(ManifestError, match="file name"):
        parse_manifest(json.dumps(manifest).encode())


def test_every_key_that_is_needed_is_missed(manifest: dict[str, Any]) -> None:
    for key in ("schema", "name", "version", "licence", "voice", "generators", "noise", "files"):
        without = {k: v for k, v in manifest.items() if k != key}
        with pytest.raises(ManifestError, match=key):
            parse_manifest(json.dumps(without).encode())


def test_missing_and_huge_manifests(tmp_path: Path) -> None:
    with pytest.raises(PackNotFoundError, match="not a model pack"):
        Pack.open(tmp_path)
    with pytest.raises(PackNotFoundError, match="not a model pack"):
        Pack.open(tmp_path / "nowhere")
    (tmp_path / "manifest.json").write_bytes(b" " * (MAX_MANIFEST_BYTES + 1))
    with pytest.raises(ManifestError, match="larger than"):
        Pack.open(tmp_path)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary(max_size=300) | _json.map(lambda value: json.dumps(value).encode()))
def test_fuzz_anything_is_refused_cleanly(data: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(data)


@settings(max_examples=300)
@given(st.data())
@pytest.mark.slow
def test_fuzz_one_changed_value(tiny_pack: Path, tiny_drawn_pack: Path, data: st.DataObject) -> None:
    """One value anywhere replaced by anything: understood or refused, never another error."""
    pack = data.draw(st.sampled_from([tiny_pack, tiny_drawn_pack]))
    root = json.loads((pack / "manifest.json").read_text())
    changed = copy.deepcopy(root)
    inner: Any = changed
    while True:
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if isinstance(inner[key], dict | list) and data.draw(st.booleans()):
            inner = inner[key]
            continue
        inner[key] = data.draw(_json)
        break
    with contextlib.suppress(ManifestError):
        parse_manifest(json.dumps(changed).encode())


def test_deeply_nested_json_is_refused() -> None:
    with pytest.raises(ManifestError):
        parse_manifest(b"[" * 200_000)


def test_changed_cut_and_missing_files_are_refused(tmp_path: Path) -> None:
    folder = make_pack(tmp_path / "pack")
    file = folder / "voice.onnx"
    good = file.read_bytes()
    for bad, words in ((good[:-1], "bytes"), (good + b"x", "more bytes"), (bytes([good[0] ^ 1]) + good[1:], "sha256")):
        file.write_bytes(bad)
        with pytest.raises(PackIntegrityError, match=words):
            Network(Pack.open(folder), "voice.onnx")
    file.unlink()
    with pytest.raises(PackIntegrityError, match="cannot be read"):
        Network(Pack.open(folder), "voice.onnx")


@pytest.mark.parametrize("other", [voice_model("logmel-64"), traits_model(), generator_model(0)])
def test_a_file_with_other_names_or_shapes_is_refused(tmp_path: Path, other: onnx.ModelProto) -> None:
    """Size and hash are right; the network is not the one that the manifest describes."""
    folder = make_pack(tmp_path / "pack")
    _replace(folder, other.SerializeToString())
    with pytest.raises(PackIntegrityError, match=r"its (inputs|outputs) are"):
        Network(Pack.open(folder), "voice.onnx")


def _replace(folder: Path, data: bytes) -> None:
    """Puts other bytes in place of voice.onnx, with the size and hash in the manifest to match."""
    (folder / "voice.onnx").write_bytes(data)
    path = folder / "manifest.json"
    root = json.loads(path.read_text())
    root["files"]["voice.onnx"] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path.write_text(json.dumps(root))


def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    folder = make_pack(tmp_path / "pack")
    _replace(folder, b"not a model")
    with pytest.raises(PackIntegrityError, match="cannot be loaded"):
        Network(Pack.open(folder), "voice.onnx")
