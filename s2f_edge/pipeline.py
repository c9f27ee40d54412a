"""Speech2Face: recording -> speech -> features -> embedding -> face, with a clock on every stage."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_edge import audio, quality
from s2f_edge._version import __version__
from s2f_edge.denoise import NoiseReducer
from s2f_edge.errors import UsageError
from s2f_edge.features import Float32s
from s2f_edge.frontend import FRONT_ENDS, FrontEnd
from s2f_edge.pack import Pack
from s2f_edge.picture import Pixels, Provenance, checked_size, encode_png, grid
from s2f_edge.quality import QualityWarning, SpeechQuality
from s2f_edge.session import Network, unit
from s2f_edge.vad import SpeechFinder, hearing_gain

GENDER_CHOICES = ("auto", "general", "male", "female")
SURE_OF_GENDER = 0.9  # under it, `auto` takes the general generator
MIN_SPEECH_S = 1.0
MAX_SAMPLES = 64


@dataclass(frozen=True)
class Voice:
    """What a recording says about its speaker's voice.

    Attributes:
        embedding: float32, (embedding,), of unit length.
        quality: seconds heard and of speech, level, signal-to-noise ratio.
        male_probability: 0 to 1; None where the pack cannot tell.
        surprise: how far the voice is from those the pack was trained on, about 1 for a
            usual one; None where the pack cannot tell.
        warnings: what the user should know.
        timings_ms: milliseconds by stage.
        provider: the execution provider that ran the voice network.
    """

    embedding: Float32s
    quality: SpeechQuality
    male_probability: float | None
    surprise: float | None
    warnings: tuple[QualityWarning, ...]
    timings_ms: dict[str, float]
    provider: str

    @property
    def gender(self) -> str:
        """male, female or unsure: the estimate from the voice."""
        if self.male_probability is None or max(self.male_probability, 1 - self.male_probability) < SURE_OF_GENDER:
            return "unsure"
        return "male" if self.male_probability > 0.5 else "female"


@dataclass(frozen=True)
class FaceResult:
    """Plausible faces for a voice. They are not the speaker, and identify nobody.

    Attributes:
        faces: uint8, (samples, 64, 64, 3), RGB. The first is the face of the embedding
            itself; the others are candidates drawn around it.
        voice: what the recording says about the voice.
        generator: general, male or female: the one that ran.
        asked_gender: what the call asked for.
        seed: what the candidates were drawn with.
        pack, pack_sha256: name and version of the pack, sha256 of its manifest.
        provider: the execution provider that ran the generator.
        timings_ms: milliseconds by stage, and `total`.
    """

    faces: Pixels
    voice: Voice
    generator: str
    asked_gender: str
    seed: int
    pack: str
    pack_sha256: str
    provider: str
    timings_ms: dict[str, float] = field(repr=False)

    @property
    def face(self) -> Pixels:
        """The first face, uint8, (64, 64, 3), RGB."""
        first: Pixels = self.faces[0]
        return first

    @property
    def speech_seconds(self) -> float:
        return self.voice.quality.speech_s

    @property
    def gender(self) -> str:
        """male, female or unsure: the estimate from the voice."""
        return self.voice.gender

    @property
    def male_probability(self) -> float | None:
        return self.voice.male_probability

    @property
    def warnings(self) -> tuple[QualityWarning, ...]:
        return self.voice.warnings

    @property
    def provenance(self) -> Provenance:
        return Provenance(f"s2f-edge {__version__}", self.pack, self.pack_sha256, self.generator)

    def png(self, size: int = 256, index: int = 0) -> bytes:
        """PNG bytes of one face, `size` x `size` pixels (16 to 4096), with its provenance."""
        return encode_png(self.faces[index], self.provenance, checked_size(size))

    def grid_png(self, size: int = 256) -> bytes:
        """PNG bytes of all faces side by side, each `size` pixels wide."""
        columns = int(np.ceil(np.sqrt(len(self.faces))))
        sheet = grid(list(self.faces))
        return encode_png(sheet, self.provenance, min(4096, checked_size(size) * columns))

    def to_dict(self) -> dict[str, Any]:
        """Everything but pixels and embedding, as plain JSON values."""
        measured = self.voice.quality
        return {
            "speech_seconds": round(measured.speech_s, 3),
            "heard_seconds": round(measured.heard_s, 3),
            "gender": self.gender,
            "male_probability": _rounded(self.male_probability),
            "asked_gender": self.asked_gender,
            "generator": self.generator,
            "surprise": _rounded(self.voice.surprise),
            "snr_db": _rounded(measured.snr_db),
            "level_dbfs": _rounded(measured.level_dbfs),
            "samples": len(self.faces),
            "seed": self.seed,
            "warnings": [{"code": w.code, "message": w.message} for w in self.warnings],
            "timings_ms": {stage: round(ms, 2) for stage, ms in self.timings_ms.items()},
            "pack": self.pack,
            "pack_sha256": self.pack_sha256,
            "provider": self.provider,
            "notice": self.provenance.notice,
        }


class Speech2Face:
    """A pack, loaded: call `infer` for a face, `embed` for the voice embedding alone.

    Networks are loaded, and checked against the manifest, when they are first needed.
    An object may be used from several threads.

    Args:
        pack: folder of a model pack; None takes the default pack.
        device: `auto` takes CUDA where it is there, `cpu`, or `cuda`, which raises without it.
        threads: of one network call; None leaves the choice to onnxruntime.

    Raises:
        PackError, DeviceError, RuntimeSetupError: see `Pack` and `Network`.
    """

    def __init__(self, pack: Any = None, device: str = "auto", threads: int | None = None) -> None:
        self.pack = Pack.open(pack)
        self.device = device
        self._threads = threads
        self._networks: dict[str, Network] = {}
        self._voice = self._network(self.pack.manifest.voice.file)

    @property
    def pack_name(self) -> str:
        return f"{self.pack.manifest.name} {self.pack.manifest.version}"

    def infer(
        self,
        source: audio.Source,
        sample_rate: int | None = None,
        *,
        gender: str = "auto",
        samples: int = 1,
        seed: int | None = None,
        denoise: bool = False,
    ) -> FaceResult:
        """A plausible face for the voice in a recording.

        Args:
            source: path, bytes of a file, binary file object, or numpy samples.
            sample_rate: of numpy samples, in Hz.
            gender: which generator: male, female, general, or auto (by the voice; general
                where that is unsure).
            samples: how many faces, 1 to 64: the first without noise, the others drawn
                around the embedding with the pack's noise.
            seed: what the others are drawn with; None draws one, and the result has it.
            denoise: lowers steady noise first; for noisy recordings only.

        Raises:
            UsageError: an argument out of its range.
            AudioError: the recording cannot be read, or is not enough speech.
        """
        if not 1 <= samples <= MAX_SAMPLES:
            raise UsageError(f"samples is {samples}; it must be from 1 to {MAX_SAMPLES}.")
        self._check_gender(gender)
        voice = self.embed(source, sample_rate, denoise=denoise)
        return self.face(voice, gender=gender, samples=samples, seed=seed)

    def embed(self, source: audio.Source, sample_rate: int | None = None, *, denoise: bool = False) -> Voice:
        """The voice embedding of a recording, and what was measured on the way."""
        clock = _Clock()
        measured, front_end = self._listen(source, sample_rate, clock, denoise)
        return self.voice_of(measured, front_end, clock.ms)

    def voice_of(
        self, measured: SpeechQuality, front_end: FrontEnd, timings_ms: dict[str, float] | None = None
    ) -> Voice:
        """What `embed` says of a recording that has been listened to.

        Args:
            measured: by a `SpeechMeter` that heard the recording.
            front_end: the pack's, with the features of the recording's speech.
            timings_ms: of the stages before; this one is added to it.

        Raises:
            NotSpeechError, TooLittleSpeechError: the recording is not enough speech.
        """
        clock = _Clock(timings_ms)
        quality.require_speech(measured, MIN_SPEECH_S)
        with clock("embedding"):
            embedding = self._embedding(front_end)
        male, surprise, notes = self._traits(embedding)
        warnings = (*quality.warnings(measured), *notes)
        return Voice(embedding, measured, male, surprise, warnings, clock.ms, self._voice.provider)

    def face(self, voice: Voice, *, gender: str = "auto", samples: int = 1, seed: int | None = None) -> FaceResult:
        """Faces for a voice that `embed` gave; the arguments are those of `infer`."""
        clock = _Clock(dict(voice.timings_ms))
        chosen = self._choose(gender, voice)
        seed = secrets.randbits(32) if seed is None else seed
        with clock("generator"):
            network = self._network(self.pack.manifest.generators[chosen])
            output = network.run({"embedding": self._candidates(voice.embedding, samples, seed)})["face"]
            # (x - 127.5) / 127.5 undone
            faces = np.rint(np.clip(output * 127.5 + 127.5, 0.0, 255.0)).astype(np.uint8).transpose(0, 2, 3, 1)
        timings = {**clock.ms, "total": sum(clock.ms.values())}
        return FaceResult(
            np.ascontiguousarray(faces), voice, chosen, gender, seed, self.pack_name, self.pack.sha256,
            network.provider, timings,
        )  # fmt: skip

    # ---------------------------------------------------------------------------- stages

    def _listen(
        self, source: audio.Source, sample_rate: int | None, clock: _Clock, denoise: bool
    ) -> tuple[SpeechQuality, FrontEnd]:
        """Reads the recording once, block by block; only features are kept."""
        front_end = FRONT_ENDS[self.pack.manifest.voice.features]()
        meter = quality.SpeechMeter()
        finder: SpeechFinder | None = None
        blocks = clock.each("decode", audio.stream(source, sample_rate))
        if denoise:
            blocks = _denoised(blocks, clock)
        for block in blocks:
            with clock("vad"):
                if finder is None and len(block):
                    finder = SpeechFinder(hearing_gain(block))
                voiced = finder.push(block) if finder else block
            with clock("quality"):
                meter.push(block, voiced)
            with clock("features"):
                front_end.push(voiced)
        with clock("quality"):
            return meter.finish(), front_end

    def _embedding(self, front_end: FrontEnd) -> Float32s:
        """The mean of the windows' embeddings, by weight, of unit length."""
        total = np.zeros(self.pack.manifest.voice.embedding_size)
        for inputs, weights in front_end.inputs():
            total += weights @ self._voice.run({"features": inputs})["embedding"]
        return unit(total)

    def _traits(self, embedding: Float32s) -> tuple[float | None, float | None, list[QualityWarning]]:
        info = self.pack.manifest.traits
        if info is None:
            note = "This pack cannot estimate the speaker's gender; auto takes its general generator."
            return None, None, [QualityWarning("no-gender", note)]
        found = self._network(info.file).run({"embedding": embedding[None]})
        male, surprise = float(found["male"][0]), float(found["surprise"][0])
        notes = []
        if surprise > info.strange:
            notes.append(
                QualityWarning(
                    "unusual-voice",
                    f"This voice is unlike those the pack was trained on (distance {surprise:.1f}; 99 % of them are "
                    f"under {info.strange:.1f}); the face says little.",
                )
            )
        return male, surprise, notes

    def _check_gender(self, gender: str) -> None:
        if gender not in GENDER_CHOICES:
            raise UsageError(f"gender is {gender!r}; it must be one of {', '.join(GENDER_CHOICES)}.")
        if gender != "auto" and gender not in self.pack.manifest.generators:
            has = ", ".join(self.pack.manifest.generators)
            raise UsageError(f"The pack {self.pack_name} has no {gender} generator; it has {has}.")

    def _choose(self, gender: str, voice: Voice) -> str:
        self._check_gender(gender)
        if gender != "auto":
            return gender
        generators = self.pack.manifest.generators
        wanted = voice.gender if voice.gender != "unsure" else "general"
        return wanted if wanted in generators else next(iter(generators))

    def _candidates(self, embedding: Float32s, samples: int, seed: int) -> Float32s:
        """float32 (samples, embedding): the embedding, then noisy copies of unit length (SPEC section 3)."""
        noise = np.random.default_rng(seed).standard_normal((samples, len(embedding)))
        noise[0] = 0.0
        return unit(embedding + self.pack.manifest.noise * noise)

    def _network(self, name: str) -> Network:
        # Two threads may both load it at first; the second is dropped, and nothing waits.
        if name not in self._networks:
            self._networks[name] = Network(self.pack, name, self.device, self._threads)
        return self._networks[name]


class _Clock:
    """Adds up milliseconds by stage."""

    def __init__(self, ms: dict[str, float] | None = None) -> None:
        self.ms = ms if ms is not None else {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
        finally:
            self.ms[stage] = self.ms.get(stage, 0.0) + (perf_counter() - began) * 1e3

    def each(self, stage: str, items: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        """Passes items on; the time that each takes to come is the stage's."""
        while True:
            with self(stage):
                item = next(items, None)
            if item is None:
                return
            yield item


def _denoised(blocks: Iterator[Float32s], clock: _Clock) -> Iterator[Float32s]:
    reducer = NoiseReducer()
    for block in blocks:
        with clock("denoise"):
            quieter = reducer.push(block)
        yield quieter
    with clock("denoise"):
        rest = reducer.finish()
    yield rest


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
