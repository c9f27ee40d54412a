"""A store that lies elsewhere: what is needed of it is fetched when it is needed.

Addresses are those that the webdataset library opens: https://, s3:// and gs:// (by the command
line tools of their makers), or "pipe:COMMAND" for one that is run with {} replaced by the name.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import threading
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

log = logging.getLogger(__name__)


class RemoteError(ValueError):
    """A file of a remote store cannot be fetched."""


class Mirror:
    """A folder that fills with the files of a remote store.

    Args:
        address: of the store.
        cache: the folder is made in it. Files stay, so that another run finds them.
        room: bytes that voice shards may take; the ones that were used longest ago go first. 0: no limit.
    """

    def __init__(self, address: str, cache: Path, room: int = 0):
        self.address = address.rstrip("/")
        self.folder = cache / f"store-{hashlib.sha256(self.address.encode()).hexdigest()[:16]}"
        self._room = room
        self.removed = False  # whether shards were; who has them mapped then lets go of them, or the disk stays full
        self._ahead: dict[str, Future[Path]] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def get(self, name: str) -> Path:
        """The local file of a name such as "voices/000000.tar", fetched if it is not there.

        Raises:
            RemoteError: it cannot be fetched.
        """
        waiting = self._ahead.pop(name, None)
        if waiting:
            return waiting.result()
        path = self.folder / name
        with self._lock:  # threads that read one shard fetch it once
            if not path.exists():
                return self._fetch(name)
        os.utime(path)
        return path

    def prefetch(self, name: str) -> None:
        """Begins to fetch a file that will be asked for soon."""
        if name in self._ahead or (self.folder / name).exists():
            return
        self._threads = self._threads or ThreadPoolExecutor(1, "prefetch")
        self._ahead[name] = self._threads.submit(self._fetch, name)

    def _fetch(self, name: str) -> Path:
        from webdataset.gopen import gopen

        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        source = self.address.replace("{}", name) if self.address.startswith("pipe:") else f"{self.address}/{name}"
        log.debug("fetching %s", source)
        try:
            with gopen(source) as remote, temporary.open("wb") as local:
                shutil.copyfileobj(remote, local, 1 << 20)
            if not temporary.stat().st_size:
                raise OSError("nothing came")
            temporary.replace(path)
        except Exception as error:  # the library and the tools it calls raise many kinds
            raise RemoteError(f"{source} cannot be fetched ({error}).") from None
        finally:
            temporary.unlink(missing_ok=True)
        self._make_room(path)
        return path

    def _make_room(self, newest: Path) -> None:
        shards = sorted((self.folder / "voices").glob("*.tar"), key=lambda path: path.stat().st_mtime)
        taken = sum(path.stat().st_size for path in shards)
        for path in shards:
            if not self._room or taken <= self._room or path == newest:
                return
            taken -= path.stat().st_size
            path.unlink()
            self.removed = True

    def __reduce__(self) -> tuple[object, ...]:
        return Mirror, (self.address, self.folder.parent, self._room)  # threads do not travel to other processes


def is_remote(address: str) -> bool:
    return "://" in address or address.startswith("pipe:")
