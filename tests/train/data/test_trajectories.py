"""Frames of trajectories are known from structures that have nothing to do with each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.db import connect
from ase.io import write

from molcalc.train.data import open_dataset
from molcalc.train.data.parts import SplitConfig, divided
from molcalc.train.data.trajectories import resembling_frames, runs_of

SALT = bulk("NaCl", "rocksalt", a=5.6) * (2, 1, 1)


def walk(atoms: Atoms, step: float, n: int = 60) -> list[Atoms]:
    """Frames that wander off by a step each, moved and wrapped as programs write them."""
    rng, frames = np.random.default_rng(0), []
    atoms = atoms.copy()
    for _ in range(n):
        atoms.positions += step * rng.normal(size=(len(atoms), 3)) + 0.05
        frame = atoms.copy()
        frame.wrap()
        frames.append(frame)
    return frames


def rattled(atoms: Atoms, n: int = 60) -> list[Atoms]:
    frames = [atoms.copy() for _ in range(n)]
    for k, frame in enumerate(frames):
        frame.rattle(0.1, seed=k)
    return frames


@pytest.mark.parametrize(
    ("frames", "found"),
    [
        (walk(molecule("CH3OH"), 0.02), True),
        (walk(SALT, 0.02), True),
        (rattled(molecule("CH3OH")), False),
        (rattled(SALT), False),
        ([frame for pair in zip(rattled(molecule("H2O")), rattled(molecule("NH3"))) for frame in pair], False),
        (walk(molecule("CH3OH"), 0.02, 10), False),
    ],
    ids=["molecule", "crystal", "rattled molecule", "rattled crystal", "alternating", "too few"],
)
def test_consecutive_frames_that_resemble_each_other_are_recognized(
    frames: list[Atoms], found: bool, tmp_path: Path
) -> None:
    write(tmp_path / "a.xyz", frames)
    seen = resembling_frames(open_dataset(tmp_path / "a.xyz", cache=tmp_path))
    assert (seen is not None) is found
    if seen is not None:
        assert seen.n_frames == len(frames)
        assert "split='block'" in str(seen)


def test_runs_end_where_molecule_or_file_change(tmp_path: Path) -> None:
    write(tmp_path / "a.xyz", [molecule("H2O"), molecule("H2O"), molecule("CO2")])
    write(tmp_path / "b.xyz", [molecule("CO2")])
    data = open_dataset([tmp_path / "a.xyz", tmp_path / "b.xyz"], cache=tmp_path)
    assert runs_of(data).tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize("config", [SplitConfig(), SplitConfig(split_key="part")], ids=["by chance", "by a key"])
def test_frames_are_told_of_where_parts_are_drawn_by_chance(
    config: SplitConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(tmp_path / "a.db") as database:
        for k, atoms in enumerate(walk(molecule("CH3OH"), 0.02)):
            database.write(atoms, part="valid" if k > 50 else "test" if k > 40 else "train")
    divided(open_dataset(tmp_path / "a.db", cache=tmp_path), config)
    assert ("split='block'" in caplog.text) is (config.split_key is None)
