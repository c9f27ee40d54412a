"""How much is taken on at once, and how often one caller may ask."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from s2f_edge.errors import BusyError, TooManyRequestsError

MOST_CALLERS = 100_000  # whose last requests are remembered


class Admission:
    """Limits the requests in the service: those in progress and those that wait.

    Args:
        slots: how many are worked on at once.
        queue: how many may wait.
    """

    def __init__(self, slots: int, queue: int) -> None:
        self._slots = slots
        self._room = slots + queue
        self._usual_s = 0.2  # a request's work, a running mean
        self.inside = 0

    @property
    def full(self) -> bool:
        return self.inside >= self._room

    def enter(self) -> None:
        """Takes a place for one request before its upload is read; `leave` frees it.

        Raises:
            BusyError: there is none. It is raised at once.
        """
        if self.full:
            wait = max(1, math.ceil(self.inside * self._usual_s / self._slots))
            raise BusyError(f"The server is busy with {self.inside} requests. Try again later.", wait)
        self.inside += 1

    def leave(self) -> None:
        self.inside -= 1

    def took(self, seconds: float) -> None:
        """Records the processing time of one request."""
        self._usual_s += 0.1 * (seconds - self._usual_s)


class RateLimiter:
    """Requests per minute of each caller: a bucket that holds as many, and fills evenly.

    Args:
        per_minute: 0 is no limit.
        clock: seconds; for tests.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60.0
        self._most = max(1.0, per_minute)
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller -> (requests left, when)

    def spend(self, caller: str) -> None:
        """Takes one request from a caller's bucket.

        Raises:
            TooManyRequestsError: it is empty.
        """
        if not self._per_second:
            return
        now = self._clock()
        left, then = self._left.pop(caller, (self._most, now))
        left = min(self._most, left + (now - then) * self._per_second)
        if left < 1.0:
            self._left[caller] = left, now
            wait = math.ceil((1.0 - left) / self._per_second)
            raise TooManyRequestsError(f"More than {self._most:g} requests in a minute; wait {wait} s.", wait)
        self._left[caller] = left - 1.0, now
        if len(self._left) > MOST_CALLERS:
            self._left.popitem(last=False)
