"""The paper's studies: what they compare, and that their pages say what was measured."""

import pandas as pd
import pytest
from pages import check_whole, row

from dsn_sktime import DSNClassifier
from dsn_sktime.analysis import count_parameters
from dsn_sktime.benchmarking.studies import STUDIES, page, table, write
from dsn_sktime.network import DSNNetwork


def runs_of(name, accuracy):
    """Return two runs of each setting; ``accuracy`` maps data sets to those of settings."""
    rows = [
        row(dataset, label, seed, value, label=label, n_parameters=100 + place, multiply_adds=1000)
        for dataset, values in accuracy.items()
        for place, (label, value) in enumerate(zip(STUDIES[name].settings, values, strict=True))
        for seed in (0, 1)
    ]
    return pd.DataFrame(rows)


def activated(settings):
    names = ("sparsity", "n_filters", "n_layers", "n_kernel_groups", "n_bottleneck")
    of_network = {name: value for name, value in settings.items() if name in names}
    return count_parameters(DSNNetwork(1, 2, **of_network)).activated


def test_settings_are_parameters_and_one_is_the_papers():
    for study in STUDIES.values():
        assert study.settings[study.paper] == {}
        for settings in study.settings.values():
            DSNClassifier.paper(**settings)._check_parameters()


def test_settings_have_the_published_numbers_of_parameters():
    sparsity = STUDIES["sparsity"].settings
    assert activated(sparsity["80 % (paper)"]) == 125_404
    assert activated(sparsity["dense"]) == 802_153
    assert activated(sparsity["90 %"]) < 125_404 < activated(sparsity["50 %"])
    # Without groups the region is all 39 taps instead of 13, 26 and 39: 3/2 of the weights.
    kernels = 141 * 39 + 3 * 141 * 47 * 39
    dense_rest = 802_153 - kernels
    no_groups = activated(STUDIES["groups"].settings["no groups"])
    assert no_groups - dense_rest == pytest.approx(0.2 * kernels, abs=4)
    assert 125_404 - dense_rest == pytest.approx(0.2 * kernels * 2 / 3, abs=12)


def test_table_has_a_row_per_setting_in_order():
    accuracy = {"Beef": (0.5, 0.6, 0.7, 0.8), "Car": (0.9, 0.6, 0.6, 0.5)}
    found = table("sparsity", runs_of("sparsity", accuracy))
    assert list(found.index) == ["50 %", "80 % (paper)", "90 %", "dense"]
    assert found["mean_accuracy"].tolist() == pytest.approx([0.7, 0.6, 0.65, 0.65])
    assert found["average_rank"].tolist() == [2.5, 2.75, 2.25, 2.5]
    assert found.loc["90 %", ["wins", "ties", "losses"]].tolist() == [1, 1, 0]
    assert found["n_parameters"].tolist() == [100, 101, 102, 103]
    assert (found["n_runs"] == 4).all()
    assert found.loc["dense", ["Beef", "Car"]].tolist() == [0.8, 0.5]


@pytest.mark.parametrize("name", ["sparsity", "fix"])
def test_page_states_epochs_and_seeds(name, tmp_path):
    n = len(STUDIES[name].settings)
    runs = runs_of(name, {"Beef": [0.5, 0.6, 0.7, 0.8][:n], "Car": [0.9, 0.8, 0.7, 0.6][:n]})
    write(name, runs, runs.head(0), tmp_path)
    shown = check_whole((tmp_path / f"{name}.html").read_text())
    assert {cells[0] for cells in shown.table("Estimator", "Mean accuracy (%)")[1:]} == set(
        STUDIES[name].settings
    )
    text = (tmp_path / f"{name}.md").read_text()
    assert "100 epochs, seeds 0, 1, 2 data sets" in text
    assert (tmp_path / "figures" / f"{name}-accuracy.png").stat().st_size > 1000
    assert list(pd.read_csv(tmp_path / f"{name}.csv")["setting"]) == list(STUDIES[name].settings)


def test_page_lists_what_is_missing():
    runs = runs_of("fix", {"Beef": (0.5, 0.6), "Car": (0.9, 0.8)})
    is_lost = (runs["label"] == "DSNfix") & (runs["dataset"] == "Car")
    failed = runs[is_lost].assign(status="failed", error="RuntimeError: out of memory")
    titles = [section.title for section in page("fix", runs[~is_lost], failed).sections]
    assert {"Data sets left out", "Failed runs"} <= set(titles)
    # Nothing in common: no averages, and no crash.
    alone = runs[(runs["label"] == "DSNfix") != (runs["dataset"] == "Car")]
    of_study = page("fix", alone, runs.head(0))
    assert not of_study.sections[0].figures
    assert table("fix", alone)["n_datasets"].tolist() == [0, 0]
