"""Networks that a user brings are run as their files say, or refused with what is missing."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

from s2f_train.evaluate import user_networks
from s2f_train.evaluate.judges import open_features, open_recogniser
from s2f_train.evaluate.judging import JudgeError
from s2f_train.evaluate.user_networks import Facts, FeatureNetwork, OnnxRecogniser

# torch deprecates TorchScript, and gives no other form in which published feature networks could be opened.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
PICTURE = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
COLOURS = np.zeros((8, 8, 3), np.uint8) + np.array([255, 102, 0], np.uint8)


def tiny_onnx(path: Path, kind: int = TensorProto.FLOAT, side: int | str = 6, channels: int = 3) -> Path:
    """The mean of each channel, and beside it, as another output, its maximum."""
    nodes = [
        helper.make_node("Cast", ["images"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["x"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMax", ["x"], ["maxima"], axes=[2, 3], keepdims=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", kind, ["n", channels, side, side])],
        [
            helper.make_tensor_value_info("means", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("maxima", TensorProto.FLOAT, None),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def say(path: Path, **facts: object) -> Path:
    path.with_name(path.name + ".json").write_text(json.dumps(facts))
    return path


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"range": "uint8"}, [255, 102, 0]),
        ({"range": "0..1"}, [1, 0.4, 0]),
        ({"range": "-1..1"}, [1, -0.2, -1]),
        ({"range": "imagenet"}, [(1 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, -0.406 / 0.225]),
        ({"range": "uint8", "channels": "BGR"}, [0, 102, 255]),
        ({"range": "0..1", "size": 6, "output": "maxima"}, [1, 0.4, 0]),
    ],
)
def test_pictures_are_given_as_the_network_was_trained(
    facts: dict[str, object], expected: list[float], tmp_path: Path
) -> None:
    judge = FeatureNetwork(say(tiny_onnx(tmp_path / "net.onnx"), **facts))
    assert judge.look(COLOURS) == pytest.approx([*expected, 1], abs=1e-5)


def test_a_network_of_bytes_needs_no_sidecar(tmp_path: Path) -> None:
    judge = FeatureNetwork(tiny_onnx(tmp_path / "net.onnx", TensorProto.UINT8))
    assert judge.look(COLOURS) == pytest.approx([255, 102, 0, 1])
    assert judge.sha256 == hashlib.sha256((tmp_path / "net.onnx").read_bytes()).hexdigest()
    assert judge.label == f"Fréchet distance in the features of net.onnx (sha256 {judge.sha256[:12]})"


def test_the_sidecar_names_and_counts(tmp_path: Path) -> None:
    path = tiny_onnx(tmp_path / "net.onnx")
    one = FeatureNetwork(say(path, range="0..1", name="Tiny"))
    other = FeatureNetwork(say(path, range="-1..1", name="Tiny"))
    assert one.name == other.name
    assert one.name.startswith("Tiny (sha256 ")
    assert one.weights == other.weights == (hashlib.sha256(path.read_bytes()).hexdigest(),)
    assert one.sha256 != other.sha256  # the cache must not mix them up


def test_pictures_are_resized_by_bicubic_interpolation(tmp_path: Path) -> None:
    judge = FeatureNetwork(say(tiny_onnx(tmp_path / "net.onnx", side="s"), range="uint8", size=20, output="maxima"))
    resized = np.asarray(Image.fromarray(PICTURE).resize((20, 20), Image.Resampling.BICUBIC))
    assert judge.look(PICTURE)[:3].tolist() == resized.max(axis=(0, 1)).tolist()


def test_eyes_bring_the_face_where_the_network_expects_it(tmp_path: Path) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    ours = user_networks.EYES * 64
    for (x, y), channel in zip(ours, (0, 1), strict=True):
        picture[round(y) - 2 : round(y) + 2, round(x) - 2 : round(x) + 2, channel] = 255
    path = tiny_onnx(tmp_path / "net.onnx", side=48)
    judge = OnnxRecogniser(say(path, range="uint8", eyes=[[0.75, 0.5], [0.25, 0.5]]))
    shown = judge._input(picture)[0]
    for channel, x in ((0, 36), (1, 12)):
        rows, columns = np.nonzero(shown[channel] > 127)
        assert abs(columns.mean() + 0.5 - x) < 1
        assert abs(rows.mean() + 0.5 - 24) < 1


class Features(torch.nn.Module):
    """As NVIDIA's Inception: bytes of any size in, features only if it is told."""

    def forward(self, img: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        if img.dtype != torch.uint8:
            raise ValueError("bytes are needed")
        means = img.to(torch.float32).mean(dim=[2, 3])
        return torch.cat([means, means * 0 + img.shape[2]], 1) if return_features else means


class Floats(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.mean(dim=[2, 3]), x


def script(module: torch.nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(module), path)
    return path


def test_torchscript_of_bytes_gives_its_features(tmp_path: Path) -> None:
    judge = FeatureNetwork(say(script(Features(), tmp_path / "net.pt"), range="uint8", size=5))
    assert judge.look(COLOURS) == pytest.approx([255, 102, 0, 5, 5, 5, 1])


def test_torchscript_of_floats(tmp_path: Path) -> None:
    judge = open_features(say(script(Floats(), tmp_path / "net.pt"), range="0..1", size=5), None)  # type: ignore[arg-type]
    assert judge.look(COLOURS) == pytest.approx([1, 0.4, 0, 1])


def test_only_a_known_file_is_called_fid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = script(Features(), tmp_path / "inception-2015-12-05.pt")
    with pytest.raises(JudgeError, match="does not say how large"):
        FeatureNetwork(path)
    assert all(label.startswith("FID") for _, label in user_networks.INCEPTIONS.values())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(user_networks.INCEPTIONS, digest, (Facts("Inception", None, "uint8"), "FID"))
    judge = FeatureNetwork(path)
    assert judge.label == "FID"
    assert judge.look(COLOURS) == pytest.approx([255, 102, 0, 8, 8, 8, 1])  # as large as it is
    resized = FeatureNetwork(say(path, range="uint8", size=299, name="FID"))
    assert resized.label.startswith("Fréchet distance in the features of FID (sha256 ")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (None, "does not say what its input ranges over"),
        ({"range": "0..255"}, '"0..255"'),
        ({"range": "0..1", "size": 7}, "takes pictures of 6x6; the size of .*, 7, is another"),
        ({"range": "0..1", "size": "6"}, 'size: "6"'),
        ({"range": "0..1", "size": True}, "size: true"),
        ({"range": "0..1", "scale": 1}, "some of name, size, range, channels, output, eyes"),
        ({"range": "0..1", "eyes": [[1, 2]]}, "eyes"),
        ({"range": "0..1", "eyes": "none"}, "eyes"),
        ({"range": ["0..1"]}, "range"),
        ({"range": "0..1", "output": "third"}, "choose one of means, maxima"),
    ],
)
def test_a_sidecar_that_does_not_fit(facts: dict[str, object] | None, message: str, tmp_path: Path) -> None:
    path = tiny_onnx(tmp_path / "net.onnx")
    if facts is not None:
        say(path, **facts)
    with pytest.raises(JudgeError, match=message):
        FeatureNetwork(path)


def test_networks_that_do_not_fit(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")
    with pytest.raises(JudgeError, match=r"broken.onnx is no ONNX"):
        FeatureNetwork(broken)
    with pytest.raises(JudgeError, match=r"none.onnx cannot be read"):
        open_recogniser(str(tmp_path / "none.onnx"))
    with pytest.raises(JudgeError, match=r"ends in .onnx"):
        open_recogniser(str(tmp_path / "net.pt"))
    with pytest.raises(JudgeError, match=r"one input \(N, 3, h, w\)"):
        FeatureNetwork(tiny_onnx(tmp_path / "grey.onnx", channels=1))
    with pytest.raises(JudgeError, match="takes uint8"):
        FeatureNetwork(say(tiny_onnx(tmp_path / "bytes.onnx", TensorProto.UINT8), range="0..1"))
    torch.save({"weight": torch.zeros(3)}, tmp_path / "weights.pth")
    with pytest.raises(JudgeError, match=r"weights.pth is no TorchScript .*weights alone"):
        FeatureNetwork(tmp_path / "weights.pth")
    (tmp_path / "net.onnx.json").write_text("{")
    with pytest.raises(JudgeError, match=r"net.onnx.json is no JSON"):
        FeatureNetwork(tiny_onnx(tmp_path / "net.onnx"))
    with pytest.raises(JudgeError, match="cannot look at a picture"):
        FeatureNetwork(say(script(Features(), tmp_path / "bytes.pt"), range="0..1", size=5))


def test_an_output_that_is_no_vector(tmp_path: Path) -> None:
    class Same(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    with pytest.raises(JudgeError, match=r"\(1, 3, 5, 5\) for a picture; \(1, k\) is needed"):
        FeatureNetwork(say(script(Same(), tmp_path / "net.pt"), range="0..1", size=5))


def test_torch_sees_the_same_with_any_number_of_threads(tmp_path: Path) -> None:
    wide = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 7), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1))
    judge = FeatureNetwork(say(script(wide, tmp_path / "net.pt"), range="imagenet", size=50))
    before, seen = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            seen.append(judge.look(PICTURE))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*seen)


def test_a_network_opened_again_sees_the_same(tmp_path: Path) -> None:
    one = OnnxRecogniser(say(tiny_onnx(tmp_path / "net.onnx"), range="imagenet"))
    again = pickle.loads(pickle.dumps(one))
    assert type(again) is OnnxRecogniser
    assert (again.name, again.sha256) == (one.name, one.sha256)
    assert np.array_equal(again.look(PICTURE), one.look(PICTURE))
