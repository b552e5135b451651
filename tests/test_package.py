"""What is released says the same everywhere; ``.ci/release`` builds and tries it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import dsn_sktime

ROOT = Path(__file__).parents[1]


def test_changelog_and_citation_are_of_this_version() -> None:
    version = dsn_sktime.__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert changelog.index("\n## [") == changelog.index(f"\n## [{version}] - ")


# What scikit-learn 1.5, the lowest that is supported, takes.
LOWEST = {"joblib": "1.2.0", "numpy": "1.19.5", "threadpoolctl": "3.1.0"}


@pytest.mark.parametrize("name", LOWEST)
def test_no_requirement_is_lower_than_scikit_learns(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (ours,) = [one for one in map(Requirement, project["dependencies"]) if one.name == name]
    (lowest,) = [one.version for one in ours.specifier if one.operator == ">="]
    assert Version(lowest) >= Version(LOWEST[name])
