"""The speed benchmark compares two networks that do the same."""

import json

import pytest
import torch
from sktime.classification import kernel_based
from sktime.classification.dummy import DummyClassifier

from dsn_sktime.analysis import count_parameters
from dsn_sktime.benchmarking import commands
from dsn_sktime.benchmarking.__main__ import main
from dsn_sktime.benchmarking.estimators import rocket
from dsn_sktime.benchmarking.speed import engine, rivals
from dsn_sktime.benchmarking.speed.masked_dense import MaskedDenseNetwork
from dsn_sktime.network import DSNNetwork
from dsn_sktime.training.adam import Adam


@pytest.mark.parametrize("training", [True, False])
def test_masked_dense_network_is_the_same_function(training):
    generator = torch.Generator().manual_seed(0)
    network = DSNNetwork(2, 3, n_layers=2, n_filters=4, kernel_size=9, generator=generator)
    masked = MaskedDenseNetwork(network)
    network.train(training)
    masked.train(training)
    masked.apply_masks()
    x = torch.randn(5, 2, 30, generator=generator)
    with torch.no_grad():
        assert torch.allclose(network(x), masked(x), atol=1e-5)


def test_speed_prints_a_table_and_writes_json(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(engine, "CASES", ((2, 1, 8), (3, 2, 10)))
    monkeypatch.setattr(engine, "LONG", (2, 1, 12))
    monkeypatch.setattr(commands.os, "cpu_count", lambda: 1)  # More would wait for other tests.
    file = tmp_path / "speed.json"
    main(["speed", "--repeats", "2", "--json", str(file)])
    assert "ratio" in capsys.readouterr().out
    rows = json.loads(file.read_text())["rows"]
    assert {row["task"] for row in rows} == {"training step", "prediction"}
    assert all(row["ratio"] == row["dense_ms"] / row["sparse_ms"] for row in rows)
    assert {(row["B"], row["m"], row["L"]) for row in rows} == {(2, 1, 8), (3, 2, 10)}
    figures = json.loads(file.read_text())["figures"]
    assert len(figures) == 7
    assert all(row["value"] > 0 for row in figures)


def test_speed_compares_with_minirocket_and_times_a_single_series(monkeypatch, tmp_path, capsys):
    for name in ("measure", "figures"):
        monkeypatch.setattr(engine, name, lambda *arguments: [])
    monkeypatch.setattr(commands.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(rivals, "LENGTHS", (10, 12))
    monkeypatch.setattr(rivals, "LENGTH", 12)
    # Not compiled here, which takes numba half a minute.
    for module, name in ((rocket, "RocketRidge"), (kernel_based, "RocketClassifier")):
        monkeypatch.setattr(module, name, lambda *arguments, **settings: DummyClassifier())
    file = tmp_path / "speed.json"
    main(["speed", "--repeats", "1", "--rocket", "--latency", "--json", str(file)])
    found = json.loads(file.read_text())
    names = ["MiniROCKET", "DSN", "DSN, head='bins'"]
    assert [(row["classifier"], row["L"]) for row in found["rockets"]] == [
        *((name, 10) for name in names),
        *((name, 12) for name in [*names, "sktime's MiniROCKET"]),
    ]
    lean = {row["L"]: row["ms"] for row in found["rockets"] if row["classifier"] == "MiniROCKET"}
    for row in found["rockets"]:
        assert row["of_lean"] == pytest.approx(row["ms"] / lean[row["L"]])
    calls = [row["call"] for row in found["latency"]]
    assert calls == [
        "predict_proba",
        "predict_proba, head='bins'",
        "own checks, included",
        "sktime's checks, not made",
    ]
    assert all(row["ms"] > 0 for row in found["latency"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in [*names, *calls])


def test_no_repeats_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["speed", "--repeats", "0"])
    assert "--repeats: must be an integer of at least 1" in capsys.readouterr().err


def test_stored_state_is_a_quarter_of_the_dense_networks():
    """Parameters, gradients, Adam's state and index, in bytes, beside those of a dense network."""
    network = DSNNetwork(1, 3)
    network(torch.zeros(2, 1, 8)).sum().backward()
    (optimizer := Adam(network.parameters(), 3e-4)).step()
    kept = [*network.parameters(), *(parameter.grad for parameter in network.parameters())]
    kept += [tensor for state in optimizer.state.values() for tensor in state.values()]
    kept += [conv.index for conv in network.sparse_convs()]
    n_bytes = sum(tensor.nbytes for tensor in kept)
    assert n_bytes / (4 * 4 * count_parameters(network).dense) == pytest.approx(0.23, abs=0.005)
