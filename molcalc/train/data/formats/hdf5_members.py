"""Groups and data sets of HDF5 files, after a look at whether they are safe to read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from molcalc.errors import DatasetError, damaged
from molcalc.io.budget import budget_of, expansion_message

_FILTERS = {1, 2, 3, 4, 5, 6, 32000}
"""Filters that HDF5 and h5py bring along; others would load a plug-in."""


def open_hdf5(content: Path, path: Path) -> Any:
    """An HDF5 file, opened for reading.

    Parameters
    ----------
    content : what is read; path : the user's file, for messages.

    Returns
    -------
    h5py.File

    Raises
    ------
    DatasetError
    """
    import h5py

    try:
        return h5py.File(content, "r", locking=False)
    except OSError as error:
        raise damaged(path, error) from error


def member(parent: Any, name: str, path: Path) -> Any:
    """A group or data set that lies in the file itself.

    Returns
    -------
    object of h5py

    Raises
    ------
    DatasetError
        When it is a link.
    """
    import h5py

    if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
        raise DatasetError(f"{path}: {parent.name}/{name} is a link to elsewhere; copy the data into the file")
    try:
        return parent[name]
    except (OSError, KeyError) as error:
        raise damaged(path, error) from error


def dataset_shape(group: Any, key: str, path: Path, size: int) -> tuple[int, ...]:
    """Shape of a data set of numbers that is safe to read.

    Parameters
    ----------
    path, size : of the file, the latter in bytes.

    Returns
    -------
    shape

    Raises
    ------
    DatasetError
    """
    import h5py

    dataset = member(group, key, path)
    where = f"{path}: {group.name}/{key}"
    if not isinstance(dataset, h5py.Dataset):
        raise DatasetError(f"{where} is not a data set")
    if dataset.is_virtual or dataset.external:
        raise DatasetError(f"{where} takes its data from other files; copy them into this one")
    if dataset.dtype.kind not in "biuf":
        raise DatasetError(f"{where} holds values of type {dataset.dtype}, not numbers")
    plist = dataset.id.get_create_plist()
    filters = {plist.get_filter(k)[0] for k in range(plist.get_nfilters())}
    if not filters <= _FILTERS:
        raise DatasetError(f"{where} is compressed with filter {sorted(filters - _FILTERS)}, which is not read")
    shape = tuple(int(n) for n in dataset.shape)
    claimed = math.prod(shape) * dataset.dtype.itemsize
    if claimed > budget_of(size):
        raise DatasetError(expansion_message(f"{where}, shape {shape},", claimed, size))
    if not filters and claimed > size:
        raise DatasetError(f"{where} claims {claimed} bytes (shape {shape}) in a file of {size} bytes")
    return shape
