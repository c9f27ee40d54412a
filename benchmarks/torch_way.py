"""What our runtime is compared with: the same way from a file to PNG bytes, in torch.

The networks of the default pack, and Kaldi's features, computed for the whole clip at once. It reads the whole file,
finds speech by WebRTC's detector in the published collector's way, and writes a plain PNG, without marks. The weights
are made up, since time does not depend on them.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import webrtcvad
from PIL import Image
from torch import nn
from torch.nn import functional

from s2f_edge.hearing.fbank import FBANK_FFT, FBANK_FLOOR, POVEY_POWER, fbank_filters
from s2f_edge.hearing.features import HOP, PCM_SCALE, PRE_EMPHASIS, WINDOW, Float32s, logmel_filters
from s2f_edge.pack.pack import Pack
from s2f_train.data.inner_face import inner_mask
from s2f_train.data.textures import mean_shape
from s2f_train.models.appearance_generator import AppearanceGenerator
from s2f_train.models.campplus import CamPlusPlus
from s2f_train.models.renderer import Renderer

FRAME = 320  # of the detector, 20 ms
BATCH = 8  # windows


class ProjectedVoice(nn.Module):
    """CAM++ and the projection of the default pack."""

    def __init__(self, pooled: int, size: int) -> None:
        super().__init__()
        self.encoder, self.projection = CamPlusPlus(pooled), nn.Linear(pooled, size)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return functional.normalize(self.projection(self.encoder(features)))


class Face(nn.Module):
    """The default pack's generator and its renderer, from an embedding to a picture."""

    def __init__(self, generator: dict[str, Any], renderer: dict[str, Any]) -> None:
        super().__init__()
        self.generator, self.renderer = AppearanceGenerator(**generator), Renderer(**renderer)
        with torch.no_grad():
            self.renderer.set_frame(mean_shape(), inner_mask())
            self.generator.mean[-2 * len(mean_shape()) :] = mean_shape().flatten()

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        latent = torch.zeros(len(embedding), self.generator.settings["latent_size"])
        face: torch.Tensor = self.renderer(*self.generator(embedding, latent))
        return face


def networks() -> tuple[nn.Module, nn.Module]:
    """Voice network, and what makes a picture of its embedding."""
    pack = Pack.open()
    facts: dict[str, Any] = json.loads((pack.folder / "manifest.json").read_text("utf-8"))
    voice = ProjectedVoice(
        facts["voice"]["settings"]["encoder_settings"]["embedding_size"], pack.manifest.voice.embedding_size
    )
    face = Face(facts["generator_settings"]["generator_general"], facts["renderer"]["settings"])
    return voice.eval(), face.eval()


def speech_of(samples: Float32s) -> Float32s:
    """The voiced samples, by a ring of two frames."""
    detector = webrtcvad.Vad(2)
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    ring: list[int] = []
    kept: list[int] = []
    inside = False
    for frame in range((len(samples) - 1) // FRAME):
        ring = [*ring[-1:], frame]
        voiced = [detector.is_speech(pcm[2 * FRAME * i : 2 * FRAME * (i + 1)], 16_000) for i in ring]
        if inside:
            kept.append(frame)
            if len(ring) == 2 and not any(voiced):
                inside, ring = False, []
        elif len(ring) == 2 and all(voiced):
            kept += ring
            inside, ring = True, []
    frames = samples[: (len(samples) // FRAME) * FRAME].reshape(-1, FRAME)
    return np.ascontiguousarray(frames[kept].reshape(-1))


def frame_by_frame(samples: Float32s) -> Float32s:
    """Log-mel as the published extractor goes about it: one frame at a time, one FFT each."""
    filters, window = logmel_filters(), np.hamming(WINDOW)
    scaled, before, frames = samples * 32768.0, 0.0, []
    for start in range(0, len(scaled) + 1, HOP):
        frame = np.resize(scaled[start : start + WINDOW], WINDOW)
        emphasised = frame - PRE_EMPHASIS * np.concatenate([[before], frame[:-1]])
        before = frame[-1]
        power = np.abs(np.fft.rfft(emphasised * window, 1024)) ** 2
        frames.append(np.log(np.maximum(power[: len(filters)] @ filters, 1e-5)))
    return np.array(frames, np.float32)


def torch_fbank(samples: Float32s) -> torch.Tensor:
    """Kaldi's features of a whole signal, (frames, 80)."""
    x = torch.from_numpy(samples).unfold(0, WINDOW, HOP) * PCM_SCALE
    x = x - x.mean(dim=1, keepdim=True)
    x = x - PRE_EMPHASIS * torch.cat([x[:, :1], x[:, :-1]], dim=1)
    window = torch.from_numpy((np.hanning(WINDOW) ** POVEY_POWER).astype(np.float32))
    power = torch.fft.rfft(x * window, FBANK_FFT).abs().square()[:, :-1]
    return (power @ torch.from_numpy(fbank_filters().astype(np.float32))).clamp_min(FBANK_FLOOR).log()


class TorchWay:
    """From a file to PNG bytes."""

    def __init__(self) -> None:
        self.voice, self.generator = networks()

    @torch.inference_mode()
    def __call__(self, path: Path) -> bytes:
        samples, _ = soundfile.read(path, dtype="float32")
        speech = speech_of(samples)
        face = self.generator(functional.normalize(self._embedding(speech)))[0]
        pixels = (face * 127.5 + 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()

    def _embedding(self, speech: Float32s) -> torch.Tensor:
        frames = torch_fbank(speech)
        whole = len(frames) // 200 * 200
        windows = torch.stack(frames[:whole].split(200) if whole else [frames])
        windows = windows - windows.mean(dim=1, keepdim=True)
        return torch.cat([self.voice(batch) for batch in windows.split(BATCH)]).sum(dim=0, keepdim=True)
