"""Videos of talking faces for many recordings: one more kind of job of `make`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from s2f_edge.batch.jobs import Job, check_free, standard_output
from s2f_edge.batch.make import Facts, Maker, Options
from s2f_edge.batch.recordings import sound

FRAMES = "frames"  # as a form: PNG files in a folder


@dataclass(frozen=True)
class TalkOptions(Options):
    """How faces talk: the arguments of `Speech2Face.talk`; `form` is one of `terms.VIDEOS`, or `FRAMES`."""

    form: str = "mp4"
    fps: float = 25.0
    head: float = 1.0
    blink: float = 1.0
    brows: float = 1.0

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "fps": self.fps, "head": self.head, "blink": self.blink, "brows": self.brows}

    def maker(self, once: bool = False) -> TalkMaker:
        return TalkMaker(self, once)


class TalkMaker(Maker):
    """Makes the videos of recordings.

    Raises:
        RuntimeSetupError: the format needs the extra `media`; and as of `Maker`.
    """

    _options: TalkOptions

    def __init__(self, options: TalkOptions, once: bool = False) -> None:
        if options.form in ("mp4", "webm"):
            from s2f_edge.talk.video import library

            library(options.form)
        super().__init__(options, once)

    def load(self) -> None:
        self._model.load(talk=True)

    def make(self, job: Job, begun: Callable[[int], Callable[[int], None]] | None = None) -> Facts:
        """Writes the video of a recording.

        Args:
            begun: is given the number of frames, and gives what is told how many are done.

        Raises:
            UsageError: a format that cannot have this size or rate.
            AudioError: the recording cannot be read, or is not enough speech.
            OutputError: the video cannot be written.
        """
        options, target = self._options, job.targets[0]
        if target != "-" and options.form != FRAMES and not options.overwrite:
            check_free(Path(target))
        source = sys.stdin.buffer if job.source == "-" and sys.stdin else sound(job.source)
        began = perf_counter()
        with self._model.talk(
            source, gender=options.gender, seed=options.seed or 0, fps=options.fps, size=options.size,
            head=options.head, blink=options.blink, brows=options.brows, denoise=options.denoise,
        ) as talk:  # fmt: skip
            watch = begun(len(talk)) if begun else None
            if options.form == FRAMES:
                marks = talk.save_frames(target, watch)
            elif target == "-":
                with standard_output() as file:
                    marks = talk.save(file, options.form, credentials=self._signer, watch=watch)
            else:
                marks = talk.save(target, options.form, credentials=self._signer, watch=watch)
        facts = talk.to_dict()
        total = round((perf_counter() - began) * 1e3, 2)
        timings = {**facts["timings_ms"], "video": round(total - facts["timings_ms"]["total"], 2), "total": total}
        return {"file": job.source, "pictures": job.targets, "marks": marks, **facts, "timings_ms": timings}
