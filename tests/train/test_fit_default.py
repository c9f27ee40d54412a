"""The default recipe on made voices: it learns, repeats itself, and the parts do what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from s2f_train.fit_default import (
    Critic,
    Group,
    Settings,
    Voices,
    ridge_pictures,
    train,
    unseen_surprise,
    with_nearest_pictures,
)
from s2f_train.models.generator import Generator

# So small a generator needs weaker edges: at the recipe's weight it stays with a flat picture.
SMALL = {"channels": (16, 16, 8, 8, 8), "face_channels": (8, 8, 8, 8, 8), "edge_weight": 10.0}
SETTINGS = replace(Settings(), batch=8, unpaired=2, **SMALL)


def voices(seed: int = 0, count: int = 12) -> Voices:
    """Two kinds of voice, each with a picture of its own: bright above or bright below."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.arange(count) % 2
    centres = functional.normalize(torch.randn(2, 16, generator=torch.Generator().manual_seed(9)))
    windows = [centres[k] + 0.02 * torch.randn(5, 16, generator=generator) for k in kinds]
    half = torch.cat([torch.full((3, 32, 64), 0.7), torch.full((3, 32, 64), -0.7)], dim=1)
    pictures = torch.stack([half if k else half.flip(1) for k in kinds])
    return Voices(windows, pictures)


def fitted(folder: Path, steps: int) -> Generator:
    torch.manual_seed(1)
    generator = Generator(16, SETTINGS.channels)
    train(generator, Critic(SETTINGS), Group(voices(), voices(1), None), SETTINGS, steps, 4e-4, folder / "test")
    return generator


def test_training_learns_which_voice_has_which_picture(tmp_path: Path) -> None:
    generator, data = fitted(tmp_path, 200), voices(2)
    with torch.no_grad():
        faces = generator(data.embeddings())
    assert (faces - data.pictures).abs().mean() < 0.35  # a mean picture would have 0.7
    assert (faces * data.pictures).mean(dim=(1, 2, 3)).min() > 0.1  # every voice has its own half bright


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    first, second = fitted(tmp_path, 3).state_dict(), fitted(tmp_path, 3).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_nan_stops_the_training(tmp_path: Path) -> None:
    data = voices()
    data.pictures[:] = float("nan")
    generator, critic, group = Generator(16, SETTINGS.channels), Critic(SETTINGS), Group(data, data, None)
    with pytest.raises(FloatingPointError, match="step 0"):
        train(generator, critic, group, SETTINGS, 3, 4e-4, tmp_path / "test")


def test_drawn_embeddings_have_unit_length_and_their_own_picture() -> None:
    data = voices()
    embedding, pictures = data.draw(64)
    assert torch.allclose(embedding.norm(dim=1), torch.ones(64), atol=1e-5)
    nearest = (embedding @ data.embeddings().T).argmax(dim=1)
    assert torch.equal(data.pictures[nearest], pictures)


def test_ridge_pictures_of_known_voices_are_theirs() -> None:
    data = voices()
    made = ridge_pictures(data, data.embeddings(), replace(SETTINGS, ridge_lambda=1e-3))
    assert (made - data.pictures).abs().max() < 0.05


def test_unseen_surprise_is_that_of_new_speakers() -> None:
    torch.manual_seed(0)
    x = functional.normalize(torch.randn(400, 96))
    assert unseen_surprise(x).median() == pytest.approx(1.0, abs=0.3)


def test_the_nearest_picture_is_a_real_one() -> None:
    data = voices()
    blurred = Voices(data.windows, 0.6 * data.pictures + 0.1)
    assert torch.equal(with_nearest_pictures(blurred, data).pictures, data.pictures)
