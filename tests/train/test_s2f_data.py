"""Reading the data folder, and who is kept from training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from s2f_train.data.s2f_data import Clip, _sure_gender, clips
from s2f_train.data.voices import embed
from s2f_train.fit_default import held_out, load_pictures
from s2f_train.models.voice import GE2EEncoder


def clip(speaker: str, corpus: str = "librispeech", dev: bool = False) -> Clip:
    return Clip(corpus, "x", speaker, None, dev, Path())


def test_only_sure_labels_are_taken() -> None:
    assert _sure_gender(0.9, 0.85) is True
    assert _sure_gender(0.1, 0.15) is False
    assert _sure_gender(0.9, 0.5) is None
    assert _sure_gender(0.9, 0.1) is None


def test_held_out_is_by_speaker_and_about_its_share() -> None:
    out = [held_out(clip(f"librispeech-{i}")) for i in range(2000)]
    assert 0.12 < sum(out) / len(out) < 0.18
    assert [held_out(clip(f"librispeech-{i}")) for i in range(2000)] == out
    assert held_out(clip("avspeech-a", "avspeech", dev=True))
    assert not held_out(clip("avspeech-a", "avspeech"))


def test_the_data_has_what_its_readme_says(s2f_data: Path) -> None:
    found = clips(s2f_data)
    count = Counter(c.archive.parent.name for c in found)
    assert count == {"avspeech": 968, "librispeech": 351, "voices": 4362}
    assert sum(c.dev for c in found) == 195
    assert len({c.speaker for c in found if c.corpus == "librispeech"}) == 261


def test_no_speaker_is_both_in_training_and_held_out(s2f_data: Path) -> None:
    found = clips(s2f_data)
    train = {c.speaker for c in found if not held_out(c)}
    test = {c.speaker for c in found if held_out(c)}
    assert train
    assert test
    assert not train & test


def test_real_clips_become_windows_and_are_kept(s2f_data: Path, tmp_path: Path) -> None:
    chosen = [c for c in clips(s2f_data) if c.corpus == "avspeech"][:3]
    torch.manual_seed(0)
    encoder = GE2EEncoder(16, 8, 1).eval()
    cache = tmp_path / "voices.safetensors"
    found = embed(chosen, encoder, cache)
    assert set(found) == {c.name for c in chosen}
    for windows in found.values():
        assert windows.shape[1] == 8
        assert len(windows) >= 3
    again = embed(chosen, encoder, cache)
    assert all(torch.equal(again[name], windows) for name, windows in found.items())
    other = embed(chosen[:1], encoder, cache)  # other clips: the cache is not taken
    assert set(other) == {chosen[0].name}


def test_pictures_belong_to_their_clips(s2f_data: Path) -> None:
    names = [c.name for c in clips(s2f_data) if c.corpus == "avspeech"][:4]
    pictures = load_pictures(s2f_data, names)
    assert pictures.shape == (4, 3, 64, 64)
    assert -1 <= pictures.min() < pictures.max() <= 1
    assert torch.equal(load_pictures(s2f_data, names[::-1]), pictures.flip(0))
    with pytest.raises(KeyError):
        load_pictures(s2f_data, ["no such clip"])
