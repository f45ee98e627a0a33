"""Files of structures by their ending, each written in one step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from molcalc.errors import DatasetError
from molcalc.io.files import replacing
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
    with replacing(path) as temporary:
        count = FORMATS[suffix].load().write(temporary, (block for block in blocks if len(block)), metadata)
        if count == 0:
            raise DatasetError(f"{path}: the sources hold no structures")
    return int(count)
