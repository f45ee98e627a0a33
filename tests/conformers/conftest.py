"""A calculator that knows small molecules, and one ranking that several tests look at."""

from __future__ import annotations

import pytest
from ase.build import molecule

from molcalc.calculators import AIMNet2
from molcalc.conformers import RankedConformers, rank_conformers

TORSIONS = (105.0, 112.0, 180.0, -112.0, -105.0, 118.0)
"""Degrees, of the structures of H2O2 that are ranked."""


@pytest.fixture(scope="session")
def small() -> AIMNet2:
    """The model that comes with the package."""
    return AIMNet2("small-species", fidelity="pbe0")


@pytest.fixture(scope="session")
def peroxides(small: AIMNet2) -> RankedConformers:
    """H2O2, which has a pair of mirror images and, in this model, a flat conformer."""
    pytest.importorskip("rdkit")
    from rdkit import Chem

    read = Chem.AddHs(Chem.MolFromSmiles("OO"))
    read.SetProp("_Name", "peroxide")
    for torsion in TORSIONS:
        atoms = molecule("H2O2")
        atoms.set_dihedral(2, 0, 1, 3, torsion)
        places = Chem.Conformer(4)
        places.SetPositions(atoms.positions)
        places.Set3D(True)
        read.AddConformer(places, assignId=True)
    return rank_conformers(read, small, gibbs=True, progress=False)
