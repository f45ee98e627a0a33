"""``molcalc vib``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.io import read, write

from molcalc import relax
from molcalc.analysis import anharmonic_vibrations
from molcalc.calculators import AIMNet2
from molcalc.calculators.normal_modes import NormalModes
from molcalc.cli.vib import level_name
from tests.helpers.pages import data_of


@pytest.fixture
def water(tmp_path: Path) -> Path:
    """A molecule."""
    write(tmp_path / "water.xyz", molecule("H2O"))
    return tmp_path / "water.xyz"


def test_the_modes_are_those_of_the_library(run: Any, models: Path, water: Path) -> None:
    result = run(
        "vib", water, "--model", models / "single", "--ir", "--json", "--masses", "H=2.014", "--masses", "1=3.016"
    )
    assert result.status == 0, result.err
    (found,) = json.loads(result.out)["structures"]
    atoms = molecule("H2O")
    atoms.set_masses([15.999, 3.016, 2.014])
    modes = NormalModes.of(AIMNet2(models / "single", dtype="float64").get_vibrations(atoms))
    assert found["charge"] == 0
    assert found["wavenumbers"] == pytest.approx(modes.wavenumbers.tolist(), rel=1e-6)
    assert found["intensities"] == pytest.approx(modes.intensities.tolist(), rel=1e-6)
    assert "no stationary point" in result.err


def test_pictures_values_and_movies_are_written(run: Any, models: Path, water: Path) -> None:
    result = run("vib", water, "--model", models / "single", "--plot", "--modes", "-o", "out", "--html", "a.html")
    assert result.status == 0, result.err
    assert "written: out-ir.png, out-ir.csv, out-modes.xyz" in result.out
    views = data_of(water.parent / "a.html")["views"]
    assert [view["title"] for view in views] == [f"{water}, frame 0 mode {k}" for k in range(3)]
    assert list(views[0]["facts"]) == ["cm⁻¹", "km/mol"]
    assert (water.parent / "out-ir.png").read_bytes().startswith(b"\x89PNG")
    assert (water.parent / "out-ir.csv").read_text().startswith("wavenumber (cm⁻¹)")
    frames = read(water.parent / "out-modes.xyz", ":")
    assert len(frames) == 3 * 20
    assert {frame.info["mode"] for frame in frames} == {0, 1, 2}


def test_held_atoms_have_no_thermochemistry(run: Any, models: Path, tmp_path: Path) -> None:
    atoms = molecule("CH3OH")
    atoms.set_constraint(FixAtoms([0]))
    write(tmp_path / "held.traj", atoms)
    result = run("vib", "held.traj", "--model", models / "single", "--temperature", 300)
    assert result.status == 2
    assert "partial" in result.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--raman",), "polarizability"),
        (("--masses", "C=13"), "has no atom C"),
        (("--masses", "H"), "is no mass such as"),
        (("--masses", "H=-1"), "is no mass such as"),
        (("--temperature", "0"), "is not a number > 0"),
        (("--temperature", "1e-300"), "--temperature 1e-300 is out of any sense"),
        (("--temperature", "300", "--pressure", "1e300"), "--pressure 1e+300 is out of any sense"),
        (("--fwhm", "1e-9", "--plot"), "--fwhm 1e-09 is no width of a line"),
        (("--masses", "H=0.0000001"), "is no mass such as"),
    ],
)
def test_wrong_options_are_refused(run: Any, models: Path, water: Path, options: tuple[str, ...], words: str) -> None:
    result = run("vib", water, "--model", models / "single", *options)
    assert result.status == 2
    assert words in result.err


@pytest.mark.parametrize("mass", [0.0, -1.0, np.nan])
def test_masses_with_which_nothing_moves_are_refused(run: Any, models: Path, tmp_path: Path, mass: float) -> None:
    atoms = molecule("H2O")
    atoms.set_masses([15.999, mass, 1.008])
    write(tmp_path / "odd.traj", atoms)
    for command in ("vib", "md"):
        result = run(command, "odd.traj", "--model", models / "single")
        assert result.status == 2
        assert f"the mass of atom 1 (H) is {mass:g} u" in result.err


def test_anharmonic_vibrations_are_those_of_the_library(run: Any, models: Path, tmp_path: Path) -> None:
    calc = AIMNet2("small-species", fidelity="pbe0", dtype="float64")
    (atoms,) = relax([molecule("CO")], calc, fmax=1e-5)
    write(tmp_path / "rest.traj", atoms)
    result = run(
        "vib", "rest.traj", "--model", "small-species", "--fidelity", "pbe0", "--ir", "--anharmonic", "--plot",
        "-o", "out", "--csv", "values.csv",
    )  # fmt: skip
    assert result.status == 0, result.err
    expected = anharmonic_vibrations(atoms, calc)
    fundamental, overtone = expected.level(0), expected.level(0, 0)
    header, values = (tmp_path / "values.csv").read_text().splitlines()
    row = dict(zip(header.split(","), values.split(",")))
    assert float(row["anharmonic (cm⁻¹)"]) == pytest.approx(fundamental.wavenumber, rel=1e-6)
    assert float(row["anharmonic_intensity (km/mol)"]) == pytest.approx(fundamental.intensity, rel=1e-6)
    shown = result.out.split("2ν0")[1].split()
    assert [float(one) for one in shown[:2]] == pytest.approx([overtone.wavenumber, overtone.intensity], abs=0.01)
    assert (tmp_path / "out-anharmonic-ir.csv").read_text().startswith("wavenumber (cm⁻¹)")


def test_names_of_levels_count_quanta() -> None:
    assert [level_name(state) for state in ((2,), (1, 1), (0, 3))] == ["ν2", "2ν1", "ν0+ν3"]


def test_anharmonic_vibrations_need_a_minimum(run: Any, models: Path, water: Path) -> None:
    result = run("vib", water, "--model", models / "single", "--anharmonic")
    assert result.status == 2
    assert "belongs to a minimum" in result.err


def test_models_beside_each_other_fill_a_page(
    run: Any, models: Path, water: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molcalc.cli.beside.NVE_STEPS", 20)
    result = run("vib", water, "--model", models / "single", "--beside", models / "single", "-o", "out")
    assert result.status == 0, result.err
    assert "written: out-beside.html, out-beside.png" in result.out
    page = (water.parent / "out-beside.html").read_text()
    assert f"models beside {models / 'single'}" in page
    assert "<td>0.0000</td><td>0.0000</td><td>0.0</td><td>0.0</td><td>1.000</td><td>0.00</td><td>0.0000</td>" in page
    assert (water.parent / "out-beside.png").read_bytes().startswith(b"\x89PNG")


def test_models_without_a_minimum_are_refused_before_dynamics(
    run: Any, models: Path, water: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molcalc.simulate.dynamics.md_all", None)
    monkeypatch.setattr("molcalc.cli.beside.MOST_STEPS", 1)
    result = run("vib", water, "--model", models / "single", "--beside", models / "single", "-o", "out")
    assert result.status == 2
    assert "no minimum after 1 steps (fmax" in result.err


def moving_water(path: Path, n_frames: int) -> list[Atoms]:
    """Frames of a stretching water molecule, 1 fs apart, in a file."""
    frames = []
    for k in range(n_frames):
        atoms = molecule("H2O")
        phase = 2 * np.pi * 2.99792458e-5 * 2000.0 * k
        atoms.positions[1] += 0.05 * np.cos(phase) * np.array([0, 0.6, 0.8])
        atoms.set_momenta(np.array([[0, 0, 0], [0, 0.02, 0.03], [0, 0, 0]]) * np.sin(phase))
        atoms.info["time_fs"] = float(k)
        frames.append(atoms)
    write(path, frames)
    return frames


def test_spectra_of_trajectories_have_their_bands(run: Any, models: Path, tmp_path: Path) -> None:
    moving_water(tmp_path / "nve.traj", 400)
    result = run(
        "vib", "nve.traj", "--dynamics", "--fwhm", 150, "--model", models / "single", "--plot", "--csv", "bands.csv"
    )
    assert result.status == 0, result.err
    assert "nve.traj: H2O, 400 frames" in result.out
    assert "written: nve-ir.csv, nve-ir.png" in result.out
    header, *rows = (tmp_path / "bands.csv").read_text().splitlines()
    assert header == "file,wavenumber (cm⁻¹),absorption (km/mol per cm⁻¹)"
    strongest = max(rows, key=lambda row: float(row.split(",")[2]))
    assert float(strongest.split(",")[1]) == pytest.approx(2000.0, abs=40.0)


def test_what_is_no_trajectory_has_no_spectrum(run: Any, models: Path, tmp_path: Path) -> None:
    frames = moving_water(tmp_path / "nve.traj", 20)
    for option in (["--relax"], ["--pressure", 101325], ["--symmetry", 2]):
        result = run("vib", "nve.traj", "--dynamics", *option, "--model", models / "single")
        assert f"leave out {option[0]}" in result.err
    assert "frames of 1 fs tell bands" in run("vib", "nve.traj", "--dynamics", "--model", models / "single").err
    for atoms in frames:
        del atoms.info["time_fs"]
        atoms.set_momenta(np.zeros((3, 3)))
    write(tmp_path / "other.traj", frames)
    dynamics = ("vib", "other.traj", "--dynamics", "--model", models / "single", "--fwhm", 3000)
    assert "such as --timestep 0.5 (fs)" in run(*dynamics).err
    assert "such as --temperature 300 (K)" in run(*dynamics, "--timestep", 1.0).err
    assert "dynamics, 250 K" in run(*dynamics, "--timestep", 1.0, "--temperature", 250).out
    assert "add --dynamics" in run("vib", "other.traj", "--timestep", 1.0, "--model", models / "single").err


def test_every_argument_is_a_trajectory_of_its_own(run: Any, models: Path, tmp_path: Path) -> None:
    moving_water(tmp_path / "a.traj", 40)
    (tmp_path / "b.traj").symlink_to("a.traj")
    moving_water(tmp_path / "c.traj", 30)
    dynamics = ("--dynamics", "--fwhm", 3000, "--model", models / "single")
    for names in (["a.traj", "a.traj"], ["a.traj@:20", "a.traj@20:"], ["a.traj", "b.traj@:20"], ["?.traj"]):
        result = run("vib", *names, *dynamics)
        assert (result.status, result.out) == (2, "")
        assert "a file is one trajectory: name it once" in result.err
    result = run("vib", "c.traj@:25", "a.traj@10:", *dynamics)
    assert "c.traj: H2O, 25 frames" in result.out
    assert "a.traj: H2O, 30 frames" in result.out


def test_parts_that_do_not_feel_each_other_are_no_saddle_point(run: Any, models: Path, tmp_path: Path) -> None:
    write(tmp_path / "far.xyz", Atoms("OO", [[0, 0, 0], [0, 0, 50.0]]))
    result = run("vib", "far.xyz", "--model", models / "single")
    assert result.status == 0, result.err
    assert "which nothing opposes" in result.err
    assert "saddle" not in result.err


def test_frames_that_are_missing_are_noticed(run: Any, models: Path, tmp_path: Path) -> None:
    frames = moving_water(tmp_path / "nve.traj", 20)
    write(tmp_path / "torn.traj", frames[:7] + frames[9:])
    result = run("vib", "torn.traj", "--dynamics", "--model", models / "single")
    assert result.status == 2
    assert "frame 7 comes 3 fs after the one before" in result.err


def test_held_molecules_are_not_compared(run: Any, models: Path, tmp_path: Path) -> None:
    atoms = molecule("H2O")
    atoms.set_constraint(FixAtoms([0]))
    write(tmp_path / "held.traj", atoms)
    result = run("vib", "held.traj", "--model", models / "single", "--beside", models / "single")
    assert result.status == 2
    assert "not about partial ones" in result.err


def test_relaxing_first_gives_a_stationary_point(run: Any, water: Path) -> None:
    result = run(
        "vib", water, "--model", "small-species", "--fidelity", "pbe0", "--relax", "--temperature", 298.15, "--json"
    )
    assert result.status == 0, result.err
    (found,) = json.loads(result.out)["structures"]
    assert found["max_force"] <= 1e-3
    assert not found["imaginary"]
    assert found["thermochemistry"]["symmetry_number"] == 2
    assert found["wavenumbers"] == pytest.approx([1640.0, 3830.0, 3930.0], rel=0.05)
    assert np.isfinite(found["thermochemistry"]["gibbs_energy"])
