"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CGROUPS, OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def cores() -> int:
    """By its affinity, and by the quotas of its cgroups, as containers have them."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *map(math.ceil, _quotas())]))


def _quotas() -> Iterator[float]:
    """In cores: of the process's cgroups (version 1 and 2), and of those that they are in."""
    with suppress(OSError, ValueError):
        for line in OWN_CGROUPS.read_text("utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            root = CGROUPS / "cpu" if controllers else CGROUPS
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)
            folder = root / path.strip("/")
            # In a container the root is its own, whatever it is called outside.
            for each in (folder, *folder.parents):
                if each.is_relative_to(root):
                    with suppress(OSError, ValueError):
                        quota, period = " ".join((each / name).read_text("utf-8") for name in names).split()
                        if quota not in ("max", "-1"):
                            yield int(quota) / int(period)
