"""What a process waits for and holds: start-up, and the memory of large panels."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from processes import run_python

from dsn_sktime.benchmarking.speed import limits
from dsn_sktime.benchmarking.speed.limits import PeakMemory
from dsn_sktime.kernels import compile_kernels

needs_marks = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory can be measured on Linux only"
)


def test_a_fit_in_a_new_process_compiles_nothing_and_imports_no_compiler():
    program = """
        import sys
        import numpy as np
        from dsn_sktime import DSNClassifier

        X = np.random.default_rng(0).normal(size=(8, 1, 20))
        DSNClassifier(n_epochs=2, n_layers=2).fit(X, [0, 1] * 4).predict(X)
        from dsn_sktime.kernels import backward, forward, loops

        compiled = [one for module in (loops, forward, backward) for one in vars(module).values()]
        stats = [one.stats for one in compiled if hasattr(one, "stats")]
        print(sum(sum(one.cache_hits.values()) for one in stats) > 2)
        print(sum(sum(one.cache_misses.values()) for one in stats))
        print("torch._dynamo" in sys.modules)
    """
    compile_kernels()  # What is kept on disk may be of another source.
    assert run_python(program).split() == ["True", "0", "False"]


@needs_marks
def test_predict_and_fit_hold_one_copy_of_a_panel():
    """The memory of each further series, input aside, in float32 copies of it."""
    program = """
        import numpy as np
        from dsn_sktime import DSNClassifier
        from dsn_sktime.benchmarking.speed.limits import PeakMemory

        n_steps, few, many = 100, 20_000, 80_000
        tiny = {"n_layers": 1, "n_filters": 1, "kernel_size": 5, "n_kernel_groups": 1}
        tiny |= {"n_epochs": 1, "batch_size": 512, "n_jobs": 1}

        def risen(n):
            X, y = np.zeros((n, 1, n_steps)), np.arange(n) % 2
            X[:, 0, 0] = y
            with PeakMemory() as fitting:
                classifier = DSNClassifier(**tiny).fit(X, y)
            with PeakMemory() as predicting:
                classifier.predict(X)
            return np.array([fitting.risen, predicting.risen])

        risen(1000)
        print(*(risen(many) - risen(few)) * 2**20 / (4 * n_steps * (many - few)))
    """
    fitting, predicting = map(float, run_python(program).split())
    assert 0.9 < fitting < 2
    assert 0.9 < predicting < 2


@needs_marks
def test_peak_memory_is_told_from_what_was_there():
    # Larger than what the heap may have kept of former tests.
    held = bytearray(b"1") * (90 * 2**20)
    with PeakMemory() as peak:
        more = bytearray(b"1") * (80 * 2**20)
    assert len(held) > len(more)
    assert 79 < peak.risen < 90
    assert peak.megabytes > 170


def test_limits_are_measured_in_other_processes(monkeypatch):
    run = limits._run
    monkeypatch.setattr(limits, "_N_STARTS", 1)
    # Not in an empty folder: compiling takes minutes.
    monkeypatch.setattr(limits, "_run", lambda program, **_: run(program))
    rows = limits.measure(n_series=40, n_steps=10)
    kinds = [row["figure"].split()[0] for row in rows]
    assert kinds == ["start-up", "cold", "cold", "memory", "memory"]
    assert "40 series of 10 steps" in rows[3]["figure"]
    assert all(row["value"] > 0 for row in rows[:3])
    if Path("/proc/self/clear_refs").exists():
        assert all(math.isfinite(row["value"]) for row in rows)
    else:
        assert all(math.isnan(row["value"]) for row in rows[3:])
