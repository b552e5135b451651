"""Data sets are found by name, read as they are, and refused in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from archive import ts_text, write_dataset
from sktime.datasets import load_from_tsfile

from dsn_sktime.benchmarking import datasets


@pytest.fixture
def folder(tmp_path):
    write_dataset(tmp_path, "Even", m=2, labels="abc")
    write_dataset(tmp_path, "Uneven", lengths=(9, 16, 12))
    return tmp_path


def test_the_files_tell_the_shape(folder):
    found = datasets.find("Even", folder)
    assert (found.n_train, found.n_test, found.n_variates) == (8, 6, 2)
    assert (found.series_length, found.n_classes) == (16, 3)
    assert datasets.find("Uneven", folder).series_length == 16


def test_series_of_one_length_are_an_array(folder):
    X, y = datasets.load(datasets.find("Even", folder))
    assert X.shape == (14, 2, 16)
    assert y.tolist() == [*"abcabcab", *"abcabc"]
    first = (folder / "Even" / "Even_TRAIN.ts").read_text().splitlines()[5].split(":")
    assert np.array_equal(X[0, 1], np.array(first[1].split(","), dtype=float))


def test_series_of_several_lengths_are_frames(folder):
    X, _ = datasets.load(datasets.find("Uneven", folder))
    assert [len(frame) for frame in X[:4]] == [9, 16, 12, 9]
    assert X[0].shape[1] == 1


def test_missing_values_are_nan(tmp_path):
    write_dataset(tmp_path, "Gaps", missing=True)
    X, _ = datasets.load(datasets.find("Gaps", tmp_path))
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


def test_a_failed_download_suggests_the_nearest_name(folder, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no\nnetwork")

    monkeypatch.setattr(datasets, "load_UCR_UEA_dataset", fail)
    with pytest.raises(
        ValueError, match=r"'Evn' is not at hand .*RuntimeError: no network\)"
    ) as found:
        datasets.find("Evn", folder)
    assert "Did you mean 'Even'?" in str(found.value)
    with pytest.raises(ValueError, match=r"could not be downloaded .* Did you mean 'GunPoint'"):
        datasets.find("GunPiont")


def test_half_a_data_set_is_told(folder):
    (folder / "Even" / "Even_TEST.ts").unlink()
    with pytest.raises(ValueError, match=r"Even must hold Even_TRAIN.ts and Even_TEST.ts"):
        datasets.find("Even", folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is malformed: it has no series"),
        ("no data set\n", "line 1 is malformed: a line before @data must begin with @"),
        ("@classLabel true a b\n@data\n", "is malformed: it has no series"),
        ("@classLabel false\n@data\n1,2,3\n", "line 3 is malformed: label '1,2,3' is not in"),
        ("@classLabel true a b\n@data\n1,2\n", "line 3 is malformed: label '1,2' is not in"),
        (
            "@classLabel true a b\n@data\n1,2:a\n1,2:c\n",
            "line 4 .*label 'c' is not in @classLabel true .*'b'",
        ),
        ("@classLabel true a b\n@data\n1,2:A\n", "line 3 .*label 'A' is not in"),
        ("@classLabel true a b\n@data\n1,2:'a'\n", "line 3 .* is not in"),
        ("@classLabel true a b\n@data\n1,2:a b\n", "line 3 .*label 'a b' is not in"),
        ("@classLabel true a b\n@data\n1,2:\n", "line 3 .*label '' is not in"),
        ("@classLabel true a\n@data\n:a\n", "line 3 .*could not convert string to float: ''"),
        ("@classLabel true a\n@data\n1:a\n\n#\n1:2:a\n", "line 6 .*1 variates as before, found 2"),
        ("@classLabel true a\n@data\n1,2:1,2,3:a\n", "line 3 .*as many time steps, found .2, 3."),
        ("@classLabel true a\n9,9:a\n@data\n1,2:a\n", "line 2 .*must begin with @"),
        ("@timeStamps true\n@classLabel true a\n@data\n(0,1):a\n", r"line 4 .*float: '\(0'"),
    ],
)
def test_a_file_that_is_no_ts_file_is_refused_before_anything_runs(folder, text, message):
    (folder / "Even" / "Even_TRAIN.ts").write_text(text)
    with pytest.raises(ValueError, match=rf"Even_TRAIN.ts,? {message}"):
        datasets.find("Even", folder)


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\x00", b"# fine\n@problemName caf\xe9\n", b"\x1f\x8b\x08"]
)
def test_a_file_that_is_no_text_is_refused(folder, data):
    (folder / "Even" / "Even_TEST.ts").write_bytes(data)
    with pytest.raises(ValueError, match=r"Even_TEST.ts is not UTF-8 text"):
        datasets.find("Even", folder)


@pytest.mark.parametrize("value", ["x", "", "1 2", "1_0", "1_,_2", "1?", "inf", "1e999", "1;2"])
def test_a_value_that_is_no_number_is_told_with_file_and_line(folder, value):
    file = folder / "Even" / "Even_TEST.ts"
    file.write_text(file.read_text().replace("@data\n", f"@data\n1,{value},3:4,5,6:a\n"))
    with pytest.raises(ValueError, match=r"Even_TEST.ts, line 6 is malformed: "):
        datasets.find("Even", folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"\n", b"\r"),
        lambda data: data + b"\n\n  \n",
        lambda data: data.replace(b"@data\n", b"@DATA\n# a comment\n\n% another\n"),
        lambda data: data.replace(b",", b",\t").replace(b" true", b"\ttrue").replace(b":", b" : "),
        lambda data: "# caf\u00e9\n".encode() + data,
    ],
    ids=[
        "byte order mark",
        "line ends",
        "old line ends",
        "blank lines",
        "comments",
        "tabs and blanks",
        "UTF-8",
    ],
)
def test_files_as_other_programs_write_them_are_read(folder, change):
    expected = datasets.load(datasets.find("Even", folder))
    for file in (folder / "Even").iterdir():
        file.write_bytes(change(file.read_bytes()))
    datasets.load.cache_clear()
    found = datasets.load(datasets.find("Even", folder))
    assert all(map(np.array_equal, found, expected))


def test_labels_that_differ_by_case_are_two_classes(tmp_path):
    write_dataset(tmp_path, "Cases", labels="aA")
    found = datasets.find("Cases", tmp_path)
    assert found.n_classes == 2
    assert set(datasets.load(found)[1]) == {"a", "A"}


def test_test_labels_of_which_none_was_trained_are_refused(tmp_path):
    write_dataset(tmp_path, "Labels", labels="12")
    file = tmp_path / "Labels" / "Labels_TEST.ts"
    file.write_text(
        file.read_text()
        .replace("true 1 2", "true 1.0 2.0")
        .replace(":1", ":1.0")
        .replace(":2", ":2.0")
    )
    with pytest.raises(
        ValueError,
        match=r"'Labels' do not belong together: .*labels \['1', '2'\] and \['1.0', '2.0'\]",
    ):
        datasets.find("Labels", tmp_path)


def test_test_labels_of_which_some_were_not_trained_are_warned_of(tmp_path, capsys):
    write_dataset(tmp_path, "Labels", labels="ab")
    (tmp_path / "Labels" / "Labels_TEST.ts").write_text(
        ts_text("Labels", 1, (16,), 6, labels="abc")
    )
    assert datasets.find("Labels", tmp_path).n_classes == 2
    warning = "'Labels': no training series has the test labels ['c']"
    assert warning in capsys.readouterr().err


def test_sktimes_loader_reads_the_same_numbers(folder):
    for name in ("Even", "Uneven"):
        found = datasets.find(name, folder)
        series, labels = datasets.load(found)
        X, y = load_from_tsfile(str(found.train), return_data_type="nested_univ")
        assert labels[: len(y)].tolist() == y.tolist()
        for row, expected in zip(series[: len(y)], X.to_numpy(), strict=True):
            values = row if isinstance(row, np.ndarray) else row.to_numpy().T
            assert np.array_equal(values, np.array([one.to_numpy() for one in expected]))


def test_files_that_do_not_belong_together_are_told(folder):
    (folder / "Even" / "Even_TEST.ts").write_text(ts_text("Even", 1, (16,), 6))
    with pytest.raises(ValueError, match="do not belong together: 2 and 1 variates"):
        datasets.find("Even", folder)


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
    with pytest.raises(FileNotFoundError, match=r"none\.txt"):
        datasets.names_listed(tmp_path / "none.txt")
