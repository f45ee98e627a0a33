"""Data files on the command line: FILE, or NAME=FILE for the level of theory that its labels are of."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from molcalc.cli.options import number

DATA_HELP = (
    "ASE database (.db, .json), .xyz, .traj, .h5 or a pair of .npz; NAME=FILE names the fidelity of its labels, "
    "for several levels of theory"
)
_NAMED = re.compile(r"([\w.+()-]+)=(.+)", re.DOTALL)


def parse_data(texts: Sequence[str]) -> list[str] | dict[str, list[str]]:
    """Files, or files by fidelity. A file that exists under the whole text is meant, whatever is in its name.

    Returns
    -------
    files; or lists of them by name of the fidelity

    Raises
    ------
    ConfigError
        When some files have a fidelity and others have none.
    """
    from molcalc.errors import ConfigError

    files: dict[str, list[str]] = {}
    for text in texts:
        match = None if os.path.exists(text) else _NAMED.fullmatch(text)
        files.setdefault(match[1] if match else "", []).append(match[2] if match else text)
    if "" not in files:
        return files
    if len(files) > 1:
        raise ConfigError(
            f"{files[''][0]} has no fidelity, but other files have one: write NAME=FILE for every file, or for none"
        )
    return files[""]


def parse_held_out(texts: Sequence[str] | None) -> float | list[str] | dict[str, list[str]] | None:
    """A share (< 1) or number of systems, or data files of their own.

    Returns
    -------
    share or number; files, or files by fidelity; None where nothing is said

    Raises
    ------
    ConfigError
    """
    if texts is None:
        return None
    if len(texts) == 1 and re.fullmatch(r"[-+.\d][\d.eE+-]*", texts[0]) and not os.path.exists(texts[0]):
        import argparse

        from molcalc.errors import ConfigError

        try:
            return float(number(float, 0)(texts[0]))
        except argparse.ArgumentTypeError as error:
            raise ConfigError(
                f"held-out systems: {error}; give a share (0.1), a number of systems, or files"
            ) from error
    return parse_data(texts)
