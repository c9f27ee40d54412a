"""The sketch of a face: few numbers that voices and photographs have in common, and what photographs make of the rest.

A face on the mean shape is written down as principal components: of its inner part, symmetric (`inner`) and not
(`side`: light, a turned head), and of the whole picture at 16x16 (`outer`: hair, clothes, ground). The first of `inner`
are those in which faces that go with voices differ. What a voice does not tell (the others, side, outer, and how the
shape differs from what it tells) follows a linear Gaussian model of the photographs, given what it tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from s2f_edge.talk.motion import POINTS
from s2f_train.models.renderer import INNER, INNER_SIDE, OUTER, OUTER_SIDE, SHAPE

RIDGE = 1e-3  # on the regressions of the rest; the numbers have a standard deviation of 1
MORE = 40  # directions beyond those wanted, for the accuracy of the randomised decomposition
FARTHEST = 2.5  # told numbers come to so many standard deviations of photographs at most
HINT = 1.0  # the same where hair, ground, light and details follow from them
HEAD = (0.36, 0.52)  # half axes of the ellipse, in units of the side, outside of which is ground and clothes


@dataclass(frozen=True)
class Numbers:
    """Faces as numbers, each with a standard deviation of 1 over photographs: (n, inner), (n, side), (n, outer)."""

    inner: Tensor
    side: Tensor
    outer: Tensor

    def __getitem__(self, rows: Any) -> Numbers:
        return Numbers(self.inner[rows], self.side[rows], self.outer[rows])


class SketchSpace(nn.Module):
    """Takes faces on the mean shape to numbers, and numbers to the sketches that the renderer takes.

    Args:
        told: how many of the inner numbers a voice tells.
        inner, side, outer: how many numbers there are of each.
        latent: how many numbers make up what a voice does not tell.
    """

    points: Tensor
    mask: Tensor
    inner_mean: Tensor
    inner_basis: Tensor
    side_basis: Tensor
    outer_mean: Tensor
    outer_basis: Tensor
    inner_scale: Tensor
    side_scale: Tensor
    outer_scale: Tensor
    shape_mean: Tensor
    rest_given: Tensor
    rest_latent: Tensor

    def __init__(self, told: int = 24, inner: int = 96, side: int = 16, outer: int = 48, latent: int = 40):
        super().__init__()
        self.settings: dict[str, Any] = {"told": told, "inner": inner, "side": side, "outer": outer, "latent": latent}
        self.told, self.latent = told, latent
        rest = outer + side + (inner - told) + SHAPE
        for name, shape in (
            ("points", (POINTS, 2)), ("mask", (1, 1, INNER_SIDE, INNER_SIDE)),
            ("inner_mean", (INNER,)), ("inner_basis", (inner, INNER)), ("inner_scale", (inner,)),
            ("side_basis", (side, INNER)), ("side_scale", (side,)),
            ("outer_mean", (OUTER,)), ("outer_basis", (outer, OUTER)), ("outer_scale", (outer,)),
            ("shape_mean", (SHAPE,)), ("rest_given", (told + 2, rest)), ("rest_latent", (latent, rest)),
        ):  # fmt: skip
            self.register_buffer(name, torch.zeros(shape))

    # ------------------------------------------------------------------------- to numbers and back

    def forward(self, textures: Tensor) -> Numbers:
        """Faces on the mean shape, (n, 3, side, side) in [-1, 1], the side 64 or more, as numbers."""
        return self._numbers(*self.parts(textures))

    def _numbers(self, symmetric: Tensor, side: Tensor, outer: Tensor) -> Numbers:
        """Of what `parts` gives."""
        return Numbers(
            (symmetric - self.inner_mean) @ self.inner_basis.T / self.inner_scale,
            side @ self.side_basis.T / self.side_scale,
            (outer - self.outer_mean) @ self.outer_basis.T / self.outer_scale,
        )

    def parts(self, textures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The inner face, symmetric and not, (n, 3 * 64 * 64) each, and the whole, (n, 3 * 16 * 16)."""
        small = nn.functional.interpolate(textures, size=(INNER_SIDE, INNER_SIDE), mode="area")
        outer = nn.functional.interpolate(textures, size=(OUTER_SIDE, OUTER_SIDE), mode="area")
        turned = small.flip(3)
        return (
            ((small + turned) / 2 * self.mask).flatten(1),
            ((small - turned) / 2 * self.mask).flatten(1),
            outer.flatten(1),
        )

    def drawn(self, numbers: Numbers) -> tuple[Tensor, Tensor]:
        """The sketches: (n, 3, 64, 64) and (n, 3, 16, 16)."""
        inner, outer = self.differences(numbers)
        return (
            inner + self.inner_mean.reshape(1, 3, INNER_SIDE, INNER_SIDE),
            outer + self.outer_mean.reshape(1, 3, OUTER_SIDE, OUTER_SIDE),
        )

    def differences(self, numbers: Numbers) -> tuple[Tensor, Tensor]:
        """Sketches of numbers without the means: differences of numbers become differences of sketches."""
        inner = (numbers.inner * self.inner_scale) @ self.inner_basis + (
            numbers.side * self.side_scale
        ) @ self.side_basis
        outer = (numbers.outer * self.outer_scale) @ self.outer_basis
        return inner.reshape(-1, 3, INNER_SIDE, INNER_SIDE), outer.reshape(-1, 3, OUTER_SIDE, OUTER_SIDE)

    def completed(self, told: Tensor, male: Tensor, latent: Tensor) -> tuple[Numbers, Tensor]:
        """What a voice tells, with what it does not; told numbers that no photograph has are brought near to those.

        Args:
            told: (n, told), the first of the inner numbers.
            male: (n,), from -1 for a woman to 1 for a man.
            latent: (n, latent): normal numbers choose a photograph's hair, light and details, 0 the most likely.

        Returns:
            All numbers, and how far the shape is from that which is told, (n, 68, 2).
        """
        return self.joined(limited(told, FARTHEST), limited(told, HINT), male, latent)

    def joined(self, told: Tensor, hint: Tensor, male: Tensor, latent: Tensor) -> tuple[Numbers, Tensor]:
        """The same, linear: the numbers that are told, and those from which what is not told follows, (n, told)."""
        given = torch.cat([hint, male[:, None], torch.ones_like(male[:, None])], dim=1)
        rest = given @ self.rest_given + latent @ self.rest_latent
        s = self.settings
        outer, side, inner, shape = torch.split(rest, [s["outer"], s["side"], s["inner"] - s["told"], SHAPE], dim=1)
        return Numbers(torch.cat([told, inner], dim=1), side, outer), shape.reshape(-1, POINTS, 2)

    # ------------------------------------------------------------------------- fitting

    def fit(
        self,
        points: Tensor,
        mask: Tensor,
        textures: Tensor,
        shapes: Tensor,
        weights: Tensor,
        male: Tensor,
        plain: Tensor,
        spoken: Tensor | None,
    ) -> None:
        """Finds the components and the model of what is not told.

        Args:
            points, mask: see `Renderer`.
            textures: uint8 (n, 3, 256, 256), photographs on the mean shape.
            shapes: (n, 68, 2), theirs.
            weights: (n,): how much each counts; 0 leaves one out of the model of the rest.
            male: (n,), 1 or -1.
            plain: bool (n,): which have a plain ground, from which hair, grounds and clothes are learnt.
            spoken: uint8 (m, 3, side, side), faces that go with voices, on the mean shape; None: the photographs alone.
        """
        self.points.copy_(points)
        self.mask.copy_(mask)
        s, share = self.settings, weights / weights.sum()
        parts = [self.parts(as_input(t)) for t in torch.split(textures, 256)]
        symmetric, side, outer = (torch.cat(part) for part in zip(*parts, strict=True))
        counted = (share * len(share)).sqrt()[:, None]
        self.inner_mean.copy_(share @ symmetric)
        rows = (symmetric - self.inner_mean) * counted
        first = rows
        if spoken is not None:
            first = torch.cat([self.parts(as_input(t))[0] for t in torch.split(spoken, 256)])
            first = first - first.mean(dim=0)
        told = _components(first, s["told"])
        others = _components(rows - rows @ told.T @ told, s["inner"] - s["told"])
        self.inner_basis.copy_(torch.cat([told, others]))
        self.inner_scale.copy_((rows @ self.inner_basis.T).square().mean(dim=0).sqrt())
        self.side_basis.copy_(_components(side * counted, s["side"]))
        self.side_scale.copy_((side * counted @ self.side_basis.T).square().mean(dim=0).sqrt())
        self.outer_mean.copy_(share @ outer)
        rows = (outer - self.outer_mean) * counted
        self.outer_basis.copy_(_components(rows, s["outer"]))
        self.outer_scale.copy_((rows @ self.outer_basis.T).square().mean(dim=0).sqrt())
        flat = shapes.flatten(1)
        self.shape_mean.copy_(share @ flat)
        self._fit_rest(self._numbers(symmetric, side, outer), flat - self.shape_mean, weights, male, plain)

    def _fit_rest(self, numbers: Numbers, shapes: Tensor, weights: Tensor, male: Tensor, plain: Tensor) -> None:
        told = numbers.inner[:, : self.told]
        used, plain = weights > 0, plain & (weights > 0)
        given = torch.cat([told, male[:, None], torch.ones_like(male[:, None])], dim=1)
        # From those on plain ground; the ground and the clothes follow from the gender alone.
        pictures = (numbers.outer * self.outer_scale) @ self.outer_basis
        head = _regression(given[plain], pictures[plain], weights[plain]) * _head()
        head[self.told :] += _regression(given[plain][:, self.told :], pictures[plain], weights[plain]) * (1 - _head())
        outer = head @ self.outer_basis.T / self.outer_scale
        beside = torch.cat([numbers.side, numbers.inner[:, self.told :]], dim=1)
        others = _regression(given[used], beside[used], weights[used])
        # A shape follows from the voice, not from the sketch: only what it leaves open is here.
        no_shape = torch.zeros(len(others), SHAPE)
        self.rest_given.copy_(torch.cat([outer, others, no_shape], dim=1))
        shape_rest = shapes - given @ _regression(given[used], shapes[used], weights[used])
        rest = torch.cat([numbers.outer, beside], dim=1) - given @ self.rest_given[:, :-SHAPE]
        # Shapes are small numbers: they count as much as the others together, else no direction would be theirs.
        scale = rest[plain].std() / shape_rest[plain].std().clamp_min(1e-9)
        rows = torch.cat([rest, shape_rest * scale], dim=1)[plain]
        share = weights[plain] / weights[plain].sum()
        rows = (rows - share @ rows) * share.sqrt()[:, None]
        _, values, directions = torch.linalg.svd(rows, full_matrices=False)
        kept = min(self.latent, len(values))
        self.rest_latent[:kept] = values[:kept, None] * directions[:kept]
        self.rest_latent[:, -SHAPE:] /= scale


def limited(numbers: Tensor, most: float) -> Tensor:
    """Numbers that are hardly changed near 0 and come to `most` and -`most` far away."""
    return most * (numbers / most).tanh()


def unlimited(numbers: Tensor, most: float) -> Tensor:
    """The way back of `limited`; numbers beyond 0.97 of `most` are taken for that."""
    return most * (numbers / most).clamp(-0.97, 0.97).atanh()


def as_input(pixels: Tensor) -> Tensor:
    """uint8 to float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def _components(rows: Tensor, count: int) -> Tensor:
    """The first principal components of rows, (count, k), by a randomised decomposition (Halko et al. 2011)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = torch.svd_lowrank(rows, q=min(count + MORE, *rows.shape), niter=5)[2][:, :count].T
    if len(found) < count:
        raise ValueError(f"{len(rows)} faces have no {count} components: more faces are needed.")
    return found


def _regression(given: Tensor, values: Tensor, weights: Tensor) -> Tensor:
    """Least squares with weights: (k, m)."""
    root = weights.sqrt()[:, None]
    x, y = (given * root).double(), (values * root).double()
    found: Tensor = torch.linalg.solve(x.T @ x + RIDGE * torch.eye(x.shape[1], dtype=x.dtype), x.T @ y).float()
    return found


def _head() -> Tensor:
    """Where the head is, from 0 to 1, (3 * 16 * 16,)."""
    at = (torch.arange(OUTER_SIDE) + 0.5) / OUTER_SIDE - 0.5
    far = (at[None] / HEAD[0]).square() + (at[:, None] / HEAD[1]).square()
    return torch.sigmoid(8 * (1 - far)).expand(3, -1, -1).flatten()
