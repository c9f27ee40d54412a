"""s2f-edge: a plausible face from a recording of a voice, with numpy and onnxruntime.

    from s2f_edge import Speech2Face

    result = Speech2Face().infer("clip.wav", gender="male")
    open("face.png", "wb").write(result.png(256))

A face from a voice is never an identification.
"""

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
from s2f_edge.pipeline import FaceResult, Speech2Face, Voice

__all__ = [
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
