"""Ctrl-C: who hears it, and what a command that it stopped returns."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130  # the exit status, as a shell has it


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Processes that are started in it ignore Ctrl-C, which reaches them all: the first one decides when to stop."""
    if threading.current_thread() is not threading.main_thread():  # who cannot change it
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
