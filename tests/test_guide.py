"""The code on pages of the guide runs as it stands."""

from __future__ import annotations

import re
import textwrap
import warnings
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[1] / "docs" / "guide"
BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", re.M)


@pytest.mark.parametrize("name", ["sensor_tables"])
def test_the_code_of_a_page_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall((GUIDE / f"{name}.rst").read_text())
    assert len(blocks) > 5
    program = textwrap.dedent("".join(blocks))
    with warnings.catch_warnings():
        # What a page does not announce is no warning that its readers should see.
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message=".* series end in steps")
        exec(compile(program, name, "exec"), {})
