"""Variants of a pack, inside its folder, each measured beside it.

    python -m export.variants --pack packs/mine --variant int8 float32 --speech recordings/
    python -m export.variants --pack artifacts/default --variant int8 --s2f-data $S2F_DATA
    python -m export.variants --pack artifacts/default --variant light --run runs/00000-light --s2f-data $S2F_DATA

A variant is a pack of its own, PACK/int8, which `--variant int8` takes. Its manifest says how near it is to the pack,
on recordings that it was not made with, and how fast.

float32 has the weights as they are, cast up; float16 those of a float32 pack at half the size; int8 a voice network
that computes with 8-bit numbers (see export.int8; CAM++ alone has one), and the generators as they are: onnxruntime has
no transposed convolutions of 8 bits. The renderer, where the pack has one, is tried with 8 bits too (see
export.int8_renderer), and stays as it is where it would draw the same faces less than 35 dB from the pack's. light has
the voice network of a run of `fit light`, which was taught by the pack's own, with float16 weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from export.checkpoints import load_checkpoints
from export.float16 import weights_as_float16, weights_as_float32
from export.int8 import quantised
from export.int8_renderer import LEAST_PSNR_DB, decibels, psnr_db, quantised_renderer
from export.network_file import facts_of, network_file
from export.pack import is_pack
from s2f_edge.batch.recordings import recordings
from s2f_edge.bench.measure import machine
from s2f_edge.errors import AudioError, S2FError
from s2f_edge.hearing import audio
from s2f_edge.hearing.features import Float32s
from s2f_edge.hearing.quality import SpeechQuality
from s2f_edge.listening import Listener
from s2f_edge.pack.manifest import MANIFEST
from s2f_edge.pack.network import Network
from s2f_edge.pack.pack import Pack
from s2f_edge.pack.roles import APPEARANCE
from s2f_edge.pipeline import MIN_SPEECH_S, Speech2Face
from s2f_edge.results import Appearance
from s2f_edge.terms import VARIANTS
from s2f_train.data import s2f_data
from s2f_train.folders import written_whole
from s2f_train.models.light import LightEncoder

CALIBRATED, JUDGED = 128, 96  # recordings at most; one voice in a hundred uses channels that no other does
LEAST = 4  # recordings to calibrate with, and to judge on
IN_TURN = 40  # times that each is timed with each number of threads; the least counts
THREADS = (1, 2)


class TooFewRecordings(ValueError):
    """There is not enough speech to make or to judge a variant with."""


@dataclass(frozen=True)
class Speech:
    """The speech of a recording as a pack's front end gives it."""

    name: str
    measured: SpeechQuality
    windows: list[tuple[Float32s, Float32s]]


def make_variant(pack: Pack, variant: str, sounds: dict[str, bytes], run: Path | None = None) -> dict[str, Any]:
    """Writes PACK/<variant>, in place of an earlier one; gives what its manifest says of it.

    Args:
        sounds: recordings by name, as files are read.
        run: of `fit light`, for light alone.

    Raises:
        TooFewRecordings: of speech.
        ValueError: the pack has no such variant; NotCamPlusPlus is one.
        FileExistsError: there is something else in its place.
        PackError: the pack is damaged.
    """
    if variant == pack.manifest.weights:
        raise ValueError(f"{pack.folder} is {variant} itself.")
    if pack.manifest.variant is not None:
        raise ValueError(f"{pack.folder} is a variant; give the pack that it is of.")
    if (variant == "light") != (run is not None):
        raise ValueError("light needs --run, a run of `fit light`; nothing else takes one.")
    if (pack.manifest.weights, variant) not in {
        ("float16", "float32"),
        ("float32", "float16"),
    } and variant not in ("int8", "light"):
        raise ValueError(f"There is no {variant} of a pack whose weights are {pack.manifest.weights}.")
    files = {name: pack.read(name) for name in pack.manifest.files}  # checks the hashes
    facts: dict[str, Any] = json.loads((pack.folder / MANIFEST).read_text("utf-8"))
    facts["weights"] = variant
    light = b""
    if run:
        voice, training = _light(pack, run)
        manifest = pack.manifest
        told = facts_of(manifest.name, manifest.version, manifest.licence, manifest.voice.features)
        light, parity = network_file("voice", voice, manifest.voice.embedding_size, told, float16=True)
        facts["voice"] |= {"network": voice.kind, "settings": voice.settings}
        facts.setdefault("training", {})["light"] = training
    with written_whole(pack.folder / variant, is_pack) as folder:  # what is in the way is said before the work
        speech = [
            heard for name, sound in sounds.items() if (heard := _hear(name, sound, pack.manifest.voice.features))
        ]
        calibrating, judging = _parted(speech, variant == "int8")
        made = {name: _converted(pack, name, data, variant, calibrating, light) for name, data in files.items()}
        renderer = pack.manifest.renderer if variant == "int8" else None
        tried: dict[str, Any] = {}
        if renderer:
            made[renderer], tried = _renderer(pack, files[renderer], calibrating, judging)
        for name, data in made.items():
            (folder / name).write_bytes(data)
            if data != files[name]:
                facts["files"][name] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                facts.get("parity", {}).pop(name, None)  # that of the file before
        if run:
            facts.setdefault("parity", {})[pack.manifest.voice.file] = parity
        (folder / MANIFEST).write_text(json.dumps(facts, indent=1) + "\n")
        facts["variant"] = {
            "of": pack.sha256,
            "recordings": {"calibrated": len(calibrating), "judged": len(judging)},
            **compared(pack.folder, folder, judging),
            **({"renderer": tried} if tried else {}),
            "bytes": {"variant": sum(map(len, made.values())), "pack": sum(map(len, files.values()))},
            "ms": in_turn(pack, Pack.open(folder), judging[0].windows[0][0][:1]),
            "machine": machine(),
        }
        (folder / MANIFEST).write_text(json.dumps(facts, indent=1) + "\n")
        Speech2Face(folder, device="cpu").load()  # as a user would load it
        for name in (name for name, data in made.items() if data == files[name]):
            (folder / name).unlink()  # the pack's own serves both
    said: dict[str, Any] = facts["variant"]
    return said


def _light(pack: Pack, run: Path) -> tuple[LightEncoder, dict[str, Any]]:
    """The voice network of a run of `fit light` that the pack taught, and the facts of its training."""
    networks, training = load_checkpoints([run])
    voice = networks.get("voice")
    if not isinstance(voice, LightEncoder):
        raise ValueError(f"{run} is not a run of `fit light`.")
    if training["pack"]["of"] != pack.sha256:
        raise ValueError(
            f"{run} was taught by {training['pack']['name']} {training['pack']['version']}, not {pack.folder}."
        )
    return voice, training


def _converted(
    pack: Pack, name: str, data: bytes, variant: str, calibrating: list[Speech], light: bytes = b""
) -> bytes:
    if variant == "light":
        return light if name == pack.manifest.voice.file else data
    if variant == "float32":
        return weights_as_float32(data)
    traits = pack.manifest.traits
    if variant == "float16":  # what reads gender stays, as in export.to_onnx
        return data if traits is not None and name == traits.file else weights_as_float16(data)
    if name != pack.manifest.voice.file:
        return data
    return quantised(data, np.concatenate([part for speech in calibrating for part, _ in speech.windows]))


def _renderer(
    pack: Pack, data: bytes, calibrating: list[Speech], judging: list[Speech]
) -> tuple[bytes, dict[str, Any]]:
    """The renderer of an int8 variant, and how near one of 8 bits is: it is taken if it is near enough."""
    model = Speech2Face(pack.folder, device="cpu", variant=None)
    with_8_bits = quantised_renderer(data, _appearances(model, calibrating))
    found = psnr_db(with_8_bits, data, _appearances(model, judging))
    near = min(found) >= LEAST_PSNR_DB
    said = {"int8": near, "psnr_db": {"least": round(min(found), 1), "median": round(statistics.median(found), 1)}}
    return with_8_bits if near else data, said


def _appearances(model: Speech2Face, speech: list[Speech]) -> Appearance:
    """Of each voice two, by one generator after the other: the face of the voice, and one with latent numbers."""
    generators = list(model.pack.manifest.generators)
    made = []
    for i, each in enumerate(speech):
        voice = model.voice_of(each.measured, each.windows)
        made.append(model.appearance(voice, gender=generators[i % len(generators)], samples=2, seed=i))
    return Appearance(**{name: np.concatenate([getattr(one, name) for one in made]) for name in APPEARANCE})


# ---------------------------------------------------------------------------- recordings


def _hear(name: str, sound: bytes, features: str) -> Speech | None:
    """Speech as the pipeline hears it; None where there is none."""
    listener = Listener(features)
    try:
        for block in audio.stream(sound):
            listener.push(block)
    except AudioError:
        return None
    heard = listener.finish()
    if heard.quality.kind != "speech" or heard.quality.speech_s < MIN_SPEECH_S:
        return None
    return Speech(name, heard.quality, list(heard.windows))


def _parted(speech: list[Speech], calibrated: bool) -> tuple[list[Speech], list[Speech]]:
    """Those to calibrate with and those to judge on, by a hash of the name: the same at each call, and by no order."""
    speech = sorted(speech, key=lambda each: hashlib.sha256(each.name.encode()).digest())
    first = min(CALIBRATED, len(speech) // 2) if calibrated else 0
    judging = speech[first : first + JUDGED]
    if min(first, len(judging)) < LEAST and (calibrated or len(judging) < LEAST):
        needed = 2 * LEAST if calibrated else LEAST
        raise TooFewRecordings(f"Of the recordings {len(speech)} have speech; at least {needed} are needed.")
    return speech[:first], judging


def files_of(paths: list[str]) -> dict[str, bytes]:
    """Recordings in files and folders, by name."""
    return {name: Path(name).read_bytes() for name in recordings(paths)}


def unheard(root: Path) -> dict[str, bytes]:
    """One recording of each speaker that no fit has heard, of all data in the folder that S2F_DATA names."""
    of_speaker = {clip.speaker: clip for clip in s2f_data.clips(root) if s2f_data.held_out(clip)}
    return {clip.name: sound for clip, sound in s2f_data.sounds(list(of_speaker.values()))}


def librispeech(root: Path) -> dict[str, bytes]:
    """One recording of each speaker of LibriSpeech in the folder that S2F_DATA names."""
    of_speaker = {clip.speaker: clip for clip in s2f_data.clips(root) if clip.corpus == "librispeech"}
    clips = sorted(of_speaker.values(), key=lambda clip: hashlib.sha256(clip.name.encode()).digest())
    return {clip.name: sound for clip, sound in s2f_data.sounds(clips[: CALIBRATED + JUDGED])}


# ------------------------------------------------------------------------------ measures


def compared(pack: Path, variant: Path, speech: list[Speech]) -> dict[str, Any]:
    """How near the variant's embeddings, faces and genders are to the pack's."""
    models = [Speech2Face(folder, device="cpu", variant=None) for folder in (pack, variant)]
    generators = models[0].pack.manifest.generators
    generator = "general" if "general" in generators else next(iter(generators))
    cosines, ratios, same = [], [], 0
    for each in speech:
        ours, theirs = (model.voice_of(each.measured, each.windows) for model in models)
        cosines.append(float(ours.embedding.astype(np.float64) @ theirs.embedding.astype(np.float64)))
        faces = [
            model.generate(voice.embedding[None], generator).astype(np.float64)
            for model, voice in zip(models, (ours, theirs), strict=True)
        ]
        ratios.append(decibels(faces[0] - faces[1]))
        same += ours.gender == theirs.gender
    return {
        "embedding_cosine": {"least": round(min(cosines), 7), "median": round(statistics.median(cosines), 7)},
        "face_psnr_db": {"least": round(min(ratios), 1), "median": round(statistics.median(ratios), 1)},
        "same_gender": same if models[0].pack.manifest.traits else None,
    }


def in_turn(pack: Pack, variant: Pack, window: Float32s) -> dict[str, dict[str, float]]:
    """Milliseconds of one window in both voice networks, called in turn; the least of many."""
    found = {}
    for threads in THREADS:
        networks = {
            name: Network(each, each.manifest.voice.file, "cpu", threads)
            for name, each in (("variant", variant), ("pack", pack))
        }
        least = dict.fromkeys(networks, float("inf"))
        for _ in range(IN_TURN):
            for name, network in networks.items():
                began = perf_counter()
                network.run({"features": window})
                least[name] = min(least[name], (perf_counter() - began) * 1e3)
        found["1 thread" if threads == 1 else f"{threads} threads"] = {k: round(ms, 3) for k, ms in least.items()}
    return found


# ------------------------------------------------------------------------------- command


def main(argv: list[str] | None = None) -> int:
    """The command; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export.variants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pack", type=Path, required=True, help="folder of a pack")
    parser.add_argument("--variant", nargs="+", choices=VARIANTS, required=True, help="variants to make")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--speech", nargs="+", metavar="PATH", help="recordings, or folders of them, of many speakers")
    source.add_argument(
        "--s2f-data", type=Path, metavar="DIR", help="instead of --speech: the S2F_DATA folder, for LibriSpeech"
    )
    parser.add_argument("--run", type=Path, help="for light: run or checkpoint of `fit light`")
    given = parser.parse_args(argv)
    try:
        pack = Pack.open(given.pack)
        sounds = {light: _sounds(given, light) for light in {name == "light" for name in given.variant}}
        for variant in given.variant:
            light = variant == "light"
            said = make_variant(pack, variant, sounds[light], given.run if light else None)
            _print(pack.folder / variant, said)
    except (S2FError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _sounds(given: argparse.Namespace, light: bool) -> dict[str, bytes]:
    if given.speech:
        return files_of(given.speech)
    return unheard(given.s2f_data) if light else librispeech(given.s2f_data)


def _print(folder: Path, said: dict[str, Any]) -> None:
    cosine, faces, size = said["embedding_cosine"], said["face_psnr_db"], said["bytes"]
    judged = said["recordings"]["judged"]
    print(f"{folder}: {size['variant'] / 1e6:.1f} MB; the pack has {size['pack'] / 1e6:.1f} MB")
    print(f"  on {judged} recordings: cosine at least {cosine['least']:.4f}, median {cosine['median']:.4f}")
    print(f"  faces at least {faces['least']:.1f} dB, median {faces['median']:.1f} dB")
    if tried := said.get("renderer"):
        least, median = tried["psnr_db"]["least"], tried["psnr_db"]["median"]
        became = "taken" if tried["int8"] else f"not taken: {LEAST_PSNR_DB:.0f} dB are needed"
        print(
            f"  a renderer of 8 bits draws the same faces to at least {least:.1f} dB, median {median:.1f} dB; {became}"
        )
    if said["same_gender"] is not None:
        print(f"  the same gender for {said['same_gender']} of {judged}")
    for threads, ms in said["ms"].items():
        print(f"  a window with {threads}: {ms['variant']:.1f} ms; the pack {ms['pack']:.1f} ms")


if __name__ == "__main__":
    sys.exit(main())
