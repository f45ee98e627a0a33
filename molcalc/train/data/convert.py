"""Files of one kind into files of another, each written in one step."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from molcalc.errors import DatasetError
from molcalc.io.files import replacing
from molcalc.io.targets import check_not_input, reserved
from molcalc.train.data.block import Block
from molcalc.train.data.declaration import Declaration
from molcalc.train.data.declared_units import STANDARD_UNITS
from molcalc.train.data.formats import FORMATS
from molcalc.train.data.formats.base import DataFile
from molcalc.train.data.opening import open_sources
from molcalc.train.data.problems import Problems
from molcalc.train.data.selection import problems_of
from molcalc.train.data.usable import usable_blocks

log = logging.getLogger(__name__)


def convert(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    *,
    units: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    charges: str | None = None,
    skip_bad: bool = False,
    force: bool = False,
) -> int:
    """Write structures of one or several files into one file; the suffix says what kind.

    Structures carry energy, forces, stress, dipole, charges and spin charges as results, total charge and multiplicity
    as keys, every other scalar of a row as a key, and everything else, with the ESP, as data. Everything is written
    in eV, Å and e; units and level of theory go to the metadata of the target. Tags, velocities and constraints
    are not carried over (``molcalc db merge`` keeps them between databases).

    Parameters
    ----------
    sources : files that :func:`molcalc.train.data.open_dataset` reads; npz archives of energies and of ESP are paired
        in the order given.
    units : units of the sources, where they do not declare them.
    labels : names of labels in the sources, as :func:`molcalc.train.data.open_dataset` takes them.
    charges : the same as ``labels={"charges": charges}``: which array of npz archives is taken for the charges
        ("q_hirshfeld", "q_esp", "q_lowdin"). They have the Hirshfeld charges unless it is said; others are kept as data
        of the rows. The metadata of the target say which it was (``charges_from``).
    skip_bad : leave out rows that cannot be used instead of raising.
    force : replace an existing target.

    Returns
    -------
    Number of structures written.

    Raises
    ------
    DatasetError
        When a source cannot be read, or the target cannot hold what is in it.
    ResourceError
        When the target cannot be written.
    """
    path = Path(target)
    if path.suffix.lower() not in FORMATS:
        raise DatasetError(f"{path}: files that can be written end in {', '.join(FORMATS)}")
    named = dict(labels or {})
    if charges is not None and named.setdefault("charges", charges) != charges:
        raise DatasetError(f"charges are {charges!r} and {named['charges']!r} in labels: leave one of them out")
    with reserved(path, force=force, error=DatasetError):
        opened, _ = open_sources(sources, Declaration(units or {}, named))
        check_not_input(path, [file for source in opened for file in source.files], error=DatasetError)
        for source in opened:
            if "charges_from" in source.metadata:
                log.warning("%s: charges are %s", source.name, source.metadata["charges_from"])
        return write_file(path, _all_blocks(opened, skip_bad), metadata_of(opened))


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


def metadata_of(sources: Sequence[DataFile]) -> dict[str, Any]:
    """What the target says about all its rows: units, where they come from, and what the sources said."""
    metadata: dict[str, Any] = {}
    for source in sources:
        metadata.update(source.metadata)
    before = metadata.pop("units", None)
    if before is not None and before != STANDARD_UNITS:
        metadata["units_of_source"] = before
    noted = metadata.get("units_of_source")
    if isinstance(noted, dict) and "level" in noted:
        metadata.setdefault("level", noted["level"])
    metadata["source"] = [
        file.name for source in sources for file in source.files if not file.name.endswith(("-wal", "-journal"))
    ]
    metadata["units"] = STANDARD_UNITS
    return metadata


def _all_blocks(files: Sequence[DataFile], skip_bad: bool) -> Iterator[Block]:
    for file in files:
        problems, doubts = problems_of(file), Problems()
        for block in usable_blocks(file, [], problems, doubts):
            if not skip_bad:
                problems.raise_if_any(file.name, file.word, file.row_label)
            yield block
        problems.warn_if_any(f"{file.name}: left out", file.word, file.row_label)
        doubts.warn_if_any(file.name, file.word, file.row_label)
