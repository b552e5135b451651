"""The paper's studies: what they compare, and that their pages say what was measured."""

import pandas as pd
import pytest
from pages import check_whole, row

from dsn_sktime import DSNClassifier
from dsn_sktime.benchmarking.__main__ import main
from dsn_sktime.benchmarking.datasets import UCR_85
from dsn_sktime.benchmarking.estimators.registry import costs, make
from dsn_sktime.benchmarking.report.study import STUDIES, compare, page, table
from dsn_sktime.benchmarking.run import results


def runs_of(name, accuracy):
    """Return two runs of each estimator; ``accuracy`` maps data sets to those of estimators."""
    rows = [
        row(dataset, label, seed, value, n_parameters=100 + place, multiply_adds=1000)
        for dataset, values in accuracy.items()
        for place, (label, value) in enumerate(zip(STUDIES[name].estimators, values, strict=True))
        for seed in (0, 1)
    ]
    return pd.DataFrame(rows)


def activated(estimator):
    return costs(make(estimator, seed=0), 1, 100, 2)["n_parameters"]


def test_each_setting_is_the_reference_but_for_what_it_studies():
    differing = {
        "sparsity": {"sparsity", "n_kernel_groups", "n_filters", "n_bottleneck"},
        "size": {"n_layers", "n_filters"},
        "groups": {"n_kernel_groups", "n_filters", "n_bottleneck"},
        "fix": {"growth"},
        "growth": {"growth"},
        "recipe": {
            *("n_epochs", "keep", "label_smoothing", "weight_decay", "padding"),
            *("topology_init", "lr", "batch_size"),
        },
    }
    for name, expected in differing.items():
        study, found = STUDIES[name], set()
        reference = make(study.reference, seed=0).get_params()
        for estimator in study.estimators:
            own = make(estimator, seed=0).get_params()
            found |= {key for key in reference if own[key] != reference[key]}
        assert found == expected
        paper = name != "recipe"
        made = DSNClassifier.paper if paper else DSNClassifier
        assert reference == made(random_state=0, n_jobs=1).get_params()


def test_settings_have_the_published_numbers_of_parameters():
    assert activated("dsn-paper") == 125_404
    assert activated("dsn-dense") == 802_153
    assert activated("dsn-sparsity90") < 125_404 < activated("dsn-sparsity50")
    # Without groups the region is all 39 taps instead of 13, 26 and 39: 3/2 of the weights.
    kernels = 141 * 39 + 3 * 141 * 47 * 39
    the_rest = 802_153 - kernels
    assert activated("dsn-nogroups") - the_rest == pytest.approx(0.2 * kernels, abs=4)
    assert 125_404 - the_rest == pytest.approx(0.2 * kernels * 2 / 3, abs=12)


def test_table_has_a_row_per_setting_in_order():
    accuracy = {"Beef": (0.5, 0.6, 0.7, 0.8), "Car": (0.9, 0.6, 0.6, 0.5)}
    found = table("sparsity", compare("sparsity", runs_of("sparsity", accuracy))[0])
    assert list(found.index) == ["dsn-sparsity50", "dsn-paper", "dsn-sparsity90", "dsn-dense"]
    assert found["mean_accuracy"].tolist() == pytest.approx([0.7, 0.6, 0.65, 0.65])
    assert found["average_rank"].tolist() == [2.5, 2.75, 2.25, 2.5]
    assert found.loc["dsn-sparsity90", ["wins", "ties", "losses"]].tolist() == [1, 1, 0]
    assert found["n_parameters"].tolist() == [100, 101, 102, 103]
    assert (found["n_runs"] == 4).all()
    assert found.loc["dsn-dense", ["Beef", "Car"]].tolist() == [0.8, 0.5]


@pytest.mark.parametrize("name", ["sparsity", "fix"])
def test_page_states_epochs_and_seeds(name, tmp_path):
    n = len(STUDIES[name].estimators)
    runs = runs_of(name, {"Beef": [0.5, 0.6, 0.7, 0.8][:n], "Car": [0.9, 0.8, 0.7, 0.6][:n]})
    page(name, *compare(name, runs)).write(tmp_path / name)
    shown = check_whole((tmp_path / f"{name}.html").read_text())
    summary = shown.table("Estimator", "Mean accuracy (%)")
    assert {cells[0] for cells in summary[1:]} == set(STUDIES[name].estimators)
    assert summary[0][-1] == "Epochs"
    assert {cells[-1] for cells in summary[1:]} == {"100"}
    text = (tmp_path / f"{name}.md").read_text()
    assert "Means over 2 data sets" in text
    assert "Seeds: 0, 1." in text
    assert (tmp_path / "figures" / f"{name}-accuracy.png").stat().st_size > 1000


def test_page_lists_what_is_missing():
    runs = runs_of("fix", {"Beef": (0.5, 0.6), "Car": (0.9, 0.8)})
    is_lost = (runs["estimator"] == "dsn-fix") & (runs["dataset"] == "Car")
    runs.loc[is_lost, ["status", "error"]] = "failed", "RuntimeError: out of memory"
    titles = [section.title for section in page("fix", *compare("fix", runs)).sections]
    assert {"Data sets left out", "Failed runs"} <= set(titles)
    # Nothing in common: no averages, and no crash.
    compared, failed = compare(
        "fix", runs[(runs["estimator"] == "dsn-fix") != (runs["dataset"] == "Car")]
    )
    assert not page("fix", compared, failed).sections[0].figures
    assert table("fix", compared)["n_datasets"].tolist() == [0, 0]


def study(output, *options):
    return main(["study", "fix", "--output", str(output), "--datasets", "UnitTest", *options])


def test_command_runs_each_job_once_and_writes_its_pages(tmp_path, capsys):
    small = ("--seeds", "1", "--epochs", "2")
    assert study(tmp_path, *small) == 0
    rows = results.read(tmp_path / "results.csv")
    assert sorted(rows["estimator"]) == ["dsn-fix", "dsn-paper"]
    assert rows["n_epochs"].tolist() == [2, 2]
    assert "dsn-fix" in capsys.readouterr().out
    assert study(tmp_path, *small) == 0
    pd.testing.assert_frame_equal(results.read(tmp_path / "results.csv"), rows)
    # Other epochs are other jobs, and the pages are of those that were asked for.
    assert study(tmp_path, "--seeds", "1", "--epochs", "1") == 0
    assert len(results.read(tmp_path / "results.csv")) == 4
    written = pd.read_csv(tmp_path / "fix.csv", index_col="setting")
    assert written["n_epochs"].tolist() == [1, 1]
    check_whole((tmp_path / "fix.html").read_text())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "0"], "argument --epochs: must be an integer of at least 1"),
        (["--seeds", "0"], "argument --seeds: must be an integer of at least 1"),
        (["--data-path", "nowhere", "-d", "Nothing"], "there is no folder nowhere"),
    ],
)
def test_wrong_options_end_in_one_sentence(tmp_path, capsys, options, message):
    try:
        status = study(tmp_path / "out", *options)
    except SystemExit as error:  # argparse
        status = error.code
    assert status == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_archive_of_the_paper_has_85_sets():
    assert len(set(UCR_85)) == 85
    assert list(UCR_85) == sorted(UCR_85, key=str.lower)
