"""The speed benchmark of the GPU, on the CPU."""

import pytest
import torch
from test_cuda_graph import Remembered, needs_gpu

from dsn_sktime.benchmarking.__main__ import main
from dsn_sktime.benchmarking.speed import engine


def test_without_a_gpu_the_command_says_so_and_ends_well(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["speed", "--device", "cuda"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "torch sees no CUDA device here" in printed.err
    assert printed.err.count("\n") == 1


def test_it_compares_replayed_steps_with_eager_ones():
    graphs = Remembered()
    row = engine.measure_gpu(2, (2, 1, 8), "cpu", graphs)
    assert (row["B"], row["m"], row["L"]) == (2, 1, 8)
    assert row["ratio"] == pytest.approx(row["captured_per_s"] / row["dense_per_s"])
    # 3 turns of two untimed steps and 20 others, the first 3 of them to warm up.
    assert (graphs.n_warm, graphs.n_captured, graphs.n_replayed) == (3, 1, 63)


@needs_gpu
def test_it_measures_the_gpu():
    assert engine.measure_gpu(n_repeats=3)["ratio"] > 0
