"""Faces as numbers, and the model of what a voice does not tell."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from s2f_train.data.inner_face import inner_mask
from s2f_train.data.textures import mean_shape, symmetric_shapes
from s2f_train.models.sketch import FARTHEST, Numbers, SketchSpace, as_input

COUNT = 160


def _faces(count: int = COUNT) -> tuple[Tensor, Tensor, Tensor]:
    """Faces of few degrees of freedom, uint8 (n, 3, 256, 256); their shapes; and 1 or -1: men are darker below."""
    generator = torch.Generator().manual_seed(3)
    male = torch.where(torch.rand(count, generator=generator) < 0.5, 1.0, -1.0)
    waves = torch.randn(24, 3, 16, 16, generator=generator)
    amounts = torch.randn(count, 24, generator=generator) * torch.linspace(1, 0.3, 24)
    small = torch.einsum("nk,kchw->nchw", amounts, waves) * 0.05
    small[:, :, 12:] -= 0.3 * male[:, None, None, None]
    pixels = torch.nn.functional.interpolate(small, size=(256, 256), mode="bicubic").clamp(-1, 1)
    shapes = mean_shape() + 0.01 * torch.randn(count, 68, 2, generator=generator)
    return (pixels * 127.5 + 127.5).round().byte(), shapes, male


@pytest.fixture(scope="module")
def space() -> SketchSpace:
    pixels, shapes, male = _faces()
    fitted = SketchSpace(8, 30, 6, 20, 12)
    spoken = pixels[:60, :, ::2, ::2]
    fitted.fit(mean_shape(), inner_mask(), pixels, shapes, torch.ones(COUNT), male, torch.ones(COUNT).bool(), spoken)
    return fitted


@pytest.mark.slow
def test_numbers_of_photographs_have_mean_0_and_deviation_1(space: SketchSpace) -> None:
    numbers = space(as_input(_faces()[0]))
    for values in (numbers.inner, numbers.outer):
        assert values.mean(dim=0).abs().max() < 0.05
    for values in (numbers.inner, numbers.side, numbers.outer):
        assert (values.square().mean(dim=0).sqrt() - 1).abs().max() < 0.05


@pytest.mark.slow
def test_a_sketch_of_enough_numbers_is_the_face_made_small(space: SketchSpace) -> None:
    pictures = as_input(_faces()[0][:20])
    inner, outer = space.drawn(space(pictures))
    symmetric, _, whole = space.parts(pictures)
    found = ((inner + inner.flip(3)) / 2).flatten(1)
    assert (found - symmetric).abs().mean() < 0.2 * symmetric.std(dim=0).mean()
    assert (outer.flatten(1) - whole).abs().mean() < 0.35 * whole.std(dim=0).mean()
    assert inner[:, :, 0].abs().max() < 1e-5  # nothing where the inner face is not


@pytest.mark.slow
def test_a_mirrored_face_has_the_same_numbers_but_for_the_sign_of_its_side(space: SketchSpace) -> None:
    pictures = as_input(_faces()[0][:8])
    numbers, mirrored = space(pictures), space(pictures.flip(3))
    torch.testing.assert_close(numbers.inner, mirrored.inner, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(numbers.side, -mirrored.side, atol=1e-4, rtol=1e-4)
    assert numbers.side.abs().mean() > 0.3


def test_what_is_completed_follows_gender_and_keeps_what_is_told(space: SketchSpace) -> None:
    told = 0.1 * torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
    still = torch.zeros(6, 12)
    men, shape = space.completed(told, torch.ones(6), still)
    women, _ = space.completed(told, -torch.ones(6), still)
    torch.testing.assert_close(men.inner[:, :8], told, atol=1e-3, rtol=0)
    far, _ = space.completed(1000 * told, torch.ones(6), still)
    assert far.inner[:, :8].abs().max() <= FARTHEST
    assert shape.abs().max() == 0
    below = [space.drawn(each)[1][:, :, 13:15, 5:11].mean() for each in (men, women)]
    assert below[0] < below[1] - 0.3


@pytest.mark.slow
def test_latents_spread_as_photographs_do(space: SketchSpace) -> None:
    pixels, _, male = _faces()
    numbers = space(as_input(pixels))
    latent = torch.randn(COUNT, 12, generator=torch.Generator().manual_seed(2))
    made, shape = space.completed(numbers.inner[:, :8], male, latent)
    for ours, theirs in ((made.outer, numbers.outer), (made.inner[:, 8:], numbers.inner[:, 8:])):
        assert 0.5 < ours.var(dim=0).sum() / theirs.var(dim=0).sum() < 1.3
    assert 0.001 < shape.std() < 0.012


@pytest.mark.slow
def test_differences_are_what_drawing_adds(space: SketchSpace) -> None:
    numbers = space(as_input(_faces()[0][:4]))
    zero = Numbers(*(torch.zeros_like(x) for x in (numbers.inner, numbers.side, numbers.outer)))
    for all_of_it, difference, middle in zip(
        space.drawn(numbers), space.differences(numbers), space.drawn(zero), strict=True
    ):
        torch.testing.assert_close(all_of_it, difference + middle)


def test_too_few_faces_are_told() -> None:
    pixels, shapes, male = _faces(12)
    few = SketchSpace(8, 30, 6, 20, 12)
    with pytest.raises(ValueError, match="more faces are needed"):
        few.fit(mean_shape(), inner_mask(), pixels, shapes, torch.ones(12), male, torch.ones(12).bool(), None)


def test_symmetric_shapes_are_their_own_mirror_image() -> None:
    shapes = _faces(3)[1]
    once = symmetric_shapes(shapes)
    torch.testing.assert_close(symmetric_shapes(once), once)
    torch.testing.assert_close(once[:, 8, 0], torch.full((3,), 0.5))  # the chin
    assert (once - shapes).abs().max() > 0.005
