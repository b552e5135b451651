"""The highest resident memory of this process while something runs."""

import re
import sys
from contextlib import suppress
from pathlib import Path

_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class PeakMemory:
    """Context whose ``megabytes`` is the process's highest resident memory inside it.

    Earlier libraries and data count as well; other processes, such as those of an ensemble, do
    not. On Linux the kernel's high-water mark is reset at the start. Elsewhere it cannot be:
    ``megabytes`` is then None unless the mark has risen inside. ``risen`` is how far it lies above
    the resident memory at the start, None where either is unknown.
    """

    megabytes: float | None = None
    risen: float | None = None

    def __enter__(self) -> "PeakMemory":
        with suppress(OSError):
            _RESET.write_text("5")
        self._at_start, self._before = _resident("VmRSS"), _resident("VmHWM")
        return self

    def __exit__(self, *exception: object) -> None:
        after = _resident("VmHWM")
        if after is not None and (_RESET.exists() or after > (self._before or 0)):
            self.megabytes = round(after, 1)
            self.risen = None if self._at_start is None else after - self._at_start


def _resident(name: str) -> float | None:
    """Return resident memory in megabytes, now (VmRSS) or at its highest (VmHWM), if known."""
    if _STATUS.exists():
        found = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
        return int(found[1]) / 1024 if found else None
    with suppress(ImportError):  # not on Windows
        import resource

        if name == "VmHWM":
            maximum = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return maximum / 2**20 if sys.platform == "darwin" else maximum / 1024
    return None
