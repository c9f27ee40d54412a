"""What a service counts: for Prometheus, and for the audit log. Counts, never contents."""

from __future__ import annotations

import collections
import json
import logging
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from s2f_edge.results import FaceResult

log = logging.getLogger(__name__)

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30)


class Metrics:
    """All counters of one service.

    Args:
        audit: file to which `write_audit` appends; None for none.
    """

    def __init__(self, audit: Path | None = None) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self.requests = Counter("s2f_requests", "Requests.", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "s2f_request_seconds", "Time of a request.", ["route"], buckets=SECONDS, registry=registry
        )
        self.faces = Counter("s2f_faces", "Faces made.", ["generator"], registry=registry)
        self.refused = Counter("s2f_refused", "Requests refused or failed.", ["code"], registry=registry)
        self.stage_seconds = Counter("s2f_stage_seconds", "Work by stage.", ["stage"], registry=registry)
        self.speech_seconds = Counter("s2f_speech_seconds", "Seconds of speech heard.", registry=registry)
        self.inside = Gauge("s2f_requests_inside", "Requests worked on or waiting.", registry=registry)
        self.streams = Gauge("s2f_streams_open", "Streams that are open.", registry=registry)
        self._audit = audit
        self._since = _now()
        self._audit_counts: collections.Counter[tuple[str, str]] = collections.Counter()

    def request(self, route: str, status: int, seconds: float, caller: str | None) -> None:
        """One request that was answered; `caller` is the name of its key."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)
        self._audit_counts["requests", f"{route} {status}"] += 1
        if caller:
            self._audit_counts["callers", caller] += 1

    def face(self, result: FaceResult) -> None:
        """Faces that were made from one recording."""
        self.faces.labels(result.generator).inc(len(result.faces))
        self.speech_seconds.inc(result.speech_seconds)
        for stage, ms in result.timings_ms.items():
            if stage != "total":
                self.stage_seconds.labels(stage).inc(ms / 1e3)
        self._audit_counts["faces", result.generator] += len(result.faces)

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self._registry)

    def write_audit(self) -> None:
        """Appends a line of JSON with the counts since the last one."""
        if self._audit is None:
            return
        until, counts = _now(), self._audit_counts
        line: dict[str, object] = {"from": self._since, "to": until}
        for kind in ("requests", "faces", "callers"):
            line[kind] = {name: count for (of, name), count in sorted(counts.items()) if of == kind}
        try:
            with self._audit.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:  # the counts stay, and the next line has them
            log.error("The audit log cannot be written: %s.", error.strerror)
            return
        self._since, self._audit_counts = until, collections.Counter()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
