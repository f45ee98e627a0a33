"""Charge and multiplicity in the text of files of other programs."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from ase import Atoms
from ase.io import write

from molcalc.structure_files.images import read_images
from molcalc.structure_files.stated_charges import stated_in

PDB = "ATOM      1  O   MOL     1       0.000   0.000   0.000  1.00  0.00           O{}\n"
STATED = {
    "gaussian input": ("gaussian-in", "#P hf/3-21g\n\ntitle 1 2\n\n-1 3\nO 0 0 0\n\n", (-1, 3)),
    "gaussian input of fragments": ("gaussian-in", "# hf\n\nt\n\n1,2 0,1 1,2\nO 0 0 0\n\n", (1, 2)),
    "gaussian input with a tab": ("gaussian-in", "# hf\n\nt\n\n-1\t2\nO 0 0 0\n\n", (-1, 2)),
    "gaussian output": ("gaussian-out", " Charge = -2 Multiplicity = 1\n Charge =  5 Multiplicity = 9\n", (-2, 1)),
    "nwchem input of DFT": ("nwchem-in", "geometry\n O 0 0 0\nend\ncharge -1\ndft\n mult 2\nend\n", (-1, 2)),
    "nwchem input of SCF": ("nwchem-in", "CHARGE +1\nscf\n triplet\nend\n", (1, 3)),
    "nwchem input with open shells": ("nwchem-in", "scf\n nopen 1\nend\n", (None, 2)),
    "nwchem output": ("nwchem-out", "  Charge           :    -1\n  Spin multiplicity:     2\n", (-1, 2)),
    "orca output": ("orca-output", " Total Charge  Charge   ....   -1\n Multiplicity    Mult     ....    3\n", (-1, 3)),
    "atoms of a PDB file": ("proteindatabank", PDB.format("1-") + PDB.format("2-") + "ENDMDL\n" + PDB.format("1-"),
                            (-3, None)),
    "a remark of a PDB file": ("proteindatabank", "REMARK   TOTAL CHARGE -1\n" + PDB.format(""), (-1, None)),
    "a PDB file": ("proteindatabank", "REMARK   charges are not known\n" + PDB.format(""), (None, None)),
}  # fmt: skip


@pytest.mark.parametrize("name", STATED)
def test_what_files_state_is_found(name: str, tmp_path: Path) -> None:
    form, text, (charge, multiplicity) = STATED[name]
    (tmp_path / "a").write_text(text)
    expected = {"charge": charge, "multiplicity": multiplicity}
    assert stated_in(tmp_path / "a", form) == {key: value for key, value in expected.items() if value is not None}


def test_a_charge_that_is_not_read_is_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "coord"
    write(path, Atoms("OH", [[0, 0, 0], [0, 0, 1]]), format="turbomole")
    read_images(path, "turbomole")
    assert not caplog.messages
    path.write_text(path.read_text() + "# hydroxide, charge = -1\n")
    read_images(path, "turbomole")
    assert "speaks of a charge, which is not read" in caplog.text
    assert "'# hydroxide, charge = -1'" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING
