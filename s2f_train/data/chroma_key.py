"""Portraits before a screen of one strong colour, as official ones are: the screen is replaced by a plain grey.

A network that learns hair and ground from few pictures takes a blue screen for a part of who stands before it.
"""

from __future__ import annotations

import torch
from torch import Tensor

CORNERS = slice(0, 80), 48  # rows, and columns from each side, of 256, where the screen is looked for
EVEN = 22.0  # standard deviation of its colours, in levels, at most
STRONG = 60.0  # how far its first channel stands above the others, at least
GREYS = (165.0, 215.0)  # the plain grounds, darkest and lightest
FULL = 0.85  # of the screen's own excess: from here on a pixel is screen alone


def without_screen(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Replaces screens.

    A pixel is screen to the degree to which its colour has the screen's excess of one channel over the others (Vlahos'
    colour difference, as for a blue screen in film): that much of the screen's colour is taken away and of grey added,
    so that single hairs keep their edge. Skin, hair and most clothes have none of it.

    Args:
        pixels: uint8 (n, 3, 256, 256).

    Returns:
        The pictures, and which of them had a screen, bool (n,).
    """
    rows, columns = CORNERS
    corners = torch.cat([pixels[:, :, rows, :columns].flatten(2), pixels[:, :, rows, -columns:].flatten(2)], dim=2)
    ground = corners.float()
    colour = ground.median(dim=2).values
    order = colour.argsort(dim=1, descending=True)
    excess = colour.gather(1, order[:, :1]) - colour.gather(1, order[:, 1:2])
    even = (ground - colour[:, :, None]).abs().median(dim=2).values.amax(dim=1) < EVEN
    found = even & (excess[:, 0] > STRONG)
    made = pixels.clone()
    greys = torch.linspace(*GREYS, max(1, int(found.sum())))
    for number, i in enumerate(found.nonzero()[:, 0].tolist()):
        picture, first, others = pixels[i].float(), order[i, 0], order[i, 1:]
        share = (picture[first] - picture[others].amax(dim=0)) / (FULL * excess[i])
        share = share.clamp(0.0, 1.0)
        changed = picture + share * (greys[number] - colour[i][:, None, None])
        made[i] = changed.clamp(0.0, 255.0).round().byte()
    return made, found
