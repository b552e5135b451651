"""The package's rooms import in one direction only."""

import ast
from pathlib import Path

from processes import run_python

import dsn_sktime

PACKAGE = Path(dsn_sktime.__file__).parent

# What each room may import of the package, by its first name below dsn_sktime.
MAY_IMPORT = {
    "topology": set(),
    "kernels": set(),
    "_version": set(),
    "runtime": {"kernels"},
    "panel": set(),
    "layers": {"kernels", "topology"},
    "network": {"kernels", "layers"},
    "oscnn": {"kernels", "layers"},
    "training": {"kernels", "network", "layers", "panel", "topology", "runtime"},
    "estimators": {
        "_version",
        "kernels",
        "layers",
        "network",
        "oscnn",
        "panel",
        "runtime",
        "topology",
        "training",
    },
    "analysis": {"layers", "network", "oscnn", "topology"},
    "statistics": set(),
    "explain": {"estimators", "layers", "network", "panel", "runtime"},
    "plotting": {"analysis", "estimators", "explain", "network", "panel", "statistics", "training"},
    "benchmarking": {
        "_version",
        "analysis",
        "benchmarking.estimators",
        "benchmarking.speed",
        "plotting",
        "statistics",
    },
    "benchmarking.estimators": {"analysis", "estimators", "panel"},
    "benchmarking.speed": {
        "analysis",
        "benchmarking.estimators",
        "kernels",
        "network",
        "panel",
        "runtime",
        "training",
    },
    "__init__": {"_version", "estimators"},
    "__main__": {"kernels"},
}


def room_of(parts):
    """Name the room of a module below dsn_sktime, the narrowest that the table knows."""
    narrow = ".".join(parts[:2])
    return narrow if narrow in MAY_IMPORT else parts[0]


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
                yield room_of(parts[1:])


def test_a_room_imports_only_rooms_further_down():
    for path in PACKAGE.rglob("*.py"):
        room = room_of(path.relative_to(PACKAGE).with_suffix("").parts)
        assert set(imported_rooms(path)) <= MAY_IMPORT[room] | {room}, path


def test_the_core_of_the_estimators_knows_no_classes():
    core = (PACKAGE / "estimators" / "network_estimator.py").read_text()
    assert not {"classes_", "class_weight", "labels", "BaseClassifier"} & {
        name for word in ast.walk(ast.parse(core)) for name in names_of(word)
    }


def names_of(node):
    """Yield the names that a node of the syntax tree uses."""
    for field in ("id", "attr", "arg", "name"):
        value = getattr(node, field, None)
        if isinstance(value, str):
            yield value


def test_all_modules_can_be_imported_without_optional_packages_and_where_no_process_forks():
    """As ``skbase.lookup.all_objects`` does, which people list estimators with; as on Windows."""
    run_python(
        """
        import os, sys
        import joblib, numba, torch

        del os.register_at_fork
        from dsn_sktime.kernels import sparse
        assert sparse is not None
        for name in ("aeon", "dask", "jinja2", "matplotlib", "scikit_posthocs"):
            sys.modules[name] = None
        from skbase.lookup import all_objects
        names = [name for name, _ in all_objects(package_name="dsn_sktime")]
        known = {"DSNClassifier", "DSNRegressor", "DSNTransformer", "OSCNNClassifier"}
        assert known <= set(names), names
        """
    )
