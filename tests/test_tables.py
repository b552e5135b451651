"""The tables of costs hold what the networks cost."""

from __future__ import annotations

import pandas as pd
import pytest
from archive import write_dataset

from dsn_sktime.benchmarking import datasets
from dsn_sktime.benchmarking.__main__ import main
from dsn_sktime.benchmarking.commands import cost_table, to_markdown


@pytest.fixture
def folder(tmp_path):
    write_dataset(tmp_path, "Har", m=9, lengths=(128,), labels="abcdef")
    write_dataset(tmp_path, "Small", lengths=(96,))
    return tmp_path


def test_counts_are_those_of_the_shapes(folder):
    table = cost_table([datasets.find("Har", folder)], ["dsn", "dsn-dense"])
    # HAR's published counts for the sparse network.
    assert table.loc[0].to_dict() == {
        "dataset": "Har",
        "n_variates": 9,
        "series_length": 128,
        "n_classes": 6,
        "estimator": "dsn",
        "n_parameters": 160126,
        "multiply_adds": 20284220,
    }


def test_markdown_has_a_line_per_data_set_and_the_mean(folder):
    found = [datasets.find(name, folder) for name in ("Small", "Har")]
    assert to_markdown(cost_table(found, ["dsn"])).splitlines() == [
        "| data set | m | L | c | dsn |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| Small | 1 | 96 | 2 | 125.4 K, 11.9 M |",
        "| Har | 9 | 128 | 6 | 160.1 K, 20.3 M |",
        "| **mean** |  |  |  | 142.8 K, 16.1 M |",
    ]


def test_the_command_writes_both_forms(folder, tmp_path, capsys):
    csv, markdown = tmp_path / "t.csv", tmp_path / "t.md"
    arguments = ["--all", str(folder), "-e", "dsn", "fcn", "--csv", str(csv)]
    assert main(["tables", *arguments, "--markdown", str(markdown)]) == 0
    assert capsys.readouterr().out == markdown.read_text()
    found = pd.read_csv(csv)
    assert found["dataset"].tolist() == ["Har", "Har", "Small", "Small"]
    assert found["estimator"].tolist() == ["dsn", "fcn"] * 2


def test_all_of_a_folder_are_found_beside_another_one(folder, tmp_path, capsys):
    arguments = ["--all", str(folder), "-d", "UnitTest", "--data-path", str(tmp_path)]
    assert main(["tables", *arguments, "-e", "dsn"]) == 0
    names = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert names == ["data", "---", "UnitTest", "Har", "Small", "**mean**"]


def test_what_has_no_network_is_told(folder, capsys):
    assert main(["tables", "--all", str(folder), "-e", "minirocket"]) == 2
    assert "'minirocket' is not a torch network" in capsys.readouterr().err
