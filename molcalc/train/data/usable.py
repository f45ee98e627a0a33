"""Structures of a file that can be used: in eV, Å and e, with charge, multiplicity and fidelity decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from molcalc.cells import cell_fault, doubtful_cells
from molcalc.properties import LABELS, VIRIAL
from molcalc.state import FIDELITY_KEY, is_single, single, state_key
from molcalc.train.data.block import Block
from molcalc.train.data.formats.base import DataFile
from molcalc.train.data.limits import FIDELITY_OFFSET, LARGEST_WEIGHT
from molcalc.train.data.problems import Problems
from molcalc.train.data.states import Stated, States
from molcalc.units import LARGEST_Z

WEIGHT_KEY = "weight"
"""Key of a row that says how much its errors count in the loss; 1 where there is none."""


def usable_blocks(
    file: DataFile, names: list[str], problems: Problems, doubts: Problems, fidelity: str | None = None
) -> Iterator[Block]:
    """Structures of a file without those that cannot be used.

    Their ``systems`` have ``total_charge``, ``multiplicity`` and ``fidelity`` (a position in ``names``), and their
    keys say the same, the fidelity by its name where the file records it.

    Parameters
    ----------
    names : of all fidelities so far; new ones are appended.
    problems : takes the rows that cannot be used, and says which rows count.
    doubts : takes the rows that can be used, and may not be what was meant.
    fidelity : of all structures, given by the user.

    Yields
    ------
    blocks in the order of the file

    Raises
    ------
    DatasetError
        When the file is damaged, or records a charge or fidelity of some structures only.
    """
    file.check()
    states = States(file.name, file.word, file.row_label, fidelity, names)
    for block in file.read(problems):
        if problems.wanted is not None:
            block = block.only(np.isin(block.systems["row"], list(problems.wanted)))
            if not len(block):
                continue
        yield _usable(block, file.factors, states, problems, doubts)
    states.finish()


def _usable(block: Block, factors: Mapping[str, float], states: States, problems: Problems, doubts: Problems) -> Block:
    _scale(block, factors)
    _drop_undefined_stress(block)
    said = {
        FIDELITY_KEY if state_key(key) == FIDELITY_KEY else key: block.keys.pop(key)
        for key in list(block.keys)
        if state_key(key) is not None
    }
    systems = block.systems
    if WEIGHT_KEY in block.keys or WEIGHT_KEY in block.data:
        systems["weight"] = _weights(block)
    stated = Stated(_initial_charges(block), systems.pop("initial_moment", np.full(len(block), np.nan)), said)
    found = states.resolve(systems["row"], systems["n_atoms"], _protons(block), stated, problems, doubts)
    systems.update(total_charge=found.charge, multiplicity=found.multiplicity, fidelity=found.fidelity)
    decided = {
        "total_charge": found.charge.astype(np.int64).tolist(),
        "multiplicity": found.multiplicity.tolist(),
        FIDELITY_KEY: [
            None if value is None else states.names[index]
            for value, index in zip(said.get(FIDELITY_KEY, [None] * len(block)), found.fidelity.tolist())
        ],
    }
    block.keys = {**decided, **block.keys}
    bad = found.bad | _find_bad(block, problems)
    return block.only(~bad) if bad.any() else block


def _weights(block: Block) -> np.ndarray:
    """(n,) weights of rows; 1 where a row has none, and NaN where it is no number of at least 0."""
    nothing = [None] * len(block)
    keys, data = (part.get(WEIGHT_KEY, nothing) for part in (block.keys, block.data))
    said = [value if key is None and is_single(value) else key for key, value in zip(keys, data)]
    numbers = [1.0 if value is None else _number(value) for value in said]
    return np.where(np.array(numbers) >= 0, numbers, np.nan)


def _number(value: Any) -> float:
    single_value = single(value)
    plain = isinstance(single_value, (int, float)) and not isinstance(single_value, bool)
    return float(single_value) if plain and abs(single_value) < LARGEST_WEIGHT else np.nan


def _protons(block: Block) -> np.ndarray:
    owner = np.repeat(np.arange(len(block)), block.systems["n_atoms"])
    return np.bincount(owner, weights=block.atoms["numbers"], minlength=len(block)).astype(np.int64)


def _initial_charges(block: Block) -> np.ndarray:
    """(n,) e, sums of initial charges; NaN where a row has none, infinite where one of them is not finite."""
    if "initial_charges" not in block.atoms:
        return np.full(len(block), np.nan)
    values, starts = block.atoms["initial_charges"], block.offsets[:-1]
    sums = np.add.reduceat(values, starts)
    sums[np.logical_or.reduceat(np.isinf(values), starts)] = np.inf
    return sums


def _scale(block: Block, factors: Mapping[str, float]) -> None:
    for part in (block.systems, block.atoms, block.points):
        for name in part:
            if name in factors:
                part[name] = part[name] * factors[name]
    if factors.get("stress") == VIRIAL and "stress" in block.systems:
        volumes = np.abs(np.linalg.det(block.systems["cell"]))[:, None, None]
        block.systems["stress"] /= np.where(volumes > 0, volumes, np.nan)  # without a volume it is dropped


def _drop_undefined_stress(block: Block) -> None:
    """Mark the stress of structures without a periodic direction or a volume as missing: programs write zeros there."""
    if "stress" in block.systems:
        defined = block.systems["pbc"].any(axis=1) & (np.linalg.det(block.systems["cell"]) != 0)
        block.systems["stress"] = np.where(defined[:, None, None], block.systems["stress"], np.nan)


def _find_bad(block: Block, problems: Problems) -> np.ndarray:
    """(n_systems,) bool, rows that cannot be used."""
    systems, n = block.systems, len(block)
    owners = {"atom": np.repeat(np.arange(n), systems["n_atoms"])}
    if "n_points" in systems:
        owners["point"] = np.repeat(np.arange(n), np.maximum(systems["n_points"], 0))
    bad = np.zeros(n, dtype=bool)

    def note(what: str, wrong: np.ndarray, kind: str = "system") -> None:
        if wrong.any():
            mask = wrong if kind == "system" else np.bincount(owners[kind][wrong], minlength=n) > 0
            problems.add_many(what, systems["row"][mask])
            bad[mask] = True

    numbers = block.atoms["numbers"]
    wrong = (numbers < 1) | (numbers > LARGEST_Z)
    if wrong.any():
        note(_wrong_number(int(numbers[wrong][0])), wrong, "atom")
    first = block.atoms["positions"][np.cumsum(systems["n_atoms"]) - systems["n_atoms"]]
    apart = _any_of(block.atoms["positions"] != first[owners["atom"]])
    at_one_place = np.bincount(owners["atom"][apart], minlength=n) == 0
    note("all atoms are at the same place (was the file written to its end?)", at_one_place & (systems["n_atoms"] > 1))
    note("positions are not finite", _any_of(~np.isfinite(block.atoms["positions"])), "atom")
    note("the cell is not finite", _any_of(~np.isfinite(systems["cell"])))
    zero = np.abs(systems["cell"]).sum(axis=2) == 0
    note("a periodic direction has a zero cell vector", _any_of(systems["pbc"] & zero))
    flat = doubtful_cells(systems["cell"], systems["pbc"], systems["n_atoms"]) & ~bad
    for k in np.flatnonzero(flat):
        flat[k] = cell_fault(systems["cell"][k], systems["pbc"][k], int(systems["n_atoms"][k])) is not None
    note("the cell has next to no volume, or its vectors depend on each other", flat)
    if "n_points" in systems:
        note("esp and esp_points differ in length", systems["n_points"] < 0)
        note("esp_points are not finite", _any_of(~np.isfinite(block.points["esp_points"])), "point")
    if "weight" in systems:
        note(f"the key {WEIGHT_KEY} is no number from 0 to {LARGEST_WEIGHT:g}", np.isnan(systems["weight"]))
    for name, label in LABELS.items():
        values = block.part(label.kind).get(name)
        if values is not None:
            verb = "are" if name.endswith("s") and name != "stress" else "is"
            unusable = ~np.isfinite(values) if label.kind == "point" else np.isinf(values)
            note(f"{name} {verb} not finite", _any_of(unusable), label.kind)
    return bad


def _wrong_number(number: int) -> str:
    """What is wrong with an atomic number; some programs add 200 to it for every fidelity after the first."""
    text = f"an atomic number is {number}, expected 1–{LARGEST_Z}"
    fidelity, element = divmod(number, FIDELITY_OFFSET)
    if fidelity < 1 or not 1 <= element <= LARGEST_Z:
        return text
    return (
        f"{text}; it seems to be {element} of a fidelity numbered {fidelity}: subtract {FIDELITY_OFFSET * fidelity}, "
        "and name the fidelity as NAME=FILE (in Python, in a dict) or by a key 'fidelity' of every row"
    )


def _any_of(mask: np.ndarray) -> np.ndarray:
    """Whether any value of each entry is true."""
    return np.asarray(mask.any(axis=tuple(range(1, mask.ndim))))
