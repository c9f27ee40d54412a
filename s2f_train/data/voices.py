"""Clips to voice embeddings, through the runtime's own decoding, speech detection and features."""

from __future__ import annotations

import hashlib
import logging
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from s2f_edge import audio, features, frontend, vad
from s2f_edge.features import SAMPLE_RATE
from s2f_edge.frontend import FRONT_ENDS
from s2f_edge.vad import find_speech
from s2f_train.data.s2f_data import Clip, sounds

log = logging.getLogger(__name__)

MIN_SPEECH = SAMPLE_RATE // 2  # training takes clips of half a second of speech and more

_encoder: nn.Module  # one in each worker process


def embed(clips: list[Clip], encoder: nn.Module, cache: Path | None = None) -> dict[str, Tensor]:
    """Embeddings of every window of every clip, on all cores.

    Args:
        clips: what to embed; each tar is read once.
        encoder: gives (windows, embedding) for the input of the front end `encoder.features`.
        cache: safetensors file to keep the embeddings in, and to take them from if it was
            made by the same weights from the same clips.

    Returns:
        clip name -> float32 (windows, embedding); clips without speech are left out.
    """
    weights = float(sum(p.detach().double().abs().sum() for p in encoder.parameters()))
    made_by = f"{encoder.features} {weights:.9e} {len(clips)} {_digest(clips)}"
    if cache and cache.exists():
        with safe_open(cache, "pt") as file:
            if (file.metadata() or {}).get("made_by") == made_by:
                log.info("taking embeddings from %s", cache)
                return load_file(cache)
    jobs = ((clip.name, sound) for clip, sound in sounds(clips))
    found: dict[str, Tensor] = {}
    with ProcessPoolExecutor(os.cpu_count(), initializer=_start, initargs=(encoder,)) as pool:
        for done, (name, embeddings) in enumerate(pool.map(_embed, jobs, chunksize=16), 1):
            if len(embeddings):
                found[name] = torch.from_numpy(embeddings)
            if done % 500 == 0:
                log.info("%d of %d clips embedded", done, len(clips))
    if cache:
        cache.parent.mkdir(parents=True, exist_ok=True)
        temporary = cache.with_name(f".{cache.name}.part")
        save_file(found, temporary, {"made_by": made_by})
        temporary.replace(cache)
    return found


def _digest(clips: list[Clip]) -> str:
    """Which clips, and by which code: a cache of other code is not taken."""
    code = b"".join(Path(module.__file__ or "").read_bytes() for module in (audio, vad, features, frontend))
    names = "\n".join(clip.name for clip in clips).encode()
    return hashlib.sha256(names + code).hexdigest()[:16]


def _start(encoder: nn.Module) -> None:
    global _encoder
    torch.set_num_threads(1)  # one process a core already
    _encoder = encoder


def _embed(job: tuple[str, bytes]):  # type: ignore[no-untyped-def]
    name, data = job
    speech = find_speech(audio.read(data).samples)
    if len(speech.samples) < MIN_SPEECH:
        return name, torch.zeros(0).numpy()
    front_end = FRONT_ENDS[_encoder.features]()  # type: ignore[index]
    front_end.push(speech.samples)
    with torch.inference_mode():
        windows = [_encoder(torch.from_numpy(batch)) for batch, _ in front_end.inputs()]
    return name, torch.cat(windows).numpy()
