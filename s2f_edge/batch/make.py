"""Faces for many recordings: what is made of each, and what its row of the table says.

A `Maker` works through recordings one after the other. The engines (engines.py) have one in every
worker process; the command has one of its own where there are few recordings.
"""

from __future__ import annotations

import errno
import gc
import logging
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from s2f_edge._version import __version__
from s2f_edge.batch.jobs import Job, write_all
from s2f_edge.batch.recordings import sound
from s2f_edge.errors import OutOfResourcesError, PackIntegrityError, S2FError, UnreadableAudioError

if TYPE_CHECKING:
    from s2f_edge.marks.credentials import Credentials

log = logging.getLogger(__name__)

Facts = dict[str, Any]
Row = dict[str, Any]

# Errors that every other recording would meet too.
FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True)
class Options:
    """How faces are made: the arguments of `Speech2Face` and of its `infer`, and those of the pictures.

    Attributes:
        pack_sha256: of the manifest that the pack must have; None does not look. A worker on another machine
            might have another default pack.
    """

    pack: str | None = None
    pack_sha256: str | None = None
    variant: str | None = None
    device: str = "auto"
    threads: int | None = None
    gender: str = "auto"
    samples: int = 1
    seed: int | None = None
    denoise: bool = False
    all_windows: bool = False
    grid: bool = False
    size: int = 256
    form: str = "png"
    c2pa_certificate: Path | None = None
    c2pa_key: Path | None = None
    overwrite: bool = False

    def maker(self, once: bool = False) -> Maker:
        """What works with these options; `once` as of `Speech2Face`."""
        return Maker(self, once)

    def settings(self) -> dict[str, Any]:
        """The settings that pictures depend on, the same for all rows of a table."""
        return {
            "tool": f"s2f-edge {__version__}",
            "pack_sha256": self.pack_sha256,
            "gender": self.gender,
            "samples": self.samples,
            "seed": self.seed,
            "denoise": self.denoise,
            "all_windows": self.all_windows,
            "grid": self.grid,
            "size": self.size,
            "format": self.form,
            "c2pa_certificate": str(self.c2pa_certificate) if self.c2pa_certificate else None,
        }


class Outcome(NamedTuple):
    """The result of one recording.

    Attributes:
        facts: as `s2f-edge infer --json` prints them; those of a failure have `error`.
        bytes: of each picture.
        ms: that it took.
        fatal: the next recordings would fail in the same way, as on a full disk.
    """

    facts: Facts
    bytes: list[int]
    ms: float
    fatal: bool = False


Outcomes = Generator[tuple[Job, Outcome], None, None]


class Maker:
    """Makes the pictures of recordings.

    Raises:
        PackError, DeviceError, RuntimeSetupError: see `Speech2Face`.
        CertificateError: the certificate cannot be used.
    """

    def __init__(self, options: Options, once: bool = False) -> None:
        from s2f_edge.pipeline import Speech2Face

        self._options = options
        self._signer = _credentials(options.c2pa_certificate, options.c2pa_key)
        # Python makes what marks pictures while onnxruntime loads networks.
        self._marks = Thread(target=_prepare_marks, args=(self._signer is None,), name="s2f-marks")
        if once:
            gc.set_threshold(50_000)  # a short life has little to collect
            sys.setswitchinterval(0.0005)  # the thread that loads networks asks for Python seldom, but is waited for
        how = (options.pack, options.device, options.threads, options.variant, options.all_windows)
        self._model = Speech2Face(*how, once)
        self._marks.start()
        found = self._model.pack.sha256
        if options.pack_sha256 not in (None, found):
            raise PackIntegrityError(
                f"The pack {self._model.pack.folder} has sha256 {found[:16]}...; the run began with one of "
                f"{str(options.pack_sha256)[:16]}.... Put the same pack on every machine."
            )

    def load(self) -> None:
        """Loads every network, so that a broken pack is one error and not one per recording."""
        self._model.load()

    def make(self, job: Job) -> Facts:
        """Writes the pictures of a recording.

        Raises:
            AudioError: it cannot be read, or is not enough speech.
            OutputError: a picture cannot be written.
        """
        options = self._options
        source = sound(job.source)
        result = self._model.infer(
            source, gender=options.gender, samples=options.samples, seed=options.seed, denoise=options.denoise
        )  # fmt: skip
        self._marks.join()
        pictures = (
            [result.grid_picture(options.size, options.form, self._signer)]
            if options.grid
            else [result.picture(options.size, i, options.form, self._signer) for i in range(options.samples)]
        )
        write_all(dict(zip(job.targets, pictures, strict=True)), options.overwrite)
        marks = result.marks_of(options.size, options.grid, self._signer)
        return {"file": job.source, "pictures": job.targets, "marks": marks, **result.to_dict()}

    def outcome(self, job: Job) -> Outcome:
        """Writes the pictures of a recording and returns the outcome; errors are part of it and are not raised."""
        began = perf_counter()
        fatal = False
        sizes: list[int] = []
        try:
            facts = self.make(job)
            sizes = [Path(picture).stat().st_size for picture in job.targets]
        except S2FError as error:
            cause = error.__context__
            fatal = isinstance(cause, OSError) and cause.errno in FATAL
            facts = error.to_dict()
        except Exception as error:
            log.debug("%s", job.source, exc_info=True)
            if found := _failure(error):
                facts = found.to_dict()
            else:  # a fault of ours: the others have nothing to do with it
                text = f"Unexpected {type(error).__name__}: {error}. This is a bug in s2f-edge; please report it."
                facts = {"error": "unexpected", "message": text, "exit_status": 1}
        return Outcome(facts, sizes, (perf_counter() - began) * 1e3, fatal)


def here(jobs: Iterable[Job], make: Callable[[Job], Facts]) -> Outcomes:
    """Works in this process, as the engines (engines.py) do in others; what no recording is to blame for is raised."""
    for job in jobs:
        try:
            facts = make(job)
        except S2FError as error:
            facts = error.to_dict()
        except (OSError, MemoryError, RuntimeError, ImportError) as error:
            if isinstance(error, BrokenPipeError) or not (found := _failure(error)):
                raise
            log.debug("%s", job.source, exc_info=True)
            facts = found.to_dict()
        yield job, Outcome(facts, [], 0.0)


def _failure(error: Exception) -> S2FError | None:
    """The error of ours for one of the system, met at a recording; None where it is neither the file's nor memory's."""
    if isinstance(error, OSError):  # of reading: what is written has errors of its own
        return UnreadableAudioError(f"The recording cannot be read: {error.strerror or error}.")
    return OutOfResourcesError.of(error)


def row(job: Job, outcome: Outcome, options: Options, folder: str) -> Row:
    """The row of a recording: the same columns in all, null where a failure, or a success, has none.

    Args:
        folder: what relative names of files in it are relative to.
    """
    facts, failed = outcome.facts, "error" in outcome.facts
    return {
        "file": job.source,
        "pictures": [] if failed else job.targets,
        "picture_bytes": outcome.bytes,
        **{name: facts.get(name) for name in COLUMNS},
        "warnings": [warning["code"] for warning in facts.get("warnings", [])],
        "error": facts.get("error"),
        "reason": facts.get("reason"),
        "message": facts.get("message"),
        "ms": round(outcome.ms, 1),
        "folder": folder,
        "settings": options.settings(),
    }


def skipped_row(file: str, why: str, options: Options, folder: str) -> Row:
    """The row of a file in a folder that was not read."""
    return row(Job(file, []), Outcome({"error": "skipped", "message": why}, [], 0.0), options, folder)


COLUMNS = {
    "speech_seconds": float,
    "heard_seconds": float,
    "gender": str,
    "male_probability": float,
    "generator": str,
    "surprise": float,
    "snr_db": float,
    "level_dbfs": float,
    "seed": int,
    "pack": str,
    "variant": str,
    "provider": str,
}


def _prepare_marks(by_default: bool) -> None:
    """Makes what every picture is marked with: the waves, and the default certificate if that signs them."""
    from s2f_edge.marks import credentials, watermark_waves

    watermark_waves.carriers()
    if by_default:
        with suppress(S2FError):  # the first picture fails with it again
            credentials.default()


def _credentials(certificate: Path | None, key: Path | None) -> Credentials | None:
    """What pictures are signed with; None leaves it to the library, which loads it when the first is signed.

    Raises:
        RuntimeSetupError, CertificateError: a certificate or a key is given, and cannot be used.
    """
    if certificate is None and key is None:
        return None
    from s2f_edge.marks.credentials import chosen

    return chosen(certificate, key)
