"""The animator: a face that was drawn once, on the mean shape, moved for every frame of a video.

Points move it: lips and jaw by what is said, the lids, and the head as a whole. Upper and lower lip are moved apart, by
a spline each, so that a mouth opens along its lips; what is then to be seen between them, teeth, tongue and dark, is
drawn by a small network from the lips around it. Hair, ground and clothes stay as they are.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from s2f_edge.talk.motion import POINTS
from s2f_train.data.frame import MEAN_SHAPE
from s2f_train.data.mouths import BOX
from s2f_train.models.renderer import GRID, INVERSIONS, SIDE, convolution, sources
from s2f_train.models.spline import spline_matrix

FINE = 65  # a side of the grid on which motion moves the picture
UPPER, LOWER = (49, 50, 51, 52, 53, 61, 62, 63), (55, 56, 57, 58, 59, 65, 66, 67)  # points of the lips, no corners
INNER_PAIRS = ((61, 67), (62, 66), (63, 65))  # of the inner lips, above and below
# Each point of a lip, with the inner one that it goes along with: (above, below) of INNER_PAIRS.
FOLLOWS_ABOVE = ((49, 0), (50, 0), (51, 1), (52, 2), (53, 2), (61, 0), (62, 1), (63, 2))
FOLLOWS_BELOW = ((59, 0), (58, 0), (57, 1), (56, 2), (55, 2), (67, 0), (66, 1), (65, 2))
EYES = (72, 152)  # rows of a frame in which eyes and their lids are
EXPRESSIVE = 1.3  # what is learnt from sound moves less than people do: the mean of what they might do
NECK = (0.5, 0.8)  # about which a head tilts
RAISED = 0.06  # how far brows go, in units of the distance of the eyes
# Of lips at rest, in the same units: how far corners are above the middle, and the width (means of GRID's speakers).
CURVED, WIDTH = 0.03, 0.82
RELAXED = 0.75  # how much of a smile, beyond that, goes when a face speaks
MEET = 0.55  # where lips meet, from the upper to the lower


class MouthPainter(nn.Module):
    """Draws what is between the lips, from the picture around it: a U-net of 0.3 million weights.

    Args:
        widths: of the maps at full, half, quarter and eighth size.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 96)):
        super().__init__()
        if len(widths) != 4:
            raise ValueError(f"{len(widths)} widths; 4 maps are needed.")
        self.settings: dict[str, Any] = {"widths": list(widths)}
        self.first = nn.Sequential(*convolution(4, widths[0], 3, 1))
        self.down = nn.ModuleList(
            nn.Sequential(*convolution(a, b, 3, 2), *convolution(b, b, 3, 1)) for a, b in pairwise(widths)
        )
        self.up = nn.ModuleList(
            nn.Sequential(*convolution(a + b, b, 3, 1), *convolution(b, b, 3, 1))
            for b, a in reversed(list(pairwise(widths)))
        )
        self.last = nn.Conv2d(widths[0], 3, 3, 1, 1)

    def forward(self, picture: Tensor, inside: Tensor) -> Tensor:
        """Draws mouths.

        Args:
            picture: float32 (n, 3, height, width) in [-1, 1], sides divisible by 8; what is inside is not seen.
            inside: (n, 1, height, width), from 0 to 1.

        Returns:
            (n, 3, height, width) in [-1, 1], of use where it is inside.
        """
        maps = [self.first(torch.cat([picture * (1 - inside), inside * 2 - 1], dim=1))]
        for layer in self.down:
            maps.append(layer(maps[-1]))
        x = maps.pop()
        for layer in self.up:
            x = layer(torch.cat([nn.functional.interpolate(x, scale_factor=2, mode="nearest"), maps.pop()], dim=1))
        drawn: Tensor = self.last(x).tanh()
        return drawn


class Animator(nn.Module):
    """Frames of a face, from its texture, its shape, and how both are moved.

    Args:
        mouth: widths of the network that draws mouths.
    """

    still: Tensor
    above: Tensor
    below: Tensor
    points: Tensor
    covers: Tensor
    blend: Tensor
    feather: Tensor
    middle: Tensor
    ways: Tensor

    def __init__(self, mouth: tuple[int, ...] = (16, 32, 64, 96)):
        super().__init__()
        self.settings: dict[str, Any] = {"mouth": list(mouth)}
        self.mouth = MouthPainter(mouth)
        points = torch.from_numpy(MEAN_SHAPE)
        parts = {"still": spline_matrix(points, GRID), "points": points}
        for name, without in (("above", LOWER), ("below", UPPER)):
            kept = [i for i in range(POINTS) if i not in without]
            parts[name] = torch.zeros(FINE * FINE, POINTS)
            parts[name][:, kept] = _face() * spline_matrix(points[kept], FINE)
        middle = (torch.arange(SIDE) + 0.5) / SIDE
        parts |= {"middle": middle, "covers": _covers(middle), "feather": _feather(), "ways": _ways()}
        ends = torch.linspace(0.0, 1.0, FINE)
        parts["blend"] = _smooth(0.5 - (ends - points[48, 1]) / 0.16)[None, None, :, None]
        for name, value in parts.items():
            self.register_buffer(name, value)

    def forward(self, texture: Tensor, shape: Tensor, offsets: Tensor, pose: Tensor) -> Tensor:
        """Draws a frame.

        Args:
            texture: float32 (n, 3, 256, 256) in [-1, 1], the face on the mean shape: what the renderer draws of it.
            shape: (n, 68, 2), of the face, in units of the side.
            offsets: (n, 68, 2), how far points are from a face with closed lips, in units of the distance of the eyes.
            pose: (n, 8), see `pack.roles.POSE`: turns of the head in shares of the side that its front moves, and in
                radians; moves in units of the side; how far the lids are closed and the brows raised, from 0 to 1; and
                how much the face speaks: 0 is the face as it is.

        Returns:
            (n, 3, 256, 256) in [-1, 1], RGB.
        """
        lips, speaking = self._spoken(shape, offsets, pose), pose[:, 7:8, None, None]
        whole = (self.still @ (shape - self.points)).transpose(1, 2).reshape(-1, 2, GRID, GRID)
        whole = nn.functional.interpolate(whole, size=(FINE, FINE), mode="bilinear", align_corners=True)
        above, below = (
            sources(whole + (matrix @ lips).transpose(1, 2).reshape(-1, 2, FINE, FINE), FINE, INVERSIONS)
            for matrix in (self.above, self.below)
        )
        at = 2 * self._before_lids(self._before_head(pose), shape, pose[:, 5, None, None]) - 1
        picture = _sampled(texture, _looked_up(self.blend * above + (1 - self.blend) * below, at), "bicubic")
        x, y, width, height = BOX
        base, at = picture[:, :, y : y + height, x : x + width], at[:, y : y + height, x : x + width]
        above, below = _looked_up(above, at), _looked_up(below, at)
        covers = self.covers.expand(texture.shape[0], -1, -1, -1)
        upper, lower = _sampled(covers[:, :1], above), _sampled(covers[:, 1:], below)
        lips_alone = upper * _sampled(texture, above, "bicubic") + lower * _sampled(texture, below, "bicubic")
        inside = (1 - upper - lower).clamp(0.0, 1.0)
        lips_alone = lips_alone / (upper + lower).clamp(min=1.0)
        # The face as it is keeps what the renderer drew between its lips.
        drawn = speaking * self.mouth(lips_alone, inside) + (1 - speaking) * base
        box = self.feather * (lips_alone + inside * drawn) + (1 - self.feather) * base
        rows = torch.cat([picture[:, :, y : y + height, :x], box, picture[:, :, y : y + height, x + width :]], dim=3)
        frame = torch.cat([picture[:, :, :y], rows, picture[:, :, y + height :]], dim=2)
        return frame.clamp(-1.0, 1.0)

    def _spoken(self, shape: Tensor, offsets: Tensor, pose: Tensor) -> Tensor:
        """How far points are from the shape, in units of the side: lips closed first, then opened by the offsets."""
        eyes = (shape[:, 36:42].mean(dim=1) - shape[:, 42:48].mean(dim=1)).square().sum(dim=-1).sqrt()[:, None]
        moved = EXPRESSIVE * offsets * eyes[..., None]
        x, y = moved[..., 0], moved[..., 1]
        closed = []
        for a, b in INNER_PAIRS:
            meet = shape[:, a, 1] + MEET * (shape[:, b, 1] - shape[:, a, 1])
            # Lips do not go through each other.
            cross = (y[:, a] - y[:, b]).clamp(min=0.0) / 2
            closed.append((meet - shape[:, a, 1] - cross, meet - shape[:, b, 1] + cross))
        rows = [torch.zeros_like(y[:, 0])] * POINTS
        for follows, side in ((FOLLOWS_ABOVE, 0), (FOLLOWS_BELOW, 1)):
            for point, pair in follows:
                rows[point] = closed[pair][side]
        x_relaxed, y_relaxed = self._relaxed(shape, eyes)
        brows = torch.zeros(POINTS, device=shape.device)
        brows[17:27] = -RAISED
        x = pose[:, 7:8] * (x + x_relaxed)
        y = pose[:, 7:8] * (y + y_relaxed + torch.stack(rows, dim=1)) + pose[:, 6:7] * brows * eyes
        return torch.stack([x, y], dim=-1)

    def _relaxed(self, shape: Tensor, eyes: Tensor) -> tuple[Tensor, Tensor]:
        """How far the lips move, right and down, when most of a smile goes: people who talk smile less than portraits.

        Args:
            eyes: (n, 1), the distance of the eyes.
        """
        lips = shape[:, 48:]
        middle = (lips[:, 14:15] + lips[:, 18:19]) / 2  # points 62 and 66
        half = (lips[:, 6:7, 0] - lips[:, 0:1, 0]) / 2
        across = ((lips[..., 0] - middle[..., 0]) / half).clamp(-1.0, 1.0)
        smile = (middle[..., 1] - (lips[:, 0:1, 1] + lips[:, 6:7, 1]) / 2) / eyes
        down = eyes * RELAXED * (smile - CURVED).clamp(min=0.0) * across.square()
        right = -across * half * RELAXED * (1 - WIDTH * eyes / (2 * half)).clamp(min=0.0)
        still = torch.zeros_like(shape[:, :48, 0])
        return torch.cat([still, right], dim=1), torch.cat([still, down], dim=1)

    def _before_head(self, pose: Tensor) -> Tensor:
        """Where each pixel was before the head moved: (n, 256, 256, 2)."""
        yaw, pitch, roll, right, down = (pose[:, i, None, None] for i in range(5))
        along, depth = nn.functional.interpolate(
            self.ways, size=(SIDE, SIDE), mode="bilinear", align_corners=False
        ).unbind(dim=1)
        x, y = self.middle, self.middle[:, None]
        x_moved = along * (right - roll * (y - NECK[1])) + depth * yaw
        y_moved = along * (down + roll * (x - NECK[0])) + depth * pitch
        return torch.stack([x - x_moved, y - y_moved], dim=-1)

    def _before_lids(self, places: Tensor, shape: Tensor, closed: Tensor) -> Tensor:
        """Where each pixel was before the upper lids came down; the eye below them is pressed together."""
        first, last = EYES
        x, y = places[:, first:last, :, 0], places[:, first:last, :, 1]
        moved = torch.zeros_like(y)
        for corner, brow in ((36, slice(18, 21)), (42, slice(23, 26))):
            eye = shape[:, corner : corner + 6, :, None, None]
            middle, level = (eye[:, 0] + eye[:, 3]).unbind(dim=1)
            half = (eye[:, 3, 0] - eye[:, 0, 0]) * 0.54
            across = (x - middle / 2) / half
            arc = (1 - across.square()).clamp(0.0, 1.0)
            line = eye[:, 0, 1] + (eye[:, 3, 1] - eye[:, 0, 1]) * (across + 1) / 2
            top, bottom = (eye[:, a, 1] + eye[:, b, 1] - level for a, b in ((1, 2), (4, 5)))
            upper, lower = line + top * arc * 0.5625, line + bottom * arc * 0.5625 + 0.001
            lid = upper + closed * (lower - upper) * 0.97
            brows = shape[:, brow, 1].mean(dim=1)[:, None, None]
            crease = torch.minimum(brows + 0.5 * (upper - brows), upper - 0.012)
            stretched = crease + (y - crease) * (upper - crease) / (lid - crease)
            pressed = upper + (y - lid) * (lower - upper) / (lower - lid)
            source = torch.where(y <= lid, stretched, pressed)
            here = (arc > 0) & (y > crease) & (y < lower)
            moved = moved + torch.where(here, source - y, torch.zeros_like(y))
        return torch.cat([places[:, :first], torch.stack([x, y + moved], dim=-1), places[:, last:]], dim=1)


def _looked_up(sources: Tensor, at: Tensor) -> Tensor:
    """Sources, (n, 2, grid, grid), at places, (n, h, w, 2) in [-1, 1]: (n, 2, h, w)."""
    return nn.functional.grid_sample(sources, at, "bilinear", "border", align_corners=True)


def _sampled(picture: Tensor, places: Tensor, mode: str = "bilinear") -> Tensor:
    return nn.functional.grid_sample(picture, 2 * places.permute(0, 2, 3, 1) - 1, mode, "border", align_corners=False)


def _smooth(x: Tensor) -> Tensor:
    x = x.clamp(0.0, 1.0)
    return x * x * (3 - 2 * x)


def _face() -> Tensor:
    """How far places go along with the points, (grid * grid, 1): the face does, and hair, ground and clothes do not."""
    ends = torch.linspace(0.0, 1.0, FINE)
    right, down = ends, ends[:, None]
    away = (((right - 0.5) / 0.27).square() + ((down - 0.62) / 0.36).square()).sqrt()
    return (_smooth((1.5 - away) / 0.5) * _smooth((1 - down) / 0.07)).reshape(-1, 1)


def _covers(middle: Tensor) -> Tensor:
    """How much of the mean shape is above and below the gap of the lips, (1, 2, 256, 256); both are 0 inside it.

    Beside the mouth one goes over into the other, the farther from it, the softer.
    """
    lines = [
        torch.from_numpy(np.interp(middle.numpy(), MEAN_SHAPE[list(line), 0], MEAN_SHAPE[list(line), 1])).float()
        for line in ((60, 61, 62, 63, 64), (60, 67, 66, 65, 64))
    ]
    outside = torch.maximum(MEAN_SHAPE[60, 0] - middle, middle - MEAN_SHAPE[64, 0]).clamp(min=0.0)
    soft = 2 * (0.6 / SIDE + 0.8 * outside)
    above = (0.5 - (middle[:, None] - lines[0]) / soft).clamp(0.0, 1.0)
    below = (0.5 + (middle[:, None] - lines[1]) / soft).clamp(0.0, 1.0)
    return torch.stack([above, below])[None]


def _feather() -> Tensor:
    """The box of the mouth, soft at its edge: (1, 1, height, width)."""
    _, _, width, height = BOX
    across, along = ((torch.minimum(torch.arange(n), n - 1 - torch.arange(n)) + 0.5) / 8 for n in (width, height))
    return (along.clamp(max=1.0)[:, None] * across.clamp(max=1.0))[None, None]


def _ways() -> Tensor:
    """How far each place goes along with the head, and how far it lies in front of its axis: (1, 2, 64, 64)."""
    middle = (torch.arange(64) + 0.5) / 64
    right, down = middle, middle[:, None]
    from_middle = ((right - 0.5) / 0.46).square() + ((down - 0.5) / 0.5).square()
    along = _smooth((1 - from_middle) / 0.55) * _smooth((1 - down) / 0.14)
    face = (1 - ((right - 0.5) / 0.29).square() - ((down - 0.58) / 0.44).square()).clamp(0.0, 1.0)
    nose = torch.exp(-(((right - 0.5) / 0.045).square() + ((down - 0.6) / 0.07).square()))
    return torch.stack([along, (face + 0.35 * nose) * along])[None]
