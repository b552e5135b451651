"""What a user sees of compilation; ``.ci/release`` compares a first run with a second."""

from __future__ import annotations

import pickle

import pytest
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.dispatcher import Dispatcher
from processes import run_python
from tiny import panel, tiny_classifier

from dsn_sktime.__main__ import main


def test_predicting_with_the_dense_backend_compiles_nothing(tmp_path, monkeypatch):
    program = """
        import pickle, sys
        import numpy as np
        X = np.random.default_rng(0).normal(size=(8, 1, 20))
        classifier = pickle.load(open(sys.argv[1], "rb"))
        classifier.network_.backend = "dense"
        classifier.predict(X)
    """
    path, cache = tmp_path / "fitted.pickle", tmp_path / "cache"
    path.write_bytes(pickle.dumps(tiny_classifier(head="ridge").fit(*panel())))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    run_python(program, str(path))
    assert not [*cache.rglob("*.nb?")]


def test_numba_still_has_what_the_kernels_override():
    """Where numba renames one, the overriding method would silently do nothing."""
    overridden = "_optimize_functions", "_optimize_final_module", "_finalize_final_module"
    assert all(hasattr(JITCodeLibrary, name) for name in overridden)
    assert hasattr(Compiler, "compile_extra")
    assert hasattr(Dispatcher, "get_call_template")


def test_importing_the_package_loads_neither_torch_nor_numba():
    program = """
        import sys
        import dsn_sktime
        print({"torch", "numba", "sktime", "pandas"} & set(sys.modules))
    """
    assert run_python(program).strip() == "set()"


def test_the_command_line_says_what_it_takes(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert "compile" in capsys.readouterr().err
