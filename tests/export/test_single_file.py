"""One file from waveform to face: the default pack and every kind of front end, against the pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile

pytest.importorskip("torch", reason="torch is not installed; it is in the extra train.")

from export import to_onnx
from export.front_ends import _chosen
from export.gate_graph import sound_of
from export.graphs import Graph, Value
from export.mobile import speech_of
from export.single_file import _heard, judge, run, single_file
from export.verify import open_session
from s2f_edge import Speech2Face
from s2f_edge.hearing.chosen import ChosenWindows
from s2f_edge.hearing.fbank import FbankStream
from s2f_edge.hearing.speech_gate import CLASSES, Windows
from s2f_edge.hearing.vad import find_speech
from s2f_edge.pack.pack import Pack
from s2f_edge.terms import GENDERS
from tests.export.test_to_onnx import runs  # noqa: F401 - a fixture
from tests.tiny_packs import make_pack

RATE = 16_000


@pytest.fixture(scope="module")
def pack() -> Pack:
    return Pack.open()


@pytest.fixture(scope="module")
def file(pack: Pack) -> bytes:
    return single_file(pack)


@pytest.fixture(scope="module")
def session(file: bytes) -> Any:
    return open_session(file)


def speech(path: Path) -> Any:
    return find_speech(soundfile.read(path, dtype="float32")[0]).samples


def zeros(faces: int = 1) -> Any:
    return np.zeros((faces, Pack.open().manifest.noise_size), np.float32)


@pytest.mark.slow
def test_without_its_renderer_it_gives_what_that_takes(pack: Pack, file: bytes, examples: Path) -> None:
    apart = single_file(pack, drawn=False)
    assert judge(apart, pack, speech_of([examples / "female.wav"])).least_psnr_db > 60
    assert pack.manifest.renderer
    assert len(file) - len(apart) > 0.9 * pack.manifest.files[pack.manifest.renderer].bytes
    names = [output.name for output in open_session(apart).get_outputs()]
    assert names[:4] == ["inner", "outer", "shape", "embedding"]


@pytest.mark.slow
def test_the_face_is_the_pipelines(pack: Pack, file: bytes, session: Any, examples: Path) -> None:
    judged = judge(file, pack, speech_of(sorted(examples.glob("*.wav"))))
    assert judged.clips == 7
    assert judged.least_cosine > 0.99999
    assert judged.least_psnr_db > 60
    assert judged.largest_probability_difference < 1e-4

    # and from the recording on, as a user has it
    model = Speech2Face(device="cpu", variant=None)
    for name in ("male", "female"):
        path = examples / f"{name}.wav"
        result = model.infer(path)
        found = run(session, speech(path), zeros())
        assert GENDERS[found["generator_used"][0]] == result.generator
        assert found["faces"].dtype == np.uint8
        assert np.abs(found["faces"][0].astype(int) - result.face).max() <= 1
        assert found["male_probability"][0] == pytest.approx(result.male_probability, abs=1e-4)
        assert found["surprise"][0] == pytest.approx(result.voice.surprise, abs=1e-4)
        assert found["speech_probability"][0] == pytest.approx(result.voice.quality.speech_probability, abs=1e-4)
        assert CLASSES[found["sounds"].argmax()] == "speech"


@pytest.mark.slow
def test_real_recordings_of_others(pack: Pack, file: bytes, s2f_data: Path, tmp_path: Path) -> None:
    import tarfile

    found = sorted(s2f_data.glob("data/librispeech/*.tar"))
    assert found, "S2F_DATA has no LibriSpeech"
    clips = []
    with tarfile.open(found[0]) as archive:
        members = [member for member in archive if member.name.endswith(".ogg")]
        for member in members[:: len(members) // 6][:6]:
            archive.extract(member, tmp_path, filter="data")
            clips.append(tmp_path / member.name)
    judged = judge(file, pack, speech_of(clips))
    assert judged.clips == 11
    assert judged.least_psnr_db > 60


@pytest.mark.slow
def test_the_generator_is_asked_for_and_candidates_are_drawn(session: Any, examples: Path) -> None:
    model = Speech2Face(device="cpu", variant=None)
    clip = speech(examples / "male.wav")
    manifest = model.pack.manifest
    noise = np.random.default_rng(5).standard_normal((3, manifest.noise_size)).astype(np.float32)
    noise[0] = 0
    for asked in (1, 2, 3):
        found = run(session, clip, noise, asked)
        assert found["generator_used"] == [asked]
        assert found["faces"].shape == (3, model.face_size, model.face_size, 3)
        if manifest.renderer:
            wanted = model.generate(np.repeat(found["embedding"][None], 3, axis=0), GENDERS[asked], noise)
        else:
            embeddings = found["embedding"] + manifest.noise * noise
            embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
            wanted = model.generate(embeddings, GENDERS[asked])
        assert np.abs(found["faces"].astype(int) - wanted).max() <= 1
    assert run(session, clip, zeros(), 9)["generator_used"] == [1]  # there is no such generator


def test_it_says_what_it_is(pack: Pack, file: bytes) -> None:
    model = onnx.load_from_string(file)
    facts = {prop.key: prop.value for prop in model.metadata_props}
    assert facts["s2f.pack_sha256"] == pack.sha256
    assert facts["s2f.sample_rate"] == "16000"
    assert "not the speaker" in facts["s2f.notice"]
    assert facts["s2f.licence"] == pack.manifest.licence
    assert json.loads(facts["s2f.generators"]) == {"general": 1, "male": 2, "female": 3}
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    assert {node.domain for node in model.graph.node} == {""}  # no operator of one runtime alone
    assert [value.name for value in model.graph.input] == ["waveform", "generator", "noise"]
    assert len(file) < 1.12 * sum(info.bytes for info in pack.manifest.files.values())


@pytest.mark.slow
def test_other_sound_and_less_than_a_second(session: Any, examples: Path) -> None:
    random = np.random.default_rng(1)
    noise = (0.1 * random.standard_normal(3 * RATE)).astype(np.float32)
    tone = (0.3 * np.sin(2 * np.pi * 440 / RATE * np.arange(3 * RATE))).astype(np.float32)
    for sound, kind in ((noise, "noise"), (tone, "tone")):
        found = run(session, sound, zeros())
        assert found["speech_probability"][0] < 0.1
        assert CLASSES[found["sounds"].argmax()] == kind
    clip = speech(examples / "female.wav")
    for length in (1, 159, 160, 239, 240, 399, 400, 5000):  # nothing may break, nor be NaN
        found = run(session, clip[:length], zeros())
        assert np.isfinite(found["embedding"]).all()
        assert np.isfinite(found["sounds"]).all()
    assert np.isfinite(run(session, np.zeros(RATE, np.float32), zeros())["embedding"]).all()


@pytest.mark.parametrize("samples", [5200, 9000, 16_000, 16_100, 22_399, 22_400, 30_000, 48_000, 100_001])
def test_the_gate_is_the_runtimes_at_any_length(examples: Path, samples: int) -> None:
    graph = Graph()
    speech_probability, sounds = sound_of(graph, Value(graph, "waveform")).verdict()
    outputs: Any = [(speech_probability, "speech", onnx.TensorProto.FLOAT, [1]), (sounds, "sounds", 1, [4])]
    model = graph.model([("waveform", onnx.TensorProto.FLOAT, ["n"])], outputs, {})
    clip = np.tile(speech(examples / "male.wav"), 2)[:samples]
    found = open_session(model.SerializeToString()).run(None, {"waveform": clip})
    windows = Windows()
    windows.push(FbankStream().push(clip))
    windows.finish()
    assert windows.all.count
    assert found[0][0] == pytest.approx(windows.all.verdict()[0], abs=1e-5)
    np.testing.assert_allclose(found[1], windows.all._classes / windows.all.count, atol=1e-3)


def late(examples: Path) -> list[Any]:
    """Voiced sound with other sound before, between and after the speech, and what is hardly speech or none."""
    voice, random = speech(examples / "male.wav"), np.random.default_rng(6)

    def noise(seconds: float) -> Any:
        return (0.03 * random.standard_normal(int(seconds * RATE))).astype(np.float32)

    return [
        np.concatenate([noise(1), voice[RATE : 2 * RATE]]),  # together it is speech, and too short to be decided
        np.concatenate([noise(5), voice]),
        np.concatenate([voice, noise(4.3), voice]),
        np.concatenate([voice, noise(7.77)]),
        np.concatenate([voice, noise(2.5), voice, noise(3.3), voice[:9000]]),
        noise(3),
        np.tile(voice, 6),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("windows", [None, 3, 4])
@pytest.mark.parametrize("features", ["fbank-80", "logmel-64", "melpower-40"])
def test_other_sound_is_left_out_and_windows_are_chosen(
    examples: Path, tmp_path: Path, features: str, windows: int | None
) -> None:
    pack = Pack.open(make_pack(tmp_path / "pack", features, windows=windows))
    model, session = Speech2Face(pack.folder, "cpu"), open_session(single_file(pack))
    for number, clip in enumerate(late(examples)):
        total, probability = _heard(model, clip)
        found = run(session, clip, np.zeros((1, pack.manifest.noise_size), np.float32))
        assert found["embedding"] @ total / np.linalg.norm(total) > 0.99999 or number == 5
        assert found["speech_probability"][0] == pytest.approx(probability, abs=1e-4)
        marks = Windows()
        marks.push(FbankStream().push(clip))
        marks.finish()
        assert found["speech"].astype(bool).tolist() == marks.marks
        assert found["speech"].all() == (number == 6)
        asked = run(session, clip, np.zeros((0, pack.manifest.noise_size), np.float32))
        assert asked["faces"].shape[0] == 0
        for name in ("speech", "odds", "speech_probability", "sounds"):
            np.testing.assert_array_equal(asked[name], found[name])


@pytest.mark.parametrize("count", [4, 5, 8, 9, 31, 32, 33, 64, 65, 131])
def test_the_choice_of_windows_is_the_runtimes(count: int) -> None:
    quality = np.random.default_rng(count).uniform(0, 2, (count, 1)).astype(np.float32)
    graph = Graph()
    numbers = _chosen(graph, Value(graph, "quality"), 4)
    model = graph.model([("quality", 1, ["n"])], [(numbers, "numbers", onnx.TensorProto.INT64, [4])], {})
    clear = np.minimum(quality[:, 0], np.float32(1.5))
    (found,) = open_session(model.SerializeToString()).run(None, {"quality": clear})
    wanted = ChosenWindows(4, 8, 1.5)
    wanted.push(np.sqrt(np.concatenate([quality, quality], axis=1)))
    inputs = [window.inputs for window in wanted.chosen()]
    assert [np.square(each).mean() for each in inputs if each is not None] == pytest.approx(quality[found, 0], rel=1e-5)


@pytest.mark.parametrize("kind", ["ge2e", "wen", "projected"])
@pytest.mark.slow
def test_every_front_end(
    runs: dict[str, Path],  # noqa: F811
    tmp_path: Path,
    examples: Path,
    kind: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, single = tmp_path / "pack", tmp_path / "face.onnx"
    flags = ["--checkpoint", str(runs[kind]), "--out", str(out), "--single-file", str(single)]
    capsys.readouterr()
    assert to_onnx.main([*flags, "--ort", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["single_file"]
    assert set(said["parity"]) == {"face.onnx", "face.ort"}
    for parity in said["parity"].values():
        assert parity["clips"] == 7
        assert parity["least_cosine"] > 0.99999
        assert parity["least_psnr_db"] > 55
    operators = (tmp_path / "face.required_operators.config").read_text()
    assert "Scan" in operators
    assert str(tmp_path) not in operators
    assert "/tmp" not in operators
    assert (tmp_path / "face.ort").read_bytes()[4:8] == b"ORTM"
    # The pack of `wen` cannot tell the gender and has one generator; so has its file.
    names = [output.name for output in open_session(single.read_bytes()).get_outputs()]
    assert ("male_probability" in names) == (kind == "ge2e")


@pytest.mark.slow
def test_a_file_with_one_generator(pack: Pack, examples: Path, tmp_path: Path, capsys: Any) -> None:
    target = tmp_path / "female.onnx"
    flags = ["--pack", str(pack.folder), "--single-file", str(target), "--generator", "female"]
    assert to_onnx.main([*flags, "--speech", str(examples / "female.wav")]) == 0
    assert "least PSNR of faces" in capsys.readouterr().out
    session = open_session(target.read_bytes())
    assert [each.name for each in session.get_inputs()] == ["waveform", "noise"]
    found = run(session, speech(examples / "male.wav"), zeros())
    wanted = Speech2Face(device="cpu", variant=None).infer(examples / "male.wav", gender="female").face
    assert np.abs(found["faces"][0].astype(int) - wanted).max() <= 1


@pytest.mark.slow
def test_a_file_that_differs_is_not_written(pack: Pack, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    from export import front_ends

    monkeypatch.setattr(front_ends, "PRE_EMPHASIS", 0.5)
    target = tmp_path / "face.onnx"
    assert to_onnx.main(["--pack", str(pack.folder), "--single-file", str(target)]) == 1
    assert "The single file is not the pipeline" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.slow
def test_what_cannot_be_is_said(pack: Pack, runs: dict[str, Path], tmp_path: Path, capsys: Any) -> None:  # noqa: F811
    assert to_onnx.main(["--checkpoint", str(runs["wen"]), "--out", str(tmp_path / "pack")]) == 0
    flags = ["--pack", str(tmp_path / "pack"), "--single-file", str(tmp_path / "x.onnx")]
    assert to_onnx.main([*flags, "--generator", "male"]) == 1
    assert "has the generators general; male needs" in capsys.readouterr().err
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    assert to_onnx.main([*flags, "--speech", str(tmp_path / "silence.wav")]) == 1
    assert "no recording with a second of speech" in capsys.readouterr().err
    for wrong in (flags[:2], [*flags, "--out", "y"], ["--checkpoint", "x"]):
        with pytest.raises(SystemExit):
            to_onnx.main(wrong)
