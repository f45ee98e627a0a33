"""Programs that earlier versions exported are still models."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from molcalc.calculators import AIMNet2
from molcalc.errors import CheckpointCorruptError
from molcalc.pretrained.foreign.exported import EXPORT_FORMAT, read_contents

DATA = Path(__file__).parents[2] / "data" / "programs"
ENERGY = 1e-10  # eV
FORCES = 1e-10  # eV/Å
CHARGES = 1e-12  # e


@pytest.mark.parametrize("version", range(1, EXPORT_FORMAT + 1), ids="version {}".format)
def test_an_archived_program_opens_as_the_model_it_was_made_of(version: int) -> None:
    """Of one fidelity with a charge head, whose weights a program holds without places for further fidelities."""
    file = DATA / f"v{version}" / "aimnet2.jpt"
    contents = read_contents(file.read_bytes(), file)
    assert contents is not None
    assert contents.export_format == version
    reference = json.loads((file.parent / "reference.json").read_text())
    atoms = Atoms(reference["numbers"], reference["positions"])
    (expected,) = reference["results"].values()
    atoms.calc = AIMNet2(file, dtype="float64", trusted=True)
    assert atoms.get_potential_energy() == pytest.approx(expected["energy"], abs=ENERGY)
    np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=FORCES)
    np.testing.assert_allclose(atoms.get_charges(), expected["charges"], atol=CHARGES)


LATEST = DATA / f"v{EXPORT_FORMAT}" / "aimnet2.jpt"


def contents_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def largest(path: Path) -> zipfile.ZipInfo:
    with zipfile.ZipFile(path) as archive:
        return max((record for record in archive.infolist() if "/data/" in record.filename), key=lambda r: r.file_size)


def flip_a_weight(path: Path) -> None:
    data = bytearray(path.read_bytes())
    record = largest(path)
    head = record.header_offset
    lengths = (data[head + 26 : head + 28], data[head + 28 : head + 30])  # of the name and the extra field
    data[head + 30 + sum(int.from_bytes(each, "little") for each in lengths) + record.file_size // 2] ^= 0x10
    path.write_bytes(data)


def exchange_a_weight(path: Path) -> None:
    """With the checksum of the archive made new."""
    name, records = largest(path).filename, contents_of(path)
    with zipfile.ZipFile(path, "w") as archive:
        for record, content in records.items():
            archive.writestr(record, bytes(len(content)) if record == name else content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize("damage", [flip_a_weight, exchange_a_weight, cut])
@pytest.mark.parametrize("described", [True, False], ids=["described", "alone"])
def test_a_damaged_program_is_refused_though_it_is_trusted(
    damage: Callable[[Path], None], described: bool, tmp_path: Path
) -> None:
    file = tmp_path / "m.jpt"
    shutil.copy(LATEST, file)
    damage(file)
    if described:
        shutil.copy(f"{LATEST}.json", f"{file}.json")
    with pytest.raises(CheckpointCorruptError, match=r"m\.jpt"):
        AIMNet2(file, trusted=True)


def test_a_program_is_compared_with_the_description_beside_it(tmp_path: Path) -> None:
    """Which belongs to a program of another format."""
    file = tmp_path / "m.jpt"
    shutil.copy(DATA / "v2" / "aimnet2.jpt", file)
    AIMNet2(file, trusted=True)
    shutil.copy(f"{LATEST}.json", f"{file}.json")
    with pytest.raises(CheckpointCorruptError, match=r"not that in m\.jpt\.json"):
        AIMNet2(file, trusted=True)
