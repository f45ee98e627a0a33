"""MDL molfiles of several records, of both versions, with data items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molcalc.errors import DatasetError, InputError
from molcalc.structure_files.molfiles import read_molfile
from molcalc.train.data import open_dataset

V2000 = """hydroxide
  made by hand

  2  1  0  0  0  0            999 V2000
    0.0000    0.0000    0.0000 O   0  0  0  0  0  0
    0.0000    0.0000    0.9700 H   0  0  0  0  0  0
  1  2  1  0
M  CHG  1   1  -1
M  END
> <LABEL_ENERGY>
-2061.5

>  <source>  (1)
two
lines

$$$$
"""
V3000 = """

Title is in line 1
  0  0  0     0  0            999 V3000
M  V30 BEGIN CTAB
M  V30 COUNTS 2 1 0 0 0
M  V30 BEGIN ATOM
M  V30 1 N 0.0 0.0 0.0 0 CHG=2 -
M  V30 RAD=2
M  V30 2 O 0.0 0.0 1.06 0
M  V30 END ATOM
M  V30 BEGIN BOND
M  V30 1 3 1 2 CHG=5
M  V30 END BOND
M  V30 END CTAB
M  END
$$$$
"""


def test_every_record_is_a_structure_with_what_it_states() -> None:
    hydroxide, nitric_oxide = read_molfile(V2000 + V3000, "a.sdf")
    assert hydroxide.info == {"name": "hydroxide", "charge": -1, "LABEL_ENERGY": -2061.5, "source": "two\nlines"}
    assert nitric_oxide.info == {"charge": 2, "multiplicity": 2}
    assert (hydroxide.get_chemical_formula(), nitric_oxide.get_chemical_formula()) == ("HO", "NO")
    assert np.allclose(nitric_oxide.positions[1], [0, 0, 1.06])


def test_records_are_rows_of_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "a.sdf").write_text(V2000 + V3000 + V2000)
    dataset = open_dataset(tmp_path / "a.sdf", labels={"energy": "LABEL_ENERGY"})
    assert dataset.total_charge.tolist() == [-1, 2, -1]
    assert dataset.multiplicity.tolist() == [1, 2, 1]
    assert dataset.labels["energy"][2] == -2061.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (" H  ", " R# ", r"a.sdf, line 23 \(record 1\): 'R#' is not an element"),
        (" O  ", " D  ", r"a.sdf, line 22 \(record 1\): 'D' is deuterium"),
        ("0.9700", "0.9x00", "line 23 .*coordinates"),
        ("  2  1  0", "  9  1  0", "line 24 .*is no atomic number"),
        ("  2  1  0", "  x  1  0", "line 21 .*does not begin with the number of atoms"),
        ("CHG  1   1  -1", "CHG  1   9  -1", "line 25 .*names an atom that is not among the 2"),
        ("CHG  1   1  -1", "CHG  2   1  -1   1   1", "line 25 .*or one twice"),
        ("CHG  1   1  -1", "CHG  2   1  -1", "line 25 .*an atom and a value for each"),
        ("CHG  1   1  -1", "CHG  1   1  -x", "line 25 .*an atom and a value for each"),
    ],
)
def test_a_bad_record_is_named_with_its_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = V2000 + V2000.replace(old, new, 1)
    with pytest.raises(InputError, match=message):
        read_molfile(text, "a.sdf")
    (tmp_path / "a.sdf").write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(tmp_path / "a.sdf")
