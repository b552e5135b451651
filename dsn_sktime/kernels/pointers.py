"""Arrays that compiled functions see at an address.

Layers differ in number and shape, and numba compiles a function anew for each number of
arrays. So the functions take addresses, in records, and look at memory through these.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from dsn_sktime.kernels.jit import compiled


def _pointer_to(element: types.Type) -> Any:
    @intrinsic
    def pointer(typing_context: Any, address: Any) -> Any:
        def emit_code(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(types.CPointer(element)))

        return types.CPointer(element)(types.int64), emit_code

    return pointer


_to_floats, _to_ints, _to_longs = map(_pointer_to, (types.float32, types.int32, types.int64))


@compiled()
def floats(address, n):
    """Return the ``n`` float32 at an address."""
    return carray(_to_floats(address), (n,), np.float32)


@compiled()
def float_matrix(address, n_rows, row_pitch):
    """Return the ``(n_rows, row_pitch)`` float32 at an address."""
    return carray(_to_floats(address), (n_rows, row_pitch), np.float32)


@compiled()
def ints(address, n):
    """Return the ``n`` int32 at an address."""
    return carray(_to_ints(address), (n,), np.int32)


@compiled()
def longs(address, n):
    """Return the ``n`` int64 at an address."""
    return carray(_to_longs(address), (n,), np.int64)
