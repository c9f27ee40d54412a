"""Faces for many recordings: what is made of each, and what its row of the table says.

A `Maker` works through recordings one after the other. The engines (engines.py) have one in every
worker process; the command has one of its own where there are few recordings.
"""

from __future__ import annotations

import errno
import logging
from dataclasses import dataclass
from pathlib import Path
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

# What no other recording would fare better with.
HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True)
class How:
    """How faces are made: the arguments of `Speech2Face` and of its `infer`, and those of the pictures.

    Attributes:
        pack_sha256: of the manifest that the pack must have; None does not look. A worker on another machine
            might have another default pack.
    """

    pack: str | None = None
    pack_sha256: str | None = None
    precision: str | None = None
    device: str = "auto"
    threads: int | None = None
    gender: str = "auto"
    samples: int = 1
    seed: int | None = None
    denoise: bool = False
    grid: bool = False
    size: int = 256
    form: str = "png"
    certificate: Path | None = None
    key: Path | None = None
    overwrite: bool = False

    def settings(self) -> dict[str, Any]:
        """What pictures depend on: those of one table have it in common."""
        return {
            "tool": f"s2f-edge {__version__}",
            "pack_sha256": self.pack_sha256,
            "gender": self.gender,
            "samples": self.samples,
            "seed": self.seed,
            "denoise": self.denoise,
            "grid": self.grid,
            "size": self.size,
            "format": self.form,
            "certificate": str(self.certificate) if self.certificate else None,
        }


class Outcome(NamedTuple):
    """What became of a recording.

    Attributes:
        facts: as `s2f-edge infer --json` prints them; those of a failure have `error`.
        bytes: of each picture.
        ms: that it took.
        hopeless: the next recordings would fail in the same way, as on a full disk.
    """

    facts: Facts
    bytes: list[int]
    ms: float
    hopeless: bool = False


class Maker:
    """Makes the pictures of recordings.

    Raises:
        PackError, DeviceError, RuntimeSetupError: see `Speech2Face`.
        CertificateError: the certificate cannot be used.
    """

    def __init__(self, how: How) -> None:
        from s2f_edge.pipeline import Speech2Face

        self._how = how
        self._signer = _credentials(how.certificate, how.key)
        self._model = Speech2Face(how.pack, how.device, how.threads, how.precision)
        found = self._model.pack.sha256
        if how.pack_sha256 not in (None, found):
            raise PackIntegrityError(
                f"The pack {self._model.pack.folder} has sha256 {found[:16]}...; the run began with one of "
                f"{str(how.pack_sha256)[:16]}.... Put the same pack on every machine."
            )

    def load(self) -> None:
        """Loads every network now, so that a broken pack is one error and not one of each recording."""
        self._model.load()

    def make(self, job: Job) -> Facts:
        """Writes the pictures of a recording.

        Raises:
            AudioError: it cannot be read, or is not enough speech.
            OutputError: a picture cannot be written.
        """
        how = self._how
        source = sound(job.source)
        result = self._model.infer(
            source, gender=how.gender, samples=how.samples, seed=how.seed, denoise=how.denoise
        )  # fmt: skip
        pictures = (
            [result.grid_picture(how.size, how.form, self._signer)]
            if how.grid
            else [result.picture(how.size, i, how.form, self._signer) for i in range(how.samples)]
        )
        write_all(dict(zip(job.targets, pictures, strict=True)), how.overwrite)
        marks = result.marks_of(how.size, how.grid, self._signer)
        return {"file": job.source, "pictures": job.targets, "marks": marks, **result.to_dict()}

    def outcome(self, job: Job) -> Outcome:
        """The same; what fails is told, not raised."""
        began = perf_counter()
        hopeless = False
        sizes: list[int] = []
        try:
            facts = self.make(job)
            sizes = [Path(picture).stat().st_size for picture in job.targets]
        except S2FError as error:
            cause = error.__context__
            hopeless = isinstance(cause, OSError) and cause.errno in HOPELESS
            facts = told(error)
        except OSError as error:  # what is written has errors of its own
            facts = told(unreadable(error))
        except Exception as error:  # a fault of ours: the others have nothing to do with it
            log.debug("%s", job.source, exc_info=True)
            text = f"Unexpected {type(error).__name__}: {error}. This is a fault of s2f-edge; please report it."
            facts = {"error": "unexpected", "message": text, "exit_status": 1}
            if exhausted := OutOfResourcesError.of(error):
                facts = told(exhausted)
        return Outcome(facts, sizes, (perf_counter() - began) * 1e3, hopeless)


def unreadable(error: OSError) -> UnreadableAudioError:
    """The error of a recording that the system does not read."""
    return UnreadableAudioError(f"The recording cannot be read: {error.strerror or error}.")


def told(error: S2FError) -> Facts:
    """An error as JSON has it."""
    reason = getattr(error, "reason", None)
    facts = {"error": error.code, "message": str(error), "exit_status": error.exit_status}
    return facts | ({"reason": reason} if reason else {})


def row(job: Job, outcome: Outcome, how: How, folder: str) -> Row:
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
        "settings": how.settings(),
    }


def skipped_row(file: str, why: str, how: How, folder: str) -> Row:
    """The row of a file in a folder that was not read."""
    return row(Job(file, []), Outcome({"error": "skipped", "message": why}, [], 0.0), how, folder)


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
    "provider": str,
}


def _credentials(certificate: Path | None, key: Path | None) -> Credentials | None:
    """What pictures are signed with; None leaves it to the library, which loads it when the first is signed.

    Raises:
        RuntimeSetupError, CertificateError: a certificate or a key is given, and cannot be used.
    """
    if certificate is None and key is None:
        return None
    from s2f_edge.marks.credentials import chosen

    return chosen(certificate, key)
