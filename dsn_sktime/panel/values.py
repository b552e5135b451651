"""Convert single pieces of a container to arrays of real numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from pandas.api.types import is_numeric_dtype


def holds_values(cell: object) -> bool:
    """Return True if an item of a list or a cell of a frame is a series, not a number."""
    kinds = pd.DataFrame | pd.Series | np.ndarray | list | tuple | torch.Tensor
    return isinstance(cell, kinds) and getattr(cell, "ndim", 1) > 0


def as_numbers(values: Any) -> np.ndarray:
    """Return an array of real numbers, NaN where they are masked or missing."""
    if isinstance(values, torch.Tensor):
        values = from_torch(values)
    if isinstance(values, list | tuple) and any(
        isinstance(one, np.ma.MaskedArray | torch.Tensor) for one in values
    ):
        # numpy drops the masks of a list, and reads no tensor that requires a gradient.
        values = np.stack([as_numbers(one) for one in values])
    if isinstance(values, np.ma.MaskedArray):
        _check_real(values)
        dtype = values.dtype if values.dtype.kind == "f" else np.float64
        return np.where(np.ma.getmaskarray(values), np.nan, values.data).astype(dtype)
    if isinstance(values, pd.DataFrame | pd.Series):
        dtypes = [values.dtype] if isinstance(values, pd.Series) else values.dtypes
        array = values.to_numpy()
        if array.dtype == object and all(map(is_numeric_dtype, dtypes)):
            # pandas returns objects for mixed bool and float columns and for nullable ones.
            array = values.to_numpy(np.float64, na_value=np.nan)
    else:
        array = np.asarray(values)
    _check_real(array)
    return array


def from_torch(values: torch.Tensor, name: str = "X") -> np.ndarray:
    """Return the values of a tensor that holds any; ``name`` is for messages."""
    if values.is_nested or values.layout != torch.strided or values.is_quantized or values.is_meta:
        raise TypeError(
            f"{name} must be a dense tensor that holds its values, found another kind. Use "
            f"{name}.unbind() of a nested tensor, {name}.to_dense() of a sparse one and "
            f"{name}.dequantize() of a quantized one."
        )
    values = values.detach().cpu()
    if values.is_floating_point() and values.dtype not in (torch.float16, torch.float64):
        values = values.float()  # numpy has no bfloat16 and no float8.
    return values.resolve_conj().resolve_neg().numpy()


def _check_real(values: np.ndarray) -> None:
    if values.dtype.kind in "biuf":
        return
    remedy = (
        "Of complex series pass the real and the imaginary part as two variates."
        if values.dtype.kind == "c"
        else "Convert it, for example with X.astype(float)."
    )
    raise TypeError(f"X must hold real numbers, found dtype {values.dtype}. {remedy}")
