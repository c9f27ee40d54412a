"""Which portraits are drawn by, and screens of colour behind them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from s2f_train.data.portrait_filters import has_plain_ground, is_grey, wears_glasses, without_screen

SKIN, HAIR = (200, 150, 130), (60, 45, 40)


def portrait(ground: tuple[int, int, int]) -> Tensor:
    """An oval of skin under hair before a ground, uint8 (3, 256, 256); the edge of the hair is soft."""
    at = torch.arange(256.0)
    far = ((at[None] - 128) / 75).square() + ((at[:, None] - 140) / 105).square()
    face = torch.sigmoid(12 * (1 - far))
    hair = torch.sigmoid(70 - at)[:, None].expand(256, 256) * face
    colours = [torch.tensor(c, dtype=torch.float32)[:, None, None] for c in (ground, SKIN, HAIR)]
    picture = colours[0] * (1 - face) + colours[1] * (face - hair) + colours[2] * hair
    noise = torch.randn(3, 256, 256, generator=torch.Generator().manual_seed(0))
    return (picture + 2 * noise).clamp(0, 255).byte()


@pytest.mark.parametrize("ground", [(60, 90, 220), (40, 180, 70), (30, 30, 160)])
def test_a_screen_becomes_grey_and_the_person_stays(ground: tuple[int, int, int]) -> None:
    before = portrait(ground)[None]
    after, found = without_screen(before)
    assert found.tolist() == [True]
    corner = after[0, :, :60, :40].float()
    assert corner.amax(dim=0).sub(corner.amin(dim=0)).mean() < 12
    assert 155 < corner.mean() < 225
    skin = slice(120, 200), slice(100, 156)
    assert (after[0, :, skin[0], skin[1]].float() - before[0, :, skin[0], skin[1]].float()).abs().max() <= 1
    edge = after[0, :, 40:60, 60:200].float()  # nothing of the colour is left in the soft edge of the hair
    assert (edge[2] - edge[:2].amax(dim=0)).clamp_min(0).mean() < 4


@pytest.mark.parametrize("ground", [(190, 190, 195), (240, 240, 240), (150, 130, 120)])
def test_other_grounds_stay_as_they_are(ground: tuple[int, int, int]) -> None:
    before = portrait(ground)[None]
    after, found = without_screen(before)
    assert not found.any()
    assert torch.equal(before, after)


def test_a_ground_of_many_colours_is_no_screen_and_not_plain() -> None:
    picture = portrait((60, 90, 220))
    picture[:, :80] = torch.randint(0, 255, (3, 80, 256), generator=torch.Generator().manual_seed(1)).byte()
    picture[:, :80, 10:40] = 250
    assert not without_screen(picture[None])[1].any()
    assert has_plain_ground(torch.stack([portrait((190, 190, 195)), picture, portrait((60, 90, 220))])).tolist() == [
        True, False, False,
    ]  # fmt: skip


def test_the_frame_of_glasses_is_seen() -> None:
    bare = portrait((190, 190, 195))
    glasses = bare.clone()
    glasses[:, 118:122, 70:186] = 30
    soft = bare.clone()  # a nose's shadow has no edge
    soft[:, 106:136] = (soft[:, 106:136].float() * torch.linspace(1, 0.7, 30)[:, None]).byte()
    assert wears_glasses(torch.stack([bare, glasses, soft])).tolist() == [False, True, False]


def test_a_picture_without_colour_is_grey() -> None:
    bare = portrait((190, 190, 195))
    assert is_grey(torch.stack([bare, bare[:1].expand(3, -1, -1)])).tolist() == [False, True]
