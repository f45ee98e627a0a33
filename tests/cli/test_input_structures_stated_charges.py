"""Charges and spins stated in files whose readers in ASE drop them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from molcalc.cli.input_structures import read_frames

PEROXIDE = ["", "  case", "", "  3  2  0  0  0  0            999 V2000"]
ATOMS = ((0.0, 0.0, "O"), (0.0, 1.3, "O"), (0.9, 1.7, "H"))
BONDS = ["  1  2  1  0", "  2  3  1  0"]


def molfile(path: Path, codes: tuple[int, int, int], *properties: str) -> Path:
    """A V2000 file of HO2 with the numbers of charges of its atoms and the lines of its properties."""
    atoms = [f"{x:10.4f}{y:10.4f}{0.0:10.4f} {s:<3} 0{code:3d}  0  0  0  0" for (x, y, s), code in zip(ATOMS, codes)]
    path.write_text("\n".join([*PEROXIDE, *atoms, *BONDS, *properties, "M  END", "$$$$", ""]))
    return path


NO_CODES = (0, 0, 0)
MOLFILES: dict[str, tuple[tuple[int, int, int], tuple[str, ...], dict[str, int]]] = {
    "nothing": (NO_CODES, (), {}),
    "codes": ((5, 0, 0), (), {"charge": -1}),
    "codes that cancel": ((5, 3, 0), (), {"charge": 0}),
    "radical code": ((4, 0, 0), (), {"multiplicity": 2}),
    "charge line": (NO_CODES, ("M  CHG  2   1  -1   2  -1",), {"charge": -2}),
    "charge lines take the place of codes": ((5, 5, 0), ("M  CHG  1   1  -1",), {"charge": -1}),
    "several charge lines": (NO_CODES, ("M  CHG  1   1  -1", "M  CHG  1   2   2"), {"charge": 1}),
    "radical": (NO_CODES, ("M  RAD  1   1   2",), {"multiplicity": 2}),
    "triplet": (NO_CODES, ("M  CHG  1   1   1", "M  RAD  1   1   3"), {"charge": 1, "multiplicity": 3}),
    "two radicals": (NO_CODES, ("M  RAD  2   1   2   2   2",), {}),
}


@pytest.mark.parametrize("suffix", ["sdf", "mol"])
@pytest.mark.parametrize("name", MOLFILES)
def test_charges_and_spins_of_molfiles_are_read(name: str, suffix: str, tmp_path: Path) -> None:
    codes, properties, expected = MOLFILES[name]
    path = molfile(tmp_path / f"ion.{suffix}", codes, *properties)
    assert read_frames(str(path))[0].atoms.info == expected


def test_charge_and_spin_of_gaussian_input_are_read(tmp_path: Path) -> None:
    path = tmp_path / "ion.com"
    path.write_text("%chk=a\n#P b3lyp/6-31G* opt\n\ntitle\n\n-1 3\nO 0.0 0.0 0.0\nH 0.0 0.0 1.0\n\n")
    atoms = read_frames(str(path))[0].atoms
    assert atoms.info == {"charge": -1, "multiplicity": 3}
    assert atoms.calc is None


def test_a_command_computes_the_ion_of_a_molfile(run: Any, model: Path, tmp_path: Path) -> None:
    path = molfile(tmp_path / "ion.sdf", NO_CODES, "M  CHG  1   1  -1")
    result = run("energy", path, "--model", model)
    assert result.status == 0
    assert result.out.splitlines()[1].split()[3] == "-1"
    assert "contradictory total charges" in run("energy", path, "--model", model, "--charge", "1").err
