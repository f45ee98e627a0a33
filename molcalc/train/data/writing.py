"""Writing structures: a temporary file beside the target, then a rename."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from molcalc.errors import DatasetError, ResourceError
from molcalc.train.data.block import Block
from molcalc.train.data.formats import FORMATS


def write_file(path: Path, blocks: Iterator[Block], metadata: Mapping[str, Any]) -> int:
    """Write structures into a file of the kind that its suffix says; it appears when it is complete.

    Parameters
    ----------
    blocks : in eV, Å and e, with ``total_charge`` and ``multiplicity`` among their keys.
    metadata : what the file says about all structures.

    Returns
    -------
    Number of structures.

    Raises
    ------
    DatasetError
        When there are no structures, or files of this kind cannot hold what they carry.
    ResourceError
        When the disk is full or not writable.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise DatasetError(f"{path}: files that can be written end in {', '.join(FORMATS)}")
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        count = FORMATS[suffix].load().write(temporary, (block for block in blocks if len(block)), metadata)
        if count == 0:
            raise DatasetError(f"{path}: the sources hold no structures")
        os.replace(temporary, path)
    except OSError as error:
        raise ResourceError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        for left in (temporary, temporary.with_name(temporary.name + "-journal")):
            with suppress(OSError):
                left.unlink(missing_ok=True)
    return count
