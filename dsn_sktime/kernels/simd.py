"""The inner loops of convolutions and matrix products, in the processor's vectors.

LLVM code for numba. Plain numba loops reach half of what these do: here the accumulators
stay in registers, and each vector that is loaded feeds at least one multiply-add.

Addresses are byte addresses as integers; an offset counts float32 elements.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_FEATURES = binding.get_host_cpu_features()

# float32 per register, and accumulators that fit beside the other registers in use.
if _FEATURES.get("avx512f"):
    LANES, MAX_VECTORS = 16, 16
elif _FEATURES.get("avx2"):
    LANES, MAX_VECTORS = 8, 12
else:
    LANES, MAX_VECTORS = 4, 16

# Steps between the two weights of a pair, at most. Of taps that are activated one in five,
# four fifths find a partner; larger gaps save too few loads to pay for their code.
MAX_GAP = 6

# Weights whose gradients share each load of the output gradient.
MAX_DOTS = 8

# Rows and vectors of a tile of a matrix product. Their products are the accumulators, which
# with the vectors and one factor make the 16 registers that AVX2 has.
TILE_ROWS, TILE_VECTORS = 4, 3

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_ZERO = ir.Constant(_VECTOR, [0.0] * LANES)


def int64_intrinsic(result: types.Type = types.void) -> Callable[[Callable], Any]:
    """Return a decorator that makes ``emit(builder, *numbers)`` an intrinsic of so many int64."""

    def decorate(emit: Callable) -> Any:
        @wraps(emit)  # numba counts the arguments by the signature that this passes on.
        def typed(typing_context: Any, *arguments: Any) -> tuple:
            def emit_code(context: Any, builder: ir.IRBuilder, _: Any, numbers: Any) -> Any:
                found = emit(builder, *numbers)
                return context.get_dummy_value() if found is None else found

            return result(*[types.int64] * len(arguments)), emit_code

        return intrinsic(typed)

    return decorate


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


def _add_shuffled(
    builder: ir.IRBuilder, one: ir.Value, other: ir.Value, first: list[int], second: list[int]
) -> ir.Value:
    """Add two selections of the lanes of two vectors."""
    kind = ir.VectorType(_INT32, len(first))
    return builder.fadd(
        *(builder.shuffle_vector(one, other, ir.Constant(kind, lanes)) for lanes in (first, second))
    )


def _sum_each(builder: ir.IRBuilder, vectors: list[ir.Value]) -> ir.Value:
    """Sum the lanes of each of up to LANES vectors; return the sums as one vector.

    Two vectors become one whose lanes are sums of two lanes of the one and the other by
    turns, until one is left: a third of what it takes to sum vector by vector.
    """
    n, block, width = len(vectors), 1, LANES
    while len(vectors) > 1:
        pairs = zip(vectors[::2], [*vectors[1::2], _ZERO], strict=False)
        # Blocks of lanes, from the one vector and the other by turns.
        lanes = [(p // block, p % block) for p in range(width)]
        first = [width * (b % 2) + (b - b % 2) * block + p for b, p in lanes]
        second = [place + block for place in first]
        vectors = [_add_shuffled(builder, one, other, first, second) for one, other in pairs]
        block *= 2
    (total,) = vectors
    while width > block:
        width //= 2
        halves = list(range(width)), list(range(width, 2 * width))
        total = _add_shuffled(builder, total, total, *halves)
    return builder.shuffle_vector(
        total, total, ir.Constant(ir.VectorType(_INT32, n), list(range(n)))
    )


def _add_sums(builder: ir.IRBuilder, vectors: list[ir.Value], out: ir.Value) -> None:
    """Add the sum of each vector to a number of its own, one after the other in memory."""
    for first in range(0, len(vectors), LANES):
        sums = _sum_each(builder, vectors[first : first + LANES])
        place = builder.bitcast(builder.gep(out, [_int(first)]), sums.type.as_pointer())
        before = builder.load(place)
        before.align = 4
        builder.store(builder.fadd(before, sums), place).align = 4


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


def _tile_shape(case: int) -> tuple[int, int]:
    rows, vectors = divmod(case - 1, TILE_VECTORS)
    return rows + 1, vectors + 1


def _switch_tile(
    builder: ir.IRBuilder, n_rows: ir.Value, n_vectors: ir.Value, emit: Callable[[int], None]
) -> None:
    rows_before = builder.sub(n_rows, _int(1))
    case = builder.add(builder.mul(rows_before, _int(TILE_VECTORS)), n_vectors)
    _switch(builder, case, TILE_ROWS * TILE_VECTORS, emit)


@intrinsic(prefer_literal=True)
def accumulate_tile(typing_context, n_vectors, x, offsets, values, counts, out, fresh):
    """``out[p] (+)= sum of value * x[offset + p]``, p < n_vectors * LANES, over many reads.

    ``counts[0]`` reads of one weight come first, then for each gap up to MAX_GAP
    ``counts[gap]`` pairs, whose second weight reads ``gap`` vectors after the first. There is
    an offset per read and a value per weight. ``n_vectors``, a constant, lies in
    1..MAX_VECTORS; with ``fresh`` true ``out`` is overwritten, else added to.

    Returns the addresses after the last offset and the last value.
    """
    result = types.UniTuple(types.int64, 2)
    signature = result(n_vectors, *[types.int64] * 5, types.boolean)
    size = n_vectors.literal_value

    def emit_code(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        _, x, offsets, values, counts, out, fresh = arguments
        x, values, out = (_pointer(builder, address, _FLOAT) for address in (x, values, out))
        offsets, counts = (_pointer(builder, address, _INT32) for address in (offsets, counts))
        multiply_add = _multiply_add(builder)

        def read(gap: int, _: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
            *sums, offset, value = state
            start = builder.gep(x, [builder.sext(builder.load(offset), _INT64)])
            shifts = (0, gap) if gap else (0,)
            factors = [
                _broadcast(builder, builder.load(builder.gep(value, [_int(weight)])))
                for weight in range(len(shifts))
            ]
            for place in range(size + gap):
                users = [
                    (factor, place - shift)
                    for factor, shift in zip(factors, shifts, strict=True)
                    if 0 <= place - shift < size
                ]
                if users:
                    vector = _load_vector(builder, start, _int(LANES * place))
                for factor, to in users:
                    sums[to] = builder.call(multiply_add, [factor, vector, sums[to]])
            return [*sums, builder.gep(offset, [_int(1)]), builder.gep(value, [_int(len(shifts))])]

        places = [_int(LANES * j) for j in range(size)]
        # Adding 0 or what stands there: a branch here would double the loops' code.
        keep = builder.select(fresh, _int(0), _int(1))
        sums = _loop(
            builder,
            keep,
            1,
            [_ZERO] * size,
            lambda _, sums: [_load_vector(builder, out, place) for place in places],
        )
        state = [*sums, offsets, values]
        for gap in range(MAX_GAP + 1):
            n = builder.sext(builder.load(builder.gep(counts, [_int(gap)])), _INT64)
            state = _loop(builder, n, 1, state, partial(read, gap))
        for place, total in zip(places, state[:size], strict=True):
            _store_vector(builder, total, out, place)
        ends = [builder.ptrtoint(pointer, _INT64) for pointer in state[size:]]
        return context.make_tuple(builder, result, ends)

    return signature, emit_code


@int64_intrinsic()
def call_convolution(builder, function, x, offsets, values, counts, n_blocks, out, pitch, n_rows):
    """Call the function at an address with these numbers."""
    kind = ir.FunctionType(ir.VoidType(), [_INT64] * 8)
    numbers = [x, offsets, values, counts, n_blocks, out, pitch, n_rows]
    builder.call(_pointer(builder, function, kind), numbers)


@int64_intrinsic()
def prefetch(builder, address):
    """Ask for the cache line of an address that will soon be read, or written."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, _INT32, _INT32, _INT32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    # To be read, kept in all caches, data.
    how = [ir.Constant(_INT32, number) for number in (0, 3, 1)]
    builder.call(function, [builder.inttoptr(address, byte), *how])


@int64_intrinsic()
def dot_products(builder, n_dots, x, offsets, y, n, n_groups, x_stride, y_stride, out):
    """``out[w] += sum over g, p of y[g * y_stride + p] * x[g * x_stride + offsets[w] + p]``.

    ``w < n_dots``, which lies in 1..MAX_DOTS; ``g < n_groups``; ``p < n``, a multiple of
    LANES.
    """
    x, y, out = (_pointer(builder, address, _FLOAT) for address in (x, y, out))
    offsets = _pointer(builder, offsets, _INT32)
    multiply_add = _multiply_add(builder)

    def emit(size: int) -> None:
        starts = [
            builder.gep(x, [builder.sext(builder.load(builder.gep(offsets, [_int(w)])), _INT64)])
            for w in range(size)
        ]

        def one_group(group: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            row = builder.gep(y, [builder.mul(group, y_stride)])
            ahead = builder.mul(group, x_stride)
            places = [builder.gep(start, [ahead]) for start in starts]

            def one_vector(p: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
                shared = _load_vector(builder, row, p)
                return [
                    builder.call(multiply_add, [shared, _load_vector(builder, place, p), total])
                    for place, total in zip(places, sums, strict=True)
                ]

            return _loop(builder, n, LANES, sums, one_vector)

        sums = _loop(builder, n_groups, 1, [_ZERO] * size, one_group)
        _add_sums(builder, sums, out)

    _switch(builder, n_dots, MAX_DOTS, emit)


@int64_intrinsic()
def multiply_tile(
    builder, n_rows, n_vectors, left, row_stride, stride, right, right_stride, n, out, out_stride
):
    """Multiply a few rows of a matrix by a few vectors of columns of another.

    ``out[r * out_stride + p] = sum over i < n of left[r * row_stride + i * stride]
    * right[i * right_stride + p]`` for ``r < n_rows``, which lies in 1..TILE_ROWS, and
    ``p < n_vectors * LANES``, with ``n_vectors`` in 1..TILE_VECTORS.
    """
    left, right, out = (_pointer(builder, address, _FLOAT) for address in (left, right, out))
    multiply_add = _multiply_add(builder)

    def emit(case: int) -> None:
        rows, vectors = _tile_shape(case)
        places = [_int(LANES * j) for j in range(vectors)]

        def one_factor(_: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
            *sums, line, factors = state
            loaded = [_load_vector(builder, line, place) for place in places]
            new = []
            for r in range(rows):
                place = builder.gep(factors, [builder.mul(_int(r), row_stride)])
                factor = _broadcast(builder, builder.load(place))
                row = zip(loaded, sums[vectors * r :], strict=False)
                new += [builder.call(multiply_add, [factor, one, total]) for one, total in row]
            # Pointers that move on: to compute them from i would take more registers.
            return [*new, builder.gep(line, [right_stride]), builder.gep(factors, [stride])]

        initial = [*[_ZERO] * (rows * vectors), right, left]
        sums = iter(_loop(builder, n, 1, initial, one_factor))
        for r in range(rows):
            line = builder.gep(out, [builder.mul(_int(r), out_stride)])
            for place in places:
                _store_vector(builder, next(sums), line, place)

    _switch_tile(builder, n_rows, n_vectors, emit)


@int64_intrinsic()
def multiply_rows(
    builder, n_left, n_right, left, left_stride, right, right_stride, n, out, out_stride
):
    """Multiply a few rows by a few rows.

    ``out[i * out_stride + j] += sum over p < n of left[i * left_stride + p]
    * right[j * right_stride + p]`` for ``i < n_left``, which lies in 1..TILE_ROWS, and
    ``j < n_right``, in 1..TILE_VECTORS; ``n`` is a multiple of LANES.
    """
    left, right, out = (_pointer(builder, address, _FLOAT) for address in (left, right, out))
    multiply_add = _multiply_add(builder)

    def emit(case: int) -> None:
        rows, columns = _tile_shape(case)
        lefts = [builder.gep(left, [builder.mul(_int(i), left_stride)]) for i in range(rows)]
        rights = [builder.gep(right, [builder.mul(_int(j), right_stride)]) for j in range(columns)]

        def one_vector(p: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            loaded = [_load_vector(builder, line, p) for line in rights]
            new = []
            for i, line in enumerate(lefts):
                shared = _load_vector(builder, line, p)
                row = zip(loaded, sums[columns * i :], strict=False)
                new += [builder.call(multiply_add, [shared, one, total]) for one, total in row]
            return new

        sums = _loop(builder, n, LANES, [_ZERO] * (rows * columns), one_vector)
        for i in range(rows):
            line = builder.gep(out, [builder.mul(_int(i), out_stride)])
            _add_sums(builder, sums[columns * i : columns * (i + 1)], line)

    _switch_tile(builder, n_left, n_right, emit)


@int64_intrinsic()
def reduce_vectors(builder, n, x, stride, out):
    """Write three vectors: sum, maximum, or 0, and number of positive values of each lane.

    Over ``n`` vectors, ``stride`` float32 from one to the next. NaN is larger than any number.
    """
    x, out = (_pointer(builder, address, _FLOAT) for address in (x, out))
    one = ir.Constant(_VECTOR, [1.0] * LANES)

    def one_vector(_: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
        total, largest, n_positive, place = state
        value = _load_vector(builder, place, _int(0))
        is_larger = builder.fcmp_unordered(">", value, largest)
        is_positive = builder.fcmp_ordered(">", value, _ZERO)
        return [
            builder.fadd(total, value),
            builder.select(is_larger, value, largest),
            builder.fadd(n_positive, builder.select(is_positive, one, _ZERO)),
            builder.gep(place, [stride]),
        ]

    *found, _ = _loop(builder, n, 1, [_ZERO, _ZERO, _ZERO, x], one_vector)
    for number, vector in enumerate(found):
        _store_vector(builder, vector, out, _int(number * LANES))
