"""Programs in a process of their own, so that one that hangs or dies fails its test only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

# For programs that hang: those that compile take half a minute, and a busy machine far longer.
_TIMEOUT = 300


def run_python(program: str, *arguments: str) -> str:
    """Run a program that may import the tests' modules; return what it prints.

    It sees no GPU: torch refuses gradients in a fork of a process that has used one.
    """
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        cwd=Path(__file__).parent,
        start_new_session=True,
    )
    try:
        printed, errors = process.communicate(timeout=_TIMEOUT)
    finally:
        end_session(process)
    assert process.returncode == 0, printed + errors
    return printed


def end_session(process: subprocess.Popen) -> None:
    """End a process and those that it started: one that hangs would hold its output open."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):  # all have ended
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
