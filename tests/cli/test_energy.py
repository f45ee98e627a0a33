"""``molcalc energy``."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import warnings
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.db import connect
from ase.io import read, write

from molcalc.calculators import AIMNet2, PhysNetDCM
from molcalc.cli import output
from molcalc.errors import OpenShellWarning
from molcalc.io import checkpoint
from molcalc.units import DEBYE
from tests.helpers.networks import tiny_dcm
from tests.helpers.structures import rattled

PRINTED = 1.1e-6
"""eV; energies are printed with six digits, and a batch rounds a little differently from a single structure."""
WRITTEN = {".extxyz": 1e-8, ".json": 1e-12, ".db": 1e-12, ".traj": 1e-12}
"""Digits a format keeps of forces and charges."""


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Six molecules, one of them charged."""
    images = [molecule(name) for name in ("H2O", "NH3", "CH4", "CO2", "CH3OH")]
    hydroxide = molecule("OH")
    hydroxide.info["charge"] = -1
    write(tmp_path / "frames.xyz", [*images, hydroxide])
    return tmp_path / "frames.xyz"


def rows(text: str) -> list[list[str]]:
    """Cells of the table below its header; names of files may have a blank."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()[1:]]


@pytest.mark.parametrize("name", ["single", "ensemble"])
def test_every_frame_gets_the_numbers_of_the_calculator(run: Any, models: Path, frames: Path, name: str) -> None:
    result = run("energy", frames, "--model", models / name, "--dtype", "float64")
    assert result.status == 0, result.err
    calculator = AIMNet2(models / name, dtype="float64")
    table = rows(result.out)
    assert len(table) == 6
    for k, (atoms, cells) in enumerate(zip(read(frames, ":"), table)):
        atoms.calc = calculator
        assert cells[:4] == [str(frames), str(k), atoms.get_chemical_formula(), str(atoms.info.get("charge", 0))]
        assert float(cells[4]) == pytest.approx(atoms.get_potential_energy(), abs=PRINTED)
        assert float(cells[-2]) == pytest.approx(np.linalg.norm(atoms.get_forces(), axis=1).max(), abs=PRINTED)
        assert float(cells[-1]) == pytest.approx(np.linalg.norm(atoms.get_dipole_moment()) / DEBYE, abs=1e-4)
        if name == "ensemble":
            assert float(cells[5]) == pytest.approx(calculator.extras["energy_std"], abs=1e-4)
            assert float(cells[5]) > 0.0


def test_options_reach_the_calculator(run: Any, models: Path, water: Path) -> None:
    def energy(*options: str) -> float:
        return float(rows(run("energy", water, "--model", models / "ensemble", *options).out)[0][4])

    base = energy("--member", "0")
    changed = {
        option: energy("--member", "0", *option.split())
        for option in ("--charge -2", "--dispersion none", "--dispersion d3bj:b3lyp", "--member 1")
    }
    assert len({base, *changed.values()}) == 5


def test_forces_and_charges_of_every_atom_are_printed(run: Any, model: Path, water: Path) -> None:
    result = run("energy", water, "--model", model, "--forces", "--charges", "--dtype", "float64")
    atoms = read(water)
    atoms.calc = AIMNet2(model, dtype="float64")
    lines = [line.split() for line in result.out.splitlines()[3:]]
    assert [line[1] for line in lines] == ["O", "H", "H"]
    assert np.array([line[2:] for line in lines], dtype=float) == pytest.approx(
        np.column_stack([atoms.get_charges(), atoms.get_forces()]), abs=1e-5
    )


@pytest.mark.parametrize("suffix", WRITTEN)
@pytest.mark.parametrize("name", ["single", "open"])
def test_written_frames_hold_results_and_give_them_again(
    run: Any, models: Path, frames: Path, suffix: str, name: str
) -> None:
    target = f"out{suffix}"
    result = run("energy", frames, "--model", models / name, "--dtype", "float64", "--output", target)
    assert result.status == 0, result.err
    calculator = AIMNet2(models / name, dtype="float64")
    for before, after in zip(read(frames, ":"), read(target, ":"), strict=True):
        before.calc = calculator
        tolerance = WRITTEN[suffix]
        assert after.get_potential_energy() == pytest.approx(before.get_potential_energy(), abs=1e-9)
        assert after.get_forces() == pytest.approx(before.get_forces(), abs=tolerance)
        assert after.calc.results["charges"] == pytest.approx(before.get_charges(), abs=tolerance)
    again = run("energy", target, "--model", models / name, "--dtype", "float64")
    assert again.status == 0, again.err
    assert [row[2:5] for row in rows(again.out)] == [row[2:5] for row in rows(result.out)]


def test_database_rows_say_what_made_them(run: Any, model: Path, frames: Path) -> None:
    run("energy", frames, "--model", model, "--output", "out.db")
    with connect("out.db") as database:
        row = database.get(6)
    assert row.total_charge == -1
    assert row.charge == pytest.approx(-1.0, abs=1e-12)
    assert row.calculator == "aimnet2"
    assert row.calculator_parameters["model_hash"] == AIMNet2(model).todict()["model_hash"]
    assert row.forces.dtype == np.float64


def test_an_existing_file_is_replaced_only_with_force(run: Any, model: Path, water: Path) -> None:
    Path("out.xyz").write_text("precious")
    refused = run("energy", water, "--model", model, "--output", "out.xyz")
    assert (refused.status, refused.out) == (2, "")
    assert "out.xyz exists: give another name, or --force to replace it" in refused.err
    assert Path("out.xyz").read_text() == "precious"
    os.link("out.xyz", "backup.xyz")
    assert run("energy", water, "--model", model, "--output", "out.xyz", "--force").status == 0
    assert len(read("out.xyz")) == 3
    assert Path("backup.xyz").read_text() == "precious"


def test_a_failed_write_leaves_the_old_file(
    run: Any, model: Path, water: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("out.xyz").write_text("precious")

    def half(path: Path, *details: Any, **options: Any) -> None:
        Path(path).write_text("3\n")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(output, "write", half)
    result = run("energy", water, "--model", model, "--output", "out.xyz", "--force")
    assert result.status == 6
    assert Path("out.xyz").read_text() == "precious"
    assert {path.name for path in Path().iterdir()} == {"out.xyz", "water.xyz"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("out.qqq", "unknown output format '.qqq'"),
        ("out.db.gz", "is not written compressed; leave out .gz"),
        ("out.traj.bz2", "is not written compressed; leave out .bz2"),
        ("nowhere/out.xyz", "the folder nowhere does not exist"),
        (".", ". is a folder"),
        ("../../molcalc-nowhere/x.xyz", "does not exist"),
    ],
)
def test_an_impossible_output_is_refused_before_anything_is_computed(
    run: Any, water: Path, name: str, text: str
) -> None:
    result = run("energy", water, "--model", "no model is opened", "--output", name)
    assert result.status == 2
    assert text in result.err


@pytest.mark.parametrize("name", ["single", "ensemble"])
def test_bad_frames_and_files_are_listed_and_all_others_computed(run: Any, models: Path, name: str) -> None:
    close = Atoms("H2", [[0, 0, 0], [0, 0, 0.01]])
    write("mixed.xyz", [molecule("H2O"), molecule("CH4"), close, molecule("NH3")])
    Path("broken.xyz").write_text("3\n\nH 0 0 0\n")
    files = ("broken.xyz", "mixed.xyz", "nowhere.xyz")
    result = run("energy", *files, "--model", models / name, "-o", "done.xyz", "--csv", "done.csv")
    assert result.status == 2
    errors = [line for line in result.err.splitlines() if "networks" not in line]
    assert [line.partition(": ")[2][:30] for line in errors] == [
        "error: broken.xyz: frame 0 cla", "error: no file nowhere.xyz", "error: mixed.xyz, frame 2: ato",
        "3 failed, 3 are done",
    ]  # fmt: skip
    assert [row[2] for row in rows(result.out)] == ["H2O", "CH4", "H3N"]
    assert len(read("done.xyz", ":")) == len(Path("done.csv").read_text().splitlines()) - 1 == 3
    listed = json.loads(run("energy", *files, "--model", models / name, "--json").out)["structures"]
    assert ["error" in each for each in listed] == [False, False, True, False]


def test_tables_have_all_digits_and_the_unit_that_is_asked_for(run: Any, models: Path, frames: Path) -> None:
    options = ("--model", models / "ensemble", "--dtype", "float64", "--forces", "--charges")
    values = json.loads(run("energy", frames, *options, "--json").out)
    assert values["units"] == {
        "energy": "eV", "energy_std": "eV", "max_force": "eV/Å", "dipole": "D", "forces": "eV/Å", "charges": "e",
    }  # fmt: skip
    other = json.loads(run("energy", frames, *options, "--json", "--unit", "kcal/mol").out)
    lines = list(csv.DictReader(StringIO(run("energy", frames, *options, "--csv", "-", "--unit", "kJ/mol").out)))
    calculator = AIMNet2(models / "ensemble", dtype="float64")
    for k, atoms in enumerate(read(frames, ":")):
        atoms.calc = calculator
        energy, kcal = atoms.get_potential_energy(), units.kcal / units.mol
        assert values["structures"][k]["energy"] == pytest.approx(energy, abs=1e-9)
        assert values["structures"][k]["forces"] == pytest.approx(atoms.get_forces(), abs=1e-8)
        assert values["structures"][k]["charges"] == pytest.approx(atoms.get_charges(), abs=1e-8)
        assert other["structures"][k]["energy"] == pytest.approx(energy / kcal, rel=1e-12)
        assert float(lines[k]["energy (kJ/mol)"]) == pytest.approx(4.184 * energy / kcal, rel=1e-12)
        assert lines[k]["networks"] == values["structures"][k]["networks"] == "disagree"
    assert "did you mean 'kcal/mol'" in run("energy", frames, *options, "--unit", "kcal/mole").err


def test_a_table_replaces_no_input_and_nothing_unasked(run: Any, model: Path, water: Path) -> None:
    before = water.read_bytes()
    for options in (
        ("--csv", water, "--force"),
        ("-o", water, "--force"),
        ("--csv", "there.csv"),
        ("--csv", "-", "--json"),
        ("-o", "new.xyz", "--csv", "./new.xyz"),
    ):
        Path("there.csv").write_text("precious")
        assert run("energy", f"{water}@0", "--model", model, *options).status == 2, options
    assert water.read_bytes() == before
    assert Path("there.csv").read_text() == "precious"


@pytest.mark.parametrize("target", ["out.db", "out.json", "out.xyz"])
def test_keys_and_info_of_the_input_survive(run: Any, model: Path, target: str) -> None:
    with connect("in.db") as database:
        data = {"total_charge": 0, "config-type": "md", "weights": np.ones(2), "forces": np.ones((3, 3))}
        database.write(molecule("H2O"), key_value_pairs={"name": "water", "rank": 3}, data=data)
    assert run("energy", "in.db", "--model", model, "-o", target).status == 0
    if target == "out.xyz":
        found: Any = read(target).info
    else:
        row = connect(target).get(1)
        found = {**row.key_value_pairs, **row.data}
    assert (found["name"], found["rank"], found["config-type"]) == ("water", 3, "md")
    assert found["weights"].tolist() == [1.0, 1.0]
    assert "forces" not in found  # those of the row are not those of the model
    image = molecule("H2O")
    image.info.update({"config-type": "md", "H": 1.5, "weights": np.ones(2)})
    write("in.xyz", image)
    assert run("energy", "in.xyz", "--model", model, "-o", "more.db").status == 0
    assert set(connect("more.db").get(1).data) == {"config-type", "H", "weights"}


@pytest.mark.parametrize(
    ("atoms", "options", "text"),
    [
        (Atoms("LiH", [[0, 0, 0], [0, 0, 1.6]]), [], "element Li (Z=3) of atoms [0] is not covered"),
        (Atoms("H2", [[0, 0, 0], [0, 0, np.nan]]), [], "positions are not finite: atom 1"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.05]]), [], "atoms 0 and 1"),
        (molecule("H2O"), ["--multiplicity", "2"], "10 electrons cannot have multiplicity 2"),
        (molecule("H2O"), ["--mult", "4"], "10 electrons cannot have multiplicity 4"),
        (molecule("H2O"), ["--charge", "9"], "charge 9 is impossible for 3 atoms"),
        (Atoms("H", info={"charge": 0.5}), [], "charge 0.5 is not an integer"),
        (Atoms("OH", [[0, 0, 0], [0, 0, 1]], info={"charge": -1}), ["--charge", "1"], "contradictory total charges"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.8]], pbc=True), [], "periodic"),
        (Atoms(), [], "no atoms"),
    ],
    ids=[
        "element",
        "nan",
        "close",
        "multiplicity",
        "alias",
        "charge",
        "half charge",
        "contradiction",
        "periodic",
        "empty",
    ],
)
def test_a_structure_the_model_cannot_describe_is_status_2(
    run: Any, model: Path, atoms: Atoms, options: list[str], text: str
) -> None:
    write("bad.traj", atoms)
    result = run("energy", "bad.traj", "--model", model, *options)
    assert (result.status, result.out) == (2, "")
    assert text in result.err
    assert "bad.traj, frame 0: " in result.err


def test_models_that_cannot_be_used_are_status_2_or_4(run: Any, model: Path, water: Path, tmp_path: Path) -> None:
    unknown = run("energy", water, "--model", "wb97m-d4")
    assert unknown.status == 2
    assert "did you mean 'wb97m-d3'?" in unknown.err
    assert "b973c-d3" in unknown.err
    (tmp_path / "model.txt").write_text("hello")
    assert run("energy", water, "--model", "model.txt").status == 4
    (tmp_path / "folder").mkdir()
    assert run("energy", water, "--model", "folder").status == 2
    assert run("energy", water, "--model", model, "--member", 1).status == 2
    assert run("energy", water, "--model", model, "--dispersion", "d3bj:pbe00").status == 2
    assert run("energy", water, "--model", model, "--coulomb", "ewlad").status == 2


def test_the_same_numbers_come_out_in_every_locale(run: Any, model: Path, water: Path, tmp_path: Path) -> None:
    strange = tmp_path / "Å@1 wasser.xyz"
    strange.write_text(water.read_text())
    expected = run("energy", strange.name, "--model", model)
    environment = {**os.environ, "LC_ALL": "tr_TR.ISO8859-9", "PYTHONIOENCODING": "ascii:strict", "TZ": "Asia/Tokyo"}
    script = "import sys; from molcalc.cli import main; sys.exit(main())"
    process = subprocess.run(
        [sys.executable, "-c", script, "energy", strange.name, "--model", str(model)],
        env=environment,
        capture_output=True,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    printed = process.stdout.decode("ascii").splitlines()[1]
    assert printed.split()[-6:] == expected.out.splitlines()[1].split()[-6:]


def test_a_charge_gives_distributed_charges_the_same_energy_by_every_route(run: Any, tmp_path: Path) -> None:
    """Argument, ``atoms.info``, setter, batch, command line and database."""
    checkpoint.save(tmp_path / "dcm", tiny_dcm("physnet-dcm"))
    water, energies = rattled("H2O", seed=2), []
    for charge in (-1, 0, 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OpenShellWarning)
            given = PhysNetDCM(tmp_path / "dcm", charge=charge, dtype="float64").get_potential_energy(water)
            calc = PhysNetDCM(tmp_path / "dcm", dtype="float64")
            told = water.copy()
            told.info["charge"] = charge
            found = [calc.get_potential_energy(told), calc.evaluate([water, told])[1]["energy"]]
            calc.charge = charge
            found.append(calc.get_potential_energy(water))
            with connect(tmp_path / f"water{charge}.db") as db:
                db.write(water, total_charge=charge)
            options = ("--model", tmp_path / "dcm", "--dtype", "float64")
            write(tmp_path / "water.traj", water)
            for arguments in ((tmp_path / "water.traj", f"--charge={charge}"), (tmp_path / f"water{charge}.db",)):
                assert run("energy", *arguments, *options, "-o", "out.db", "--force").status == 0
                found.append(connect("out.db").get(id=1).energy)
        assert found == pytest.approx([given] * len(found), abs=1e-10)
        energies.append(given)
    assert len({round(energy, 3) for energy in energies}) == 3
