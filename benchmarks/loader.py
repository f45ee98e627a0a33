"""How fast data are read and batched, beside reading the same rows one by one.

python benchmarks/loader.py                 # 20,000 rows of about 20 atoms
python benchmarks/loader.py --rows 1000000  # adds the memory that building the cache takes
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ELEMENTS = np.array([1, 6, 7, 8], dtype=np.int32)
PEER_ROWS = 2000
BATCH = 256
CUTOFF = 5.0
Times = tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="where to keep the files (default: a temporary folder)")
    parser.add_argument("--build-only", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    logging.disable(logging.INFO)
    if args.build_only:
        build_only(args.build_only, args.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        database = folder / f"rows_{args.rows}.db"
        if not database.exists():
            write_database(database, args.rows)
        for name, value in measure(database, folder).items():
            print(f"{name:58} {value}")


def write_database(path: Path, n_rows: int) -> None:
    """Rows of 14 to 26 atoms as ASE writes them; the table is filled directly, for speed."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.db import connect

    atoms = Atoms("H", positions=[[0, 0, 0]])
    atoms.calc = SinglePointCalculator(atoms, energy=0.0)
    with connect(path) as database:
        database.write(atoms, total_charge=0)
        database.delete([1])
    connection = sqlite3.connect(path)
    with connection:
        connection.executemany(f"INSERT INTO systems VALUES ({','.join('?' * 33)})", random_rows(n_rows))
    connection.close()


def random_rows(n_rows: int) -> Iterator[tuple[Any, ...]]:
    rng = np.random.default_rng(0)
    cell = np.zeros(9).tobytes()
    for k in range(n_rows):
        n = int(rng.integers(14, 27))
        # Four atoms to a cube of 2 Å: about as dense as an organic molecule.
        positions = rng.random((n, 3)) * 2.0 * np.cbrt(n / 1.0) * 0.8
        numbers = ELEMENTS[rng.integers(0, 4, n)]
        forces, dipole, charges = rng.normal(size=(n, 3)), rng.normal(size=3), rng.normal(size=n)
        charges -= charges.mean()
        keys = json.dumps({"total_charge": 0, "molecule": f"m{k % 997}", "step": k})
        yield (
            k + 1, f"{k:032x}", 1.0, 1.0, "x", numbers.tobytes(), positions.tobytes(), cell, 0, None, None, None, None,
            None, None, "unknown", "{}", float(-400 * n - rng.random()), None, forces.tobytes(), None, dipole.tobytes(),
            None, None, charges.tobytes(), keys, "null", n, 1.0, None, None, 1.0, 0.0,
        )  # fmt: skip


def measure(database: Path, folder: Path) -> dict[str, str]:
    from molcalc.train.data import open_dataset

    results = {"rows": f"{sum(1 for _ in sqlite3.connect(database).execute('SELECT id FROM systems')):,}"}
    results["ase.db row by row (peer)"] = rate(*peer(database))
    lmdb = write_lmdb(database, folder)
    results["aselmdb row by row (peer)"] = rate(*peer(lmdb)) if lmdb else "ase-db-backends is not installed"
    command = [sys.executable, __file__, "--build-only", str(database), "--folder", str(folder)]
    built = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    results["cache from SQLite"] = rate(built["rows"], built["seconds"])
    results["memory it takes"] = f"{built['peak']:.0f} MiB above {built['before']:.0f} MiB of an idle process"
    start = time.perf_counter()
    dataset = open_dataset(database, cache=folder / "cache")
    results["opening the cache again, contents compared"] = f"{time.perf_counter() - start:.2f} s"
    order = np.random.default_rng(0).permutation(len(dataset))[:20_000]
    for name, options in (
        ("arrays only", {"cutoff": 0.0}),
        (f"edges within {CUTOFF} Å", {"cutoff": CUTOFF}),
        (f"edges within {CUTOFF} Å and all pairs", {"cutoff": CUTOFF, "pair_cutoff": math.inf}),
    ):
        best = min(timed_batches(dataset, order, options) for _ in range(3))
        results[f"batches of {BATCH} at random, {name}"] = rate(len(order), best)
    return results


def timed_batches(dataset: Any, order: np.ndarray, options: dict[str, float]) -> Times:
    dataset.batch(order[:BATCH], **options)  # compiles and touches the files
    start = now()
    for k in range(0, len(order), BATCH):
        dataset.batch(order[k : k + BATCH], **options)
    return since(start)


def now() -> Times:
    """Processor time and clock in seconds."""
    return time.process_time(), time.perf_counter()


def since(start: Times) -> Times:
    end = now()
    return end[0] - start[0], end[1] - start[1]


def rate(rows: int, seconds: Times) -> str:
    return f"{rows / seconds[0]:>10,.0f} systems/s  ({rows / seconds[1]:,.0f} by the clock)"


def peer(path: Path) -> tuple[int, Times]:
    """Positions, energy and forces of rows as Atoms, the way most loaders read them."""
    from ase.db import connect

    database = connect(path)
    start = now()
    for k in range(1, PEER_ROWS + 1):
        atoms = database.get(id=k).toatoms()
        atoms.get_potential_energy()
        atoms.get_forces()
    return PEER_ROWS, since(start)


def write_lmdb(database: Path, folder: Path) -> Path | None:
    from ase.db import connect

    path = folder / "rows.aselmdb"
    try:
        target = connect(path)
    except ImportError:
        return None
    source = connect(database)
    with target:
        for k in range(1, PEER_ROWS + 1):
            target.write(source.get(id=k))
    return path


def build_only(database: Path, folder: Path) -> None:
    """Print rows, seconds and memory of making the cache, in a process of its own."""
    import shutil

    from molcalc.train.data import open_dataset

    shutil.rmtree(folder / "cache", ignore_errors=True)
    before = resident()
    start = now()
    dataset = open_dataset(database, cache=folder / "cache")
    seconds = since(start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": len(dataset), "seconds": seconds, "peak": peak - before, "before": before}))


def resident() -> float:
    """MiB of memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
