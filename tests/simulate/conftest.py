"""A small calculator and structures that move."""

from __future__ import annotations

import pytest
from ase import Atoms

from molcalc.calculators import AIMNet2
from tests.helpers.networks import tiny_checkpoint
from tests.helpers.structures import rattled


@pytest.fixture
def calculator() -> AIMNet2:
    """One closed-shell network in double precision."""
    return AIMNet2(tiny_checkpoint(), dtype="float64")


@pytest.fixture
def periodic_calculator() -> AIMNet2:
    """The same network with a Coulomb energy that crystals have."""
    return AIMNet2(tiny_checkpoint(), coulomb="dsf", dtype="float64")


@pytest.fixture
def images() -> list[Atoms]:
    """Water and carbon dioxide, slightly distorted."""
    return [rattled("H2O", seed=1), rattled("CO2", seed=2)]


@pytest.fixture(scope="module")
def module_calculator() -> AIMNet2:
    """The calculator above, for a whole file of tests."""
    return AIMNet2(tiny_checkpoint(), dtype="float64")
