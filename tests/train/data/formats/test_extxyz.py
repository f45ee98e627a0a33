"""XYZ files: as ASE reads them, with errors that name the line; and the molecules of QM9."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import read, write
from ase.io.extxyz import key_val_str_to_dict

from molcalc.errors import DatasetError
from molcalc.train.data import open_dataset
from molcalc.train.data.declaration import Declaration
from molcalc.train.data.formats.atoms import row_of
from molcalc.train.data.formats.extxyz import ExtendedXYZ, _comment_values

HARTREE = 27.211386024367243


def everything() -> list[Atoms]:
    """Frames with results, keys of every type, arrays, cells, constraints and initial charges."""
    rng = np.random.default_rng(0)
    frames = [molecule("H2O"), bulk("NaCl", "rocksalt", a=5.64), molecule("CH4")]
    for atoms in frames:
        results = {"energy": rng.normal(), "forces": rng.normal(size=(len(atoms), 3)), "dipole": rng.normal(size=3)}
        if atoms.pbc.any():
            results["stress"] = rng.normal(size=6)
        atoms.calc = SinglePointCalculator(atoms, **results, charges=rng.normal(size=len(atoms)))
        atoms.info.update(total_charge=0, flag=True, name="md run", word="T1", x=1e-5, k=-3, eye=np.eye(2), e="1e5")
        atoms.arrays["descriptor"] = rng.normal(size=(len(atoms), 2))
        atoms.arrays["active"] = np.arange(len(atoms)) == 1
        atoms.arrays["label"] = np.array(["a", "b", "c", "d", "e"][: len(atoms)])
        atoms.arrays["site"] = np.arange(len(atoms))
    frames[2].set_initial_charges([0.1, 0.2, -0.1, -0.1, -0.1])
    frames[2].set_constraint(FixAtoms([0]))
    frames[0].pbc = [True, False, False]
    frames[0].cell = [5, 6, 7]
    return frames


def test_frames_are_what_ase_reads(tmp_path: Path) -> None:
    write(tmp_path / "a.xyz", everything())
    found = list(ExtendedXYZ(tmp_path / "a.xyz", Declaration()).rows())
    for number, (own, atoms) in enumerate(zip(found, read(tmp_path / "a.xyz", ":"), strict=True)):
        expected = row_of(number, "x", atoms, atoms.calc.results)
        for name in ("natoms", "numbers", "positions", "initial_charges", "energy", "forces", "stress", "dipole",
                     "charges", "pbc"):  # fmt: skip
            assert getattr(own, name) == getattr(expected, name), name
        assert np.array_equal(np.frombuffer(own.cell or bytes(72)), atoms.cell.array.ravel())
        assert str(own.keys) == str(expected.keys)
        assert own.data.keys() == expected.data.keys() - {"free_energy"}
        for name, values in own.data.items():
            assert np.array_equal(values, expected.data[name]), name


@pytest.mark.parametrize(
    "comment",
    ["", "a remark", "charge=-1 spin=2", "E=-1.5e-3 n=+7 x=1. y=.5 z=1e5", 'a="1 2 3" b={4 5} c=[6] d=\'7 8\'',
     "a=T b=False c=TRUE flag", 'name="two words" path=/a/b,c uid=123', "a=1=2", 'a = 3', 'v="_JSON [[1, 2], [3, 4]]"',
     'Lattice="1 0 0 0 2 0 0 0 3" pbc="T F T"', "big=123456789012345678901234567890", 'q="say \\"x\\""'],
    ids=repr,
)  # fmt: skip
def test_the_second_line_is_understood_as_ase_does(comment: str) -> None:
    expected = key_val_str_to_dict(comment) if comment else {}
    found = _comment_values(comment)
    assert list(found) == list(expected)
    for name, value in found.items():
        assert np.array_equal(value, expected[name]), name
        assert isinstance(value, str) == isinstance(expected[name], str)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3\n\nD 0 0 0\nO 0 0 1\nH 1 0 0\n", r"line 3: 'D' is deuterium.*Write H"),
        ("2\n\nO 0 0 0\nH 0 0 1\n2\n\nC1 0 0 0\nO 0 0 1\n", "line 7: 'C1' is a label.*write C"),
        ("1\n\n8 0 0 0\n", "line 3: '8' is an atomic number: write O"),
        ("2\n\nO 0 0 0\nH 0 0 x\n", "line 4: positions: .*'x'"),
        ("2\n\nO 0 0 0\nH 0 0\n", "line 4: 3 words for an atom, expected 4"),
        ("1\nProperties=species:S:1:pos:R\nO 0 0 0\n", "are not NAME:TYPE:COLUMNS"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(tmp_path / "a.xyz")


def test_further_columns_and_cells_of_other_programs_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("2\nfrom ADF\nO 0 0 0 0.1\nH 0 0 1 0.2 x\nVEC1 3 0 0\n1\n\nHe 0 0 0\n")
    dataset = open_dataset(tmp_path / "a.xyz")
    assert dataset.n_atoms().tolist() == [2, 1]
    assert dataset.pbc.tolist() == [[True, False, False], [False, False, False]]
    assert dataset.cell[0, 0].tolist() == [3.0, 0.0, 0.0]


@pytest.mark.parametrize("opener", [gzip.open, bz2.open, lzma.open], ids=["gz", "bz2", "xz"])
def test_compressed_files_are_read(opener: Callable[..., None], tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = tmp_path / f"a.xyz.{request.node.callspec.id}"
    with opener(path, "wt") as stream:  # type: ignore[attr-defined]
        stream.write("1\ncharge=1\nHe 0 0 0\n")
    assert open_dataset(path).total_charge.tolist() == [1.0]
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(DatasetError, match="is damaged"):
        open_dataset(path)


QM9 = """3
gdb 3\t799.6\t437.9\t282.9\t1.8511\t6.31\t-0.2928\t0.0687\t0.3615\t19.0002\t0.021375\t-76.404702\t-76.401867\t\
-76.400922\t-76.422349\t6.002\t
O\t-0.0343604951\t 0.9775395708\t 0.0076015923\t-0.589706
H\t 0.0647664923\t 0.0205721989\t 1.5*^-6\t 0.294853
H\t 0.8717903737\t 1.3007924048\t 0.0006931336\t 0.294853
1671.4222\t3803.6305\t3907.698
O\tO
InChI=1S/H2O/h1H2\tInChI=1S/H2O/h1H2
"""


def test_molecules_of_qm9_have_the_energy_that_is_chosen(tmp_path: Path) -> None:
    (tmp_path / "dsgdb9nsd_000003.xyz").write_text(QM9 * 2)
    with pytest.raises(DatasetError, match='no structure has energy.*"energy": "U0"'):
        open_dataset(tmp_path / "dsgdb9nsd_000003.xyz", require=["energy"])
    dataset = open_dataset(tmp_path / "dsgdb9nsd_000003.xyz", labels={"energy": "U0", "charges": "mulliken_charges"})
    assert dataset.labels["energy"] == pytest.approx(np.full(2, -76.404702 * HARTREE))
    assert dataset.labels["charges"][3:].tolist() == [-0.589706, 0.294853, 0.294853]
    assert dataset.positions[1, 2] == 1.5e-6
    assert dataset.key_texts("smiles") is not None


@pytest.mark.parametrize(("comment", "told"), [("-1 2", True), ("0 1", False), ("12 345", False)])
def test_two_numbers_in_the_second_line_are_mentioned(
    comment: str, told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.xyz").write_text(f"1\n{comment}\nHe 0 0 0\n" * 2)
    open_dataset(tmp_path / "a.xyz")
    assert caplog.text.count("is not read as charge and multiplicity; write charge=-1 spin=2") == told
