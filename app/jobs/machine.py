"""What this machine has."""

import os
from contextlib import suppress
from pathlib import Path

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def machine_memory() -> int | None:
    """Bytes of memory that this machine, or the container it is, has; None if the system does not tell."""
    found = []
    with suppress(OSError, ValueError, AttributeError):  # another system than a POSIX one
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # no such file, or the word `max`
            found.append(int(Path(path).read_text()))
    return min(found, default=None)
