"""What looks like a label in a file and has another name, for messages that say how to take it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from molcalc.properties import LABELS
from molcalc.state import is_unread_state, single, unread_kind
from molcalc.train.data.block import Block

_WORDS: Mapping[str, Collection[str]] = {
    "energy": ("energy", "energies", "etot", "toten", "u0"),
    "forces": ("force", "forces", "frc", "grad", "gradient", "gradients"),
    "stress": ("stress", "virial"),
    "dipole": ("dipole", "dipoles", "mu"),
    "quadrupole": ("quadrupole", "quadrupoles"),
    "charges": ("charge", "charges", "q", "hirshfeld", "mulliken", "lowdin", "mbis", "resp", "cm5", "npa"),
    "spin_charges": ("spin", "spins", "magmom", "magmoms"),
    "esp": ("esp",),
}
"""Words in the names of labels, in lower case."""
_OPPOSITE = {"grad", "gradient", "gradients", "virial"}
"""Words for what has the opposite sign of the label."""
_STATES = {"charge": "total_charge", "multiplicity": "multiplicity"}
_WORD = re.compile(r"[A-Z]?[a-z]+\d*|[A-Z]+\d*(?![a-z])|\d+")


def lookalikes(block: Block, known: Mapping[str, str]) -> dict[str, str]:
    """Labels that keys and data of a block look like, by their names in the file.

    Parameters
    ----------
    known : of blocks before this one; their names are not looked at again.

    Returns
    -------
    label by name; ``known`` is not in it
    """
    found = {}
    for part in (block.keys, block.data):
        for name, values in part.items():
            if name not in known and (label := _looks_like(block, name, values)) is not None:
                found[name] = label
            elif name not in known and any(is_unread_state(name, value) for value in values):
                found[name] = _STATES[str(unread_kind(name))]
    return found


def hint(found: Mapping[str, str], absent: Iterable[str], *, has_option: bool = True) -> str:
    """Words that name what looks like absent labels, and how to take it; an empty text where nothing does.

    Parameters
    ----------
    found : label by name in the file.
    absent : labels that are missing.
    has_option : whether names may be given with the data; else the file has to be written anew.

    Returns
    -------
    text for the end of a message
    """
    wanted = set(absent)
    by_label: dict[str, list[str]] = {}
    for name, label in found.items():
        if label in wanted:
            by_label.setdefault(label, []).append(name)
    if not by_label:
        return ""
    named = [name for names in by_label.values() for name in names]
    opposite = [name for name in named if _OPPOSITE & _words(name)]
    sign = f" ({', '.join(opposite)} may have the opposite sign of {found[opposite[0]]})" if opposite else ""
    firsts = {label: names[0] for label, names in by_label.items()}
    cure = (
        "take what is meant with labels={" + ", ".join(f'"{label}": "{name}"' for label, name in firsts.items()) + "}"
    )
    if not has_option:
        options = " ".join(f"--label {label}={shlex.quote(name)}" for label, name in firsts.items())
        cure = f"if it is meant, write the file anew by molcalc convert FILE NEW {options}"
    if any("virial" in _words(name) for name in by_label.get("stress", ())):
        sign += ', and units={"stress": "virial"} if it is −V·stress in eV'
    verb = "looks like a label" if len(named) == 1 else "look like labels"
    return f"; {', '.join(named)} {verb}{sign}: {cure}"


def _looks_like(block: Block, name: str, values: list[Any]) -> str | None:
    """Label whose words are in a name and whose shape the first value has."""
    words = _words(name)
    labels = [label for label, own in _WORDS.items() if not words.isdisjoint(own)]
    k = next((k for k, value in enumerate(values) if value is not None), None) if labels else None
    if k is None:
        return None
    try:
        array = np.asarray(single(values[k]), dtype=np.float64)
    except (TypeError, ValueError):
        return None
    n_atoms = int(block.systems["n_atoms"][k])
    return next((label for label in labels if _has_shape(label, array, n_atoms)), None)


def _words(name: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(name)}


def _has_shape(name: str, array: np.ndarray, n_atoms: int) -> bool:
    label, size = LABELS[name], int(np.prod(LABELS[name].shape))
    if label.kind == "system":
        return array.size == size or (name == "stress" and array.size == 6)
    return array.ndim > 0 and (label.kind == "point" or array.size == size * n_atoms)
