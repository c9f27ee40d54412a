"""Every error that s2f-edge raises on purpose.

    S2FError                     anything below
    ├── UsageError               an argument that cannot be right                 exit 2   HTTP 400
    ├── AudioError
    │   ├── UnreadableAudioError the bytes are no sound that can be decoded       exit 10  HTTP 415
    │   ├── MissingDecoderError  the format needs the extra `media`               exit 11  HTTP 415
    │   ├── InvalidSamplesError  NaN, wrong type, rate or shape of samples        exit 12  HTTP 422
    │   ├── NotSpeechError       silence, noise, a tone or music                  exit 20  HTTP 422
    │   └── TooLittleSpeechError speech, but less than the minimum                exit 21  HTTP 422
    ├── PackError
    │   ├── PackNotFoundError    no manifest.json where the pack should be        exit 30  HTTP 500
    │   ├── ManifestError        the manifest cannot be read or contradicts itself exit 31 HTTP 500
    │   └── PackIntegrityError   a file differs from what the manifest says       exit 32  HTTP 500
    ├── RuntimeSetupError        onnxruntime is missing, or installed twice       exit 40  HTTP 500
    ├── DeviceError              the device asked for cannot be used              exit 41  HTTP 500
    ├── OutputError              the result cannot be written                     exit 50  HTTP 500
    └── ProvenanceError          a picture carries no readable provenance         exit 51  HTTP 422

The command line and a service read the same three class attributes: `code`,
`exit_status` and `http_status`. Each message says what was found, what is needed
and what to do.
"""

from __future__ import annotations


class S2FError(Exception):
    """Root of all errors that s2f-edge raises on purpose."""

    code = "s2f"
    exit_status = 1
    http_status = 500


class UsageError(S2FError, ValueError):
    code = "usage"
    exit_status = 2
    http_status = 400


class AudioError(S2FError):
    code = "audio"
    exit_status = 10
    http_status = 422


class UnreadableAudioError(AudioError, ValueError):
    code = "unreadable-audio"
    exit_status = 10
    http_status = 415


class MissingDecoderError(AudioError, ImportError):
    code = "missing-decoder"
    exit_status = 11
    http_status = 415


class InvalidSamplesError(AudioError, ValueError):
    code = "invalid-samples"
    exit_status = 12
    http_status = 422


class NotSpeechError(AudioError, ValueError):
    """The sound is no speech. `reason` is one of silence, noise, tone, music, unclear."""

    code = "not-speech"
    exit_status = 20
    http_status = 422

    def __init__(self, reason: str, detail: str):
        self.reason = reason
        super().__init__(f"{detail} Give a recording of one person who speaks.")


class TooLittleSpeechError(AudioError, ValueError):
    """Speech was found, but not enough of it."""

    code = "too-little-speech"
    exit_status = 21
    http_status = 422

    def __init__(self, found_s: float, needed_s: float, heard_s: float):
        self.found_s, self.needed_s, self.heard_s = found_s, needed_s, heard_s
        super().__init__(
            f"Found {found_s:.2f} s of speech in {heard_s:.2f} s of sound; at least "
            f"{needed_s:.1f} s is needed. Give a longer recording."
        )


class PackError(S2FError):
    code = "pack"
    exit_status = 30


class PackNotFoundError(PackError, FileNotFoundError):
    code = "pack-not-found"
    exit_status = 30


class ManifestError(PackError, ValueError):
    code = "manifest"
    exit_status = 31


class PackIntegrityError(PackError, ValueError):
    code = "pack-integrity"
    exit_status = 32


class RuntimeSetupError(S2FError, ImportError):
    code = "runtime-setup"
    exit_status = 40


class DeviceError(S2FError, RuntimeError):
    code = "device"
    exit_status = 41


class OutputError(S2FError, OSError):
    code = "output"
    exit_status = 50


class ProvenanceError(S2FError, ValueError):
    code = "provenance"
    exit_status = 51
    http_status = 422
