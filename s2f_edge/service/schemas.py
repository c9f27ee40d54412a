"""What goes in and out of the service, as pydantic models: they check requests, and are the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from s2f_edge.terms import MAX_SAMPLES, MAX_SIZE, MAX_STRENGTH, MAX_TALK_SIZE, MIN_SIZE, Gender, Generator, VideoFormat

Format = Literal["png", "webp", "jpeg", "json"]
MAX_SEED = 2**53 - 1  # what JavaScript can say exactly


def _whole(value: Any) -> Any:
    """Fields of a form are text: only plain digits are a number."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20 else value


Whole = BeforeValidator(_whole)


class FaceFields(BaseModel):
    """What a request for faces may say beside the recording."""

    model_config = ConfigDict(extra="forbid")

    gender: Gender = Field(default="auto", description="Generator; auto chooses by the voice.")
    samples: Annotated[int, Whole] = Field(default=1, ge=1, le=MAX_SAMPLES, description="Number of candidates.")
    seed: Annotated[int | None, Whole] = Field(
        default=None, ge=0, le=MAX_SEED, description="Random seed of the candidates (default: a random one)."
    )
    size: Annotated[int, Whole] = Field(
        default=256, ge=MIN_SIZE, le=MAX_SIZE, description="Width and height of a face in pixels."
    )
    format: Format = Field(
        default="png", description="A picture (a grid where samples is above 1), or JSON with one picture per sample."
    )
    keep_hours: float | None = Field(
        default=None, gt=0, description="Hours to keep the faces, encrypted; only where the server has a store."
    )


Amount = Annotated[float, Field(ge=0, le=MAX_STRENGTH)]


class TalkFields(BaseModel):
    """What a request for a video may say beside the recording."""

    model_config = ConfigDict(extra="forbid")

    gender: Gender = Field(default="auto", description="Generator; auto chooses by the voice.")
    seed: Annotated[int, Whole] = Field(
        default=0, ge=0, le=MAX_SEED, description="Random seed of candidates, blinks and movements of the head."
    )
    candidate: Annotated[int, Whole] = Field(
        default=1, ge=1, le=MAX_SAMPLES, description="Which of the faces that `/v1/face` draws with this seed."
    )
    size: Annotated[int, Whole] = Field(
        default=256, ge=MIN_SIZE, le=MAX_TALK_SIZE, description="Width and height in pixels; even for mp4 and webm."
    )
    format: VideoFormat = Field(default="mp4", description="gif and webp have no sound.")
    head: Amount = Field(default=1.0, description="How much the head moves: from 0 to 2.")
    blink: Amount = Field(default=1.0, description="How often it blinks: from 0 to 2.")
    brows: Amount = Field(default=1.0, description="How much the brows rise: from 0 to 2.")


class PredictFields(BaseModel):
    """What the thesis's mobile app sends beside the recording."""

    model_config = ConfigDict(extra="ignore")

    gender: Annotated[Gender, BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)] = (
        Field(default="auto", description="Generator; upper and lower case are equal.")
    )


class NoFields(BaseModel):
    """A file alone."""

    model_config = ConfigDict(extra="forbid")


class Warning_(BaseModel):
    code: str
    message: str


class VoiceFacts(BaseModel):
    """What the recording says about the voice."""

    speech_seconds: float
    heard_seconds: float
    gender: Literal["male", "female", "unsure"] = Field(description="The estimate from the voice.")
    male_probability: float | None
    warnings: list[Warning_]
    pack: str
    pack_sha256: str
    notice: str


class Picture(BaseModel):
    media_type: str
    width: int
    height: int
    base64: str


class Kept(BaseModel):
    """A face that is kept. The owner key is said once, and the server does not keep it."""

    name: str
    owner_key: str
    until: str = Field(description="RFC 3339.")


class Facts(VoiceFacts):
    """What is known of faces that were made. They are invented, and identify nobody."""

    asked_gender: Gender
    generator: Generator
    surprise: float | None
    snr_db: float | None
    level_dbfs: float | None
    samples: int
    seed: int
    timings_ms: dict[str, float]
    provider: str
    marks: list[str] = Field(description="metadata, watermark (from 256 pixels on), c2pa (where it is installed).")
    kept: list[Kept] | None = None


class Faces(Facts):
    pictures: list[Picture]


class Embedding(VoiceFacts):
    embedding: list[float] = Field(description="Of unit length. Not for identifying anyone.")


class Problem(BaseModel):
    """RFC 9457. `code` is what a program tests for; `detail` says what was found, what is needed and what to do."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class BatchItem(BaseModel):
    """One of the two."""

    face: Faces | None = None
    problem: Problem | None = None


class Batch(BaseModel):
    results: list[BatchItem] = Field(description="In the order of the files.")


class Predicted(BaseModel):
    """What the thesis's app reads: the address of a picture."""

    url: str
    speech_seconds: float
    gender: str
    generator: str
    notice: str


class ProvenanceReport(BaseModel):
    """What a picture says of its origin, layer by layer."""

    model_config = ConfigDict(extra="allow")

    verdict: str


class Limits(BaseModel):
    bytes: int
    seconds: float
    talk_seconds: float
    samples: int
    size: int
    batch: int
    min_speech_seconds: float


class Info(BaseModel):
    version: str
    pack: str
    pack_sha256: str
    variant: str = Field(description="Of the pack, by the name of its weights.")
    generators: list[str]
    face_size: int = Field(
        description="Side in pixels of the faces that the pack makes; other sizes are resized from it."
    )
    limits: Limits
    key_needed: bool
    formats: list[str]
    stream: bool
    talk: list[VideoFormat] = Field(description="Formats of videos; none where faces do not speak here.")
    store: bool
    on_device: bool
    notice: str


class Version(BaseModel):
    version: str
    pack: str
    pack_sha256: str
    provider: str


class Status(BaseModel):
    status: Literal["ok"]
