"""The networks of a pack that are loaded by now."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from threading import Lock, Thread

from s2f_edge.pack.network import Network, give_back
from s2f_edge.pack.pack import Pack


class Networks:
    """Networks of one pack, each loaded once, when it is first asked for. Threads may share it.

    Args:
        pack, device, threads: see `Network`.
        once: each is needed only until it is `done`.
    """

    def __init__(self, pack: Pack, device: str, threads: int | None, once: bool = False) -> None:
        self.once = once
        self._pack, self._device, self._threads = pack, device, threads
        self._loaded: dict[str, Network] = {}
        self._loading = {name: Lock() for name in pack.manifest.files}

    def get(self, name: str) -> Network:
        """A network by the name of its file; waits where another thread is loading it.

        Raises:
            PackError, DeviceError, OutOfResourcesError: see `Network`.
        """
        network = self._loaded.get(name)
        if network is None:
            with self._loading[name]:
                network = self._loaded.get(name)
                if network is None:
                    network = self._loaded[name] = Network(self._pack, name, self._device, self._threads)
        return network

    def done(self, name: str, following: Iterable[str] = ()) -> None:
        """Gives the memory of a network that is needed once back, and begins to load those that follow it."""
        if self.once:
            self.load_ahead(following)
            self._loaded.pop(name, None)
            give_back()

    def load_ahead(self, names: Iterable[str]) -> None:
        """Begins to load networks in a thread. What fails there is tried again, and raised, by `get`."""
        missing = [name for name in names if name not in self._loaded]

        def load() -> None:
            with suppress(Exception):
                for name in missing:
                    self.get(name)

        if missing:
            with suppress(RuntimeError):  # no thread can be started: nothing is ahead
                Thread(target=load, name="s2f-load").start()
