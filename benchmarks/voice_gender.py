"""How often is `auto` right about the gender of a voice, wrong, or unsure, for women and men apart?

    S2F_DATA=... python benchmarks/voice_gender.py [PACK] [--labels genders.csv]

The whole runtime hears up to three recordings of every speaker that no training has heard, as they are, with pink
noise at 5 to 15 dB, over a telephone (300 to 3,400 Hz, mu-law, 8 kHz) and as MP3 of 32 kbit/s. AVSpeech's dev split is
told apart. Its genders come from a classifier; `--labels` takes others: a CSV with the columns clip and gender (m, f).
Recordings of unknown gender, and how often the pack is unsure of them, are listed as "?". Ends with a line of JSON.
Needs the groups train
and media.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from s2f_edge import Speech2Face
from s2f_edge.errors import AudioError
from s2f_edge.hearing import audio
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.results import Voice
from s2f_train.data import s2f_data
from s2f_train.data.s2f_data import Clip
from s2f_train.evaluate.conditions import add_noise, clean, coded, telephone

MOST = 3  # recordings of a speaker
MP3_RATE = 32_000


def noise(samples: Float32s, seed: int) -> Float32s:
    return add_noise(samples, seed, float(np.random.default_rng([seed, 5]).uniform(5, 15)))


def over_telephone(samples: Float32s, seed: int) -> Float32s:
    return coded(telephone(samples, seed), seed, "WAV", "ULAW", 8_000)


def mp3(samples: Float32s, seed: int) -> Float32s:
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=SAMPLE_RATE)
        stream.bit_rate, stream.layout = MP3_RATE, "mono"
        pcm = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16p", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return audio.read(file.getvalue()).samples


COPIES: dict[str, Callable[[Float32s, int], Float32s]] = {
    "clean": clean, "noise": noise, "telephone": over_telephone, "MP3": mp3,
}  # fmt: skip


def chosen(root: Path, labels: dict[str, bool]) -> list[Clip]:
    """The recordings: all of AVSpeech's dev split, and of the other speakers those of a known gender."""
    clips = sorted((clip for clip in s2f_data.clips(root) if s2f_data.held_out(clip)), key=lambda clip: clip.name)
    taken: dict[str, list[Clip]] = {}
    for clip in clips:
        if clip.corpus == "avspeech" and labels:
            clip = replace(clip, male=labels.get(clip.name))
        if clip.male is not None or clip.corpus == "avspeech":
            taken.setdefault(clip.speaker, []).append(clip)
    found = []
    for mine in taken.values():
        drawn = np.random.default_rng(len(mine)).permutation(len(mine)) if len(mine) > MOST else range(len(mine))
        found += [mine[i] for i in sorted(drawn[:MOST])]
    return found


def heard(model: Speech2Face, samples: Float32s) -> Voice | None:
    try:
        return model.embed(samples, SAMPLE_RATE)
    except AudioError:
        return None


def counted(voices: list[tuple[Clip, Voice | None]], male: bool | None) -> dict[str, Any]:
    """Of the recordings of one gender."""
    mine = [voice for clip, voice in voices if clip.male is male]
    kept = [voice for voice in mine if voice]
    said = [voice.gender for voice in kept]
    right = [voice.male_probability for voice in kept if voice.male_probability is not None]
    wrong = "female" if male else "male"
    return {
        "heard": len(kept),
        "refused": len(mine) - len(kept),
        "unsure": said.count("unsure"),
        "wrong": said.count(wrong) if male is not None else None,
        "wrong at 0.5": sum((p > 0.5) != male for p in right) if male is not None else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", nargs="?", help="folder of a pack (default: the default pack)")
    parser.add_argument("--labels", type=Path, help="genders of AVSpeech's clips instead of the classifier's")
    given = parser.parse_args()
    labels = {}
    if given.labels:
        with given.labels.open(newline="") as file:
            labels = {row["clip"]: row["gender"] == "m" for row in csv.DictReader(file) if row["gender"]}
    model = Speech2Face(given.pack, device="cpu", variant=None)
    clips = chosen(Path(os.environ["S2F_DATA"]), labels)
    found: dict[tuple[str, str], list[tuple[Clip, Voice | None]]] = {}
    for seed, (clip, sound) in enumerate(s2f_data.sounds(clips)):
        samples, group = audio.read(sound).samples, "AVSpeech" if clip.corpus == "avspeech" else "others"
        for name, change in COPIES.items():
            found.setdefault((group, name), []).append((clip, heard(model, change(samples, seed))))
    rows = [
        {"of": group, "copy": name, "gender": gender, **counted(voices, male)}
        for (group, name), voices in found.items()
        for gender, male in (("f", False), ("m", True), ("?", None))
    ]
    rows = [row for row in rows if row["heard"] + row["refused"]]
    for row in rows:
        print(" ".join(f"{key} {'-' if value is None else value}".ljust(17) for key, value in row.items()))
    known = [row for row in rows if row["gender"] != "?"]
    for title, mine in (("women", "f"), ("men", "m"), ("together", "fm")):
        total = {key: sum(row[key] for row in known if row["gender"] in mine) for key in ("heard", "unsure", "wrong")}
        unsure = total["unsure"] / total["heard"]
        right = 1 - total["wrong"] / (total["heard"] - total["unsure"])
        print(f"{title}: of {total['heard']} {unsure:.1%} unsure; of the rest {right:.1%} right")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
