"""The guessed second derivatives: right slopes, no sense of place, and stiff where bonds are."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from molcalc.kernels import runtime
from molcalc.simulate import model_hessian as module
from molcalc.simulate.model_hessian import model_hessian
from tests.helpers.structures import crystal, organic, rattled

H = 1e-5


def of(atoms: Atoms) -> np.ndarray:
    return model_hessian(atoms.numbers, atoms.positions, atoms.cell.array, np.asarray(atoms.pbc))


def internal_coordinates(atoms: Atoms, monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, np.ndarray]]:
    """Atoms and slopes of all internal coordinates that enter the model, as they are added."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    add = module._add

    def recorded(hessian: np.ndarray, members: np.ndarray, slopes: np.ndarray, constants: np.ndarray) -> None:
        found.extend((members[:, k], slopes[:, k]) for k in range(members.shape[1]))
        add(hessian, members, slopes, constants)

    monkeypatch.setattr(runtime, "available", lambda: False)
    monkeypatch.setattr(module, "_add", recorded)
    of(atoms)
    return found


def value(atoms: Atoms, members: list[int]) -> float:
    """Å or radians."""
    if len(members) == 2:
        return float(atoms.get_distance(*members))
    return float(np.radians(atoms.get_angle(*members) if len(members) == 3 else atoms.get_dihedral(*members)))


def test_slopes_of_stretches_bends_and_torsions_are_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    atoms = rattled("CH3CH2OH", seed=3)
    kinds = set()
    for members, slopes in internal_coordinates(atoms, monkeypatch)[::3]:
        chain = [int(k) for k in members]
        kinds.add(len(chain))
        numerical = np.zeros_like(slopes)
        for k, atom in enumerate(chain):
            for x in range(3):
                ends = []
                for sign in (1, -1):
                    moved = atoms.copy()
                    moved.positions[atom, x] += sign * H
                    ends.append(value(moved, chain))
                turn = (ends[0] - ends[1] + np.pi) % (2 * np.pi) - np.pi
                numerical[k, x] = turn / (2 * H)
        sign = np.sign(np.sum(numerical * slopes))  # the sense of a torsion does not matter
        assert slopes * sign == pytest.approx(numerical, abs=1e-6)
    assert kinds == {2, 3, 4}


@pytest.mark.parametrize(
    "atoms",
    [rattled("CH3CH2OH", seed=3), organic(), molecule("C2H2"), bulk("NaCl", "rocksalt", 5.64), crystal(), Atoms("He")],
    ids=["ethanol", "organic", "C2H2", "NaCl", "crystal", "atom"],
)
def test_loops_give_what_the_formula_gives(atoms: Atoms, monkeypatch: pytest.MonkeyPatch) -> None:
    found = of(atoms)
    monkeypatch.setattr(runtime, "available", lambda: False)
    assert found == pytest.approx(of(atoms), abs=1e-10)


def test_it_is_symmetric_positive_and_blind_to_translation_and_rotation() -> None:
    matrix = of(rattled("CH3CH2OH", seed=1))
    assert matrix == pytest.approx(matrix.T, abs=1e-12)
    eigenvalues = np.linalg.eigvalsh(matrix)
    assert eigenvalues[:6] == pytest.approx(np.zeros(6), abs=1e-10)
    assert eigenvalues[6] > 0.1


def test_it_turns_with_the_molecule() -> None:
    atoms = molecule("CH3OH")
    turned = atoms.copy()
    turned.rotate(50, (1, 2, 3))
    assert np.linalg.eigvalsh(of(turned)) == pytest.approx(np.linalg.eigvalsh(of(atoms)), abs=1e-8)


def test_bonds_are_stiffer_than_angles_and_distant_atoms_do_not_count() -> None:
    water = of(molecule("H2O"))
    modes = np.linalg.eigvalsh(water)[-3:]
    assert modes[0] < 0.35 * modes[1]
    apart = molecule("H2O") + molecule("H2O")
    apart.positions[3:] += 8.0
    assert of(apart)[:9, :9] == pytest.approx(water)
    assert not of(apart)[:9, 9:].any()


def test_images_of_a_crystal_count() -> None:
    cell = bulk("NaCl", "rocksalt", 5.64)
    matrix = of(cell)
    assert matrix.sum() == pytest.approx(0.0, abs=1e-10)
    assert np.linalg.eigvalsh(matrix)[3:].min() > 0.05
    cell.pbc = False
    assert np.linalg.eigvalsh(of(cell)).max() < np.linalg.eigvalsh(matrix).max()


@pytest.mark.parametrize("atoms", [Atoms("He"), molecule("CO2"), molecule("C2H2")], ids=["atom", "CO2", "C2H2"])
def test_atoms_alone_and_straight_chains_are_finite(atoms: Atoms) -> None:
    assert np.isfinite(of(atoms)).all()
