"""What the pipeline gives: a voice, and faces for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from s2f_edge._version import __version__
from s2f_edge.errors import UsageError
from s2f_edge.hearing.features import Float32s
from s2f_edge.hearing.quality import QualityWarning, SpeechQuality, rounded

if TYPE_CHECKING:
    from s2f_edge.marks.credentials import Credentials
    from s2f_edge.picture import Pixels, Provenance

SURE_OF_GENDER = 0.75  # under it, the estimate from the voice is "unsure"


@dataclass(frozen=True)
class Voice:
    """The voice of a recording: embedding, estimates and measurements.

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

    def why_general(self) -> QualityWarning:
        """Why `auto` takes the general generator, as a warning."""
        if self.male_probability is None:
            code, note = "no-gender", "This pack cannot estimate the speaker's gender; auto took the general generator."
        elif self.gender == "unsure":
            likely = "male" if self.male_probability > 0.5 else "female"
            share = max(self.male_probability, 1 - self.male_probability)
            note = f"The voice's gender is unsure ({likely} with {share:.0%}); auto took the general generator."
            code = "unsure-gender"
        else:
            note = f"The voice sounds {self.gender}, and the pack has no such generator; auto took the general one."
            code = "no-generator"
        return QualityWarning(code, note)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the embedding and how it was computed, as plain JSON values."""
        return {
            **self.quality.to_dict(),
            "gender": self.gender,
            "male_probability": rounded(self.male_probability),
            "surprise": rounded(self.surprise),
            "warnings": list(map(asdict, self.warnings)),
        }


def unusual(surprise: float, strange: float) -> QualityWarning:
    """What is to be said of a voice whose surprise is above that of most."""
    return QualityWarning(
        "unusual-voice",
        f"This voice is unlike those the pack was trained on (distance {surprise:.1f}; 99 % of them are under "
        f"{strange:.1f}); the face says little.",
    )


@dataclass(frozen=True)
class Appearance:
    """The appearance of faces before rendering; of packs with a renderer (`Speech2Face.appearance`, `render`).

    A face that moves keeps `inner` and `outer`, and its `shape` changes.

    Attributes:
        inner: float32, (samples, 3, 64, 64), RGB in [-1, 1]: a sketch of the inner face, on the mean shape.
        outer: float32, (samples, 3, 16, 16), RGB in [-1, 1]: one of the whole picture.
        shape: float32, (samples, 68, 2): x and y of dlib's points, in units of the picture's side.
    """

    inner: Float32s
    outer: Float32s
    shape: Float32s

    def __len__(self) -> int:
        return len(self.shape)


@dataclass(frozen=True)
class FaceResult:
    """Plausible faces for a voice. They are not the speaker, and identify nobody.

    Attributes:
        faces: uint8, (samples, side, side, 3), RGB; the side is `Speech2Face.face_size`. The first is the
            face of the voice; the others are candidates for it.
        voice: what the recording says about the voice.
        generator: general, male or female: the one that ran.
        asked_gender: what the call asked for.
        seed: what the candidates were drawn with.
        warnings: about the recording and the choice of the generator.
        pack, pack_sha256: name and version of the pack, sha256 of its manifest.
        variant: of the pack; `Speech2Face(variant=...)` makes the same faces on other machines.
        provider: the execution provider that drew the faces.
        timings_ms: milliseconds by stage, and `total`.
    """

    faces: Pixels
    voice: Voice
    generator: str
    asked_gender: str
    seed: int
    warnings: tuple[QualityWarning, ...]
    pack: str
    pack_sha256: str
    variant: str
    provider: str
    timings_ms: dict[str, float] = field(repr=False)

    @property
    def face(self) -> Pixels:
        """The first face, uint8, (side, side, 3), RGB."""
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
    def provenance(self) -> Provenance:
        from s2f_edge.picture import Provenance

        return Provenance(f"s2f-edge {__version__}", self.pack, self.pack_sha256, self.generator)

    def picture(
        self, size: int = 256, index: int = 0, format: str = "png", credentials: Credentials | None = None
    ) -> bytes:
        """The file of one face, with its provenance; `marks_of` says in which layers.

        Args:
            size: width and height in pixels, 16 to 4096.
            index: which face.
            format: png, webp or jpeg.
            credentials: what signs it; None takes `credentials.default()`.

        Raises:
            UsageError: an argument is out of range.
            CertificateError, RuntimeSetupError: it cannot be signed with the certificate asked for.
        """
        from s2f_edge.picture import checked_size, encode

        if not 0 <= index < len(self.faces):
            raise UsageError(f"index is {index}; there are {len(self.faces)} faces, from 0.")
        return encode(self.faces[index], self.provenance, checked_size(size), format, credentials)

    def grid_picture(self, size: int = 256, format: str = "png", credentials: Credentials | None = None) -> bytes:
        """The file of one picture with all faces side by side; arguments and errors of `picture`.

        Each face is `size` pixels wide, or smaller where the picture would be wider than 4096 pixels.
        """
        from s2f_edge.picture import checked_size, encode

        return encode(self.faces, self.provenance, checked_size(size), format, credentials)

    def png(self, size: int = 256, index: int = 0) -> bytes:
        """PNG bytes of one face, `size` x `size` pixels (16 to 4096), with its provenance."""
        return self.picture(size, index)

    def grid_png(self, size: int = 256) -> bytes:
        """PNG bytes of all faces side by side, each `size` pixels wide."""
        return self.grid_picture(size)

    def marks_of(self, size: int = 256, grid: bool = False, credentials: Credentials | None = None) -> tuple[str, ...]:
        """The layers in which a picture says where it comes from: of metadata, watermark and c2pa.

        Args:
            size, credentials: as for `picture`.
            grid: of the picture with all faces.
        """
        from s2f_edge.picture import checked_size, marks

        return marks(checked_size(size), len(self.faces) if grid else 1, credentials)

    def to_dict(self) -> dict[str, Any]:
        """Everything but pixels and embedding, as plain JSON values."""
        return {
            **self.voice.to_dict(),
            "asked_gender": self.asked_gender,
            "generator": self.generator,
            "samples": len(self.faces),
            "seed": self.seed,
            "warnings": list(map(asdict, self.warnings)),
            "timings_ms": {stage: round(ms, 2) for stage, ms in self.timings_ms.items()},
            "pack": self.pack,
            "pack_sha256": self.pack_sha256,
            "variant": self.variant,
            "provider": self.provider,
            "notice": self.provenance.notice,
        }
