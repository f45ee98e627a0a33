"""Motions that change no molecule."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, molecule

from molcalc.analysis.motions import MOTIONS, Motion
from molcalc.errors import ConfigError
from molcalc.properties import PROPERTIES


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    atoms = molecule("H2O")
    atoms.positions += [1.0, 2.0, 3.0]
    center = atoms.positions.mean(axis=0)
    moved = Motion.rotation(90, "z").of_atoms(atoms)
    arms, before = moved.positions - center, atoms.positions - center
    assert arms == pytest.approx(np.stack([-before[:, 1], before[:, 0], before[:, 2]], axis=1), abs=1e-12)
    assert Motion.rotation(90, [0, 0, 7.0]).matrix == pytest.approx(Motion.rotation(90).matrix, abs=1e-15)


@pytest.mark.parametrize("kind", MOTIONS)
def test_distances_stay_and_only_a_reflection_changes_the_hand(kind: str) -> None:
    rng = np.random.default_rng(0)
    atoms = molecule("CH3OH")
    motion = Motion.random(kind, len(atoms), rng)
    moved = motion.of_atoms(atoms)
    order = np.arange(len(atoms)) if motion.order is None else motion.order
    assert moved.get_all_distances() == pytest.approx(atoms.get_all_distances()[order][:, order], abs=1e-12)
    assert np.linalg.det(motion.matrix) == pytest.approx(-1.0 if kind == "reflection" else 1.0)
    assert np.abs(moved.positions - atoms.positions).max() > 0.1
    assert (moved.symbols == atoms.symbols[order]).all()


def test_every_property_moves_as_its_record_says() -> None:
    atoms = molecule("NH3")
    motion = Motion(
        "all", "", Motion.rotation(40, (1, 2, 3)).matrix, np.array([1.0, 0.0, -2.0]), np.array([2, 0, 3, 1])
    )
    moved = motion.of_atoms(atoms)
    assert motion.of_values(PROPERTIES["energy"], np.array(3.0), atoms) == 3.0
    sites = atoms.positions[:, None] + [[0.1, 0.0, 0.2], [0.0, 0.3, 0.0]]
    places = motion.of_values(PROPERTIES["dcm_positions"], sites, atoms)
    assert places.mean(axis=1) - moved.positions == pytest.approx(
        np.tile([0.05, 0.15, 0.1], (4, 1)) @ motion.matrix.T, abs=1e-12
    )
    weights = np.array([1.0, -2.0, 0.5, 0.5])
    dipole = weights @ atoms.positions
    assert motion.of_values(PROPERTIES["dipole"], dipole, atoms) == pytest.approx(
        motion.of_values(PROPERTIES["charges"], weights, atoms) @ moved.positions, abs=1e-12
    )
    stress = np.diag([1.0, 2.0, 3.0])
    assert motion.of_values(PROPERTIES["stress"], stress, atoms) == pytest.approx(
        motion.matrix @ stress @ motion.matrix.T
    )


def test_the_cell_of_a_crystal_turns_along() -> None:
    crystal = bulk("NaCl", "rocksalt", a=5.6)
    moved = Motion.rotation(30, "x").of_atoms(crystal)
    assert moved.get_all_distances(mic=True) == pytest.approx(crystal.get_all_distances(mic=True), abs=1e-9)
    assert moved.cell.cellpar() == pytest.approx(crystal.cell.cellpar())
    assert np.abs(moved.cell.array - crystal.cell.array).max() > 0.1


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: Motion.rotation(float("nan")), "angle=nan"),
        (lambda: Motion.rotation(90, "w"), "axis='w'"),
        (lambda: Motion.rotation(90, (0, 0, 0)), "no direction"),
        (lambda: Motion.translation((1.0, 2.0)), "three numbers"),
        (lambda: Motion.translation((1e300, 0.0, 0.0)), "at most 1e"),
        (lambda: Motion.permutation([0, 0, 2]), "once"),
        (lambda: Motion.random("rotatoin", 3, np.random.default_rng(0)), "did you mean 'rotation'"),
    ],
)
def test_what_is_no_motion_is_refused(made: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        made()  # type: ignore[operator]
