"""What is released: the source distribution holds all that its tests need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import dsn_sktime

ROOT = Path(__file__).parents[1]
NOT_SOURCES = shutil.ignore_patterns(
    ".venv", ".git", "*_cache", ".cache", "__pycache__", "*.egg-info", "_build", "generated"
)


def run(folder: Path, *arguments: str) -> str:
    """Run Python in a folder that the package is imported from."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    found = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a source distribution and unpack it."""
    folder = tmp_path_factory.mktemp("sdist")
    # Of a copy: the build leaves files behind.
    shutil.copytree(ROOT, folder / "copy", ignore=NOT_SOURCES)
    run(folder / "copy", "-c", "from setuptools.build_meta import *; build_sdist('..')")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def test_the_source_distribution_holds_every_file_of_the_tests(unpacked: Path) -> None:
    for name in ("tests", "examples", "docs"):
        ours = [path for path in (ROOT / name).rglob("*") if path.is_file()]
        for path in ours:
            if not {"__pycache__", "_build", "gallery", "generated"} & set(path.parts):
                assert (unpacked / path.relative_to(ROOT)).is_file(), path


def test_tests_run_from_the_source_distribution(unpacked: Path) -> None:
    tests = ["tests/test_layout.py", "tests/test_contract.py", "tests/test_first_results.py"]
    selected = "layout or constructor or first_results"
    run(unpacked, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", selected, *tests)


def test_the_version_is_that_of_the_metadata(unpacked: Path) -> None:
    assert unpacked.name == f"dsn_sktime-{dsn_sktime.__version__}"


# What scikit-learn 1.5, the lowest that is supported, takes.
LOWEST = {"joblib": "1.2.0", "numpy": "1.19.5", "threadpoolctl": "3.1.0"}


@pytest.mark.parametrize("name", LOWEST)
def test_no_requirement_is_lower_than_scikit_learns(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (ours,) = [one for one in map(Requirement, project["dependencies"]) if one.name == name]
    (lowest,) = [one.version for one in ours.specifier if one.operator == ">="]
    assert Version(lowest) >= Version(LOWEST[name])
