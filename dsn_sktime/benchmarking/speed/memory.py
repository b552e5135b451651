"""The highest resident memory of this process while something runs."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["PeakMemory"]


class PeakMemory:
    """Context whose ``megabytes`` is the process's highest resident memory inside it.

    Libraries and data that were there before count as well; other processes, such as
    those of an ensemble, do not. On Linux the kernel's high-water mark is set back at the
    start. Elsewhere it cannot be: ``megabytes`` is then None unless the mark has risen
    inside. ``risen`` is how far it lies above the resident memory at the start, None where
    either cannot be told.
    """

    megabytes: float | None = None
    risen: float | None = None

    def __enter__(self) -> PeakMemory:
        self._at_start = _status("VmRSS")
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._before = _high_water_mark()
        return self

    def __exit__(self, *exception: object) -> None:
        after = _high_water_mark()
        if after is not None and (_can_be_set_back() or after > (self._before or 0)):
            self.megabytes = round(after, 1)
            if self._at_start is not None:
                self.risen = after - self._at_start


def _can_be_set_back() -> bool:
    return Path("/proc/self/clear_refs").exists()


def _high_water_mark() -> float | None:
    if Path("/proc/self/status").exists():
        return _status("VmHWM")
    with suppress(ImportError):  # not on Windows
        import resource

        maximum = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return maximum / 2**20 if sys.platform == "darwin" else maximum / 1024
    return None


def _status(name: str) -> float | None:
    """Return megabytes from the kernel's status of this process, None where it has none."""
    with suppress(OSError):
        found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(found[1]) / 1024 if found else None
    return None
