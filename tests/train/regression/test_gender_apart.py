"""Gender apart from the rest, and faces that show enough of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from s2f_train.models.traits import VoiceTraits
from s2f_train.regression.gender_apart import GenderApart


class _FirstNumber(VoiceTraits):
    """The first number of a voice tells its gender surely."""

    def forward(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        return (embeddings[:, 0] > 0).float(), torch.zeros(len(embeddings))


@pytest.fixture(scope="module")
def apart() -> GenderApart:
    """Voices of 8 numbers; faces of 3, of which the second shows the gender: 2 for men, -2 for women."""
    random = torch.Generator().manual_seed(0)
    voices = torch.randn(1000, 8, generator=random)
    sure = voices[:, :1].sign()
    voices[:, :1] = sure
    faces = torch.cat([torch.zeros(1000, 1), 2 * sure, torch.zeros(1000, 1)], dim=1)
    faces += 0.1 * torch.randn(1000, 3, generator=random)
    return GenderApart.fit(voices, faces, _FirstNumber(8, 4), 0.0, 1.0)


def test_faces_get_the_gender_that_they_lack(apart: GenderApart) -> None:
    voices = torch.tensor([[1.0] + 7 * [0.0], [1.0] + 7 * [0.0], [-1.0] + 7 * [0.0]])
    faces = torch.tensor([[5.0, 0.2, 1.0], [5.0, 1.9, 1.0], [5.0, 0.2, 1.0]])
    made = apart.at_least(0.5, faces, voices)
    assert made[:, 1].tolist() == pytest.approx([1.0, 1.9, -1.0], abs=0.05)
    assert torch.allclose(made[:, [0, 2]], faces[:, [0, 2]], atol=0.05)
    assert torch.equal(made[1], faces[1])


def test_a_gender_that_is_asked_for_replaces_the_one_heard(apart: GenderApart) -> None:
    voices = torch.tensor([[1.0] + 7 * [0.3], [-1.0] + 7 * [0.3]])
    woman = replace(apart, asked=-1.0)
    assert torch.equal(apart.as_asked(voices), voices)
    assert woman.as_asked(voices)[:, 0].tolist() == pytest.approx([-1.0, -1.0], abs=1e-4)
    assert torch.allclose(woman.as_asked(voices)[:, 1:], voices[:, 1:], atol=0.3)
    assert woman.at_least(0.5, torch.zeros(2, 3), voices)[:, 1].tolist() == pytest.approx([-1.0, -1.0], abs=0.05)
    assert woman.mean_faces(voices)[:, 1].tolist() == pytest.approx([-2.0, -2.0], abs=0.05)
