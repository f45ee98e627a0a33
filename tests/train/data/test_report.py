"""What is said about a data set."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc.errors import UnitMismatchError
from molcalc.train.data import open_dataset
from molcalc.train.data.report import report
from molcalc.train.data.suspicions import atomic_energies, check_units
from molcalc.units import BOHR, DEBYE, HARTREE
from tests.train.data.conftest import Change, Make


def scaled(label: str, factor: float) -> Change:
    def change(atoms: Atoms, data: dict[str, np.ndarray]) -> None:
        if label in data:
            data[label] = data[label] * factor
        else:
            atoms.calc.results[label] = atoms.calc.results[label] * factor

    return change


def test_a_sound_data_set_raises_no_warning(make_database: Make) -> None:
    found = report(make_database())
    assert found.warnings == []
    assert found.labels["esp"] == {"default": 24}
    assert found.elements == {"H": 24, "C": 12, "N": 12, "O": 12}
    assert found.sizes == {3: 12, 4: 6, 6: 6}
    text = str(found)
    assert "24 structures, 96 atoms" in text
    assert "forces" in text
    assert "eV/Å" in text


@pytest.mark.parametrize(
    ("label", "factor", "unit"),
    [
        ("energy", 1 / HARTREE, "Hartree"),
        ("energy", 23.06, "kcal/mol"),
        ("dipole", 1 / DEBYE, "Debye"),
        ("esp_points", 1 / BOHR, "Bohr"),
        ("esp", 1 / HARTREE, "Hartree/e"),
    ],
)  # fmt: skip
def test_labels_in_another_unit_are_recognized(make_database: Make, label: str, factor: float, unit: str) -> None:
    path = make_database(24, scaled(label, factor))
    with pytest.raises(UnitMismatchError, match=f"{label} looks like {unit}: .*units={{'{label}': '{unit}'}}"):
        check_units(open_dataset(path))
    check_units(open_dataset(path, units={label: unit}))


def test_dipoles_in_debye_are_recognized_by_the_esp_alone(make_database: Make) -> None:
    """Small dipoles and no charges: neither lengths nor charges give them away."""

    def change(atoms: Atoms, data: dict[str, np.ndarray]) -> None:
        results = atoms.calc.results
        del results["charges"]
        results["dipole"] = results["dipole"] / DEBYE * 0.1
        data["esp"] = data["esp"] * 0.1

    with pytest.raises(UnitMismatchError, match="dipole looks like Debye: 4.8.* charges fitted to the ESP"):
        check_units(open_dataset(make_database(24, change)))


def test_points_in_another_frame_are_recognized(make_database: Make) -> None:
    def shift(atoms: Atoms, data: dict[str, np.ndarray]) -> None:
        data["esp_points"] = data["esp_points"] + [2.5, 0.0, 0.0]

    with pytest.raises(UnitMismatchError, match=r"looks like another frame than the atoms.*Turn .* declare Angstrom"):
        check_units(open_dataset(make_database(24, shift)))


def test_forces_in_another_unit_are_recognized(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """A chain of displaced geometries in a harmonic potential."""
    rng = np.random.default_rng(0)
    with connect(tmp_path / "set.db") as database:
        for _ in range(30):
            positions = np.array([[0.0, 0, 0], [0, 0, 1.1]]) + 0.05 * rng.normal(size=(2, 3))
            arm = positions[1] - positions[0]
            length = np.linalg.norm(arm)
            pull = 60.0 * (length - 1.1) * arm / length
            atoms = Atoms("CO", positions=positions)
            energy = atomic_energies(atoms.numbers).sum() + 30.0 * (length - 1.1) ** 2
            forces = np.array([pull, -pull]) * BOHR / HARTREE
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
            database.write(atoms)
    with pytest.raises(UnitMismatchError, match="forces looks like Hartree/Bohr"):
        check_units(open_dataset(tmp_path / "set.db"))


def test_duplicates_outliers_and_bad_rows_are_named(make_database: Make) -> None:
    counter = iter(range(60))

    def spoil(atoms: Atoms, data: dict[str, np.ndarray]) -> None:
        k = next(counter)
        if k == 50:
            atoms.calc.results["energy"] += 30.0
        if k == 51:
            atoms.calc.results["forces"][0, 0] = 80.0
        if k == 52:
            atoms.calc.results["charges"] = atoms.calc.results["charges"] + 0.1
        if k == 53:
            atoms.calc.results["forces"][0, 0] = np.inf
        if k == 54:
            del atoms.calc.results["dipole"]

    path = make_database(56, spoil)
    make_database(2)  # appends rows 1 and 2 again
    found = report(path)
    assert found.n_systems == 57
    assert found.skipped == {"set.db: forces are not finite": 1}
    assert found.duplicates == 2
    text = "\n".join(found.warnings)
    assert "dipole is missing in 1 of 57 structures" in text
    assert "2 structures repeat a geometry: set.db row 57, set.db row 58" in text
    assert "1 energies are far from what the composition suggests: set.db row 51" in text
    assert "forces above 50 eV/Å: set.db row 52" in text
    assert "miss the total charge by over 0.05 e: set.db row 53" in text


def test_energies_of_atoms_are_good_to_a_percent() -> None:
    # Hartree-Fock limits, Bunge, Barrientos, Bunge, At. Data Nucl. Data Tables 53, 113 (1993).
    reference = {6: -37.688619, 8: -74.809398, 17: -459.482072, 35: -2572.441333}
    found = atomic_energies(np.array(list(reference))) / HARTREE
    assert np.allclose(found, list(reference.values()), rtol=0.01)
