"""The two kernels of a sparse convolution, their inner loops in the processor's vectors.

The inner loops are LLVM code for numba. Plain numba loops reach half of what they do: here
the accumulators stay in registers, and each vector that is loaded feeds one multiply-add.

Addresses are byte addresses as integers; an offset counts float32 elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from dsn_sktime.kernels.jit import compiled

__all__ = ["convolve", "weight_gradient"]

_FEATURES = binding.get_host_cpu_features()

# float32 per register, and accumulators that fit beside the other registers in use.
if _FEATURES.get("avx512f"):
    LANES, MAX_VECTORS = 16, 16
elif _FEATURES.get("avx2"):
    LANES, MAX_VECTORS = 8, 12
else:
    LANES, MAX_VECTORS = 4, 16

# Weights whose gradients share each load of the output gradient.
MAX_DOTS = 8

# Columns whose products are summed before the next weights get their turn: 8 KB of the
# output gradient stay in the first-level cache.
_DOT_COLUMNS = 2048

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_ZERO = ir.Constant(_VECTOR, [0.0] * LANES)
_ADDRESS = types.int64


def _int(value: int) -> ir.Constant:
    return ir.Constant(_INT64, value)


def _pointer(builder: ir.IRBuilder, address: ir.Value, element: ir.Type) -> ir.Value:
    return builder.inttoptr(address, element.as_pointer())


def _load_vector(builder: ir.IRBuilder, start: ir.Value, element: ir.Value) -> ir.Value:
    place = builder.bitcast(builder.gep(start, [element]), _VECTOR.as_pointer())
    vector = builder.load(place)
    vector.align = 4
    return vector


def _store_vector(
    builder: ir.IRBuilder, vector: ir.Value, start: ir.Value, element: ir.Value
) -> None:
    place = builder.bitcast(builder.gep(start, [element]), _VECTOR.as_pointer())
    builder.store(vector, place).align = 4


def _broadcast(builder: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_INT32, 0))
    lanes = ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES)
    return builder.shuffle_vector(first, undefined, lanes)


def _multiply_add(builder: ir.IRBuilder) -> ir.Function:
    signature = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    name = f"llvm.fmuladd.v{LANES}f32"
    return cgutils.get_or_insert_function(builder.module, signature, name)


def _sum_lanes(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    signature = ir.FunctionType(_FLOAT, [_FLOAT, _VECTOR])
    name = f"llvm.vector.reduce.fadd.v{LANES}f32"
    reduce = cgutils.get_or_insert_function(builder.module, signature, name)
    return builder.call(reduce, [ir.Constant(_FLOAT, 0.0), vector], fastmath=("reassoc",))


def _switch(
    builder: ir.IRBuilder, number: ir.Value, largest: int, emit: Callable[[int], None]
) -> None:
    """Emit one variant of the code for each number 1..largest, and jump to the right one."""
    function = builder.function
    after = function.append_basic_block("after")
    switch = builder.switch(number, after)
    for case in range(1, largest + 1):
        block = function.append_basic_block(f"case{case}")
        switch.add_case(_int(case), block)
        builder.position_at_end(block)
        emit(case)
        builder.branch(after)
    builder.position_at_end(after)


def _loop(
    builder: ir.IRBuilder,
    stop: ir.Value,
    step: int,
    initial: list[ir.Value],
    body: Callable[[ir.Value, list[ir.Value]], list[ir.Value]],
) -> list[ir.Value]:
    """Emit ``for i in range(0, stop, step): state = body(i, state)``; return the state."""
    function = builder.function
    before = builder.block
    head = function.append_basic_block("head")
    inside = function.append_basic_block("inside")
    done = function.append_basic_block("done")
    builder.branch(head)
    builder.position_at_end(head)
    i = builder.phi(_INT64)
    state = [builder.phi(value.type) for value in initial]
    i.add_incoming(_int(0), before)
    for phi, value in zip(state, initial, strict=True):
        phi.add_incoming(value, before)
    builder.cbranch(builder.icmp_signed("<", i, stop), inside, done)
    builder.position_at_end(inside)
    new_state = body(i, state)
    i.add_incoming(builder.add(i, _int(step)), builder.block)
    for phi, value in zip(state, new_state, strict=True):
        phi.add_incoming(value, builder.block)
    builder.branch(head)
    builder.position_at_end(done)
    return list(state)


@intrinsic
def accumulate_tile(
    typing_context: Any,
    n_vectors: Any,
    x: Any,
    offsets: Any,
    values: Any,
    n_weights: Any,
    out: Any,
    fresh: Any,
) -> Any:
    """``out[p] (+)= sum over w of values[w] * x[offsets[w] + p]``, p < n_vectors * LANES.

    ``n_vectors`` lies in 1..MAX_VECTORS; with ``fresh`` true ``out`` is overwritten,
    else added to.
    """
    signature = types.void(
        types.int64, _ADDRESS, _ADDRESS, _ADDRESS, types.int64, _ADDRESS, types.boolean
    )

    def emit_code(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        n_vectors, x, offsets, values, n_weights, out, fresh = arguments
        x, values, out = (_pointer(builder, address, _FLOAT) for address in (x, values, out))
        offsets = _pointer(builder, offsets, _INT32)
        multiply_add = _multiply_add(builder)

        def emit(size: int) -> None:
            places = [_int(LANES * j) for j in range(size)]

            def one_weight(w: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
                offset = builder.sext(builder.load(builder.gep(offsets, [w])), _INT64)
                start = builder.gep(x, [offset])
                value = _broadcast(builder, builder.load(builder.gep(values, [w])))
                return [
                    builder.call(multiply_add, [value, _load_vector(builder, start, place), total])
                    for place, total in zip(places, sums, strict=True)
                ]

            # Adding 0 or what stands there: a branch here would double the loop's code.
            keep = builder.select(fresh, _int(0), _int(1))
            loaded = _loop(
                builder,
                keep,
                1,
                [_ZERO] * size,
                lambda _, sums: [_load_vector(builder, out, place) for place in places],
            )
            for place, total in zip(
                places, _loop(builder, n_weights, 1, loaded, one_weight), strict=True
            ):
                _store_vector(builder, total, out, place)

        _switch(builder, n_vectors, MAX_VECTORS, emit)
        return context.get_dummy_value()

    return signature, emit_code


@intrinsic
def dot_products(
    typing_context: Any, n_dots: Any, x: Any, offsets: Any, y: Any, n: Any, out: Any
) -> Any:
    """``out[w] += sum over p < n of y[p] * x[offsets[w] + p]`` for w < n_dots.

    ``n_dots`` lies in 1..MAX_DOTS; ``n`` is a multiple of LANES.
    """
    signature = types.void(types.int64, _ADDRESS, _ADDRESS, _ADDRESS, types.int64, _ADDRESS)

    def emit_code(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        n_dots, x, offsets, y, n, out = arguments
        x, y, out = (_pointer(builder, address, _FLOAT) for address in (x, y, out))
        offsets = _pointer(builder, offsets, _INT32)
        multiply_add = _multiply_add(builder)

        def emit(size: int) -> None:
            starts = [
                builder.gep(
                    x,
                    [builder.sext(builder.load(builder.gep(offsets, [_int(w)])), _INT64)],
                )
                for w in range(size)
            ]

            def one_vector(p: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
                shared = _load_vector(builder, y, p)
                return [
                    builder.call(multiply_add, [shared, _load_vector(builder, start, p), total])
                    for start, total in zip(starts, sums, strict=True)
                ]

            sums = _loop(builder, n, LANES, [_ZERO] * size, one_vector)
            for w, total in enumerate(sums):
                place = builder.gep(out, [_int(w)])
                builder.store(builder.fadd(builder.load(place), _sum_lanes(builder, total)), place)

        _switch(builder, n_dots, MAX_DOTS, emit)
        return context.get_dummy_value()

    return signature, emit_code


@compiled()
def convolve(x, offsets, values, starts, n_blocks, out, n_columns, shift, observed, first, last):
    """``out[row, p] = sum over w of values[w] * x[offsets[w] + p]``.

    Parameters
    ----------
    x : array of shape (C_in * width,)
        A flattened matrix; ``offsets[w] + n_columns`` stays within its size.
    offsets, values : arrays of shape (n,)
        Sorted by output row, then by block of input channels.
    starts : int64 array of shape (C_out * n_blocks + 1,)
        First weight of each block of each row, and the end.
    n_blocks : int
    out : array of shape (C_out, >= n_columns)
    n_columns : int
        Multiple of LANES.
    shift : array of shape (C_out,) or (0,)
        If given, ``out = relu(sum + shift) * observed``.
    observed : array of shape (n_columns,)
        1 where a column belongs to a series, else 0; read only with ``shift``.
    """
    zero = np.float32(0)
    n_vectors = n_columns // LANES
    n_tiles = (n_vectors + MAX_VECTORS - 1) // MAX_VECTORS
    for tile in range(n_tiles):
        begin = tile * n_vectors // n_tiles * LANES
        end = (tile + 1) * n_vectors // n_tiles * LANES
        for block in range(n_blocks):
            for row in range(first, last):
                weight = starts[row * n_blocks + block]
                accumulate_tile(
                    (end - begin) // LANES,
                    x.ctypes.data + 4 * begin,
                    offsets.ctypes.data + 4 * weight,
                    values.ctypes.data + 4 * weight,
                    starts[row * n_blocks + block + 1] - weight,
                    out.ctypes.data + 4 * (row * out.shape[1] + begin),
                    block == 0,
                )
                if block == n_blocks - 1 and shift.size > 0:
                    part = out[row, begin:end]
                    counts = observed[begin:end]
                    for p in range(end - begin):
                        total = part[p] + shift[row]
                        # Not max(): that asks about NaN, and the loop is no longer vectors.
                        part[p] = (total if total > zero else zero) * counts[p]


@compiled()
def weight_gradient(x, offsets, starts, n_blocks, y, y_column, n_columns, out, first, last):
    """``out[w] = sum over p of y[row of w, y_column + p] * x[offsets[w] + p]``.

    Parameters
    ----------
    x : array of shape (C_in * width,)
        A flattened matrix; ``offsets[w] + n_columns`` stays within its size.
    offsets, starts, n_blocks
        As in :func:`convolve`.
    y : array of shape (C_out, >= y_column + n_columns)
        Zero wherever x does not count.
    n_columns : int
        Multiple of LANES.
    out : array of shape (n,)
    """
    out[starts[first * n_blocks] : starts[last * n_blocks]] = 0
    for begin in range(0, n_columns, _DOT_COLUMNS):
        size = min(_DOT_COLUMNS, n_columns - begin)
        for row in range(first, last):
            weight, end = starts[row * n_blocks], starts[(row + 1) * n_blocks]
            while weight < end:
                n_dots = min(MAX_DOTS, end - weight)
                dot_products(
                    n_dots,
                    x.ctypes.data + 4 * begin,
                    offsets.ctypes.data + 4 * weight,
                    y.ctypes.data + 4 * (row * y.shape[1] + y_column + begin),
                    size,
                    out.ctypes.data + 4 * weight,
                )
                weight += n_dots
