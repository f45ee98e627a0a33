"""Labels as they are learned: what a structure does not have counts as missing."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from molcalc.assembly.potentials import bare_potential
from molcalc.io.checkpoint import Checkpoint
from molcalc.registry import build_members
from molcalc.train.data import open_dataset
from molcalc.train.data.label_reader import LabelReader


def test_moments_that_a_periodic_structure_does_not_have_are_missing(
    closed_shell: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    box = molecule("H2O", cell=[9, 9, 9], pbc=True)
    chain = Atoms("CC", [[0, 0, 0], [1.3, 0, 0]], cell=[2.6, 9, 9], pbc=True)
    frames = [molecule("H2O"), box, chain]
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, dipole=np.ones(3))
    write(tmp_path / "a.traj", frames)
    reader = LabelReader(bare_potential(build_members(closed_shell)), ("energy", "dipole"), ())
    data = open_dataset(tmp_path / "a.traj")
    with caplog.at_level(logging.WARNING):
        batches = [reader.read(data, np.arange(3)) for _ in range(2)]
    for batch in batches:
        assert torch.isnan(batch.labels["dipole"]).all(dim=1).tolist() == [False, False, True]
        assert not torch.isnan(batch.labels["energy"]).any()
    assert [record.message for record in caplog.records if "without end" in record.message] == [
        "dipole labels of periodic networks without end are left out: such a structure has no dipole"
    ]
