"""Columns of Arrow tables as arrays, without a Python object per row."""

from typing import Any

import numpy as np

from training.ope.rounds import Floats, Integers, Mask, Reals


def whole(column: Any) -> Any:
    """A column as one array: pyarrow's stubs do not tell lists from others."""
    return column.combine_chunks()


def counts(column: Any) -> dict[Any, int]:
    """How often each value is there."""
    return {each["values"]: each["counts"] for each in column.value_counts().to_pylist()}


def flat(column: Any) -> tuple[Integers, Any]:
    """Row of every element of a column of lists, and the elements."""
    lists = whole(column)
    return np.repeat(np.arange(len(lists)), np.diff(lists.offsets.to_numpy())), lists.flatten()


def matrix(column: Any) -> Reals:
    """Lists of equal length as rows, shape (n, k); null is NaN.

    Raises:
        ValueError: Their lengths differ.
    """
    lists = whole(column)
    lengths = np.diff(lists.offsets.to_numpy())
    if (lengths != lengths[0]).any():
        raise ValueError("lists of one column differ in length")
    values = lists.flatten().to_numpy(zero_copy_only=False)
    return np.array(values, dtype=np.float64).reshape(len(lists), -1)


def vectors(column: Any) -> Floats:
    """Raw float16 of equal length as rows, float32, shape (n, dim)."""
    cells = whole(column)
    n = len(cells)
    offsets = np.frombuffer(cells.buffers()[1], dtype=np.int32)[cells.offset : cells.offset + n + 1]
    raw = np.frombuffer(cells.buffers()[2] or b"", dtype=np.uint8)[offsets[0] : offsets[-1]]
    return raw.view(np.float16).reshape(n, -1).astype(np.float32)


def place_of(names: Any, among: tuple[str, ...]) -> Integers:
    """Place of each name, −1 where it is none of them, shape (n,)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found: Any = pc.index_in(names, value_set=pa.array(among, pa.string()))
    return np.asarray(found.fill_null(-1).to_numpy(), dtype=np.int64)


def is_value(column: Any, value: str | None) -> Mask:
    """Which rows are ``value``, shape (n,)."""
    import pyarrow.compute as pc

    equal: Any = pc.equal
    found = pc.is_null(column) if value is None else pc.fill_null(equal(column, value), False)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.bool_)
