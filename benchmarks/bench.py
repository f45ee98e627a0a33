"""Everything that takes time, beside others, in one table: `make bench`.

    python benchmarks/bench.py [--quick] [--groups step d3 …] [--keep benchmarks/results]

One thread. Programs take turns on the same geometries in one process; times are the fastest of many, ratios medians
over turns. "floor" are the matrix products alone. A peer that is not installed says so in its row. Every run is kept as
JSON under its commit, and `history.png` shows those that are kept.
"""

# ruff: noqa: E402 - threads must be set before any library starts them

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import json
import multiprocessing
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from ase.build import molecule

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import aimnet2_step
import aimnet2_training
import d3
import loader
import relaxation

import molcalc
from molcalc import AIMNet2
from molcalc.analysis.cube import CubeGrid, write_potential_cube
from molcalc.analysis.molecular_potential import MolecularPotential
from molcalc.analysis.surface import fibonacci_sphere

MODEL = "wb97m-d3"
SIZES = (3, 30, 81, 192, 648, 5001)
LARGEST = {"aimnet": 648, "GFN2 (tblite)": 81}
"""Atoms up to which a peer is asked; beyond, one step takes many seconds."""
DENSE = 192
"""Atoms from which on the time of an atom should not grow."""
PEERS = {"aimnet": "aimnet", "GFN2 (tblite)": "tblite", "tad-dftd3": "tad-dftd3", "dftd3": "dftd3"}
"""Package of each peer."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    group, what : which question.
    ours : ms; or, where `unit` says so, something of which more is better.
    floor : ms of the products alone.
    peer : who else, with its version.
    theirs : ms.
    ratio : theirs / ours, median over turns.
    note : why there are no numbers, or what else is to be said.
    """

    group: str
    what: str
    ours: float | None = None
    unit: str = "ms"
    floor: float | None = None
    peer: str = ""
    theirs: float | None = None
    ratio: float | None = None
    note: str = ""


def named(peer: str) -> str:
    """A peer with its version."""
    return f"{peer} {version(PEERS[peer])}"


def missing(peer: str) -> str:
    """Why a peer is not there, or nothing."""
    try:
        version(PEERS[peer])
    except PackageNotFoundError:
        return f"{PEERS[peer]} is not installed"
    return ""


def in_turns(calls: dict[str, Callable[[int], object]], repeat: int) -> dict[str, np.ndarray]:
    """Milliseconds of calls that take turns and get the number of the turn; the first is not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeat + 1):
        for name, call in calls.items():
            begin = time.perf_counter()
            call(turn)
            if turn:
                times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: np.array(values) for name, values in times.items()}


def compared(group: str, what: str, times: dict[str, np.ndarray], floor: float | None = None) -> Iterator[Row]:
    """One row for each program beside the first, which is ours."""
    first, *others = times
    ours = float(times[first].min())
    for peer in others:
        theirs, ratio = float(times[peer].min()), float(np.median(times[peer] / times[first]))
        yield Row(group=group, what=what, ours=ours, floor=floor, peer=named(peer), theirs=theirs, ratio=ratio)
    if not others:
        yield Row(group=group, what=what, ours=ours, floor=floor)


def tblite_calculator() -> object:
    """GFN2-xTB as ASE calculator."""
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", verbosity=0)


def steps(quick: bool) -> Iterator[Row]:
    """Energy and forces of fresh geometries through ASE, water clusters at the density of the liquid."""
    calculator = AIMNet2(MODEL, member=0)
    made = {"aimnet": lambda: aimnet2_step.peer_calculator(0), "GFN2 (tblite)": tblite_calculator}
    for peer in made:
        if missing(peer):
            yield Row(group="step", what="all", peer=peer, note=missing(peer))
    peers = {peer: make() for peer, make in made.items() if not missing(peer)}
    rng = np.random.default_rng(1)
    per_atom = {}
    for n_atoms in SIZES:
        atoms = aimnet2_step.water_cluster(n_atoms)
        start = atoms.positions.copy()
        geometries = [start + rng.normal(scale=0.02, size=start.shape) for _ in range(40)]
        here = {"molcalc": calculator, **{name: each for name, each in peers.items() if n_atoms <= LARGEST[name]}}
        calls = {
            name: (lambda turn, each=each, atoms=atoms, places=geometries: aimnet2_step.step(atoms, each, places[turn]))
            for name, each in here.items()
        }
        repeat = 2 if n_atoms > 1000 else (4 if quick else 15)
        times = in_turns(calls, repeat)
        floor = aimnet2_step.products(calculator, n_atoms) if n_atoms <= 1000 else None
        yield from compared("step", f"{len(atoms)} atoms", times, floor)
        per_atom[len(atoms)] = float(times["molcalc"].min()) / len(atoms)
    for n_atoms, value in per_atom.items():
        if n_atoms >= DENSE:
            yield Row(group="step", what=f"{n_atoms} atoms, of each", ours=value, unit="ms/atom")
    yield Row(group="step", what="5001 atoms, memory", ours=apart(_memory_of_a_step), unit="MiB")


def _memory_of_a_step() -> float:
    """MiB that a process takes at most for one step of 5,001 atoms."""
    atoms = aimnet2_step.water_cluster(5001)
    atoms.calc = AIMNet2(MODEL, member=0)
    atoms.get_forces()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(function: Callable[[], float]) -> float:
    """What a function returns in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return float(pool.apply(function))


def batches(quick: bool) -> Iterator[Row]:
    """64 molecules of 9 to 33 atoms in one call, beside one by one."""
    calculator, images = AIMNet2(MODEL, member=0), relaxation.starts(64)

    def one_by_one(each: object) -> None:
        for image in images:
            atoms = image.copy()
            atoms.calc = each
            atoms.get_forces()

    calls: dict[str, Callable[[int], object]] = {"molcalc": lambda turn: calculator.evaluate(images, ["forces"])}
    if missing("aimnet"):
        yield Row(group="batch", what="64 molecules", peer="aimnet", note=missing("aimnet"))
    else:
        peer = aimnet2_step.peer_calculator(0)
        calls["aimnet"] = lambda turn: one_by_one(peer)
    yield from compared("batch", "64 molecules", in_turns(calls, 2 if quick else 5))


def relaxations(quick: bool) -> Iterator[Row]:
    """Relaxation from ETKDG to 0.02 eV/Å in one batch, beside ASE's BFGS with aimnet."""
    from molcalc.simulate import RelaxationSettings, relax_all

    calculator, images = AIMNet2(MODEL, member=0), relaxation.starts(16 if quick else 64)
    relax_all(images[:2], calculator, RelaxationSettings(steps=2))
    begin = time.perf_counter()
    relax_all(images, calculator, RelaxationSettings(fmax=0.02))
    ours, what = 1e3 * (time.perf_counter() - begin) / len(images), f"{len(images)} molecules, of each"
    if missing("aimnet"):
        yield Row(group="relaxation", what=what, ours=ours, peer="aimnet", note=missing("aimnet"))
        return
    chosen = images[:: 8 if quick else 16]
    seconds, _, _ = relaxation.one_by_one(chosen, aimnet2_step.peer_calculator(0), 0.02)
    theirs = 1e3 * float(np.mean(seconds))
    note = f"BFGS of {len(chosen)} of them"
    yield Row(
        group="relaxation", what=what, ours=ours, peer=named("aimnet"), theirs=theirs, ratio=theirs / ours, note=note
    )


def potentials(quick: bool) -> Iterator[Row]:
    """Electrostatic potential of 33 atoms at 100,000 points beside the sum of 1/r by numpy, and on a grid."""
    calculator, (image, *_) = AIMNet2(MODEL, member=0), relaxation.starts(1)
    potential = MolecularPotential.of(image, calculator)
    points = 8.0 * fibonacci_sphere(100_000) + image.positions.mean(axis=0)
    charges = potential.sites.charges.numpy()

    def by_numpy(turn: int) -> None:
        total = np.zeros(len(points))
        for position, charge in zip(image.positions, charges):
            total += charge / np.sqrt(((points - position) ** 2).sum(axis=1))

    times = in_turns({"molcalc": lambda turn: potential.at(points), "numpy": by_numpy}, 3 if quick else 10)
    ours, theirs = times.values()
    yield Row(
        group="ESP", what=f"{len(image)} atoms, 100,000 points", ours=float(ours.min()), peer="numpy",
        theirs=float(theirs.min()), ratio=float(np.median(theirs / ours)),
    )  # fmt: skip
    benzene = MolecularPotential.of(molecule("C6H6"), calculator)
    grid = CubeGrid.around(benzene.atoms.positions, spacing=0.11)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benzene.cube"
        cubes = in_turns(
            {
                "": lambda turn: [benzene.at(plane) for plane in grid.planes()],
                ", as a cube file": lambda turn: write_potential_cube(path, benzene, grid.spacing, progress=False),
            },
            3 if quick else 10,
        )
    for what, values in cubes.items():
        yield Row(group="ESP", what=f"12 atoms, grid of {grid.n_points:,} points{what}", ours=float(values.min()))


def dispersion(quick: bool) -> Iterator[Row]:
    """Two-body D3(BJ), energy and forces."""
    if missing("tad-dftd3"):
        yield Row(group="D3", what="all", peer="tad-dftd3", note=missing("tad-dftd3"))
    for n_atoms in (24, 192, 650):
        programs = d3.programs_for(d3.molecules_on_a_grid(n_atoms), d3.OMEGA_B97M, peers=not missing("tad-dftd3"))
        if "compiled" in programs:
            del programs["torch"]
        times = d3.take_turns(programs, 3 if quick else 9)
        yield from compared("D3", f"{n_atoms} atoms", {name: np.array(values) for name, values in times.items()})


def training(quick: bool) -> Iterator[Row]:
    """One training step on energies, forces and charges, 512 atoms in a batch."""
    with tempfile.TemporaryDirectory() as cache:
        step = aimnet2_training.TrainingStep(512, "float32", cache)
        times = np.array([(step(), step.products()) for _ in range(3 if quick else 10)][1:]).min(axis=0)
    yield Row(group="training", what=f"{step.n_atoms} atoms", ours=1e3 * times[0], floor=1e3 * times[1])


def loading(quick: bool) -> Iterator[Row]:
    """Rows of about 20 atoms, batched at random, beside reading them with ASE."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = folder / "rows.db"
        loader.write_database(database, 4000 if quick else 20_000)
        from molcalc.train.data import open_dataset

        dataset = open_dataset(database, cache=folder / "cache")
        order = np.random.default_rng(0).permutation(len(dataset))
        seconds = min(loader.timed_batches(dataset, order, {"cutoff": 0.0})[1] for _ in range(5))
        n_rows, (_, clock) = loader.peer(database)
    ours, theirs = len(order) / seconds, n_rows / clock
    yield Row(
        group="loader", what="arrays of batches", ours=ours, unit="systems/s", peer=f"ase.db {version('ase')}",
        theirs=theirs, ratio=ours / theirs,
    )  # fmt: skip


GROUPS = {"step": steps, "batch": batches, "relaxation": relaxations, "ESP": potentials, "D3": dispersion,
          "training": training, "loader": loading}  # fmt: skip


def shown(value: float | None) -> str:
    """A number with three digits, or nothing."""
    return "" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def print_row(row: Row) -> None:
    """One line of the table."""
    print(
        f"{row.group:<11} {row.what:<28} {shown(row.ours):>9} {row.unit if row.ours is not None else '':<9} "
        f"{shown(row.floor):>7}  {row.peer:<20} {shown(row.theirs):>9} {shown(row.ratio):>7}  {row.note}",
        flush=True,
    )


def commit() -> str:
    """Short name of the commit, with a mark if files were changed since."""
    here = Path(__file__).parent
    name = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=False
    )
    return name.stdout.strip() or molcalc.__version__


def keep(folder: Path, rows: list[Row]) -> Path:
    """Write the rows of this commit, those of other groups of the same commit included."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{commit()}.json"
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    groups = {row.group for row in rows}
    document = {
        "commit": commit(), "time": time.time(), "machine": platform.processor() or platform.machine(),
        "versions": {name: version(name) for name in ("torch", "numpy", "ase")},
        "rows": [row for row in before if row["group"] not in groups] + [asdict(row) for row in rows],
    }  # fmt: skip
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False))
    return path


def draw_history(folder: Path) -> None:
    """How many times faster than each peer, over the runs that are kept; one panel for each group."""
    from molcalc.train.report.figures import CYCLE, can_draw, log_scale, new_figure, save_figure, style

    runs = sorted((json.loads(path.read_text()) for path in folder.glob("*.json")), key=lambda run: run["time"])
    series: dict[str, dict[str, dict[int, float]]] = {}
    for k, run in enumerate(runs):
        for row in run["rows"]:
            if row["ratio"] is not None:
                name = f"{row['what']}: {row['peer'].split()[0]}"
                series.setdefault(row["group"], {}).setdefault(name, {})[k] = row["ratio"]
    if not can_draw() or not series:
        return
    with style():
        n_rows = -(-len(series) // 2)
        figure, axes = new_figure(n_rows, 2, 13.0, 2.6 * n_rows, sharex=True)
        for axis in axes.flat[len(series) :]:
            axis.set_visible(False)
        for axis, (group, lines) in zip(axes.flat, series.items()):
            for k, (name, values) in enumerate(lines.items()):
                line = ("-", "--")[k // len(CYCLE) % 2]
                axis.plot(list(values), list(values.values()), line, marker="o", color=CYCLE[k % len(CYCLE)],
                          markersize=4, label=name)  # fmt: skip
            axis.axhline(1.0, color="black", linewidth=0.8)
            axis.set(ylabel="times faster", title=group)
            log_scale(axis)
            axis.set_xticks(range(len(runs)), [run["commit"] for run in runs], rotation=45, ha="right")
            axis.tick_params(labelbottom=True)
            axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)
        save_figure(figure, folder / "history.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    parser.add_argument("--groups", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--keep", type=Path, default=Path(__file__).parent / "results", metavar="FOLDER")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"{'':<11} {'':<28} {'molcalc':>9} {'':<9} {'floor':>7}  {'peer':<20} {'peer':>9} {'ratio':>7}")
    rows = []
    for group in options.groups:
        for row in GROUPS[group](options.quick):
            print_row(row)
            rows.append(row)
    print(f"kept in {keep(options.keep, rows)}")
    draw_history(options.keep)


if __name__ == "__main__":
    main()
