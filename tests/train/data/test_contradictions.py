"""Labels that cannot belong together."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc.errors import DatasetError
from molcalc.train import fit
from molcalc.train.data import open_dataset
from molcalc.train.data.contradictions import check_charges, doubtful_derivatives
from tests.train.data.conftest import Make


def _charged(atoms: Atoms, data: dict[str, np.ndarray]) -> None:
    if len(atoms) == 3:
        atoms.calc.results["charges"] += 1.0 / len(atoms)


def test_a_total_charge_that_charges_contradict_is_refused(make_database: Make, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = make_database(change=_charged)
    message = (
        r"contradicts the atomic charges in \d+ of \d+ systems, first in set.db row \d+: total_charge=0, the charges "
        r"add up to 1.000 e; correct the key total_charge"
    )
    with pytest.raises(DatasetError, match=message):
        fit(path, "noneq-dcm", output=tmp_path / "run", progress=False)
    with pytest.raises(DatasetError, match=r"in 12 of 24 systems, first in set.db row 1:"):
        check_charges(open_dataset(path))


def test_ions_without_total_charges_are_recognized(make_database: Make) -> None:
    with pytest.raises(DatasetError, match="These look like ions, and every total charge is 0, as where none"):
        check_charges(open_dataset(make_database(change=_charged)))

    def by_halves(atoms: Atoms, data: dict[str, np.ndarray]) -> None:
        atoms.calc.results["charges"] += 1.6 / len(atoms)

    with pytest.raises(DatasetError, match="or leave the charges out$"):
        check_charges(open_dataset(make_database(change=by_halves, name="halves.db")))


def test_rounded_and_missing_charges_are_accepted(make_database: Make) -> None:
    def change(atoms: Atoms, data: dict[str, np.ndarray]) -> None:
        atoms.calc.results["charges"] = atoms.calc.results["charges"].round(1)
        if len(atoms) == 4:
            del atoms.calc.results["charges"]

    dataset = open_dataset(make_database(change=change))
    assert 0 < dataset.has("charges").sum() < len(dataset)
    check_charges(dataset)


def crystals(path: Path, forces: float = 1.0, stress: float = 1.0, shuffled: bool = False) -> Path:
    """Strained and rattled copper (EMT): ten rows in one cell and ten in others, with labels times a factor."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(20):
        atoms = bulk("Cu", cubic=True)
        strain = rng.normal(scale=0.01, size=(3, 3)) if k >= 10 else np.zeros((3, 3))
        atoms.set_cell(atoms.cell @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
        atoms.rattle(0.03 if k < 10 else 0.005, seed=k)
        atoms.calc = EMT()
        rows.append((atoms, atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
    order = rng.permutation(20) if shuffled else np.arange(20)
    with connect(path) as database:
        for k, (atoms, _, f, s) in enumerate(rows):
            atoms.calc = SinglePointCalculator(atoms, energy=rows[order[k]][1], forces=forces * f, stress=stress * s)
            database.write(atoms)
    return path


def test_derivatives_of_the_energies_raise_no_doubt(tmp_path: Path) -> None:
    dataset = open_dataset(crystals(tmp_path / "set.db"))
    assert doubtful_derivatives(dataset) == []
    assert doubtful_derivatives(dataset.subset(np.arange(3))) == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"stress": -1.0}, r"stress seems to be of the wrong sign: differences of energies are -\S+ times its work"),
        ({"stress": 160.21766}, r"stress seems to be of the wrong size: differences of energies are 0.00\d+ times"),
        ({"forces": -1.0}, r"forces seems to be of the wrong sign: differences of energies are -\S+ times its work"),
        ({"shuffled": True}, r"forces and energies do not belong together: over \d+ pairs of neighboring rows"),
    ],
)
def test_derivatives_of_another_sign_or_size_are_named(tmp_path: Path, options: dict, text: str) -> None:
    found = doubtful_derivatives(open_dataset(crystals(tmp_path / "set.db", **options)))
    assert any(re.search(text, line) for line in found), found
