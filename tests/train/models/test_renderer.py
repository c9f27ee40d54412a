"""The renderer's parts: sketch to picture, picture to shape, voice to appearance."""

from __future__ import annotations

import csv
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from s2f_train.data.inner_face import inner_mask
from s2f_train.data.textures import mean_shape
from s2f_train.data.warp import warped
from s2f_train.evaluate.framing import sharpness
from s2f_train.models.appearance_generator import AppearanceGenerator
from s2f_train.models.renderer import Renderer, sharpened
from s2f_train.models.sketch import FARTHEST, HINT, as_input

SMALL = {"down": (4, 4, 6, 6, 8), "up": (6, 6, 6, 4, 4, 2)}


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Renderer(**SMALL)
    made.set_frame(mean_shape(), inner_mask())
    return made.eval()


def _sketch(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 64, 64, generator=generator), torch.randn(count, 3, 16, 16, generator=generator)


def _smooth() -> torch.Tensor:
    noise = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(4)) * 2 - 1
    return torch.nn.functional.interpolate(noise, size=(256, 256), mode="bicubic").clamp(-1, 1)


def test_pictures_have_their_sides(renderer: Renderer) -> None:
    inner, outer = _sketch(2)
    with torch.inference_mode():
        assert renderer.texture(inner, outer).shape == (2, 3, 256, 256)
        assert renderer.texture(inner, outer, half=True).shape == (2, 3, 128, 128)
        face = renderer(inner, outer, mean_shape().expand(2, -1, -1))
    assert face.shape == (2, 3, 256, 256)
    assert face.abs().max() <= 1


def test_the_same_face_comes_out_twice_and_alone(renderer: Renderer) -> None:
    inner, outer = _sketch(3)
    shape = mean_shape().expand(3, -1, -1)
    with torch.inference_mode():
        first = renderer(inner, outer, shape)
        assert torch.equal(renderer(inner, outer, shape), first)
        torch.testing.assert_close(renderer(inner[1:2], outer[1:2], shape[:1]), first[1:2], atol=1e-4, rtol=0)


def test_on_the_mean_shape_nothing_moves(renderer: Renderer) -> None:
    picture = _smooth()
    moved = renderer.moved(picture, mean_shape()[None])
    torch.testing.assert_close(moved, picture, atol=2e-3, rtol=0)


def test_points_come_where_the_shape_has_them(renderer: Renderer) -> None:
    generator = torch.Generator().manual_seed(5)
    shape = mean_shape() + 0.02 * torch.randn(68, 2, generator=generator).sign() * torch.tensor([1.0, 0.5])
    # A picture whose colours say where each pixel lies.
    at = (torch.arange(256) + 0.5) / 256
    places = torch.stack([at.expand(256, 256), at[:, None].expand(256, 256), torch.zeros(256, 256)])[None]
    smooth = mean_shape() + 0.03 * torch.sin(6 * mean_shape().flip(1))  # neighbours move alike, as faces do
    moved = renderer.moved(places, smooth[None])
    seen = torch.nn.functional.grid_sample(moved, 2 * smooth[None, None] - 1, align_corners=False)[0, :2, 0].T
    assert (seen - mean_shape()).abs().max() < 0.006  # one and a half pixels of 256
    assert (renderer.moved(places, shape[None]) - places).abs().max() > 0.005


def test_moving_is_what_the_spline_of_the_training_does(renderer: Renderer) -> None:
    picture, smooth = _smooth(), mean_shape() + 0.02 * torch.cos(5 * mean_shape().flip(1))
    ours = renderer.moved(picture, smooth[None])
    theirs = warped(picture, smooth[None], mean_shape()[None], 256)
    assert (ours - theirs).abs().mean() < 0.02
    assert (picture - theirs).abs().mean() > 0.05


@pytest.mark.data
def test_portraits_moved_to_the_mean_shape_and_back_are_as_sharp_as_before(renderer: Renderer, s2f_data: Path) -> None:
    folder = s2f_data / "data" / "faces"
    names = [row["name"] for row in csv.DictReader((folder / "faces.csv").open())]
    with tarfile.open(folder / "faces.tar") as tar:
        rows = range(0, len(names), len(names) // 24)
        pictures = [np.asarray(Image.open(tar.extractfile(f"{names[i]}.webp"))) for i in rows]  # type: ignore[arg-type]
    points = torch.from_numpy(np.load(folder / "landmarks68.npz")["points"][list(rows)]).float()
    portraits = as_input(torch.from_numpy(np.stack(pictures))).permute(0, 3, 1, 2)
    textures = warped(portraits, mean_shape().expand_as(points), points, 256).clamp(-1, 1)

    def kept(drawn: torch.Tensor) -> float:
        of_each = [
            [sharpness(face)[0] for face in (x.clamp(-1, 1) * 127.5 + 127.5).round().byte().permute(0, 2, 3, 1).numpy()]
            for x in (renderer.moved(drawn, points), portraits)
        ]
        return float(np.mean(np.divide(*of_each)))

    assert kept(textures) < 0.87
    assert kept(sharpened(textures)) == pytest.approx(1.0, abs=0.07), kept(textures)


def test_training_draws_new_noise_and_running_does_not() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        own = Renderer(**SMALL)
        own.set_frame(mean_shape(), inner_mask())
        for block in own.large:
            torch.nn.init.ones_(block.strength)
        inner, outer = _sketch(2)
        own.train()
        assert not torch.equal(own.texture(inner, outer), own.texture(inner, outer))
        own.eval()
        assert torch.equal(own.texture(inner, outer), own.texture(inner, outer))


def test_widths_are_checked() -> None:
    with pytest.raises(ValueError, match="5 maps on the way down and 6"):
        Renderer(down=(4, 4), up=SMALL["up"])


def test_a_generator_is_still_without_noise_and_its_own_for_each_voice() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        generator = AppearanceGenerator(8, 6, 5, 3, 16).eval()
        generator.basis.normal_()
        generator.mix.normal_()
    voices = torch.nn.functional.normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(2)))
    still = torch.zeros(3, 6)
    with torch.inference_mode():
        inner, outer, shape = generator(voices, still)
        again = generator(voices[:1], still[:1])[0]
        other = generator(voices, still + 1)[0]
    assert (inner.shape, outer.shape, shape.shape) == ((3, 3, 64, 64), (3, 3, 16, 16), (3, 68, 2))
    torch.testing.assert_close(again, inner[:1], atol=1e-5, rtol=1e-5)
    assert (other - inner).abs().mean() > 0.1
    assert (inner[0] - inner[1]).abs().mean() > 0.1


def test_no_voice_takes_a_face_further_than_photographs_are() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        generator = AppearanceGenerator(8, 6, 5, 3, 16).eval()
    generator.basis.copy_(torch.eye(14, generator.basis.shape[1]))
    generator.told[-1].weight.data *= 1000
    voices = torch.nn.functional.normalize(torch.randn(50, 8, generator=torch.Generator().manual_seed(2)))
    with torch.inference_mode():
        made = generator(voices, torch.zeros(50, 6))[0].flatten(1)[:, :8]
        said = generator.told(voices)
    assert said[:, :4].abs().max() > 20
    assert FARTHEST - 0.01 < made[:, :4].abs().max() <= FARTHEST
    assert torch.equal(made[:, 4], said[:, 4])  # the gender
    assert HINT - 0.01 < made[:, 5:].abs().max() <= HINT


def test_however_far_the_noise_a_latent_has_the_spread_of_one_voice() -> None:
    generator = AppearanceGenerator(4, 50, 2, 1, 8).eval()
    generator.basis[3:] = torch.eye(50, generator.basis.shape[1])
    with torch.inference_mode():
        inner, _, _ = generator(
            torch.ones(200, 4) / 2, 3 * torch.randn(200, 50, generator=torch.Generator().manual_seed(0))
        )
    assert inner.flatten(1)[:, :50].std() == pytest.approx(0.95, abs=0.05)
