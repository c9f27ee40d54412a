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
    ├── RuntimeSetupError        a package is missing, or onnxruntime there twice exit 40  HTTP 500
    ├── DeviceError              the device asked for cannot be used              exit 41  HTTP 500
    ├── CertificateError         pictures cannot be signed with this certificate  exit 42  HTTP 500
    ├── ClusterError             no Ray cluster, or a machine of it lacks files   exit 43  HTTP 500
    ├── WorkerError              the process that worked on a recording ended     exit 44  HTTP 500
    ├── OutOfResourcesError      memory or threads have run out                   exit 45  HTTP 503
    ├── OutputError              the result cannot be written                     exit 50  HTTP 500
    ├── ProvenanceError          no picture, or none with provenance              exit 51  HTTP 422
    └── ServiceError             what a service refuses or fails to do
        ├── SetupError           it cannot start: port taken, unreadable key file exit 60  HTTP 500
        ├── InvalidRequestError  a field is missing or cannot be read             exit 61  HTTP 422
        ├── TooLargeError        more bytes than are taken                        exit 62  HTTP 413
        ├── TooLongError         more seconds of sound than are taken             exit 63  HTTP 413
        ├── UnauthorisedError    no key, or one that is not known                 exit 64  HTTP 401
        ├── ForbiddenError       a page of another origin                         exit 65  HTTP 403
        ├── NotFoundError        nothing is kept under this name, or no more      exit 66  HTTP 404
        ├── TooManyRequestsError more requests per minute than a key may make     exit 67  HTTP 429
        ├── BusyError            the queue is full                                exit 68  HTTP 503
        ├── DeadlineError        it took longer than a request may                exit 69  HTTP 504
        └── DecoderFailedError   the decoder crashed on the sound, or ran away    exit 70  HTTP 422

The command line and a service read the same three class attributes: `code`,
`exit_status` and `http_status`. Each message says what was found, what is needed
and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class S2FError(Exception):
    """Root of all errors that s2f-edge raises on purpose. `details`: what a class knows beside its message."""

    code = "s2f"
    exit_status = 1
    http_status = 500
    details: tuple[str, ...] = ()

    def __init_subclass__(cls, code: str = "", exit_status: int = 0, http_status: int = 0) -> None:
        """What a class is not given is that of the class above it."""
        super().__init_subclass__()
        cls.code, cls.exit_status = code or cls.code, exit_status or cls.exit_status
        cls.http_status = http_status or cls.http_status

    def known(self) -> dict[str, Any]:
        """The details that are known, by name."""
        return {name: value for name in self.details if (value := getattr(self, name)) is not None}

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON-ready values, which `from_dict` reads."""
        return {"error": self.code, "message": str(self), "exit_status": self.exit_status, **self.known()}


class UsageError(S2FError, ValueError, code="usage", exit_status=2, http_status=400): ...


class AudioError(S2FError, code="audio", exit_status=10, http_status=422): ...


class UnreadableAudioError(AudioError, ValueError, code="unreadable-audio", exit_status=10, http_status=415): ...


class MissingDecoderError(AudioError, ImportError, code="missing-decoder", exit_status=11, http_status=415): ...


class InvalidSamplesError(AudioError, ValueError, code="invalid-samples", exit_status=12, http_status=422): ...


class NotSpeechError(AudioError, ValueError, code="not-speech", exit_status=20, http_status=422):
    """The sound is no speech. `reason` is one of silence, noise, tone, music, unclear."""

    details = ("reason",)

    def __init__(self, reason: str, detail: str):
        self.reason = reason
        super().__init__(f"{detail} Give a recording of one person who speaks.")


class TooLittleSpeechError(AudioError, ValueError, code="too-little-speech", exit_status=21, http_status=422):
    """Speech was found, but not enough of it."""

    details = ("found_s", "needed_s", "heard_s")

    def __init__(self, found_s: float, needed_s: float, heard_s: float, damage: str = ""):
        self.found_s, self.needed_s, self.heard_s = found_s, needed_s, heard_s
        super().__init__(
            f"Found {found_s:.2f} s of speech in {heard_s:.2f} s of sound; at least "
            f"{needed_s:.1f} s is needed. {damage or 'Give a longer recording.'}"
        )


class PackError(S2FError, code="pack", exit_status=30): ...


class PackNotFoundError(PackError, FileNotFoundError, code="pack-not-found", exit_status=30): ...


class ManifestError(PackError, ValueError, code="manifest", exit_status=31): ...


class PackIntegrityError(PackError, ValueError, code="pack-integrity", exit_status=32): ...


class RuntimeSetupError(S2FError, ImportError, code="runtime-setup", exit_status=40): ...


class DeviceError(S2FError, RuntimeError, code="device", exit_status=41): ...


class CertificateError(S2FError, ValueError, code="certificate", exit_status=42): ...


class ClusterError(S2FError, RuntimeError, code="cluster", exit_status=43): ...


class WorkerError(S2FError, RuntimeError, code="worker", exit_status=44): ...


class OutOfResourcesError(S2FError, RuntimeError, code="out-of-resources", exit_status=45, http_status=503):
    SIGNS = ("bad_alloc", "bad allocation", "failed to allocate", "cannot allocate", "out of memory",
             "unable to allocate", "failed to map segment", "pthread", "start new thread",
             "resource temporarily unavailable")  # fmt: skip

    @classmethod
    def of(cls, error: BaseException) -> OutOfResourcesError | None:
        """This error for one of Python or of a library that means it; None for others."""
        text = str(error)
        if isinstance(error, MemoryError) or any(sign in text.lower() for sign in cls.SIGNS):
            found = f" ({text.strip()})" if text else ""
            return cls(
                f"Memory or threads have run out{found}. Close other programs, or use fewer --jobs or --threads."
            )
        return None


class OutputError(S2FError, OSError, code="output", exit_status=50): ...


class ProvenanceError(S2FError, ValueError, code="provenance", exit_status=51, http_status=422): ...


class ServiceError(S2FError, code="service", exit_status=60):
    """`retry_after_s`: in how many whole seconds the same request may be sent again, where that helps."""

    details = ("retry_after_s",)
    retry_after_s: int | None = None

    def __init__(self, message: str, retry_after_s: int | None = None):
        self.retry_after_s = retry_after_s
        super().__init__(message)


class SetupError(ServiceError, code="setup", exit_status=60): ...


class InvalidRequestError(ServiceError, ValueError, code="invalid-request", exit_status=61, http_status=422): ...


class TooLargeError(ServiceError, ValueError, code="too-large", exit_status=62, http_status=413): ...


class TooLongError(ServiceError, ValueError, code="too-long", exit_status=63, http_status=413): ...


class UnauthorisedError(ServiceError, code="unauthorised", exit_status=64, http_status=401): ...


class ForbiddenError(ServiceError, code="forbidden", exit_status=65, http_status=403): ...


class NotFoundError(ServiceError, LookupError, code="not-found", exit_status=66, http_status=404): ...


class TooManyRequestsError(ServiceError, code="too-many-requests", exit_status=67, http_status=429): ...


class BusyError(ServiceError, code="busy", exit_status=68, http_status=503): ...


class DeadlineError(ServiceError, TimeoutError, code="timeout", exit_status=69, http_status=504): ...


class DecoderFailedError(ServiceError, code="decoder-failed", exit_status=70, http_status=422): ...


_CLASSES = {cls.code: cls for cls in list(vars().values()) if isinstance(cls, type) and issubclass(cls, S2FError)}


def from_dict(facts: Mapping[str, Any]) -> S2FError:
    """The error of which `to_dict` said this; of a code that is not in the tree, an `S2FError` that has it."""
    code = facts["error"]
    cls = _CLASSES.get(code, S2FError)
    error = cls.__new__(cls)  # without __init__, which makes messages of other arguments
    error.args = (facts["message"],)
    vars(error).update({name: facts.get(name) for name in cls.details})
    if code != cls.code:
        error.code, error.exit_status = code, facts["exit_status"]
    return error
