"""Programs in a process of their own, so that one that hangs or dies fails its test only."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path


def run_python(program: str, *arguments: str, timeout: float = 100) -> str:
    """Run a program that may import the tests' modules; return what it prints.

    It sees no GPU: torch refuses gradients in a fork of a process that has used one.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        cwd=Path(__file__).parent,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
