"""A calculator that knows small molecules, and one ranking that several tests look at."""

from __future__ import annotations

import pytest

from molcalc.calculators import AIMNet2
from molcalc.conformers import RankedConformers, rank_conformers

N_STRUCTURES = 8


@pytest.fixture(scope="session")
def small() -> AIMNet2:
    """The model that comes with the package."""
    return AIMNet2("small-species", fidelity="pbe0")


@pytest.fixture(scope="session")
def peroxides(small: AIMNet2) -> RankedConformers:
    """H2O2: two mirror images, and starts whose bonds change, which this model lets happen."""
    pytest.importorskip("rdkit")
    return rank_conformers("OO peroxide", small, n_structures=N_STRUCTURES, gibbs=True, progress=False)
