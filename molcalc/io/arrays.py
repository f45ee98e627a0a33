"""Arrays by name as safetensors bytes."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from molcalc.errors import CheckpointCorruptError, CheckpointMismatchError

MAX_HEADER = 1 << 20
"""Bytes; a larger header is an attack or damage."""
STORED_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32)


def pack_weights(weights: Mapping[str, Tensor]) -> bytes:
    """Safetensors bytes; the same arrays give the same bytes in whatever order they come."""
    from safetensors.torch import save

    # Copies, because the library refuses arrays that share memory.
    copies = {
        name: weights[name].detach().cpu().clone(memory_format=torch.contiguous_format) for name in sorted(weights)
    }
    return save(copies)


def digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and contents, without a copy of them in memory."""
    total = hashlib.sha256()
    for name, value in sorted(weights.items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        total.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def unpack_weights(data: bytes, where: str, allow_nan: bool = False) -> dict[str, Tensor]:
    """Arrays from safetensors bytes.

    The library accepts duplicate names and headers of any length; both are refused here, and numbers that are not
    finite unless ``allow_nan`` is set.

    Returns
    -------
    arrays by name

    Raises
    ------
    CheckpointCorruptError
        When the bytes are truncated or damaged.
    CheckpointMismatchError
        When an array has a type that no model uses.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if len(data) < 8:
        raise CheckpointCorruptError(f"{where} is truncated: {len(data)} bytes")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(MAX_HEADER, len(data) - 8):
        raise CheckpointCorruptError(f"{where}: header of {length} bytes in a file of {len(data)} bytes")
    try:
        json.loads(data[8 : 8 + length].decode("utf-8"), object_pairs_hook=_no_duplicates)
        weights: dict[str, Tensor] = load(data)
    except (ValueError, KeyError, RecursionError, SafetensorError) as error:
        raise CheckpointCorruptError(f"{where} cannot be read: {error}") from error
    odd = sorted(name for name, value in weights.items() if value.dtype not in STORED_DTYPES)
    if odd:
        raise CheckpointMismatchError(f"{where}: {odd[0]} has numbers of type {weights[odd[0]].dtype}")
    bad = sorted(name for name, value in weights.items() if not torch.isfinite(value).all())
    if bad and not allow_nan:
        raise CheckpointCorruptError(f"{where}: weights are not finite: {', '.join(bad[:5])}")
    return weights


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a name appears twice")
    return dict(pairs)
