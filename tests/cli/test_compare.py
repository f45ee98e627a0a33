"""``molcalc compare``, and the option ``--fidelity`` of the other commands."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.db import connect
from ase.io import read, write

from molcalc.calculators import AIMNet2
from tests.helpers.structures import rattled

NAMES = ["pbe0", "gfn2", "b3lyp"]
PRINTED = 1.1e-6
"""eV; energies are printed with six digits."""


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Three waters and an ammonia."""
    images = [rattled(name, seed=k) for k, name in enumerate(("H2O", "H2O", "H2O", "NH3"))]
    write(tmp_path / "frames.xyz", images)
    return tmp_path / "frames.xyz"


def expected(models: Path, frames: Path, name: str = "several") -> list[dict[str, dict[str, Any]]]:
    calc = AIMNet2(models / name, fidelity="pbe0", dtype="float64")
    return [calc.compare_fidelities(atoms) for atoms in read(frames, ":")]


def compare(run: Any, *arguments: object) -> str:
    result = run("compare", *arguments, "--dtype", "float64")
    assert result.status == 0, result.err
    return str(result.out)


def cells(text: str) -> np.ndarray:
    """Energies in the table."""
    return np.array([line.split()[-3:] for line in text.splitlines()[2:]], dtype=float)


def test_energies_are_relative_to_the_first_structure_of_a_formula(run: Any, models: Path, frames: Path) -> None:
    total = np.array([[found[name]["energy"] for name in NAMES] for found in expected(models, frames)])
    text = compare(run, frames, "--model", models / "several")
    assert "relative to the first structure of the same formula and charge" in text.splitlines()[0]
    assert text.splitlines()[1].split() == ["file", "frame", "formula", "charge", *NAMES]
    assert cells(text) == pytest.approx(total - total[[0, 0, 0, 3]], abs=PRINTED)
    lowest = cells(compare(run, frames, "--model", models / "several", "--relative-to", "lowest"))
    assert lowest[:3].min(axis=0) == pytest.approx(0.0)
    assert lowest[:3] == pytest.approx(total[:3] - total[:3].min(axis=0), abs=PRINTED)
    for options in ((f"{frames}@2:",), (frames, "--relative-to", "none")):
        text = compare(run, *options, "--model", models / "several")
        assert text.startswith("energies in eV, total energies\n")
        assert cells(text)[-2:] == pytest.approx(total[-2:], abs=PRINTED)


def test_charges_of_every_atom_are_printed_at_each_fidelity(run: Any, models: Path, frames: Path) -> None:
    text = compare(run, f"{frames}@0", "--model", models / "several", "--charges")
    _, table = text.split(f"charges in e, {frames}, frame 0\n")
    lines = [line.split() for line in table.splitlines()]
    assert lines[0] == ["atom", *NAMES]
    assert [line[1] for line in lines[1:]] == ["O", "H", "H"]
    found = expected(models, frames)[0]
    charges = np.column_stack([found[name]["charges"] for name in NAMES])
    assert np.array([line[2:] for line in lines[1:]], dtype=float) == pytest.approx(charges, abs=1e-5)


def test_json_and_csv_hold_the_numbers_of_the_calculator(run: Any, models: Path, frames: Path) -> None:
    results = expected(models, frames)
    values = json.loads(compare(run, frames, "--model", models / "several", "--json"))
    assert values["model"] == "several"
    assert values["relative_to"] == "first"
    assert values["fidelities"]["gfn2"]["dispersion"] == "in labels"
    lines = list(
        csv.DictReader(StringIO(compare(run, frames, "--model", models / "several", "--csv", "-", "--charges")))
    )
    assert len(lines) == 4 * len(NAMES)
    for k, (structure, found) in enumerate(zip(values["structures"], results)):
        for name, line in zip(NAMES, lines[k * len(NAMES) :]):
            assert structure["fidelities"][name]["energy"] == pytest.approx(found[name]["energy"], abs=1e-9)
            assert np.array(structure["fidelities"][name]["forces"]) == pytest.approx(found[name]["forces"], abs=1e-9)
            assert (line["frame"], line["fidelity"]) == (str(k), name)
            assert float(line["energy (eV)"]) == pytest.approx(found[name]["energy"], abs=1e-9)
            charges = np.array(line["charges (e)"].split(), dtype=float)
            assert charges == pytest.approx(found[name]["charges"], abs=1e-7)
    assert run("compare", frames, "--model", models / "several", "--csv", "-", "--json").status == 2


@pytest.mark.filterwarnings("default::molcalc.errors.FidelityWarning")
def test_a_fidelity_that_does_not_know_an_element_has_no_number(run: Any, models: Path, frames: Path) -> None:
    result = run("compare", frames, "--model", models / "no-oxygen")
    assert result.status == 0
    columns = [line.split()[5] for line in result.out.splitlines()[2:]]
    assert columns == ["-", "-", "-", "0.000000"]
    assert "warning: fidelity 'gfn2' of 'no-oxygen' is left out: O was not in its data" in result.err
    values = json.loads(run("compare", frames, "--model", models / "no-oxygen", "--json").out)
    assert values["structures"][0]["fidelities"]["gfn2"] is None
    assert values["structures"][3]["fidelities"]["gfn2"]["energy"] < 0
    lines = list(csv.DictReader(StringIO(run("compare", frames, "--model", models / "no-oxygen", "--csv", "-").out)))
    assert lines[1]["fidelity"] == "gfn2"
    assert lines[1]["energy (eV)"] == ""


def test_several_runs_make_an_ensemble(run: Any, models: Path, frames: Path) -> None:
    both = ["--model", models / "several", "--model", models / "another"]
    found = expected(models, frames), expected(models, frames, "another")
    values = json.loads(compare(run, frames, *both, "--json"))
    assert values["model"] == "several+another"
    for k, structure in enumerate(values["structures"]):
        for name in NAMES:
            members = [each[k][name]["energy"] for each in found]
            assert structure["fidelities"][name]["energy"] == pytest.approx(np.mean(members), abs=1e-9)
            assert structure["fidelities"][name]["energy_std"] == pytest.approx(np.std(members, ddof=1), abs=1e-9)
    assert "energy_std (eV)" in compare(run, frames, *both, "--csv", "-").splitlines()[0]


def test_a_model_of_one_fidelity_has_one_column(run: Any, model: Path, frames: Path) -> None:
    text = compare(run, frames, "--model", model)
    assert text.splitlines()[1].split() == ["file", "frame", "formula", "charge", "pbe0"]


def test_mistakes_are_refused_in_one_line(run: Any, models: Path, frames: Path, water: Path) -> None:
    several = models / "several"
    for arguments, text in (
        (["compare", frames, "--model", several, "--fidelity", "pbe0"], "unknown argument '--fidelity'"),
        (["compare", frames, "--model", several, "--dispersion", "none"], "unknown argument '--dispersion'"),
        (["compare", frames, "--model", several, "--relative-to", "last"], "invalid choice: 'last'"),
        (["compare", frames, "--model", several, "--model", several], "are the same model"),
        (["energy", water, "--model", several], "several fidelities: choose one with --fidelity NAME: 'pbe0'"),
        (["energy", water, "--model", several, "--fidelity", "gfn"], "did you mean 'gfn2'"),
        (["md", water, "--model", several], "several fidelities"),
        (["relax", water, "--model", models / "single", "--fidelity", "gfn2"], "'single' has 'pbe0'"),
        (["energy", water, "--model", models / "no-oxygen", "--fidelity", "gfn2"], "element O (Z=8) of atoms [0]"),
    ):
        result = run(*arguments)
        assert (result.status, result.out) == (2, ""), arguments
        assert text in result.err
        assert result.err.count("\n") == 1


def test_the_fidelity_reaches_energy_relax_and_md(run: Any, models: Path, water: Path, tmp_path: Path) -> None:
    several, energies = models / "several", []
    for name in NAMES:
        options = ["--model", several, "--fidelity", name, "--dtype", "float64"]
        line = run("energy", water, *options).out.splitlines()[1]
        atoms = read(water)
        energies.append(AIMNet2(several, fidelity=name, dtype="float64").get_potential_energy(atoms))
        assert float(line.split()[4]) == pytest.approx(energies[-1], abs=PRINTED)
        run("relax", water, *options, "-o", tmp_path / f"{name}.xyz", "--steps", 1)
        assert read(tmp_path / f"{name}.xyz").info["fidelity"] == name
        run("md", water, *options, "--trajectory", tmp_path / f"{name}.traj", "--steps", 1, "--interval", 1)
        assert read(tmp_path / f"{name}.traj").calc.parameters["fidelity"] == name
    assert len({round(energy, 3) for energy in energies}) == 3
    other = ["--model", several, "--fidelity", "gfn2", "--trajectory", tmp_path / "pbe0.traj", "--restart"]
    refused = run("md", water, *other, "--steps", 2)
    assert refused.status == 2
    assert "was made with" in refused.err


def test_rows_of_a_database_name_the_fidelity(run: Any, models: Path, frames: Path, tmp_path: Path) -> None:
    result = run("energy", frames, "--model", models / "several", "--fidelity", "gfn2", "-o", tmp_path / "out.db")
    assert result.status == 0, result.err
    assert [row.fidelity for row in connect(tmp_path / "out.db").select()] == ["gfn2"] * 4
    labelled = read(frames, 0)
    labelled.info["fidelity"] = "ccsd(t)"
    write(tmp_path / "labelled.xyz", labelled)
    run("energy", "labelled.xyz", "--model", models / "single", "-o", tmp_path / "one.db")
    assert "fidelity" not in connect(tmp_path / "one.db").get(1)
