"""Times of calls that take turns, so that a busy moment of the machine meets each."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter


def in_turn(
    calls: dict[str, Callable[[], object]],
    repeats: int,
    warm_up: int = 1,
    prime: bool = False,
    patience_s: float = float("inf"),
) -> dict[str, list[float]]:
    """Milliseconds of each call, in the order of the turns; those of the warm-up are left out.

    Args:
        prime: each is called before it is timed, since the one before has taken the caches.
        patience_s: after so long for each of the calls no turn begins; if the first turn takes so long, it is the one
            that counts.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    began = perf_counter()
    for turn in range(repeats + warm_up):
        for name, call in calls.items():
            if prime:
                call()
            start = perf_counter()
            call()
            times[name].append((perf_counter() - start) * 1e3)
        if not turn and perf_counter() - began > patience_s:
            return times
        if turn >= warm_up and perf_counter() - began > patience_s * len(calls):
            break
    return {name: found[warm_up:] for name, found in times.items()}
