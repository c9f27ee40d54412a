"""s2f-edge: a plausible face from a recording of a voice, with numpy and onnxruntime.

    from s2f_edge import Speech2Face

    result = Speech2Face().infer("clip.wav", gender="male")
    open("face.png", "wb").write(result.png(256))

Public are the names in `__all__`, and `s2f_edge.live.LiveVoice`, `s2f_edge.marks.credentials.Credentials`,
`s2f_edge.marks.provenance.read`, `s2f_edge.service.app.create_app` and `s2f_edge.service.settings.ServiceSettings`;
the rest may change with any version.

A face from a voice is never an identification.
"""

from typing import TYPE_CHECKING, Any

from s2f_edge._version import __version__
from s2f_edge.errors import (
    AudioError,
    DeviceError,
    InvalidSamplesError,
    ManifestError,
    MissingDecoderError,
    NotSpeechError,
    OutputError,
    PackError,
    PackIntegrityError,
    PackNotFoundError,
    ProvenanceError,
    RuntimeSetupError,
    S2FError,
    TooLittleSpeechError,
    UnreadableAudioError,
    UsageError,
)

if TYPE_CHECKING:
    from s2f_edge.pipeline import Speech2Face
    from s2f_edge.results import Appearance, FaceResult, Voice

__all__ = [
    "Appearance",
    "AudioError",
    "DeviceError",
    "FaceResult",
    "InvalidSamplesError",
    "ManifestError",
    "MissingDecoderError",
    "NotSpeechError",
    "OutputError",
    "PackError",
    "PackIntegrityError",
    "PackNotFoundError",
    "ProvenanceError",
    "RuntimeSetupError",
    "S2FError",
    "Speech2Face",
    "TooLittleSpeechError",
    "UnreadableAudioError",
    "UsageError",
    "Voice",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """The pipeline, and numpy with it, when it is first asked for: `s2f-edge --help` needs neither."""
    if name in ("Appearance", "FaceResult", "Speech2Face", "Voice"):
        from s2f_edge import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
