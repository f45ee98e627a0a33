"""A small calculator and structures that move."""

from __future__ import annotations

import pytest
from ase import Atoms
from ase.build import molecule

from molcalc.calculators import AIMNet2
from tests.helpers.tiny import tiny_checkpoint


@pytest.fixture
def calculator() -> AIMNet2:
    """One closed-shell network in double precision."""
    return AIMNet2(tiny_checkpoint(), dtype="float64")


@pytest.fixture
def images() -> list[Atoms]:
    """Water and carbon dioxide, slightly distorted."""
    structures = [molecule("H2O"), molecule("CO2")]
    for k, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=k + 1)
    return structures
