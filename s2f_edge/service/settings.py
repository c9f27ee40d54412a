"""Settings of a service. Imports nothing heavy: the command line reads its flags from here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple, get_type_hints

from s2f_edge.cores import cores
from s2f_edge.errors import UsageError
from s2f_edge.terms import DEVICES, MAX_SAMPLES, MAX_SIZE, VARIANTS, either


class Help(NamedTuple):
    """The help text of a setting, and its range where it is a number."""

    text: str
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class ServiceSettings:
    """Every setting of a service: as a flag, an environment variable S2F_SERVE_NAME, or a line of a TOML file.

    Raises:
        UsageError: a value out of its range.
    """

    host: Annotated[str, Help("Address to listen on; 0.0.0.0 is every address of the machine.")] = "127.0.0.1"
    port: Annotated[int, Help("Port to listen on; 0 chooses a free one.", min=0, max=65535)] = 8000
    pack: Annotated[Path | None, Help("Folder of a model pack (default: the installed one).")] = None
    variant: Annotated[
        str,
        Help(
            f"Variant of the pack: {either(('auto', *VARIANTS))}; auto goes by the processor, and with on_device "
            "is the pack itself."
        ),
    ] = "auto"
    device: Annotated[str, Help(f"Device: {either(DEVICES)}.")] = "auto"
    all_windows: Annotated[
        bool, Help("Let the voice network hear all of a long recording, not only as many windows as the pack says.")
    ] = False

    concurrency: Annotated[int, Help("Requests processed at the same time; 0 is one per core.", min=0, max=256)] = 0
    threads: Annotated[int, Help("Threads per network call.", min=1, max=256)] = 1
    queue: Annotated[int, Help("Requests that may wait; further ones get 503 at once.", min=0, max=100_000)] = 32
    streams: Annotated[int, Help("Streams open at the same time; further ones are refused.", min=0, max=100_000)] = 16
    request_seconds: Annotated[float, Help("Longest time of a request, with upload and waiting.", min=1)] = 30.0
    stream_idle_seconds: Annotated[float, Help("Streams that send nothing for this long are closed.", min=1)] = 30.0
    max_bytes: Annotated[int, Help("Largest upload.", min=1024)] = 25 << 20
    max_seconds: Annotated[float, Help("Longest recording.", min=1)] = 600.0
    talk_seconds: Annotated[float, Help("Longest recording that a face says; 0 makes no videos.", min=0)] = 60.0
    max_samples: Annotated[int, Help("Most candidates per request.", min=1, max=MAX_SAMPLES)] = 16
    max_size: Annotated[int, Help("Largest width and height of a face in pixels.", min=64, max=MAX_SIZE)] = 1024
    max_batch: Annotated[int, Help("Most recordings per batch.", min=1, max=10_000)] = 32
    rate: Annotated[float, Help("Requests per minute and key (or address, without keys); 0 is unlimited.", min=0)] = 0.0
    decoder_megabytes: Annotated[int, Help("Memory limit of a decoder process.", min=256)] = 1024

    keys: Annotated[Path | None, Help("File of API keys, from `s2f-edge key`; without it no key is needed.")] = None
    tls_certificate: Annotated[Path | None, Help("TLS certificate chain (PEM).")] = None
    tls_key: Annotated[Path | None, Help("TLS private key (PEM).")] = None
    origins: Annotated[str, Help("Allowed CORS origins, such as https://app.example; comma-separated.")] = ""
    hosts: Annotated[
        str, Help("Accepted Host headers, comma-separated; * is any (default: any; on 127.0.0.1 local ones).")
    ] = ""
    proxies: Annotated[str, Help("Proxies whose X-Forwarded-For is trusted, comma-separated.")] = ""
    page: Annotated[bool, Help("Serve the web page at /.")] = True
    on_device: Annotated[
        Path | None,
        Help("Folder from `python -m export.to_browser`: the page can then run the networks in the browser."),
    ] = None
    terms: Annotated[Path | None, Help("Text file with further terms of use of this deployment.")] = None
    c2pa_certificate: Annotated[
        Path | None, Help("Certificate chain (PEM) that signs pictures (default: a self-made one).")
    ] = None
    c2pa_key: Annotated[Path | None, Help("Private key of the C2PA certificate (PEM).")] = None
    secret: Annotated[str, Help("Secret that encrypts the URLs of /predict; the same on all machines.")] = ""
    predict_seconds: Annotated[float, Help("Lifetime of a URL of /predict.", min=1)] = 600.0

    store: Annotated[Path | None, Help("Folder for encrypted faces that callers ask to keep; off by default.")] = None
    store_hours: Annotated[float, Help("Longest time a face is kept.", min=0.01)] = 24.0
    audit: Annotated[Path | None, Help("Audit log: counts of requests and faces, no contents.")] = None
    audit_seconds: Annotated[float, Help("Interval of the audit log.", min=1)] = 3600.0
    drain_seconds: Annotated[float, Help("Time after SIGTERM to finish running requests.", min=0)] = 30.0

    def __post_init__(self) -> None:
        for name, help in setting_help().items():
            value, low, high = getattr(self, name), help.min, help.max
            if (low is not None and not value >= low) or (high is not None and not value <= high):
                wanted = f"at least {low:g}" if high is None else f"from {low:g} to {high:g}"
                raise UsageError(f"{name} is {value!r}; it must be {wanted}.")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise UsageError("TLS needs both tls_certificate and tls_key.")
        if self.device not in DEVICES:
            raise UsageError(f"device is {self.device!r}; it must be {either(DEVICES)}.")

    @property
    def slots(self) -> int:
        """How many requests are worked on at once."""
        return self.concurrency or cores()

    @property
    def allowed_hosts(self) -> list[str]:
        """Host names that are answered: on the loopback address its own alone, so that no page can rebind one to it."""
        if self.hosts:
            return listed(self.hosts)
        return ["127.0.0.1", "localhost", "[::1]"] if self.host in ("127.0.0.1", "localhost", "::1") else ["*"]


def setting_help() -> dict[str, Help]:
    """The help of each setting, by its name."""
    hints = get_type_hints(ServiceSettings, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items()}


def listed(text: str) -> list[str]:
    """The parts of a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]
