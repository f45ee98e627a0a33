"""The driver of i-PI computes what ASE does, for one structure and for all beads together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write

pytest.importorskip("ipi")
from ipi.pes import load_pes  # noqa: E402

from molcalc import AIMNet2  # noqa: E402
from molcalc.engines import ipi_driver  # noqa: E402
from molcalc.engines.ipi_driver import IPI_BOHR, IPI_HARTREE, MolcalcDriver  # noqa: E402
from molcalc.errors import InputError, MissingFileError, UnsupportedElementError  # noqa: E402

TOLERANCE = 1e-8
OPTIONS = {"fidelity": "pbe0", "dtype": "float64", "coulomb": "dsf"}
CELL = np.array([[7.0, 0.0, 0.0], [1.0, 7.5, 0.0], [-0.5, 0.4, 8.0]])


def driver_of(folder: Path, atoms: Atoms) -> MolcalcDriver:
    write(folder / "template.xyz", atoms)
    kind = load_pes("custom", ipi_driver.__file__)
    return kind(template=str(folder / "template.xyz"), model="small-species", verbosity=None, **OPTIONS)


@pytest.mark.parametrize("periodic", [False, True], ids=["molecule", "box"])
def test_beads_have_energies_forces_and_virials_of_ase(tmp_path: Path, periodic: bool) -> None:
    atoms = molecule("H2O", cell=CELL, pbc=periodic)
    driver, beads = driver_of(tmp_path, atoms), []
    for seed in range(3):
        beads.append(atoms.copy())
        beads[-1].rattle(0.05, seed=seed)
        beads[-1].calc = AIMNet2("small-species", **OPTIONS)
    together = driver([CELL.T / IPI_BOHR] * 3, [bead.positions / IPI_BOHR for bead in beads])
    assert isinstance(together, list)
    for bead, (energy, forces, virial, extra) in zip(beads, together):
        assert energy * IPI_HARTREE == pytest.approx(bead.get_potential_energy(), rel=TOLERANCE)
        expected = bead.get_forces()
        assert forces * IPI_HARTREE / IPI_BOHR == pytest.approx(expected, abs=TOLERANCE * np.abs(expected).max())
        wanted = bead.positions.T @ expected
        if periodic:
            wanted = -bead.get_stress(voigt=False) * bead.get_volume()
        assert virial * IPI_HARTREE == pytest.approx(wanted, abs=1e-7)
        assert extra == ""
    energy, *_ = driver(CELL.T / IPI_BOHR, beads[1].positions / IPI_BOHR)
    assert energy == pytest.approx(together[1][0], rel=TOLERANCE)


def test_another_number_of_atoms_is_refused(tmp_path: Path) -> None:
    driver = driver_of(tmp_path, molecule("H2O"))
    with pytest.raises(InputError, match="the engine has 4 atoms, the structure 3"):
        driver(np.eye(3) * 20, np.zeros((4, 3)))


def test_templates_are_read_and_checked_when_the_driver_starts(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedElementError, match="U"):
        driver_of(tmp_path, Atoms("U"))
    with pytest.raises(MissingFileError, match=r"absent\.xyz"):
        MolcalcDriver(str(tmp_path / "absent.xyz"), "small-species", **OPTIONS)
