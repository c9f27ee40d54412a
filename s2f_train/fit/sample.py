"""Faces from a checkpoint, without an export: what a run makes of a recording now."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from s2f_edge.errors import TooLittleSpeechError
from s2f_edge.files import write_whole
from s2f_edge.hearing import audio
from s2f_edge.hearing.features import SAMPLE_RATE
from s2f_edge.hearing.vad import find_speech
from s2f_edge.pipeline import MIN_SPEECH_S
from s2f_train import checkpoint
from s2f_train.data.embeddings import windows_of_speech
from s2f_train.data.faces import as_pixels, sheet
from s2f_train.data.pictures import encoded
from s2f_train.fit.run import RunError, newest_checkpoint
from s2f_train.models.appearance_generator import AppearanceGenerator
from s2f_train.models.traits import mean_embedding

ENLARGED = 256


def sample(run: Path, clips: list[Path], out: Path) -> None:
    """Writes a PNG with a column for each clip and a row for each generator of the checkpoint.

    Raises:
        RunError, CheckpointError: there is no checkpoint, or it has no generator.
        AudioError: a clip cannot be read or has too little speech.
        OutputError: the picture cannot be written.
    """
    networks, _ = checkpoint.load(newest_checkpoint(run))
    generators = [network for name, network in networks.items() if name.startswith("generator_")]
    if "voice" not in networks or not generators:
        raise RunError(f"{run} has no generator to sample; it has {', '.join(networks)}.")
    embeddings = torch.stack([embedding_of(clip, networks["voice"]) for clip in clips])
    with torch.inference_mode():
        rows = [as_pixels(_faces(generator, networks.get("renderer"), embeddings)) for generator in generators]
    picture = Image.fromarray(sheet(rows))
    times = max(1, ENLARGED // rows[0].shape[1])
    larger = picture.resize((picture.width * times, picture.height * times), Image.Resampling.BICUBIC)
    write_whole(out, encoded(larger, "PNG"))


def _faces(generator: nn.Module, renderer: nn.Module | None, embeddings: Tensor) -> Tensor:
    """The face of each voice, (n, 3, side, side)."""
    if isinstance(generator, AppearanceGenerator) and renderer is not None:
        latent = torch.zeros(len(embeddings), generator.settings["latent_size"])
        faces: Tensor = renderer(*generator(embeddings, latent))
    else:
        faces = generator(embeddings)
    return faces


def embedding_of(clip: Path, voice: nn.Module) -> Tensor:
    """The embedding of a recording by a voice network, (embedding,), as the runtime computes it."""
    sound = audio.read(clip)
    speech = find_speech(sound.samples)
    found = len(speech.samples) / SAMPLE_RATE
    if found < MIN_SPEECH_S:
        raise TooLittleSpeechError(found, MIN_SPEECH_S, sound.seconds)
    return mean_embedding(windows_of_speech(speech.samples, voice))
