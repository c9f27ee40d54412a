"""Reading the data folder, and who is kept from training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from s2f_train.data.s2f_data import Clip, _sure_gender, clips, held_out


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
