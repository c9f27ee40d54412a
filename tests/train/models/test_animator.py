"""What the animator moves and what it leaves as it is, on a face that is drawn of plain areas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from s2f_train.models.animator import Animator
from s2f_train.models.mouth_critic import MouthCritic
from s2f_train.models.renderer import Renderer

LIPS_OPEN = 0.25  # distances of the eyes


@pytest.fixture(scope="module")
def animator() -> Animator:
    torch.manual_seed(0)
    return Animator().eval()


@pytest.fixture(scope="module")
def texture() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, 32, 32, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(coarse, 256, mode="bicubic").clamp(-1, 1)


@pytest.fixture(scope="module")
def shape(animator: Animator) -> Tensor:
    return animator.points + 0.004 * torch.randn(1, 68, 2, generator=torch.Generator().manual_seed(2))


def _frame(animator: Animator, texture: Tensor, shape: Tensor, gap: float = 0.0, **pose: float) -> Tensor:
    names = ("yaw", "pitch", "roll", "right", "down", "lids", "brows", "speaking")
    offsets = torch.zeros(1, 68, 2)
    offsets[:, [55, 56, 57, 58, 59, 65, 66, 67], 1] = gap
    with torch.inference_mode():
        drawn: Tensor = animator(texture, shape, offsets, torch.tensor([[pose.get(name, 0.0) for name in names]]))
    return drawn


def _psnr(a: Tensor, b: Tensor) -> float:
    return float(10 * torch.log10(4 / (a - b).square().mean()))


def test_a_face_at_rest_is_what_the_renderer_draws(animator: Animator, texture: Tensor, shape: Tensor) -> None:
    renderer = Renderer()
    renderer.set_frame(animator.points, renderer.mask)
    still = renderer.moved(texture, shape)
    assert _psnr(_frame(animator, texture, shape, gap=LIPS_OPEN), still) > 45  # nothing is said while it does not speak


def test_an_open_mouth_changes_the_lower_face_alone(animator: Animator, texture: Tensor, shape: Tensor) -> None:
    closed = _frame(animator, texture, shape, speaking=1.0)
    opened = _frame(animator, texture, shape, gap=LIPS_OPEN, speaking=1.0)
    change = (opened - closed).abs().amax(dim=(0, 1))
    assert change[180:205, 100:156].max() > 0.3
    assert change[:100].max() < 0.02
    assert change[:, :30].max() < 0.02
    assert change[:, -30:].max() < 0.02
    assert change[-2:].max() < 0.02


def test_what_is_between_open_lips_is_painted(texture: Tensor, shape: Tensor) -> None:
    animator = Animator().eval()
    for parameter in animator.mouth.last.parameters():
        parameter.data.zero_()
    animator.mouth.last.bias.data[:] = torch.tensor([9.0, -9.0, 9.0])  # purple, which tanh takes to 1 and -1
    purple = torch.tensor([1.0, -1.0, 1.0])[:, None, None]

    def painted(gap: float) -> int:
        frame = _frame(animator, texture, shape, gap=gap, speaking=1.0)[0]
        return int(((frame - purple).abs().amax(dim=0) < 0.1).sum())

    areas = [painted(gap) for gap in (0.0, 0.07, 0.13, 0.19)]
    assert areas[0] < 30
    assert areas == sorted(areas)
    assert areas[3] > 200


def test_lids_close_over_the_eyes_alone(animator: Animator, texture: Tensor, shape: Tensor) -> None:
    change = (_frame(animator, texture, shape, lids=1.0) - _frame(animator, texture, shape)).abs().amax(dim=(0, 1))
    assert change[110:128, 84:112].max() > 0.2
    assert change[110:128, 145:172].max() > 0.2
    assert change[140:].max() == 0
    assert change[:, :78].max() == 0


def test_a_turned_head_leaves_the_border_where_it_is(animator: Animator, texture: Tensor, shape: Tensor) -> None:
    turned = _frame(animator, texture, shape, yaw=0.02, pitch=0.01, roll=0.02, right=0.01, down=0.01)
    change = (turned - _frame(animator, texture, shape)).abs().amax(dim=(0, 1))
    assert change[100:160, 100:156].max() > 0.2
    for border in (change[0], change[-1], change[:, 0], change[:, -1]):
        assert border.max() < 0.03


def test_frames_of_a_batch_do_not_touch_each_other(animator: Animator, texture: Tensor, shape: Tensor) -> None:
    offsets = torch.zeros(2, 68, 2)
    offsets[1, 55:60, 1] = LIPS_OPEN
    pose = torch.tensor([[0.0] * 7 + [1.0], [0.01] * 5 + [0.5, 0.5, 1.0]])
    with torch.inference_mode():
        both = animator(texture.expand(2, -1, -1, -1), shape.expand(2, -1, -1), offsets, pose)
        for i in range(2):
            alone = animator(texture, shape, offsets[i : i + 1], pose[i : i + 1])
            torch.testing.assert_close(both[i : i + 1], alone, atol=1e-4, rtol=0)


def test_the_critic_judges_places() -> None:
    judged = MouthCritic(4)(torch.zeros(2, 3, 96, 112), torch.zeros(2, 1, 96, 112))
    assert judged.shape == (2, 1, 24, 28)
