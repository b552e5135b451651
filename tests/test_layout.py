"""The package's rooms import in one direction only."""

import ast
from pathlib import Path

import pytest

import dsn_sktime

PACKAGE = Path(dsn_sktime.__file__).parent

# What each room may import of the package, by its first name below dsn_sktime.
MAY_IMPORT = {
    "topology": set(),
    "kernels": set(),
    "runtime": {"kernels"},
    "sklearn_compat": set(),
    "panel": set(),
    "layers": {"kernels", "topology"},
    "network": {"kernels", "layers"},
    "training": {"kernels", "network", "layers", "panel", "topology"},
    "base": {"panel", "runtime", "sklearn_compat"},
    "classifier": {"base", "layers", "network", "panel", "runtime", "topology", "training"},
    "analysis": {"layers", "network", "topology"},
    "plotting": {"analysis", "classifier"},
    "benchmarking": {"analysis", "network", "oscnn", "runtime", "training"},
    "__init__": {"classifier"},
}


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "dsn_sktime" and len(parts) > 1:
                yield parts[1]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_a_room_imports_only_rooms_further_down(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert set(imported_rooms(path)) <= MAY_IMPORT[room] | {room}
