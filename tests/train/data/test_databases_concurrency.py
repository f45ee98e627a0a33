"""Several processes at one database, and databases of a size that does not fit into memory."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc.train.data import open_dataset
from molcalc.train.data.databases import write_results
from tests.helpers.forks import Fork


def write(path: Path, n_rows: int, n_atoms: int = 2) -> None:
    """Random chains of hydrogen."""
    rng = np.random.default_rng(0)
    chain = 1.5 * np.arange(n_atoms)[:, None] * [1.0, 0.0, 0.0]
    with connect(path) as db:
        for k in range(n_rows):
            atoms = Atoms(f"H{n_atoms}", chain + rng.normal(0, 0.1, (n_atoms, 3)))
            forces = rng.normal(size=(n_atoms, 3))
            atoms.calc = SinglePointCalculator(atoms, energy=-13.6 * n_atoms + 1e-5 * k, forces=forces)
            db.write(atoms, total_charge=0, multiplicity=1)


def test_two_processes_that_write_results_lose_nothing(tmp_path: Path) -> None:
    path, n_rows = tmp_path / "shared.db", 100
    write(path, n_rows)

    def work(name: str) -> None:
        for first in range(1, 101, 20):
            rows = list(range(first, first + 20))
            write_results(path, rows, {f"{name}_energy": [float(row) for row in rows]})

    for process in [Fork(work, name) for name in ("one", "two")]:
        assert process.wait() == 0, process.err
    with connect(path) as db:
        rows = list(db.select())
    assert len({row.id for row in rows}) == n_rows
    for name in ("one", "two"):
        assert [row[f"{name}_energy"] for row in rows] == [float(row.id) for row in rows]


def test_a_database_is_read_while_another_process_writes_it(tmp_path: Path) -> None:
    """Whole transactions are seen, whatever the moment."""
    path = tmp_path / "growing.db"
    write(path, 10)

    def grow() -> None:
        for k in range(20):
            with connect(path) as db:
                for j in range(10):
                    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.7 + 0.01 * k + 0.001 * j]])
                    atoms.calc = SinglePointCalculator(atoms, energy=-27.0 - k, forces=[[0, 0, 1], [0, 0, -1]])
                    db.write(atoms, total_charge=0, multiplicity=1)

    writer, sizes = Fork(grow), []
    while writer.poll() is None:
        sizes.append(len(open_dataset(path, cache=tmp_path / "cache")))
    assert writer.wait() == 0, writer.err
    sizes.append(len(open_dataset(path, cache=tmp_path / "cache")))
    assert sizes[-1] == 210
    assert all(size % 10 == 0 for size in sizes)
    assert sizes == sorted(sizes)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_reading_twenty_thousand_rows_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.db"
    write(path, 20_000, n_atoms=20)
    code = """
        import resource, sys
        from molcalc.train.data import open_dataset
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        data = open_dataset(sys.argv[1], cache=sys.argv[2])
        print(len(data), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), path, tmp_path / "cache"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    rows, megabytes = map(int, done.stdout.split())
    assert rows == 20_000
    assert megabytes < 300
