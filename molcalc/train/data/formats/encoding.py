"""Decode what ASE writes into databases, without making objects of what is named there."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

_KINDS = "biufc"
_DECODER = json.JSONDecoder()


def decode_json(text: str) -> Any:
    """Plain values of ASE's JSON: arrays and complex numbers are restored, other objects stay dictionaries."""
    try:
        if "__" in text:
            return json.loads(text, object_hook=_restore)
        values, end = _DECODER.raw_decode(text)  # nothing to restore, and no spaces around it
        return values if end == len(text) else json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON without end: nested too deep") from error


def _restore(values: dict[str, Any]) -> Any:
    if "__ndarray__" in values:
        shape, dtype, flat = values["__ndarray__"]
        return np.array(flat, dtype=_dtype(dtype)).reshape(shape)
    if "__complex__" in values:
        return complex(*values["__complex__"])
    return values


def decode_keys(text: str) -> dict[str, Any]:
    """The dictionary ``key_value_pairs`` of a row.

    Returns
    -------
    values by key

    Raises
    ------
    ValueError
        When the text is damaged, or no dictionary.
    """
    values = decode_json(text)
    if not isinstance(values, dict):
        raise ValueError(f"key_value_pairs are a {type(values).__name__}, not a dictionary")
    return values


def decode_data(blob: bytes | str) -> dict[str, Any]:
    """The dictionary ``row.data``; values that are neither numbers, texts nor arrays stay dictionaries.

    Returns
    -------
    values by key; none for empty bytes

    Raises
    ------
    ValueError
        When the bytes are damaged.
    """
    if isinstance(blob, str):
        values = decode_json(blob)
    else:
        if len(blob) < 8:
            raise ValueError(f"data of {len(blob)} bytes")
        offset = int(np.frombuffer(blob[:8], dtype="<i8")[0])
        if not 8 <= offset <= len(blob):
            raise ValueError(f"data of {len(blob)} bytes refers to byte {offset}")
        try:
            values = json.loads(blob[offset:].decode(), object_hook=lambda found: _restore_binary(found, blob))
        except RecursionError as error:
            raise ValueError("data without end: nested too deep") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"data are a {type(values).__name__}, not a dictionary")
    return values


def _restore_binary(values: dict[str, Any], blob: bytes) -> Any:
    if "__ndarray__" in values:
        shape, name, offset = values["__ndarray__"]
        dtype = _dtype(name).newbyteorder("<")
        size = dtype.itemsize * int(np.prod(shape))
        return np.frombuffer(blob[offset : offset + size], dtype=dtype).reshape(shape)
    if "__complex__" in values:
        return complex(*values["__complex__"])
    return values


def _dtype(name: str) -> np.dtype[Any]:
    dtype = np.dtype(name)
    if dtype.kind not in _KINDS:
        raise ValueError(f"an array of {name} in data")
    return dtype
