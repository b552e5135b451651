"""The examples run, and the README's commands are the ones that CI runs."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
from tiny import panel, tiny_classifier

ROOT = Path(__file__).parents[1]


def test_quickstart_prints_accuracy_and_counts_and_draws(tmp_path):
    picture = tmp_path / "picture.png"
    run = subprocess.run(
        [sys.executable, ROOT / "examples/quickstart.py", "--epochs", "2", "--output", picture],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert "test accuracy" in run.stdout
    # 141 weights more than with two classes, and two pairs of BatchNorm's for one.
    assert "125,547 activated, 802,296 dense" in run.stdout
    assert "epoch" in run.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_deploying_measures_a_file_in_a_new_process(tmp_path):
    example = runpy.run_path(str(ROOT / "examples/deploying.py"))
    X, y = panel()
    tiny_classifier().fit(X, y).to_file(tmp_path / "model.npz")
    np.save(tmp_path / "series.npy", X)
    times = example["measure"](example["FROM_FILE"] + example["DENSE"], str(tmp_path))
    assert len(times) == 3
    assert min(times) > 0


def test_ci_runs_the_second_command_of_the_readme():
    commands = [line for line in (ROOT / "README.md").read_text().splitlines() if "-m venv" in line]
    assert len(commands) == 2
    assert commands[0].endswith("examples/quickstart.py")
    assert commands[1] in (ROOT / ".ci/run").read_text().splitlines()
