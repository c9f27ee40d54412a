"""Variants of a pack, and --variant, which picks one."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from s2f_edge import Speech2Face
from s2f_edge.batch import engines
from s2f_edge.batch.jobs import Job
from s2f_edge.batch.make import Maker, Options
from s2f_edge.errors import ManifestError, PackIntegrityError, PackNotFoundError, UsageError
from s2f_edge.inspection import listen
from s2f_edge.marks.provenance import read_metadata
from s2f_edge.pack import network
from s2f_edge.pack.manifest import parse_manifest
from s2f_edge.pack.pack import Pack, every_variant, variants
from tests.edge.cli import test_cli
from tests.tiny_packs import entry, generator_model, make_pack, put

run = test_cli.run


def said(pack: Path) -> dict[str, Any]:
    """What a manifest says of a variant of this pack."""
    return {
        "of": hashlib.sha256((pack / "manifest.json").read_bytes()).hexdigest(),
        "recordings": {"calibrated": 8, "judged": 9},
        "embedding_cosine": {"least": 0.98, "median": 0.998},
        "face_psnr_db": {"least": 35.5, "median": 45.5},
        "same_gender": 9,
        "bytes": {"variant": 1_500_000, "pack": 3_000_000},
        "ms": {"1 thread": {"variant": 2.0, "pack": 3.0}, "2 threads": {"variant": 2.0, "pack": 2.5}},
        "machine": "a machine",
    }


def add_variant(pack: Path, variant: str = "int8") -> Path:
    """A variant with another general generator, so that its faces can be told from the pack's."""
    folder = pack / variant
    folder.mkdir()
    manifest = json.loads((pack / "manifest.json").read_text())
    for name in manifest["files"]:
        shutil.copy(pack / name, folder / name)
    model = generator_model(77)
    data = model.SerializeToString()
    (folder / "generator_general.onnx").write_bytes(data)
    manifest["files"]["generator_general.onnx"] = entry(model, data)
    (folder / "manifest.json").write_text(json.dumps(manifest | {"weights": variant, "variant": said(pack)}))
    return folder


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack of float32 with a variant of int8."""
    folder = make_pack(tmp_path / "pack")
    add_variant(folder)
    return folder


@pytest.fixture(params=[True, False], ids=["8 bits", "none"])
def with_8_bits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the processor has instructions for products of 8 bits."""
    monkeypatch.setattr(network, "multiplies_8_bits", lambda: request.param)
    return bool(request.param)


def test_a_variant_is_the_pack_itself_or_the_folder_inside(pack: Path) -> None:
    assert Pack.open(pack).folder == Pack.open(pack, "float32").folder == pack
    found = Pack.open(pack, "int8")
    assert (found.folder, found.manifest.weights) == (pack / "int8", "int8")
    assert found.sha256 != Pack.open(pack).sha256
    assert Pack.open(pack / "int8", "int8") == found
    assert variants(pack) == {"float32": pack, "int8": pack / "int8"}
    assert [each.folder for each in every_variant(pack)] == [pack, pack / "int8"]
    about = found.manifest.variant
    assert about is not None
    assert (about.calibrated, about.judged, about.cosine, about.psnr_db) == (8, 9, (0.98, 0.998), (35.5, 45.5))
    assert about.ms == {"1 thread": (2.0, 3.0), "2 threads": (2.0, 2.5)}
    assert Pack.open(pack).manifest.variant is None


def test_what_is_not_there_is_said_with_what_makes_it(pack: Path, tiny_pack: Path) -> None:
    with pytest.raises(
        PackNotFoundError, match=r"has no variant float16; it has float32, int8\. Make it: python -m export"
    ):
        Pack.open(pack, "float16")
    with pytest.raises(PackNotFoundError, match=r"it has float32\. "):
        Speech2Face(tiny_pack, variant="int8")
    for wrong in ("int4", "../pack", ""):
        with pytest.raises(UsageError, match="must be one of float32, float16, int8"):
            Pack.open(pack, wrong)


@pytest.mark.parametrize("wrong", ["changed pack", "another's", "other weights", "no variant"])
def test_a_variant_of_something_else_is_refused(pack: Path, wrong: str) -> None:
    path = pack / ("manifest.json" if wrong == "changed pack" else "int8/manifest.json")
    manifest = json.loads(path.read_text())
    if wrong == "changed pack":
        manifest["noise"] = 0.07
    elif wrong == "another's":
        manifest["variant"]["of"] = "0" * 64
    elif wrong == "other weights":
        manifest["weights"] = "float16"
    else:
        del manifest["variant"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(PackIntegrityError, match="int8 is not the variant int8 of this pack"):
        Speech2Face(pack, variant="int8")
    Speech2Face(pack, variant=None)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("weights",), "int4", "weights is 'int4'"),
        (("variant",), 3, "variant is int"),
        (("variant", "of"), "xyz", "64 hexadecimal"),
        (("variant", "recordings"), {}, "calibrated is missing"),
        (("variant", "embedding_cosine", "least"), float("nan"), "finite number"),
        (("variant", "ms", "1 thread", "pack"), 0, "above 0"),
        (("variant", "bytes", "variant"), -1, "above 0"),
        (("variant", "machine"), "bell\a", "cannot be shown"),
    ],
)
def test_a_wrong_manifest_is_refused(pack: Path, path: tuple[str, ...], value: Any, words: str) -> None:
    manifest = json.loads((pack / "int8" / "manifest.json").read_text())
    put(manifest, path, value)
    with pytest.raises(ManifestError, match=words):
        parse_manifest(json.dumps(manifest).encode())


def test_auto_goes_by_the_processor(run, pack: Path, examples: Path, tiny_pack: Path, with_8_bits: bool) -> None:
    clip, taken = examples / "male.wav", "int8" if with_8_bits else "float32"
    result = Speech2Face(pack, "cpu").infer(clip, gender="general")
    assert result.variant == result.to_dict()["variant"] == taken
    assert result.pack_sha256 == Pack.open(pack, taken).sha256
    assert (result.face == Speech2Face(pack, "cpu", variant=taken).infer(clip, gender="general").face).all()
    for words, wanted in (((), taken), (("--variant", "float32"), "float32"), (("--variant", "auto"), taken)):
        for command in ("infer", "embed"):
            done = run(command, clip, "--pack", pack, "--json", "--overwrite", *words, pack=False)
            assert json.loads(done.stdout)["variant"] == wanted
    assert f"ExecutionProvider, {taken}" in run("infer", clip, "--pack", pack, "--overwrite", pack=False).stdout
    assert Speech2Face(pack, "cpu", variant=None).variant == "float32"
    assert Speech2Face(tiny_pack, "cpu").variant == "float32", "it has no other"
    assert Speech2Face(pack / "int8", "cpu").variant == "int8"
    (pack / "int8" / "voice.onnx").write_bytes(b"")
    if with_8_bits:  # what is damaged is said, as of the pack itself
        with pytest.raises(PackIntegrityError):
            Speech2Face(pack, "cpu")


@pytest.mark.parametrize(
    ("device", "available", "taken"),
    [
        ("auto", ["CUDAExecutionProvider", "CPUExecutionProvider"], None),
        ("cuda", ["CUDAExecutionProvider", "CPUExecutionProvider"], None),
        ("cpu", ["CUDAExecutionProvider", "CPUExecutionProvider"], "int8"),
        ("auto", ["CPUExecutionProvider"], "int8"),
    ],
)
def test_auto_takes_no_int8_to_a_gpu(
    pack: Path, monkeypatch: pytest.MonkeyPatch, device: str, available: list[str], taken: str | None
) -> None:
    monkeypatch.setattr(network, "multiplies_8_bits", lambda: True)
    monkeypatch.setattr(network.onnxruntime(), "get_available_providers", lambda: available)
    assert network.settled_variant(pack, "auto", device) == taken
    assert network.settled_variant(pack, "int8", device) == "int8"
    assert network.settled_variant(pack, None, device) is None


def test_faces_are_the_variants(pack: Path, examples: Path) -> None:
    clip = examples / "male.wav"
    own, other = (Speech2Face(pack, "cpu", variant=name).infer(clip, gender="general") for name in (None, "int8"))
    assert (own.face != other.face).any()
    assert other.pack_sha256 == Pack.open(pack, "int8").sha256
    assert own.pack_sha256 == Pack.open(pack).sha256
    assert listen(clip, pack, variant="int8").pack == "tiny 1"


def test_the_command_takes_a_variant(run, pack: Path, examples: Path, tmp_path: Path) -> None:
    chosen = ("--pack", pack, "--variant", "int8")
    result = run("infer", examples / "male.wav", *chosen, "--gender", "general", "--json", pack=False)
    assert result.exit_code == 0, result.output
    sha256 = Pack.open(pack, "int8").sha256
    assert json.loads(result.stdout)["pack_sha256"] == sha256
    assert read_metadata(tmp_path / "male.face.png")["pack_sha256"] == sha256
    result = run("embed", examples / "male.wav", *chosen, "--json", pack=False)
    assert json.loads(result.stdout)["pack_sha256"] == sha256
    assert run("inspect", examples / "male.wav", *chosen, pack=False).exit_code == 0
    for command in ("infer", "embed", "inspect"):
        result = run(command, examples / "male.wav", "--variant", "float16", "--pack", pack, pack=False)
        assert result.exit_code == 30
        assert "has no variant float16; it has float32, int8" in result.stderr
        assert run(command, examples / "male.wav", "--variant", "int4", "--pack", pack, pack=False).exit_code == 2


@pytest.mark.slow
def test_a_table_of_many_has_the_variants_sha256(run, pack: Path, examples: Path, tmp_path: Path) -> None:
    result = run(
        "infer", examples, "--out", "faces/", "--table", "rows.jsonl", "--jobs", 2, "--pack", pack, "--variant",
        "int8", pack=False,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["settings"]["pack_sha256"] for row in rows] == 2 * [Pack.open(pack, "int8").sha256]
    # another variant is another table
    again = run(
        "infer", examples, "--out", "faces/", "--table", "rows.jsonl", "--resume", "--pack", pack, "--variant",
        "float32", pack=False,
    )  # fmt: skip
    assert again.exit_code == 2, again.output
    assert "pack_sha256" in again.stderr


@pytest.mark.slow
def test_a_table_says_what_auto_took(run, pack: Path, examples: Path, tmp_path: Path, with_8_bits: bool) -> None:
    words = ("infer", examples, "--out", "faces/", "--table", "rows.jsonl", "--pack", pack)
    assert run(*words, "--jobs", 2, pack=False).exit_code == 0
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    taken = "int8" if with_8_bits else "float32"
    assert [row["variant"] for row in rows] == [taken] * 2
    assert [row["settings"]["pack_sha256"] for row in rows] == 2 * [Pack.open(pack, taken).sha256]
    assert run(*words, "--resume", "--variant", taken, pack=False).exit_code == 0


def test_machines_of_a_cluster_take_the_pack_itself(
    run, pack: Path, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "multiplies_8_bits", lambda: True)
    given: list[Options] = []
    monkeypatch.setattr(engines, "on_ray", lambda jobs, options, *_: given.append(options) or iter(()))
    for words in ((), ("--variant", "int8")):
        run("infer", examples, "--engine", "ray", "--pack", pack, "--out", "faces/", *words, pack=False)
    assert [options.variant for options in given] == [None, "int8"]
    assert [options.pack_sha256 for options in given] == [Pack.open(pack, name).sha256 for name in (None, "int8")]


def test_a_maker_makes_what_how_says(pack: Path, examples: Path, tmp_path: Path) -> None:
    maker = Maker(Options(pack=str(pack), variant="int8", gender="general", pack_sha256=Pack.open(pack, "int8").sha256))
    facts = maker.make(Job(str(examples / "male.wav"), [str(tmp_path / "face.png")]))
    assert facts["pack_sha256"] == Pack.open(pack, "int8").sha256
    with pytest.raises(PackIntegrityError, match="Put the same pack"):
        Maker(Options(pack=str(pack), pack_sha256=Pack.open(pack, "int8").sha256))


def test_show_and_verify_tell_of_variants(run, pack: Path) -> None:
    lines = run("pack", "show", pack).stdout.splitlines()
    assert lines[-2].split()[0] == "float32"
    assert lines[-1].split()[:3] == ["int8", "1.5", "MB"]
    assert "cosine 0.9800, 0.9980; faces 35.5, 45.5 dB; times as fast: 1.50 (1 thread), 1.25 (2 threads)" in lines[-1]
    shown = json.loads(run("pack", "show", pack, "--json").stdout)["variants"]
    assert list(shown) == ["int8"]
    assert shown["int8"]["sha256"] == Pack.open(pack, "int8").sha256
    assert shown["int8"]["recordings"] == {"calibrated": 8, "judged": 9}

    result = run("pack", "verify", pack)
    assert result.exit_code == 0
    assert "ok  voice.onnx\n" in result.stdout
    assert "ok  int8/voice.onnx\n" in result.stdout
    data = (pack / "int8" / "voice.onnx").read_bytes()
    (pack / "int8" / "voice.onnx").write_bytes(data[:-1])
    result = run("pack", "verify", pack)
    assert result.exit_code == 32
    assert "int8/voice.onnx has" in result.stderr


def test_a_pack_without_variants_says_nothing_of_them(run, tiny_pack: Path) -> None:
    assert "the pack itself" not in run("pack", "show", tiny_pack).stdout
    assert json.loads(run("pack", "show", tiny_pack, "--json").stdout)["variants"] == {}
