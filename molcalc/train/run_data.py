"""Files that a run is trained on, as a user names them, in calls and beside the options in ``training.yaml``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from molcalc.errors import ConfigError, short
from molcalc.train.data.dataset import Dataset

DATA_ARGUMENTS = ("data", "valid", "test", "units", "labels", "skip_bad")
"""Arguments of :func:`molcalc.train.fit` that name data. ``valid`` and ``test`` may be numbers, which are options."""
FILES = ("data", "valid", "test")


def separated(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments that name data, and the options that are left.

    Returns
    -------
    arguments by name, without those that are None; options by key
    """
    data = {
        name: value
        for name, value in arguments.items()
        if name in DATA_ARGUMENTS and not (name != "data" and name in FILES and isinstance(value, (int, float)))
    }
    options = {name: value for name, value in arguments.items() if name not in data}
    return {name: value for name, value in data.items() if value is not None}, options


def check_plain(arguments: Mapping[str, Any], where: str) -> None:
    """Refuse arguments out of a file that name no data.

    Raises
    ------
    ConfigError
        Names the argument and what it should be.
    """
    for name in FILES:
        value = arguments.get(name, [])
        if not all(isinstance(item, str) for item in named_files(value)):
            raise ConfigError(f"{where}: {name}: {short(value)} names no files; expected one, a list, or a mapping "
                              "fidelity: file(s)")  # fmt: skip
    if not isinstance(arguments.get("skip_bad", False), bool):
        raise ConfigError(f"{where}: skip_bad: {short(arguments['skip_bad'])}; expected true or false")
    for name, meaning in (("units", "unit"), ("labels", "name in the files")):
        said = arguments.get(name, {})
        if not isinstance(said, Mapping) or not all(isinstance(value, str) for value in said.values()):
            raise ConfigError(f"{where}: {name}: {short(said)}; expected a mapping label: {meaning}")


def named_files(files: Any) -> list[Any]:
    """Files of an argument that names one, some, or some by fidelity, one after another."""
    lists = list(files.values()) if isinstance(files, Mapping) else [files]
    return [item for each in lists for item in (each if isinstance(each, (list, tuple)) else [each])]


def described(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as plain values with absolute paths, as they are written into ``training.yaml``.

    Returns
    -------
    values by name; structures in memory cannot be written down, and their place is empty (None)
    """
    return {name: _absolute(value) if name in FILES else value for name, value in arguments.items()}


def absolute(path: str) -> str:
    """A path that means the same in every folder; what is not there (a published name, an address) stays as it is."""
    return os.path.join(os.getcwd(), path) if "://" not in path else path


def _absolute(value: Any) -> Any:
    if isinstance(value, Mapping):
        by_name = {str(name): _absolute(files) for name, files in value.items()}
        return None if None in by_name.values() else by_name
    if isinstance(value, (str, os.PathLike)):
        return absolute(os.fspath(value))
    if isinstance(value, Dataset) or not isinstance(value, Sequence):
        return None
    found = [_absolute(item) for item in value]
    return None if None in found else found
