"""From embeddings to pictures: packs whose generators make pictures, and those whose appearances a renderer draws."""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from s2f_edge import Appearance, PackIntegrityError, Speech2Face, UsageError, Voice
from s2f_edge.marks import provenance
from s2f_edge.pack.network import Network

GENDERS = ("general", "male", "female")


@pytest.fixture(scope="module")
def model(tiny_drawn_pack: Path) -> Speech2Face:
    return Speech2Face(tiny_drawn_pack, device="cpu")


@pytest.fixture(scope="module")
def old(tiny_pack: Path) -> Speech2Face:
    return Speech2Face(tiny_pack, device="cpu")


@pytest.fixture(scope="module")
def voice(model: Speech2Face, examples: Path) -> Voice:
    return model.embed(examples / "male.wav")


def rounded(output: np.ndarray) -> np.ndarray:
    """Networks give [-1, 1]; pictures have 8 bits."""
    return np.rint(np.clip(output * np.float32(127.5) + np.float32(127.5), 0, 255)).astype(np.uint8)


# ----------------------------------------------------------------- generators of pictures


def test_without_a_renderer_faces_are_what_they_were(old: Speech2Face, examples: Path) -> None:
    """To the bit: as the pipeline made them before there were renderers."""
    voice = old.embed(examples / "female.wav")
    for gender in GENDERS:
        noise = np.random.default_rng(7).standard_normal((4, 8))
        noise[0] = 0.0
        embeddings = voice.embedding + 0.05 * noise
        embeddings = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32)
        made = Network(old.pack, f"generator_{gender}.onnx", "cpu").run({"embedding": embeddings})["face"]
        result = old.face(voice, gender=gender, samples=4, seed=7)
        assert np.array_equal(result.faces, rounded(made).transpose(0, 2, 3, 1))
        assert "renderer" not in result.timings_ms
    assert old.face_size == 64


def test_without_a_renderer_there_are_no_halves(old: Speech2Face, model: Speech2Face, voice: Voice) -> None:
    with pytest.raises(UsageError, match="tiny 1 has no renderer"):
        old.appearance(voice)
    with pytest.raises(UsageError, match="tiny 1 has no renderer"):
        old.render(model.appearance(voice))
    with pytest.raises(UsageError, match="takes no latents"):
        old.generate(voice.embedding[None], "general", np.zeros((1, 5), np.float32))


# ----------------------------------------------------------------------------- a renderer


def test_a_face_is_drawn_from_an_appearance(model: Speech2Face, voice: Voice) -> None:
    renderer = Network(model.pack, "renderer.onnx", "cpu")
    latents = np.random.default_rng(3).standard_normal((4, 5)).astype(np.float32)
    latents[0] = 0.0
    for gender in GENDERS:
        result = model.face(voice, gender=gender, samples=4, seed=3)
        assert result.faces.shape == (4, 256, 256, 3)
        assert result.face.dtype == np.uint8
        generator = Network(model.pack, f"generator_{gender}.onnx", "cpu")
        for face, latent in zip(result.faces, latents, strict=True):
            made = generator.run({"embedding": voice.embedding[None], "latent": latent[None]})
            wanted = rounded(renderer.run(made)["face"])[0].transpose(1, 2, 0)
            assert np.abs(face.astype(int) - wanted).max() <= 1
    assert model.face_size == 256
    assert set(result.timings_ms) == {
        "decode", "vad", "quality", "features", "embedding", "generator", "renderer", "total",
    }  # fmt: skip
    assert result.timings_ms["total"] == pytest.approx(sum(v for k, v in result.timings_ms.items() if k != "total"))


def test_candidates_differ_and_a_seed_repeats_them(model: Speech2Face, voice: Voice) -> None:
    one = model.face(voice, gender="general")
    first = model.face(voice, gender="general", samples=5, seed=7)
    again = model.face(voice, gender="general", samples=5, seed=first.seed)
    fewer = model.face(voice, gender="general", samples=2, seed=7)
    other = model.face(voice, gender="general", samples=5, seed=8)
    assert np.array_equal(first.faces, again.faces)
    assert np.array_equal(first.faces[:2], fewer.faces)
    assert np.array_equal(first.faces[0], one.face)  # the face of the voice, to the bit
    assert np.array_equal(other.faces[0], one.face)
    assert not np.array_equal(first.faces[1], other.faces[1])
    assert len({face.tobytes() for face in first.faces}) == 5
    unseeded = model.face(voice, gender="general", samples=2)
    assert np.array_equal(model.face(voice, gender="general", samples=2, seed=unseeded.seed).faces, unseeded.faces)


def test_each_gender_has_a_face_of_its_own_and_auto_takes_one(
    model: Speech2Face, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = {gender: model.face(voice, gender=gender).face for gender in GENDERS}
    assert len({face.tobytes() for face in faces.values()}) == 3
    for male, wanted in ((0.99, "male"), (0.01, "female"), (0.6, "general")):
        heard = dataclasses.replace(voice, male_probability=male)
        result = model.face(heard)
        assert result.generator == model.generator_for("auto", heard) == wanted
        assert np.array_equal(result.face, faces[wanted])
        assert np.array_equal(model.render(model.appearance(heard))[0], faces[wanted])


@pytest.mark.parametrize("gender", [*GENDERS, "auto"])
def test_the_halves_joined_are_the_face(model: Speech2Face, voice: Voice, gender: str) -> None:
    appearance = model.appearance(voice, gender=gender, samples=3, seed=11)
    shapes = {name: part.shape for name, part in vars(appearance).items()}
    assert shapes == {"inner": (3, 3, 64, 64), "outer": (3, 3, 16, 16), "shape": (3, 68, 2)}
    assert {part.dtype for part in vars(appearance).values()} == {np.dtype(np.float32)}
    assert len(appearance) == 3
    assert np.array_equal(model.render(appearance), model.face(voice, gender=gender, samples=3, seed=11).faces)
    assert np.array_equal(model.generate(voice.embedding[None], model.generator_for(gender, voice)), model.render(
        model.appearance(voice, gender=gender)
    ))  # fmt: skip


def test_a_shape_that_moves_is_drawn(model: Speech2Face, voice: Voice) -> None:
    """The next capability: the same sketches, with the shape of every frame."""
    still = model.appearance(voice)
    moving = Appearance(still.inner, still.outer, (still.shape + 0.2).astype(np.float64))
    assert not np.array_equal(model.render(moving), model.render(still))
    with pytest.raises(dataclasses.FrozenInstanceError):
        still.shape = moving.shape  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "shape"), [("inner", (2, 3, 32, 32)), ("outer", (1, 3, 16, 16)), ("shape", (2, 136)), ("inner", ())]
)
def test_an_appearance_of_other_shapes_is_refused(
    model: Speech2Face, voice: Voice, name: str, shape: tuple[int, ...]
) -> None:
    appearance = model.appearance(voice, samples=2, seed=1)
    with pytest.raises(UsageError, match=f"{name} of the appearance has the shape"):
        model.render(dataclasses.replace(appearance, **{name: np.zeros(shape, np.float32)}))


@pytest.mark.parametrize(("argument", "value"), [("gender", "robot"), ("samples", 0), ("samples", 65), ("seed", -1)])
def test_arguments_out_of_range(model: Speech2Face, voice: Voice, argument: str, value: Any) -> None:
    with pytest.raises(UsageError, match=argument):
        model.appearance(voice, **{argument: value})


def test_many_faces_are_drawn_one_by_one_by_one_network(
    tiny_drawn_pack: Path, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 pictures of 256 pixels at once would need gigabytes."""
    made: Counter[str] = Counter()
    rows: list[int] = []
    init, run = Network.__init__, Network.run

    def counted(self: Network, pack: Any, name: str, *rest: Any) -> None:
        made[name] += 1
        init(self, pack, name, *rest)

    def watched(self: Network, inputs: Any) -> Any:
        if "inner" in inputs:
            rows.append(len(inputs["inner"]))
        return run(self, inputs)

    monkeypatch.setattr(Network, "__init__", counted)
    monkeypatch.setattr(Network, "run", watched)
    model = Speech2Face(tiny_drawn_pack, device="cpu")
    assert model.face(voice, gender="male", samples=64, seed=1).faces.shape == (64, 256, 256, 3)
    model.face(voice, gender="female")
    assert rows == [1] * 65
    assert made == {"voice.onnx": 1, "generator_male.onnx": 1, "generator_female.onnx": 1, "renderer.onnx": 1}


def test_loading_checks_the_renderer_too(tmp_path: Path, tiny_drawn_pack: Path) -> None:
    folder = tmp_path / "pack"
    folder.mkdir()
    for path in tiny_drawn_pack.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    Speech2Face(folder, device="cpu").load()
    (folder / "renderer.onnx").write_bytes(b"other")
    with pytest.raises(PackIntegrityError, match=r"renderer\.onnx has 5 bytes"):
        Speech2Face(folder, device="cpu").load()


def test_pictures_are_of_256_pixels_with_all_marks_and_larger_ones_are_smooth(model: Speech2Face, voice: Voice) -> None:
    result = model.face(voice, gender="female")
    picture = result.png()
    assert Image.open(io.BytesIO(picture)).size == (256, 256)
    found = provenance.read(picture)
    assert {"metadata", "watermark"} <= set(found.layers)
    assert found.watermark
    assert found.watermark.generator == "female"
    large = np.asarray(Image.open(io.BytesIO(result.png(1024))), np.float64)
    assert large.shape == (1024, 1024, 3)
    means = large.reshape(256, 4, 256, 4, 3).mean(axis=(1, 3))
    assert 10 * np.log10(255.0**2 / np.square(means - result.face).mean()) > 30  # the watermark is in it
    # Between two pixels of the face it goes from the one to the other, and does not jump.
    steps = np.abs(np.diff(large[:, :, 1], axis=1))
    jumps = np.abs(np.diff(result.face[:, :, 1].astype(float), axis=1)).mean()
    assert steps[:, 3::4].mean() < 0.6 * jumps
