"""The speed benchmark of the GPU, on the CPU."""

import torch
from test_cuda_graph import Remembered, needs_gpu

from dsn_sktime.benchmarking.__main__ import main
from dsn_sktime.benchmarking.speed import cuda as cuda_speed


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cuda_speed.measure(3) == []
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == cuda_speed.SKIPPED + "\n"
    assert "torch sees no CUDA device here" in printed.err


def test_the_command_says_so_and_ends_well(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["speed", "--device", "cuda"]) == 0
    assert capsys.readouterr().err == cuda_speed.SKIPPED + "\n"


def test_it_compares_replayed_steps_with_eager_ones(monkeypatch):
    monkeypatch.setattr(cuda_speed, "_STEPS_IN_A_ROW", 2)
    graphs, waits = Remembered(), []
    device = torch.device("cpu")
    row = cuda_speed.compare(device, graphs, lambda: waits.append(1), (2, 1, 8), 3)
    assert (row["B"], row["m"], row["L"]) == (2, 1, 8)
    assert row["ratio"] == row["captured_per_s"] / row["dense_per_s"] > 0
    # 5 turns of an untimed step and 2 others, the first 3 of them to warm up; a wait before and
    # after what is timed.
    assert (graphs.n_warm, graphs.n_captured, graphs.n_replayed) == (3, 1, 12)
    assert len(waits) == 2 * 2 * 5


@needs_gpu
def test_it_measures_the_gpu():
    (row,) = cuda_speed.measure(n_repeats=3)
    assert row["ratio"] > 0
