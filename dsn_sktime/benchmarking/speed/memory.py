"""The highest resident memory of this process while something runs."""

import re
from contextlib import suppress
from math import nan
from pathlib import Path


class PeakMemory:
    """Context whose ``megabytes`` is the process's highest resident memory inside it.

    Earlier libraries and data count as well; other processes, such as those of an ensemble, do
    not. ``risen`` is how far it lies above the resident memory at the start. Both are NaN where
    the kernel's high-water mark cannot be reset, as outside Linux.
    """

    megabytes = risen = _before = nan

    def __enter__(self) -> "PeakMemory":
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
            self._before = _resident("VmRSS")
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before > 0:
            highest = _resident("VmHWM")
            self.megabytes, self.risen = round(highest, 1), highest - self._before


def _resident(name: str) -> float:
    """Return resident memory in megabytes, now (VmRSS) or at its highest (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(rf"{name}:\s+(\d+) kB", status)[0]) / 1024
