"""The motion network: how much sound it sees, and that pieces give what the whole gives."""

from __future__ import annotations

import pytest
import torch

from s2f_train.models.motion import MotionNetwork


@pytest.fixture
def network() -> MotionNetwork:
    torch.manual_seed(0)
    network = MotionNetwork(cosines=6, width=8, dilations=(1, 2), components=3)
    network.directions.normal_()
    for _ in range(3):
        network(torch.randn(4, sum(network.context) + 40, 80) * 4 + 12)
    return network.eval()


@pytest.mark.parametrize("frames", [1, 2, 9])
def test_frames_follow_from_the_length(network: MotionNetwork, frames: int) -> None:
    features = torch.randn(2, sum(network.context) + 4 * frames, 80)
    assert network(features).shape == (2, frames, 68, 2)


def test_pieces_give_what_the_whole_gives(network: MotionNetwork) -> None:
    features = torch.randn(1, sum(network.context) + 40, 80) * 4 + 12
    whole = network(features)
    pieces = [network(features[:, 4 * k : 4 * (k + 2) + sum(network.context)]) for k in range(0, 10, 2)]
    assert torch.allclose(torch.cat(pieces, 1), whole, atol=1e-5)


def test_it_sees_its_context_and_no_more(network: MotionNetwork) -> None:
    features = (torch.randn(1, sum(network.context) + 20, 80) * 4 + 12).requires_grad_()
    for frame in (0, 2, 4):
        (seen,) = torch.autograd.grad(network(features)[0, frame].square().sum(), features)
        heard = seen[0].abs().sum(dim=1).nonzero().flatten()
        assert heard.min() >= 4 * frame
        assert heard.max() < 4 * frame + 4 + sum(network.context)
        assert heard.max() - heard.min() > sum(network.context) - 8


def test_the_default_fits_into_a_megabyte_as_float16() -> None:
    network = MotionNetwork()
    assert 2 * sum(parameter.numel() for parameter in network.parameters()) < 1_000_000
    assert network.context == (91, 30)


def test_what_is_softer_than_the_floor_is_silence(network: MotionNetwork) -> None:
    length = sum(network.context) + 8
    assert torch.equal(network(torch.full((1, length, 80), -15.9)), network(torch.full((1, length, 80), 0.0)))
