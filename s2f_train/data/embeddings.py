"""Embeddings of stored voices by a frozen network, kept so that they are computed once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from s2f_edge.errors import AudioError
from s2f_edge.hearing import audio, fbank, features, frontend
from s2f_edge.hearing.features import Float32s, repeat_to
from s2f_edge.hearing.frontend import FRONT_ENDS, LogMel64FrontEnd
from s2f_edge.processes import at_most
from s2f_train.data import augment, degrade
from s2f_train.data.store import Sample, Store, StoreError
from s2f_train.models import campplus, light, voice
from s2f_train.models.projected import ProjectedEncoder
from s2f_train.workers import Workers, call

log = logging.getLogger(__name__)

FEW = 50


def embed(
    store: Store, samples: list[Sample], encoder: nn.Module, cache: Path, jobs: int | None = None, copy: int = 0
) -> list[Tensor]:
    """Embeddings of every window of every voice, by the runtime's own front end, on all cores.

    Args:
        samples: voices of the store.
        encoder: a voice network on the CPU; `features` names its front end.
        cache: folder; embeddings of the same voices by the same weights are taken from there.
        jobs: processes; None: one a core.
        copy: 0: voices as they are stored; any other number: as if recorded elsewhere (`augment.ELSEWHERE`), each
            number in another way.

    Returns:
        In the order of `samples`, float32 (windows, embedding).

    Raises:
        StoreError: a voice has not what the front end needs.
    """
    if isinstance(encoder, ProjectedEncoder):  # what is kept serves every projection
        with torch.inference_mode():
            return [encoder.project(w).clone() for w in embed(store, samples, encoder.encoder, cache, jobs, copy)]
    path = cache / f"embeddings-{_digest(store, samples, encoder, copy)}.safetensors"
    if not path.exists():
        log.info("embedding %d voices by %s", len(samples), encoder.kind)
        windows = _embed_all(store, samples, encoder, jobs, copy)
        joined = torch.from_numpy(np.concatenate(windows))
        counts = torch.tensor([len(w) for w in windows])
        cache.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        save_file({"windows": joined, "counts": counts}, temporary)
        temporary.replace(path)
    found = load_file(path)
    return list(torch.split(found["windows"], found["counts"].tolist()))


def embed_once(
    store: Store, samples: list[Sample], encoder: nn.Module, cache: Path, fabric: Fabric, copy: int = 0
) -> list[Tensor]:
    """`embed` by the first process of each machine; the others take what it kept."""
    first = embed(store, samples, encoder, cache, copy=copy) if fabric.local_rank == 0 else None
    fabric.barrier()
    return embed(store, samples, encoder, cache, copy=copy) if first is None else first


def _digest(store: Store, samples: list[Sample], encoder: nn.Module, copy: int) -> str:
    """Of what the embeddings depend on: weights, voices, and the code of the front end."""
    digest = hashlib.sha256()
    for name, tensor in encoder.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    for module in (audio, features, fbank, frontend, voice, campplus, light):
        digest.update(Path(module.__file__ or "").read_bytes())
    digest.update(Path(__file__).read_bytes())
    if copy:
        for module in (augment, degrade):
            digest.update(Path(module.__file__ or "").read_bytes())
    digest.update(json.dumps([store.facts, [s.key for s in samples], *([copy] if copy else [])]).encode())
    return digest.hexdigest()[:20]


def _embed_all(store: Store, samples: list[Sample], encoder: nn.Module, jobs: int | None, copy: int) -> list[Float32s]:
    found = []
    if len(samples) < FEW:  # processes take longer to start
        return [windows_of(store, sample, encoder, copy) for sample in samples]
    with Workers(at_most(jobs), partial(_windows_on_one_core, store, encoder, copy)) as pool:
        for done, windows in enumerate(pool.map(call, samples, chunksize=32), 1):
            found.append(windows)
            if done % 1000 == 0:
                log.info("%d of %d voices embedded", done, len(samples))
    return found


def _windows_on_one_core(store: Store, encoder: nn.Module, copy: int, sample: Sample) -> Float32s:
    torch.set_num_threads(1)  # one process a core already
    return windows_of(store, sample, encoder, copy)


def windows_of(store: Store, sample: Sample, encoder: nn.Module, copy: int = 0) -> Float32s:
    """Embeddings of every window of a voice, float32 (windows, embedding); `copy` is as of `embed`."""
    windows: Float32s
    if encoder.features == "logmel-64" and not copy:
        logmel = repeat_to(store.logmel(sample).astype(np.float32), LogMel64FrontEnd.MIN_FRAMES)
        with torch.inference_mode():
            windows = encoder(torch.from_numpy(np.ascontiguousarray(logmel.T))[None]).numpy()
        return windows
    try:
        speech = audio.read(store.read(sample, "flac")).samples
    except AudioError as error:
        raise StoreError(f"{store.folder / sample.shard}: {sample.key}: {error}") from None
    if copy:
        rng = np.random.default_rng([copy, zlib.crc32(sample.key.encode())])
        speech = augment.augment(rng, speech, augment.ELSEWHERE)
    windows = windows_of_speech(speech, encoder).numpy()
    return windows


def windows_of_speech(speech: Float32s, encoder: nn.Module) -> Tensor:
    """Embeddings of every window of voiced samples, (n,) at 16 kHz: float32 (windows, embedding)."""
    front_end = FRONT_ENDS[str(encoder.features)]()
    front_end.push(speech)
    with torch.inference_mode():
        return torch.cat([encoder(torch.from_numpy(batch)) for batch, _ in front_end.inputs()])
