"""What is said when memory runs out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from molcalc.errors import ResourceError


@contextlib.contextmanager
def memory_named(work: str, cure: str) -> Iterator[None]:
    """Say what did not fit into memory, of the processor or of a graphics card.

    Raises
    ------
    ResourceError
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        full = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error)
        if not full:
            raise
        raise ResourceError(f"{work} does not fit into memory: {cure}") from error
