"""Time of D3(BJ) energy and forces: molcalc compiled and in plain torch, the dftd3 package, tad-dftd3.

    python benchmarks/d3.py [--repeat 9] [--quick]

One thread; all programs take turns on the same geometries in one process. Medians in ms of the two-body term,
of the term with three bodies, of a batch, and of crystals with the default cutoffs of simple-dftd3. Ratios are
medians over the turns.
"""

# ruff: noqa: E402 - threads must be set before any library starts them

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.util import find_spec

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.spacegroup import crystal
from dftd3.interface import DispersionModel, RationalDampingParam

import molcalc.dispersion.d3
from molcalc.batch import AtomicBatch, collate, from_atoms
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.dispersion.parameters import D3Parameters
from molcalc.kernels.runtime import available
from molcalc.units import BOHR

SIZES = (3, 12, 24, 48, 96, 192, 400, 650)
ATM_SIZES = (3, 24, 96, 192)
OMEGA_B97M = D3Parameters(s6=1.0, s8=0.3908, a1=0.566, a2=3.128)
Programs = dict[str, Callable[[], object]]


def molecules_on_a_grid(n_atoms: int) -> Atoms:
    """Acetamide molecules 5 Å apart, cut off after ``n_atoms``."""
    atoms, cluster, edge = molecule("CH3CONH2"), Atoms(), 6
    for k in range(-(-n_atoms // len(atoms)) * (n_atoms > 3)):
        copy = atoms.copy()
        copy.translate(5.0 * np.array([k % edge, k // edge % edge, k // edge**2]))
        cluster += copy
    return cluster[:n_atoms] if n_atoms > 3 else molecule("H2O")


def term_call(batch: AtomicBatch, term: D3Dispersion, *, compiled: bool = True) -> Callable[[], object]:
    """Energy and forces of a molcalc term, with or without compiled loops."""
    usable = molcalc.dispersion.d3.usable

    def call() -> object:
        molcalc.dispersion.d3.usable = usable if compiled else (lambda *tensors: False)
        positions = batch.positions.detach().requires_grad_()
        energy = term(replace(batch, positions=positions), {}).sum()
        result = energy.detach(), torch.autograd.grad(energy, positions)
        molcalc.dispersion.d3.usable = usable
        return result

    return call


def library_call(atoms: Atoms, parameters: D3Parameters) -> Callable[[], object]:
    """Energy and forces of the dftd3 package."""
    damping = RationalDampingParam(**asdict(parameters))
    periodic = (atoms.cell.array / BOHR, atoms.pbc) if atoms.pbc.any() else ()

    def call() -> object:
        model = DispersionModel(atoms.numbers, atoms.positions / BOHR, *periodic)
        return model.get_dispersion(damping, grad=True)

    return call


def tad_call(atoms: Atoms, parameters: D3Parameters) -> Callable[[], object]:
    """Energy and forces of tad-dftd3."""
    import tad_dftd3

    numbers = torch.tensor(atoms.numbers)
    values = {name: torch.tensor(x, dtype=torch.float64) for name, x in asdict(parameters).items()}

    def call() -> object:
        positions = torch.tensor(atoms.positions / BOHR, requires_grad=True)
        energy = tad_dftd3.dftd3(numbers, positions, values).sum()
        return energy.detach(), torch.autograd.grad(energy, positions)

    return call


def take_turns(programs: Programs, repeat: int) -> dict[str, list[float]]:
    """Times in ms of each program, called in alternating order."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(repeat + 1):
        for name in list(programs) if turn % 2 else reversed(programs):
            start = time.perf_counter()
            programs[name]()
            if turn:  # the first turn warms up
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def report(label: str, programs: Programs, repeat: int) -> None:
    """Print one row: medians, and how many times faster the first program is than the others."""
    times = take_turns(programs, repeat)
    medians = "".join(f"{np.median(values):11.3f}" for values in times.values())
    first = np.array(next(iter(times.values())))
    ratios = "".join(f"{np.median(np.array(x) / first):10.1f}x" for x in list(times.values())[1:])
    print(f"{label:>24}{medians}   {ratios}", flush=True)


def header(title: str, names: list[str]) -> None:
    print(f"\n{title}\n{'':>24}{''.join(f'{name:>11}' for name in names)}    time of others / {names[0]}")


def programs_for(atoms: Atoms, parameters: D3Parameters, peers: bool) -> Programs:
    """Energy and forces by every program; plain torch makes its pair list in each call."""
    batch, term = from_atoms(atoms, cutoff=0.1), D3Dispersion(parameters, backend="torch")
    programs: Programs = {"compiled": term_call(batch, term)} if available() else {}
    programs["torch"] = term_call(batch, term, compiled=False)
    programs["dftd3"] = library_call(atoms, parameters)
    if peers:
        programs["tad-dftd3"] = tad_call(atoms, parameters)
    return programs


def crystals() -> dict[str, Atoms]:
    urea = crystal(
        "CONH2",
        [[0, 0.5, 0.326], [0, 0.5, 0.5953], [0.146, 0.646, 0.1766], [0.2575, 0.7575, 0.2827], [0.144, 0.644, -0.038]],
        spacegroup=113,
        cellpar=[5.565, 5.565, 4.684, 90, 90, 90],
    )
    mgo = bulk("MgO", "rocksalt", 4.21)
    return {"MgO, 2 atoms": mgo, "urea, 16 atoms": urea, "urea, 128 atoms": urea.repeat(2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=9, help="turns of each program")
    parser.add_argument("--quick", action="store_true", help="three turns")
    args = parser.parse_args()
    repeat = 3 if args.quick else args.repeat
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    peers = find_spec("tad_dftd3") is not None
    names = list(programs_for(molecule("H2O"), OMEGA_B97M, peers))

    header("Two-body energy and forces of molecules, ms", names)
    for n_atoms in SIZES:
        report(f"{n_atoms} atoms", programs_for(molecules_on_a_grid(n_atoms), OMEGA_B97M, peers), repeat)

    header("With the three-body term, ms", names)
    with_atm = replace(OMEGA_B97M, s9=1.0)
    for n_atoms in ATM_SIZES:
        report(f"{n_atoms} atoms", programs_for(molecules_on_a_grid(n_atoms), with_atm, peers), min(repeat, 5))

    atoms, term = molecules_on_a_grid(24), D3Dispersion(OMEGA_B97M, backend="torch")
    batch = collate([from_atoms(atoms, cutoff=0.1)] * 64)
    single = {name: call for name, call in programs_for(atoms, OMEGA_B97M, peers).items() if "d3" in name}
    programs: Programs = {"compiled": term_call(batch, term)} if available() else {}
    programs["torch"] = term_call(batch, term, compiled=False)
    programs |= {name: (lambda call=call: [call() for _ in range(64)]) for name, call in single.items()}
    header("64 molecules of 24 atoms: one batch, or 64 calls of the others, ms", list(programs))
    report("64 x 24 atoms", programs, min(repeat, 5))

    header("Two-body energy and forces of crystals, ms", [name for name in names if name != "tad-dftd3"])
    for label, atoms in crystals().items():
        report(label, programs_for(atoms, OMEGA_B97M, peers=False), min(repeat, 5))


if __name__ == "__main__":
    main()
