"""Tripos MOL2 files."""

from __future__ import annotations

from pathlib import Path

import pytest

from molcalc.cli.input_structures import read_frames
from molcalc.errors import InputError
from molcalc.structure_files.mol2 import read_mol2
from molcalc.train.data import open_dataset

MOL2 = """# made by hand
@<TRIPOS>MOLECULE
hydroxide
 2 1 0 0 0
SMALL
{}

@<TRIPOS>ATOM
      1 O1          0.0000    0.0000    0.0000 O.3   1  LIG  -1.1203
      2 H1          0.0000    0.0000    0.9700 H     1  LIG   0.1204
@<TRIPOS>BOND
     1     1     2    1
"""


def test_partial_charges_of_every_molecule_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.mol2").write_text(MOL2.format("GASTEIGER") + MOL2.format("NO_CHARGES"))
    ion, neutral = (frame.atoms for frame in read_frames(str(tmp_path / "a.mol2")))
    assert ion.get_initial_charges().tolist() == [-1.1203, 0.1204]
    assert (ion.get_chemical_formula(), ion.info) == ("HO", {"name": "hydroxide"})
    assert not neutral.has("initial_charges")
    assert open_dataset(f"{tmp_path}/a.mol2").total_charge.tolist() == [-1, 0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("H     1", "LP    1", "a.mol2, line 10: 'LP' "), ("0.9700", "x", "a.mol2, line 10: .* no line of an atom"),
     ("0.9700 H     1  LIG   0.1204", "", "line 10: .* too few words")],
)  # fmt: skip
def test_a_bad_line_is_named(old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_mol2(MOL2.replace(old, new), "a.mol2")
