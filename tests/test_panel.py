from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
import torch

from dsn_sktime.panel import Panel, Standardization, read_panel


def as_panel(X):
    raw = read_panel(X)
    return Panel.from_raw(raw, Standardization.identity(raw.n_variates))


def frames(rng, lengths, n_variates=2):
    return [pd.DataFrame(rng.normal(size=(length, n_variates))) for length in lengths]


# Arrays


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8", "bool"])
def test_array_is_copied_to_single_precision(dtype):
    X = np.arange(24).reshape(2, 3, 4).astype(dtype)
    panel = as_panel(X)
    assert panel.values.dtype == torch.float32
    assert panel.values.tolist() == X.astype(np.float32).tolist()
    assert panel.lengths is None
    assert len(panel) == 2
    assert panel.values.shape[1] == 3


@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray, lambda X: X[:, ::-1]])
def test_array_may_lie_in_memory_as_it_likes(rng, layout):
    X = layout(rng.normal(size=(3, 2, 5)))
    panel = as_panel(X)
    assert panel.values.tolist() == X.astype(np.float32).tolist()
    assert panel.values.is_contiguous()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_array_is_neither_shared_nor_changed(dtype):
    X = np.full((2, 1, 3), np.nan, dtype=dtype)
    X[:, :, 2] = 1
    X.setflags(write=False)
    panel = as_panel(X)
    panel.values.fill_(7)
    assert np.isnan(X[:, :, :2]).all()
    assert (X[:, :, 2] == 1).all()


def test_missing_values_of_an_array_become_zero():
    X = np.array([[[1.0, np.nan, 3.0]], [[np.nan, np.nan, -2.0]]])
    assert as_panel(X).values.tolist() == [[[1, 0, 3]], [[0, 0, -2]]]


# Lists of frames


def test_frames_of_equal_length_have_no_lengths(rng):
    X = frames(rng, [4, 4, 4])
    panel = as_panel(X)
    assert panel.lengths is None
    expected = np.array([frame.to_numpy().T for frame in X]).astype(np.float32)
    assert panel.values.tolist() == expected.tolist()


def test_frames_of_unequal_length_are_padded_with_zeros_on_the_right(rng):
    lengths = [2, 5, 1]
    X = frames(rng, lengths)
    panel = as_panel(X)
    assert panel.lengths.tolist() == lengths
    assert panel.lengths.dtype == torch.int64
    assert panel.values.dtype == torch.float32
    assert panel.values.shape == (3, 2, 5)
    for row, frame, length in zip(panel.values, X, lengths, strict=True):
        assert row[:, :length].tolist() == frame.to_numpy().T.astype(np.float32).tolist()
        assert (row[:, length:] == 0).all()


def test_missing_values_of_frames_become_zero_and_count_as_steps():
    X = [pd.DataFrame({"a": [np.nan, np.nan, 1.0]}), pd.DataFrame({"a": [np.nan, 2.0]})]
    panel = as_panel(X)
    assert panel.values.tolist() == [[[0, 0, 1]], [[0, 2, 0]]]
    assert panel.lengths.tolist() == [3, 2]


def test_frames_are_neither_shared_nor_changed(rng):
    X = frames(rng, [3, 2])
    X[0].iloc[1, 1] = np.nan
    before = [frame.copy() for frame in X]
    as_panel(X).values.fill_(7)
    for frame, same in zip(X, before, strict=True):
        pd.testing.assert_frame_equal(frame, same)


def test_frame_may_mix_kinds_of_numbers():
    X = [pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}), pd.DataFrame({"a": [3], "b": [4]})]
    assert as_panel(X).values.tolist() == [[[1, 2], [0.5, 1.5]], [[3, 0], [4, 0]]]


# Refused input


def as_array(values):
    return np.array(values)[None, None]


def as_frames(values):
    return [pd.DataFrame({"a": [0.0]}), pd.DataFrame({"a": values})]


VALUES = [("m1", 2.0), ("m2", np.inf)]


@pytest.mark.parametrize("container", [as_array, as_frames])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_are_refused(container, value):
    with pytest.raises(
        ValueError, match=rf"finite, found {value} in series \d, variate (0|'a') \(c"
    ):
        as_panel(container([1.0, value, np.nan]))


@pytest.mark.parametrize("container", [as_array, as_frames])
@pytest.mark.parametrize("value", [1.1e15, 1e20, -1e300, float(np.finfo(np.float32).max)])
def test_values_that_overflow_soon_are_refused(container, value):
    message = rf"up to 1e\+15.* found {value:g} in series \d, variate (0|'a') \(c".replace(
        "e+", r"e\+"
    )
    with pytest.raises(ValueError, match=message):
        as_panel(container([1.0, value, np.nan]))


def test_values_are_placed_by_the_names_of_series_and_variates():
    frames = {one: pd.DataFrame({"a": [0.0, 1.0], "b": [1.0, value]}) for one, value in VALUES}
    with pytest.raises(ValueError, match="inf in series 'm2', variate 'b'"):
        read_panel(pd.concat(frames))
    with pytest.warns(UserWarning, match="2 variates of X .* the first is 'a'"):
        Standardization.fit(read_panel(pd.concat(frames).drop("m2").assign(a=7.0)))


def test_what_a_network_is_given_may_be_as_large_as_batchnorm_can_square():
    assert as_panel(as_array([1e12])).values.item() == np.float32(1e12)
    with pytest.raises(ValueError, match=r"up to 1e\+12, found 2e\+12 in series 0, variate 0"):
        as_panel(as_array([2e12]))


@pytest.mark.parametrize("container", [as_array, as_frames])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1 + 2j, 3j], r"found dtype complex128\. .* real and the imaginary part as two variates"),
        (["a", "b"], r"X must hold real numbers, found dtype .*\. Convert it"),
        ([1.0, None, "b"], r"found dtype object.*Convert it"),
        ([dt.datetime(2020, 1, 1)] * 2, r"real numbers, found dtype .*\. Convert it"),
    ],
)
def test_values_that_are_no_real_numbers_are_refused(container, values, message):
    with pytest.raises(TypeError, match=message):
        as_panel(container(values))


def test_frame_without_a_time_step_is_refused(rng):
    with pytest.raises(ValueError, match=r"found 2 \(the first is number 1, counted from 0\)"):
        as_panel(frames(rng, [3, 0, 2, 0]))


@pytest.mark.parametrize("widths", [(2, 1), (1, 2), (3, 2)])
def test_frames_of_different_variates_are_refused(rng, widths):
    X = [pd.DataFrame(rng.normal(size=(4, width))) for width in widths]
    message = rf"{widths[0]} as in the first, found 1 \(the first is number 1, counted from 0\)"
    with pytest.raises(ValueError, match=message):
        as_panel(X)


# Parts of a panel


def unequal_panel():
    values = torch.arange(1.0, 21).view(4, 1, 5)
    lengths = torch.tensor([2, 5, 1, 3])
    for row, length in zip(values, lengths, strict=True):
        row[:, length:] = 0
    return Panel(values, lengths)


@pytest.mark.parametrize("rows", [torch.tensor([3, 0]), torch.tensor([2]), slice(2, 4)])
def test_part_is_padded_to_its_own_longest_series(rows):
    panel = unequal_panel()
    part = panel.take(rows)
    assert part.lengths.tolist() == panel.lengths[rows].tolist()
    assert part.values.shape[2] == max(part.lengths.tolist())
    assert part.values.tolist() == panel.values[rows][:, :, : part.values.shape[2]].tolist()


def test_part_of_series_of_equal_length_keeps_it(rng):
    panel = as_panel(rng.normal(size=(4, 2, 5)))
    part = panel.take(torch.tensor([3, 1]))
    assert part.lengths is None
    assert part.values.tolist() == panel.values[[3, 1]].tolist()


@pytest.mark.parametrize(("size", "sizes"), [(1, [1] * 4), (3, [3, 1]), (4, [4]), (9, [4])])
@pytest.mark.parametrize("panel", [unequal_panel(), Panel(torch.arange(8.0).view(4, 1, 2))])
def test_chunks_are_the_panel_in_order(panel, size, sizes):
    chunks = list(panel.chunks(size))
    assert [len(chunk) for chunk in chunks] == sizes
    n_steps = panel.values.shape[2]
    rejoined = torch.cat(
        [
            torch.nn.functional.pad(chunk.values, (0, n_steps - chunk.values.shape[2]))
            for chunk in chunks
        ]
    )
    assert torch.equal(rejoined, panel.values)
    if panel.lengths is not None:
        assert torch.equal(torch.cat([chunk.lengths for chunk in chunks]), panel.lengths)


@pytest.mark.parametrize("panel", [unequal_panel(), Panel(torch.ones(2, 1, 3))])
def test_panel_moves_to_a_device_as_a_whole(panel):
    moved = panel.to(torch.device("meta"))
    assert moved.values.device.type == "meta"
    assert (moved.lengths is None) == (panel.lengths is None)
    if moved.lengths is not None:
        assert moved.lengths.device.type == "meta"


def test_bool_and_float_columns_are_numbers():
    frame = pd.DataFrame({"on": [True, False], "level": [0.5, 2.0]})
    assert as_panel([frame]).values.tolist() == [[[1.0, 0.0], [0.5, 2.0]]]
