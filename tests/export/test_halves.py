"""Export of generators that make appearances and of the renderer that draws them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

from export import int8_renderer, network_file, to_onnx, variants
from export.checkpoints import load_checkpoints
from export.float16 import weights_as_float16, weights_as_float32
from export.int8_renderer import psnr_db, quantised_renderer
from export.mobile import speech_of
from export.pack import export_pack
from export.single_file import judge, run, single_file
from export.verify import FLOAT16_TOLERANCE, ParityError, open_session, verify
from s2f_edge import Appearance, Speech2Face
from s2f_edge.hearing.vad import find_speech
from s2f_edge.pack.pack import Pack
from s2f_edge.terms import GENDERS
from s2f_train import checkpoint
from s2f_train.models import campplus
from s2f_train.models.appearance_generator import AppearanceGenerator
from s2f_train.models.face import Discriminator
from s2f_train.models.generator import Generator
from s2f_train.models.renderer import Renderer
from s2f_train.models.traits import VoiceTraits
from s2f_train.models.voice import GE2EEncoder
from tests.export.test_to_onnx import used

SIZE, LATENT, TOLD, HINTS = 24, 6, 7, 3


def smooth(rows: int, side: int) -> torch.Tensor:
    """Pictures without detail, (rows, 3, side, side), in [-1, 1]."""
    return nn.functional.interpolate(torch.rand(rows, 3, 5, 5) * 2 - 1, side, mode="bicubic").clamp(-1, 1)


def points() -> torch.Tensor:
    """A spiral: 68 places, no two the same."""
    turn = torch.linspace(0, 12, 68)
    away = torch.linspace(0.08, 0.35, 68)
    return torch.stack([0.5 + away * turn.cos(), 0.5 + away * turn.sin()], dim=1)


def renderer(seed: int = 1) -> Renderer:
    torch.manual_seed(seed)
    network = used(Renderer((8, 8, 8, 8, 8), (8, 8, 8, 8, 8, 4)))
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    network.set_frame(points(), mask)
    with torch.no_grad():
        for name, weights in network.named_parameters():
            if name.endswith("strength"):
                weights.normal_(0, 0.1)
        network.full_picture.weight.normal_(0, 0.1)
    return network


def generator(seed: int, latent: int = LATENT) -> AppearanceGenerator:
    torch.manual_seed(seed)
    network = AppearanceGenerator(SIZE, latent, TOLD, HINTS, 16).eval()
    rows = TOLD + HINTS + latent
    network.mix.normal_(0, 1)
    network.basis.copy_(
        torch.cat(
            [0.2 * smooth(rows, 64).flatten(1), 0.2 * smooth(rows, 16).flatten(1), 0.01 * torch.randn(rows, 136)], 1
        )
    )
    network.mean.copy_(torch.cat([smooth(1, 64).flatten(), smooth(1, 16).flatten(), points().flatten()]))
    return network


def voice() -> GE2EEncoder:
    torch.manual_seed(3)
    return GE2EEncoder(32, SIZE, 2).eval()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of appearances, one of a renderer, one of generators of pictures."""
    folder = tmp_path_factory.mktemp("runs")
    heard = voice()
    traits = VoiceTraits(SIZE, 8)
    traits.fit(nn.functional.normalize(torch.randn(64, SIZE)), (torch.arange(64) % 2).float())
    facts = {"licence": "of voices", "traits": {"surprise_p95": 2.0, "surprise_p99": 3.0}}
    three = {f"generator_{gender}": generator(i) for i, gender in enumerate(("general", "male", "female"))}
    checkpoint.save(folder / "appearance", {"voice": heard, "traits": traits, **three}, facts)
    drawing = {"renderer": renderer(), "discriminator": Discriminator()}
    checkpoint.save(folder / "renderer", drawing, {"licence": "of faces", "steps": 9})
    checkpoint.save(folder / "other", {"renderer": renderer(2)}, {})
    checkpoint.save(
        folder / "pictures", {"voice": heard, "generator_male": Generator(SIZE, (8, 8, 8, 8, 8)).eval()}, {}
    )
    checkpoint.save(folder / "general", {"voice": heard, "generator_general": generator(0)}, {})
    checkpoint.save(folder / "longer", {"voice": heard, "generator_male": generator(1, LATENT + 1)}, {})
    names = ("appearance", "renderer", "other", "pictures", "general", "longer")
    return {name: folder / name for name in names}


def export(runs: dict[str, Path], out: Path, *names: str, flags: tuple[str, ...] = ()) -> int:
    return to_onnx.main(["--checkpoint", *(str(runs[name]) for name in names), "--out", str(out), *flags])


@pytest.fixture(scope="module")
def pack(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Pack:
    out = tmp_path_factory.mktemp("packs") / "pack"
    assert export(runs, out, "appearance", "renderer") == 0
    return Pack.open(out)


@pytest.mark.slow
def test_the_halves_become_a_pack_that_draws_as_torch_does(pack: Pack, runs: dict[str, Path], examples: Path) -> None:
    facts = json.loads((pack.folder / "manifest.json").read_text())
    assert (facts["schema"], facts["noise"], facts["renderer"]["file"]) == (2, 0.0, "renderer.onnx")
    assert set(facts["files"]) == {
        "voice.onnx", "traits.onnx", "renderer.onnx",
        "generator_general.onnx", "generator_male.onnx", "generator_female.onnx",
    }  # fmt: skip
    assert facts["files"]["renderer.onnx"]["outputs"] == [
        {"name": "face", "dtype": "float32", "shape": [None, 3, 256, 256]}
    ]
    for parity in facts["parity"].values():
        assert parity["examples"] >= 3
        assert parity["largest_difference"] < 1e-4
    assert facts["parity"]["renderer.onnx"]["face_least_psnr_db"] > 80
    assert facts["parity"]["generator_male.onnx"]["inner_least_psnr_db"] > 80

    model = Speech2Face(pack.folder, device="cpu")
    result = model.infer(examples / "male.wav", gender="male", samples=3, seed=4)
    networks, _ = load_checkpoints([runs["renderer"], runs["appearance"]])
    latents = torch.from_numpy(np.random.default_rng(4).standard_normal((3, LATENT)).astype(np.float32))
    latents[0] = 0
    with torch.inference_mode():
        embeddings = torch.from_numpy(result.voice.embedding).expand(3, -1)
        wanted = networks["renderer"](*networks["generator_male"](embeddings, latents)).numpy()
    assert np.abs(result.faces - np.rint(wanted * 127.5 + 127.5).transpose(0, 2, 3, 1)).max() <= 1
    assert np.abs(result.faces[1].astype(int) - result.faces[0]).mean() > 1


def test_what_runs_say_stays_with_them(pack: Pack) -> None:
    """The pack's facts are those of the run with the voice network; another run's licence is not lost."""
    training = pack.manifest.training
    assert training["licence"] == pack.manifest.licence == "of voices"
    assert training["runs"]["renderer"] == {"licence": "of faces", "steps": 9}
    assert training["traits"]["surprise_p95"] == 2.0


@pytest.mark.slow
def test_the_order_of_runs_does_not_matter(pack: Pack, runs: dict[str, Path], tmp_path: Path) -> None:
    assert export(runs, tmp_path / "pack", "renderer", "appearance") == 0
    other = Pack.open(tmp_path / "pack").manifest
    assert {name: file.sha256 for name, file in other.files.items()} == {
        name: file.sha256 for name, file in pack.manifest.files.items()
    }
    assert (other.licence, other.traits) == (pack.manifest.licence, pack.manifest.traits)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("appearance",), "generator_female makes appearances, which a renderer draws, and there is none"),
        (("pictures", "renderer"), "generator_male makes pictures itself, and there is a renderer too"),
        (("general", "pictures", "renderer"), "generator_general makes appearances and generator_male pictures"),
        (("appearance", "renderer", "other"), "has another renderer than"),
        (("appearance", "general", "renderer"), "has a generator_general again"),
        (
            ("general", "longer", "renderer"),
            "the latent has the lengths generator_general.onnx 6, generator_male.onnx 7",
        ),
        (("renderer",), "A pack needs a voice network and a generator"),
    ],
)
@pytest.mark.slow
def test_halves_that_make_no_pack_are_refused(
    runs: dict[str, Path], tmp_path: Path, names: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(runs, tmp_path / "pack", *names) == 1
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_one_renderer_in_two_runs_is_one(pack: Pack, runs: dict[str, Path]) -> None:
    networks, _ = load_checkpoints([runs["appearance"], runs["renderer"], runs["renderer"]])
    assert isinstance(networks["renderer"], Renderer)
    assert "discriminator" not in networks


@pytest.mark.slow
def test_a_renderer_that_differs_is_not_written(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = network_file._folded

    def other(module: nn.Module) -> nn.Module:
        folded: Any = real(module)
        with torch.no_grad():
            folded.large_picture.bias += 0.01
        return folded

    monkeypatch.setattr(network_file, "_folded", other)
    assert export(runs, tmp_path / "pack", "appearance", "renderer") == 1
    assert "face differs from torch" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_points_may_move_less_than_colours(runs: dict[str, Path]) -> None:
    """Half a pixel of 256 is 2e-3 of the side; of colours, 16e-3 are two steps of 8 bits."""
    module: Any = checkpoint.load(runs["general"])[0]["generator_general"]
    examples = network_file._examples("generator_general", module, SIZE)
    data = network_file.to_onnx(module, examples[0])
    module.mean[0] += 4e-3
    verify(module, data, examples, FLOAT16_TOLERANCE)
    module.mean[-1] += 4e-3
    with pytest.raises(ParityError, match="shape differs from torch"):
        verify(module, data, examples, FLOAT16_TOLERANCE)


def test_norms_are_inside_convolutions_and_noise_is_kept_once(pack: Pack, runs: dict[str, Path]) -> None:
    networks, _ = checkpoint.load(runs["renderer"])
    network = networks["renderer"]
    data = pack.read("renderer.onnx")
    kinds = {node.op_type for node in onnx.load_from_string(data).graph.node}
    assert "BatchNormalization" not in kinds
    assert "GridSample" in kinds
    stored = sum(tensor.numel() for tensor in network.state_dict().values()) * 4
    # Noise for each map would be 2.3 MB more.
    assert len(data) < stored + 150_000


# ------------------------------------------------------------------------------- float16


@pytest.mark.slow
def test_float16_halves_the_files_and_keeps_the_faces(
    pack: Pack, runs: dict[str, Path], tmp_path: Path, examples: Path
) -> None:
    assert export(runs, tmp_path / "half", "appearance", "renderer", flags=("--float16",)) == 0
    half = Pack.open(tmp_path / "half")
    for name in ("generator_general.onnx", "renderer.onnx"):
        assert half.manifest.files[name].bytes < 0.8 * pack.manifest.files[name].bytes
    a, b = (
        Speech2Face(each.folder, device="cpu").infer(examples / "female.wav", samples=3, seed=1)
        for each in (pack, half)
    )
    assert 10 * np.log10(255.0**2 / np.square(a.faces.astype(float) - b.faces).mean()) > 40
    # Places stay as they are: a face must not move by what rounding is.
    model = onnx.load_from_string(half.read("renderer.onnx"))
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert kinds["field"] == TensorProto.FLOAT
    assert TensorProto.FLOAT16 in kinds.values()
    back = onnx.load_from_string(weights_as_float32(half.read("renderer.onnx"))).graph.initializer
    assert TensorProto.FLOAT16 not in {tensor.data_type for tensor in back}


def test_what_leads_to_no_grid_is_halved() -> None:
    """A length that a grid is made for does not make the whole network a place."""
    weights = {"w": np.ones((64, 64), np.float32), "g": np.zeros((1, 64, 64, 2), np.float32)}
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["picture"]),
        onnx.helper.make_node("Shape", ["picture"], ["shape"]),
        onnx.helper.make_node("Cast", ["shape"], ["lengths"], to=TensorProto.FLOAT),
        onnx.helper.make_node("ReduceMin", ["lengths"], ["least"], keepdims=0),
        onnx.helper.make_node("Mul", ["g", "least"], ["grid"]),
        onnx.helper.make_node("GridSample", ["picture", "grid"], ["face"]),
    ]
    infos = [onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 64, 64]) for name in ("x", "face")]
    graph = onnx.helper.make_graph(
        nodes, "g", infos[:1], infos[1:], [numpy_helper.from_array(value, name) for name, value in weights.items()]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    found = onnx.load_from_string(weights_as_float16(model.SerializeToString())).graph.initializer
    assert {tensor.name: tensor.data_type for tensor in found} == {
        "w.float16": TensorProto.FLOAT16, "g": TensorProto.FLOAT,
    }  # fmt: skip


# ---------------------------------------------------------------------------- single file


@pytest.mark.slow
def test_one_file_makes_the_pipelines_faces_in_both_forms(
    pack: Pack, tmp_path: Path, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "face.onnx"
    capsys.readouterr()
    assert to_onnx.main(["--pack", str(pack.folder), "--single-file", str(target), "--ort", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["single_file"]
    assert set(said["parity"]) == {"face.onnx", "face.ort"}
    for parity in said["parity"].values():
        assert parity["clips"] == 7
        assert parity["least_cosine"] > 0.99999
        assert parity["least_psnr_db"] > 55
    operators = (tmp_path / "face.required_operators.config").read_text()
    assert "GridSample" in operators

    session = open_session(target.read_bytes())
    assert [(each.name, each.shape) for each in session.get_inputs()] == [
        ("waveform", ["samples"]), ("generator", [1]), ("noise", ["faces", LATENT]),
    ]  # fmt: skip
    facts = {prop.key: prop.value for prop in onnx.load(target).metadata_props}
    assert (facts["s2f.noise_size"], facts["s2f.face_size"]) == (str(LATENT), "256")

    model = Speech2Face(pack.folder, device="cpu")
    voice = model.embed(examples / "male.wav")
    latents = np.random.default_rng(9).standard_normal((3, LATENT)).astype(np.float32)
    latents[0] = 0
    speech = find_speech(soundfile.read(examples / "male.wav", dtype="float32")[0]).samples
    for asked, gender in enumerate(GENDERS[1:], 1):
        found = run(session, speech, latents, asked)
        wanted = model.face(voice, gender=gender, samples=3, seed=9).faces
        assert found["generator_used"] == [asked]
        assert found["faces"].shape == (3, 256, 256, 3)
        assert np.abs(found["faces"].astype(int) - wanted).mean() < 0.01


@pytest.mark.slow
def test_a_file_with_one_generator(pack: Pack, examples: Path) -> None:
    data = single_file(pack, "female")
    judged = judge(data, pack, speech_of([examples / "female.wav"])[:2], "female")
    assert judged.least_psnr_db > 55
    assert len(data) < len(single_file(pack)) - 2 * pack.manifest.files["generator_male.onnx"].bytes * 0.9


def test_candidates_that_differ_are_noticed(pack: Pack, examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The face of the voice is right, and the latent is not."""
    from export import single_file as module

    real = module._appearance
    monkeypatch.setattr(
        module, "_appearance", lambda graph, voice, noise, *rest: real(graph, voice, noise * 0.5, *rest)
    )
    data = single_file(pack)
    with pytest.raises(ParityError, match="The single file is not the pipeline"):
        judge(data, pack, speech_of([examples / "female.wav"])[:1])


# ------------------------------------------------------------------------------- 8 bits


@pytest.fixture(scope="module")
def appearances(pack: Pack, examples: Path) -> Appearance:
    model = Speech2Face(pack.folder, device="cpu")
    return model.appearance(model.embed(examples / "male.wav"), samples=4, seed=2)


@pytest.mark.slow
def test_a_renderer_of_8_bits_is_the_same_network(pack: Pack, appearances: Appearance) -> None:
    data = pack.read("renderer.onnx")
    made = quantised_renderer(data, appearances)
    assert min(psnr_db(made, data, appearances)) > 20
    assert max(psnr_db(made, data, appearances)) < 60  # it is another
    assert psnr_db(data, data, appearances) == [int8_renderer.HIGHEST_DB] * 4
    model = onnx.load_from_string(made)
    kinds = [tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4]
    assert kinds.count(TensorProto.INT8) == 17 - 3  # all convolutions but the first and the two that end in pictures
    assert {node.domain for node in model.graph.node} == {""}
    props = {prop.key: prop.value for prop in model.metadata_props}
    assert props["s2f.network"] == "renderer"


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack with a small CAM++, which int8 needs."""
    folder = tmp_path_factory.mktemp("narrow") / "pack"
    torch.manual_seed(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(campplus, "BLOCKS", ((2, 1), (2, 2), (1, 2)))
        network = campplus.CamPlusPlus(SIZE)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.momentum = 1.0
        with torch.no_grad():
            network.train()(3 * torch.randn(8, 200, 80))
        networks = {"voice": network.eval(), "generator_general": generator(0), "renderer": renderer()}
        export_pack(networks, {}, folder, "narrow", "1", "none", float16=True)
    return folder


@pytest.mark.parametrize("least", [0.0, 98.0])
@pytest.mark.slow
def test_int8_takes_a_renderer_that_is_near_and_shares_the_packs_else(
    narrow: Path,
    examples: Path,
    tmp_path: Path,
    least: float,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert variants.LEAST_PSNR_DB == 35.0
    monkeypatch.setattr(variants, "LEAST_PSNR_DB", least)
    pack = tmp_path / "pack"
    pack.mkdir()
    for path in narrow.iterdir():
        (pack / path.name).write_bytes(path.read_bytes())
    clips = tmp_path / "clips"
    clips.mkdir()
    for i in range(8):
        samples, rate = soundfile.read(examples / ("male.wav", "female.wav")[i % 2])
        soundfile.write(clips / f"{i}.wav", samples[i * 2500 :], rate)
    assert variants.main(["--pack", str(pack), "--variant", "int8", "--speech", str(clips)]) == 0
    printed = capsys.readouterr().out
    said = json.loads((pack / "int8" / "manifest.json").read_text())["variant"]
    near = least == 0.0
    assert said["renderer"]["int8"] is near
    assert 0 < said["renderer"]["psnr_db"]["least"] <= said["renderer"]["psnr_db"]["median"] < 98
    assert ("taken" in printed and "not taken" not in printed) == near
    assert {path.name for path in (pack / "int8").iterdir()} == {
        "manifest.json", "voice.onnx", *(["renderer.onnx"] if near else []),
    }  # fmt: skip
    small = Speech2Face(pack, "cpu", variant="int8")
    small.load()
    assert (small.pack.read("renderer.onnx") == (pack / "renderer.onnx").read_bytes()) != near
    assert small.infer(examples / "male.wav").face.shape == (256, 256, 3)


@pytest.mark.slow
def test_float32_and_back_draw_the_same(narrow: Path, examples: Path, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    for path in narrow.iterdir():
        (pack / path.name).write_bytes(path.read_bytes())
    sounds = {f"{i}.wav": (examples / ("male.wav", "female.wav")[i % 2]).read_bytes() for i in range(4)}
    said = variants.make_variant(Pack.open(pack), "float32", sounds)
    assert said["face_psnr_db"]["least"] > 60
    assert "renderer" not in said
    assert (pack / "float32" / "renderer.onnx").exists()
