"""Rows of sixteen numbers as one value inside numba kernels.

numba's automatic vectorization gives up on kernels that read and write several arrays, because it cannot rule out
that they overlap. These few intrinsics say explicitly what is meant: ``load_row`` and ``store_row`` move sixteen
consecutive numbers, ``load_first`` and ``store_first`` the first few of them, ``splat`` makes a row of one number and
``splat_at`` of one in an array, ``fma`` computes x·y + z on rows, ``mul`` x·y, and ``total`` adds a row up. LLVM maps a
row to the registers of the machine.

Import this module only where numba is known to be available (see :mod:`molcalc.kernels.runtime`).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from molcalc.kernels.runtime import WIDTH

_SUFFIX = {types.float32: "f32", types.float64: "f64"}


class RowType(types.Type):
    """Sixteen floating-point numbers of one kind."""

    def __init__(self, scalar: types.Float) -> None:
        self.scalar = scalar
        super().__init__(name=f"Row({scalar})")


@register_model(RowType)
class _RowModel(models.PrimitiveModel):
    def __init__(self, manager: Any, row: RowType) -> None:
        scalar = ir.FloatType() if row.scalar == types.float32 else ir.DoubleType()
        super().__init__(manager, row, ir.VectorType(scalar, WIDTH))


_ROWS = {scalar: RowType(scalar) for scalar in _SUFFIX}


def _row_pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    row = context.get_value_type(_ROWS[array_type.dtype])
    return builder.bitcast(builder.gep(data, [offset]), row.as_pointer())


@intrinsic
def load_row(typing_context, array, offset):  # type: ignore[no-untyped-def]
    """Row at ``array[offset : offset + 16]`` of a flat, contiguous array."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        row = builder.load(_row_pointer(context, builder, signature.args[0], *args))
        row.align = array.dtype.bitwidth // 8
        return row

    return _ROWS[array.dtype](array, types.intp), generate


@intrinsic
def store_row(typing_context, array, offset, row):  # type: ignore[no-untyped-def]
    """Write a row to ``array[offset : offset + 16]``."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer = _row_pointer(context, builder, signature.args[0], *args[:2])
        builder.store(args[2], pointer).align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.none(array, types.intp, row), generate


def _lanes_below(builder: Any, count: Any) -> Any:
    """Mask of the first ``count`` lanes."""
    lanes = ir.VectorType(count.type, WIDTH)
    first = builder.insert_element(ir.Constant(lanes, ir.Undefined), count, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    counts = builder.shuffle_vector(first, ir.Constant(lanes, ir.Undefined), zeros)
    return builder.icmp_signed("<", ir.Constant(lanes, list(range(WIDTH))), counts)


@intrinsic
def load_first(typing_context, array, offset, count):  # type: ignore[no-untyped-def]
    """Row whose first ``count`` numbers are at ``array[offset:]``, zeros behind; no others are read."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer = _row_pointer(context, builder, signature.args[0], *args[:2])
        row, mask = pointer.type.pointee, _lanes_below(builder, args[2])
        name = f"llvm.masked.load.v{WIDTH}{_SUFFIX[array.dtype]}.p0v{WIDTH}{_SUFFIX[array.dtype]}"
        alignment = ir.IntType(32)
        kind = ir.FunctionType(row, [pointer.type, alignment, mask.type, row])
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        align = ir.Constant(alignment, array.dtype.bitwidth // 8)
        return builder.call(function, [pointer, align, mask, ir.Constant(row, [0.0] * WIDTH)])

    return _ROWS[array.dtype](array, types.intp, types.intp), generate


@intrinsic
def store_first(typing_context, array, offset, row, count):  # type: ignore[no-untyped-def]
    """Write the first ``count`` numbers of a row to ``array[offset:]``."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer, mask = _row_pointer(context, builder, signature.args[0], *args[:2]), _lanes_below(builder, args[3])
        name = f"llvm.masked.store.v{WIDTH}{_SUFFIX[array.dtype]}.p0v{WIDTH}{_SUFFIX[array.dtype]}"
        alignment = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [args[2].type, pointer.type, alignment, mask.type])
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        builder.call(function, [args[2], pointer, ir.Constant(alignment, array.dtype.bitwidth // 8), mask])
        return context.get_dummy_value()

    return types.none(array, types.intp, row, types.intp), generate


@intrinsic
def splat_at(typing_context, array, offset):  # type: ignore[no-untyped-def]
    """Row of sixteen times ``array[offset]``; the offset is not negative."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        number = builder.load(builder.gep(data, [args[1]]))
        kind = context.get_value_type(_ROWS[array.dtype])
        first = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), lanes)

    return _ROWS[array.dtype](array, types.intp), generate


@intrinsic
def fma(typing_context, x, y, z):  # type: ignore[no-untyped-def]
    """x·y + z, number by number, with one rounding."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        row = args[0].type
        name = f"llvm.fma.v{WIDTH}{_SUFFIX[x.scalar]}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(row, [row] * 3), name)
        return builder.call(function, args)

    return x(x, x, x), generate


@intrinsic
def splat(typing_context, array, value):  # type: ignore[no-untyped-def]
    """Row of sixteen times the same number, of the kind that ``array`` holds."""
    row = _ROWS[array.dtype]

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        kind = context.get_value_type(row)
        number = context.cast(builder, args[1], signature.args[1], array.dtype)
        first = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), lanes)

    return row(array, value), generate


@intrinsic
def mul(typing_context, x, y):  # type: ignore[no-untyped-def]
    """x·y, number by number."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.fmul(*args)

    return x(x, x), generate


@intrinsic
def zero(typing_context, array):  # type: ignore[no-untyped-def]
    """Row of zeros of the kind that ``array`` holds."""
    row = _ROWS[array.dtype]

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return ir.Constant(context.get_value_type(row), [0.0] * WIDTH)

    return row(array), generate


@intrinsic
def total(typing_context, row):  # type: ignore[no-untyped-def]
    """Sum of the sixteen numbers of a row, in pairs."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        kind = args[0].type
        name = f"llvm.vector.reduce.fadd.v{WIDTH}{_SUFFIX[row.scalar]}"
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind.element, [kind.element, kind]), name
        )
        return builder.call(function, [ir.Constant(kind.element, -0.0), args[0]], fastmath=("reassoc",))

    return row.scalar(row), generate


@intrinsic
def soon(typing_context, array, offset):  # type: ignore[no-untyped-def]
    """Have the numbers around ``array[offset]`` on their way, to be read once: they displace little in the caches."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        place = builder.bitcast(builder.gep(data, [args[1]]), byte)
        builder.call(function, [place, number(0), number(0), number(1)])
        return context.get_dummy_value()

    return types.none(array, types.intp), generate
