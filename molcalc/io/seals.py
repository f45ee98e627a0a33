"""Descriptions of other files, sealed: a JSON object that holds the checksum of all else in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from molcalc.io.files import sha256

SEAL = "checksum"
"""Name of the checksum in a description, where the kind of file has no name of its own for it."""


def sealed(values: Mapping[str, Any], name: str = SEAL) -> dict[str, Any]:
    """Values with the checksum of them all.

    Parameters
    ----------
    values : what JSON can hold.
    name : of the checksum.

    Returns
    -------
    the values, and the checksum at the end
    """
    return {**values, name: sha256(canonical_json(values))}


def unsealed(values: Mapping[str, Any], name: str = SEAL) -> dict[str, Any]:
    """Values of a sealed description, as JSON gave them.

    Parameters
    ----------
    name : of the checksum.

    Returns
    -------
    the values without the checksum

    Raises
    ------
    ValueError
        When the checksum is missing or is not that of the values.
    """
    found = {key: value for key, value in values.items() if key != name}
    if values.get(name) != sha256(canonical_json(found)):
        raise ValueError("sha256 does not match: the file was damaged or edited")
    return found


def canonical_json(values: Mapping[str, Any]) -> bytes:
    """Values as JSON text that does not depend on their order; names of files in it may have bytes that are no text."""
    return json.dumps(values, sort_keys=True, ensure_ascii=False).encode(errors="surrogatepass")
