"""The examples run in short form, and the README's commands are the ones that CI runs."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from tiny import panel, tiny_classifier, untraced

matplotlib.use("Agg")

pytestmark = untraced

ROOT = Path(__file__).parents[1]
EXAMPLES = {path.stem: path for path in sorted((ROOT / "examples").glob("*.py"))}


@pytest.fixture
def run_briefly(tmp_path, monkeypatch):
    """Run an example with two epochs for each network."""
    monkeypatch.chdir(tmp_path)

    def run(name):
        program = EXAMPLES[name].read_text()
        program, n = re.subn(r'(n_epochs=|"--epochs", ")\d+', r"\g<1>2", program)
        assert n
        exec(compile(program, name, "exec"), {"__name__": "__main__"})

    yield run
    plt.close("all")


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - {"deploying", "quickstart", "resuming"}))
def test_an_example_runs_and_draws(name, run_briefly):
    run_briefly(name)
    assert plt.get_fignums()


def test_quickstart_prints_accuracy_and_counts_and_draws(run_briefly, tmp_path, capsys):
    run_briefly("quickstart")
    output = capsys.readouterr().out
    assert "test accuracy" in output
    # 141 weights more than with two classes, and two pairs of BatchNorm's for one.
    assert "125,547 activated, 802,296 dense" in output
    assert (tmp_path / "quickstart.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("ignore:.*interrupted")
def test_the_resumed_fit_of_the_example_equals_the_uninterrupted_one(run_briefly, capsys):
    run_briefly("resuming")
    assert capsys.readouterr().out.splitlines() == ["interrupted", "equal probabilities: True"]


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
