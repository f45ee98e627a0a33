"""Structures one by one, with everything a file says about them, in eV, Å and e."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from molcalc.properties import LABELS, to_voigt
from molcalc.state import FIDELITY_KEY, STATE_KEYS, without_rounding
from molcalc.train.data.formats.base import Source
from molcalc.train.data.problems import Problems
from molcalc.train.data.rows import Block, Row, pack
from molcalc.train.data.states import States


@dataclass(frozen=True)
class Frame:
    """One structure.

    Attributes
    ----------
    labels : float64 arrays by name, see :data:`molcalc.properties.LABELS`; missing ones are absent.
    esp_points : (n_points, 3) Å, or None.
    keys : names and scalars other than charge, multiplicity and fidelity.
    data : names and arrays other than labels.
    """

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    total_charge: int
    multiplicity: int
    fidelity: str | None
    labels: dict[str, np.ndarray]
    esp_points: np.ndarray | None
    initial_charges: np.ndarray | None
    keys: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)

    def atoms(self) -> Atoms:
        """Atoms with results; initial charges of ions add up to the charge, because a database counts those."""
        atoms = Atoms(self.numbers, self.positions, cell=self.cell, pbc=self.pbc)
        initial = self.initial_charges
        if self.total_charge and (initial is None or without_rounding(initial.sum(), len(atoms)) != self.total_charge):
            charges = self.labels.get("charges", np.zeros(len(atoms)))
            initial = charges + (self.total_charge - charges.sum()) / len(atoms)
        if initial is not None:
            atoms.set_initial_charges(initial)
        found = ((label.ase_name, self.labels[name]) for name, label in LABELS.items() if name in self.labels)
        results: dict[str, Any] = {name: values for name, values in found if name is not None}
        if "energy" in results:
            results["energy"] = float(results["energy"])
        if "stress" in results:
            results["stress"] = to_voigt(results["stress"])
        if results:
            atoms.calc = SinglePointCalculator(atoms, **results)
        return atoms

    def all_keys(self) -> dict[str, Any]:
        """Keys of a database row, with charge, multiplicity and fidelity."""
        state: dict[str, Any] = {"total_charge": self.total_charge, "multiplicity": self.multiplicity}
        if self.fidelity is not None:
            state[FIDELITY_KEY] = self.fidelity
        return {**state, **self.keys}

    def all_data(self) -> dict[str, Any]:
        """``row.data``, with the labels that ASE has no name for."""
        data = dict(self.data)
        if self.esp_points is not None:
            data["esp_points"] = self.esp_points
        beside = [name for name, label in LABELS.items() if label.ase_name is None and name in self.labels]
        return {**data, **{name: self.labels[name] for name in beside}}


def frames_of(source: Source, skip_bad: bool = False) -> Iterator[Frame]:
    """All structures of a source.

    Raises
    ------
    DatasetError
        When rows cannot be used, unless they are to be skipped.
    """
    source.check()
    names: list[str] = []
    states = States(source.name, source.word, None, names)
    for rows in source.chunks():
        problems = Problems()
        block = pack(rows, source.factors, states, problems)
        if not skip_bad:
            problems.raise_if_any(source.name, source.word, source.row_label)
        by_id = {row.id: row for row in rows}
        yield from _frames(block, [by_id[int(row)] for row in block.systems["row"]], names)
    states.finish()


def _frames(block: Block, rows: list[Row], names: list[str]) -> Iterator[Frame]:
    ends = np.cumsum(block.systems["n_atoms"])
    point_ends = np.cumsum(block.systems["n_points"]) if "n_points" in block.systems else None
    for k, row in enumerate(rows):
        atoms = slice(int(ends[k]) - row.natoms, int(ends[k]))
        labels = {}
        for name, label in LABELS.items():
            if label.kind == "system" and name in block.systems:
                labels[name] = block.systems[name][k]
            elif label.kind == "atom" and name in block.atoms:
                labels[name] = block.atoms[name][atoms]
        labels = {name: np.asarray(values) for name, values in labels.items() if not np.isnan(values).all()}
        points = None
        if point_ends is not None and block.systems["n_points"][k]:
            part = slice(int(point_ends[k] - block.systems["n_points"][k]), int(point_ends[k]))
            points, labels["esp"] = block.points["esp_points"][part], block.points["esp"][part]
        initial = row.initial_charges
        recorded = FIDELITY_KEY in row.keys or FIDELITY_KEY in row.data
        yield Frame(
            numbers=block.atoms["numbers"][atoms],
            positions=block.atoms["positions"][atoms],
            cell=block.systems["cell"][k],
            pbc=block.systems["pbc"][k],
            total_charge=int(block.systems["total_charge"][k]),
            multiplicity=int(block.systems["multiplicity"][k]),
            fidelity=names[int(block.systems["fidelity"][k])] if recorded else None,
            labels=labels,
            esp_points=points,
            initial_charges=None if initial is None else np.frombuffer(initial, dtype="<f8"),
            keys={name: value for name, value in row.keys.items() if name not in STATE_KEYS},
            data={name: value for name, value in row.data.items() if name not in (*LABELS, "esp_points", *STATE_KEYS)},
        )
