"""Labels that cannot belong together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.md.nptberendsen import NPTBerendsen
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from ase.units import fs, kB

from molcalc.errors import DatasetError
from molcalc.train import fit
from molcalc.train.data import Dataset, open_dataset
from molcalc.train.data.contradictions import (
    check_charges,
    check_signs,
    contradicting_repeats,
    doubtful_derivatives,
    outlying_energies,
)
from molcalc.train.data.suspicions import suspicious_units
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
        (
            {"shuffled": True},
            r"forces and energies do not belong together: over \d+ pairs of structures that are nearly alike",
        ),
    ],
)
def test_derivatives_of_another_sign_or_size_are_named(tmp_path: Path, options: dict, text: str) -> None:
    found = doubtful_derivatives(open_dataset(crystals(tmp_path / "set.db", **options)))
    assert any(re.search(text, line) for line in found), found


def dynamics(kind: str, steps: int = 60) -> list[tuple[Atoms, dict[str, Any]]]:
    """Frames of ordinary dynamics with exact labels."""
    rng = np.random.default_rng(0)
    if kind == "molecule at constant energy":
        atoms = molecule("CH3OH")
        atoms.calc = EMT()
        BFGS(atoms, logfile=None).run(fmax=0.1, steps=30)
    elif kind == "crystal at constant pressure":
        atoms = bulk("Cu", cubic=True)
        atoms.calc = EMT()
    else:
        atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * (2, 2, 2)
        atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.0, smooth=True)
    atoms.set_momenta(
        rng.normal(size=(len(atoms), 3)) * np.sqrt(atoms.get_masses() * kB * (40 if "liquid" in kind else 300))[:, None]
    )
    if "pressure" in kind:
        motion = NPTBerendsen(atoms, 2 * fs, temperature_K=300, pressure_au=0.0, compressibility_au=0.02, taup=50 * fs)
    else:
        motion = VelocityVerlet(atoms, (0.5 if "molecule" in kind else 5) * fs)
    frames = []
    for _ in range(steps):
        motion.run(2)
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        if atoms.pbc.any():
            labels["stress"] = atoms.get_stress()
        frames.append((atoms.copy(), labels))
    return frames


def written(path: Path, frames: list[tuple[Atoms, dict[str, Any]]], **factors: float) -> Dataset:
    with connect(path) as database:
        for atoms, labels in frames:
            copy = atoms.copy()
            copy.calc = SinglePointCalculator(copy, **{k: factors.get(k, 1.0) * v for k, v in labels.items()})
            database.write(copy)
    return open_dataset(path, cache=path.parent)


@pytest.mark.parametrize(
    "kind", ["molecule at constant energy", "crystal at constant pressure", "liquid at constant energy"]
)
def test_exact_labels_of_dynamics_raise_no_alarm_and_the_wrong_sign_is_refused(kind: str, tmp_path: Path) -> None:
    frames = dynamics(kind)
    data = written(tmp_path / "right.db", frames)
    assert doubtful_derivatives(data) == []
    check_signs(data)
    assert suspicious_units(data) == []
    one_wrong = [(atoms, dict(labels)) for atoms, labels in frames]
    one_wrong[20][1]["energy"] += 50.0
    one_wrong[40][1]["forces"] = -100 * one_wrong[40][1]["forces"]
    assert doubtful_derivatives(written(tmp_path / "outliers.db", one_wrong)) == []
    with pytest.raises(DatasetError, match=r"forces are of the wrong sign: differences of energies are -(1|0\.9|1\.0)"):
        check_signs(written(tmp_path / "wrong.db", frames, forces=-1.0))


def test_one_geometry_with_two_energies_is_reported(tmp_path: Path) -> None:
    frames = []
    for k in range(6):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=k % 3)
        if k == 4:
            atoms.rotate(30, "x")
        frames.append((atoms, {"energy": -2080.0 + (0.5 if k == 4 else 0.0)}))
    (found,) = contradicting_repeats(written(tmp_path / "a.db", frames))
    assert found.startswith("1 geometries occur with different energies, at most 0.5 eV apart (a.db row 2")
    assert contradicting_repeats(written(tmp_path / "b.db", frames[:4])) == []


@pytest.mark.parametrize(("row", "energy"), [(3, -76.4), (0, -47970.0)], ids=["Hartree", "kcal/mol"])
def test_one_energy_in_another_unit_is_told_and_usual_ones_are_not(row: int, energy: float, tmp_path: Path) -> None:
    frames = []
    for k in range(12):  # of water and of two atoms, from bound to free
        atoms = molecule("H2O") if k < 6 else molecule("N2")
        atoms.positions *= 1.0 + 0.4 * (k % 6)
        frames.append((atoms, {"energy": (-2080.0 if k < 6 else -2980.0) + 3.0 * (k % 6)}))
    assert outlying_energies(written(tmp_path / "a.db", frames)) == []
    frames[row][1]["energy"] = energy
    (found,) = outlying_energies(written(tmp_path / "b.db", frames))
    assert re.match(rf"1 of 12 energies are more than 100 eV away .* \(first b.db row {row + 1}\)", found)


@pytest.mark.parametrize(("origin", "found"), [("mass", False), ("zero", True)])
@pytest.mark.parametrize("with_charges", [True, False])
def test_dipoles_of_ions_about_another_origin_are_recognized(
    origin: str, found: bool, with_charges: bool, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    with connect(tmp_path / "a.db") as database:
        for k in range(12):
            atoms = Atoms("CAuH3", molecule("CH3Cl").positions)
            atoms.rattle(0.05, seed=k)
            atoms.translate(rng.normal(scale=3, size=3))
            charges = np.array([-0.1, 0.5, 0.2, 0.2, 0.2]) + 0.02 * rng.normal(size=5)
            charges += (1 - charges.sum()) / 5
            about = atoms.get_center_of_mass() if origin == "mass" else np.zeros(3)
            labels = {"dipole": charges @ (atoms.positions - about), **({"charges": charges} if with_charges else {})}
            atoms.calc = SinglePointCalculator(atoms, **labels)
            database.write(atoms, total_charge=1)
    seen = [str(item) for item in suspicious_units(open_dataset(tmp_path / "a.db", cache=tmp_path))]
    assert (len(seen) == 1 and "about the origin of coordinates, not about the center of mass" in seen[0]) is found
    assert found or not seen
