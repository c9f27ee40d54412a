"""Ctrl-C: who hears it, and what a command that it stopped returns."""

from __future__ import annotations

import multiprocessing.resource_tracker
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

INTERRUPTED = 130  # the exit status, as a shell has it


@contextmanager
def children_without_ctrl_c() -> Iterator[None]:
    """Processes that are started in it never hear Ctrl-C, which reaches all of a terminal: the first one decides what
    to do, and hears at the end what came meanwhile. For the calling thread; on Windows, which hands down no mask, a
    child has to ignore Ctrl-C itself."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # multiprocessing starts its tracker with the first process, and takes the mask away before that process has it.
    multiprocessing.resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def started_apart() -> dict[str, Any]:
    """Arguments of `subprocess.Popen` for a process that does not hear the Ctrl-C of this one's terminal."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """This process ignores Ctrl-C, and so do the processes that it starts meanwhile."""
    if threading.current_thread() is not threading.main_thread():  # who cannot change it
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
