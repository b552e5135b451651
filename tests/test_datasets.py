"""Data sets are found by name, read as they are, and refused in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from archive import ts_text, write_dataset

from dsn_sktime.benchmarking import datasets


@pytest.fixture
def folder(tmp_path):
    write_dataset(tmp_path, "Even", m=2, labels="abc")
    write_dataset(tmp_path, "Uneven", lengths=(9, 16, 12))
    return tmp_path


def test_the_files_tell_the_shape_without_being_parsed(folder):
    found = datasets.find("Even", folder)
    assert (found.n_train, found.n_test, found.n_variates) == (8, 6, 2)
    assert (found.series_length, found.n_classes) == (16, 3)
    assert datasets.find("Uneven", folder).series_length == 16


def test_series_of_one_length_are_an_array(folder):
    series = datasets.load(datasets.find("Even", folder))
    assert series.X.shape == (14, 2, 16)
    assert series.y.tolist() == [*"abcabcab", *"abcabc"]
    assert series.n_train == 8
    first = (folder / "Even" / "Even_TRAIN.ts").read_text().splitlines()[5].split(":")
    assert np.array_equal(series.X[0, 1], np.array(first[1].split(","), dtype=float))


def test_series_of_several_lengths_are_frames(folder):
    series = datasets.load(datasets.find("Uneven", folder))
    assert [len(frame) for frame in series.X[:4]] == [9, 16, 12, 9]
    assert series.n_variates == 1
    assert series.longest(np.array([0, 2])) == 12
    assert [len(frame) for frame in series.take(np.array([1, 0]))] == [16, 9]


def test_missing_values_are_nan(tmp_path):
    write_dataset(tmp_path, "Gaps", missing=True)
    X = datasets.load(datasets.find("Gaps", tmp_path)).X
    assert np.isnan(X[:, :, 1]).all()
    assert np.isnan(X).sum() == 14


def test_files_may_lie_in_the_folder_itself(folder):
    assert datasets.find("Even", folder / "Even").n_train == 8


def test_data_that_sktime_ships_needs_no_folder(tmp_path):
    assert datasets.find("UnitTest").n_train == 20
    assert datasets.find("UnitTest", tmp_path).n_test == 22


def test_what_is_not_at_hand_is_fetched_by_sktime(tmp_path, monkeypatch):
    def fetch(name, split, extract_path):
        write_dataset(tmp_path, name)

    monkeypatch.setattr(datasets, "load_UCR_UEA_dataset", fetch)
    assert datasets.find("Far", tmp_path).n_train == 8


def test_what_cannot_be_fetched_is_told_with_the_nearest_name(folder, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no\nnetwork")

    monkeypatch.setattr(datasets, "load_UCR_UEA_dataset", fail)
    with pytest.raises(ValueError, match=r"'Evn' is not in .*RuntimeError: no network\)") as told:
        datasets.find("Evn", folder)
    assert "Did you mean 'Even'?" in str(told.value)
    with pytest.raises(ValueError, match=r"to be fetched .* Did you mean 'GunPoint'"):
        datasets.find("GunPiont")


def test_half_a_data_set_is_told(folder):
    (folder / "Even" / "Even_TEST.ts").unlink()
    with pytest.raises(ValueError, match=r"'Even' is not complete: .* must hold Even_TRAIN.ts and"):
        datasets.find("Even", folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no data set\n",
        "@classLabel true a b\n@data\n",
        "@classLabel false\n@data\n1,2,3\n",
        "@classLabel true a b\n1,2:a\n",
    ],
)
def test_a_file_that_is_no_ts_file_is_refused_before_anything_runs(folder, text):
    (folder / "Even" / "Even_TRAIN.ts").write_text(text)
    with pytest.raises(ValueError, match=r"Even_TRAIN.ts is malformed: a .ts file must have"):
        datasets.find("Even", folder)


def test_a_file_that_is_no_text_is_refused(folder):
    (folder / "Even" / "Even_TEST.ts").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"Even_TEST.ts cannot be read as text"):
        datasets.find("Even", folder)


def test_what_sktime_cannot_parse_is_told_with_the_file(folder):
    file = folder / "Even" / "Even_TEST.ts"
    file.write_text(file.read_text().replace("@data\n", "@data\n1,x,3:4,5,6:a\n"))
    with pytest.raises(ValueError, match=r"Even_TEST.ts is malformed: "):
        datasets.load(datasets.find("Even", folder))


def test_files_that_do_not_belong_together_are_told(folder):
    (folder / "Even" / "Even_TEST.ts").write_text(ts_text("Even", 1, (16,), 6))
    with pytest.raises(ValueError, match="training series have 2 variates, its test series 1"):
        datasets.load(datasets.find("Even", folder))


def test_all_names_of_a_folder(folder, tmp_path_factory):
    (folder / "notes").mkdir()
    (folder / "Half_TRAIN.ts").touch()
    assert datasets.names_in(folder) == ["Even", "Uneven"]
    with pytest.raises(ValueError, match="holds no data set"):
        datasets.names_in(tmp_path_factory.mktemp("empty"))
    with pytest.raises(ValueError, match="there is no folder"):
        datasets.names_in(folder / "none")


def test_names_of_a_list_file(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("# small ones\nEven  # two variates\n\nUneven\n")
    assert datasets.names_listed(file) == ["Even", "Uneven"]
    file.write_text("# none\n")
    with pytest.raises(ValueError, match="names none"):
        datasets.names_listed(file)
    with pytest.raises(ValueError, match="cannot be read"):
        datasets.names_listed(tmp_path / "none.txt")
