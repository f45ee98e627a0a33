"""Hydrogen atoms for structures that have heavy atoms alone: by RDKit, from the bond orders that a SMILES says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from molcalc.conformers.graphs import AtomGraph, mappings
from molcalc.conformers.molecules import Ensemble, Molecule
from molcalc.conformers.rdkit_molecules import molecule_of_smiles, quiet_rdkit
from molcalc.errors import InputError

HYDROGEN = 1
MOST_MAPS = 1000
"""Ways to lay a SMILES on the atoms of a structure that are tried, until one keeps its stereochemistry."""


def with_hydrogens(ensemble: Ensemble, smiles: str) -> Ensemble:
    """The same structures with all hydrogen atoms.

    Parameters
    ----------
    ensemble : structures of the heavy atoms of a molecule.
    smiles : of the whole molecule.

    Returns
    -------
    structures of the whole molecule; heavy atoms come first, in the order of the SMILES

    Raises
    ------
    ConfigError
        When RDKit is not installed.
    InputError
        When the structures have hydrogen atoms already, or the SMILES is of another molecule.
    """
    heavy = ensemble.molecule
    if (heavy.numbers == HYDROGEN).any():
        raise InputError(f"{heavy.label}: {heavy.formula} has hydrogen atoms already; leave out smiles")
    whole = molecule_of_smiles(smiles, "smiles")
    order = _laid_on(whole, heavy, ensemble.structures[0].positions)
    structures = [whole.structure(_completed(whole, atoms.positions[order])) for atoms in ensemble.structures]
    return Ensemble(molecule=whole, structures=structures)


def _laid_on(whole: Molecule, heavy: Molecule, positions: np.ndarray) -> list[int]:
    """Atom of the structure for each heavy atom of the SMILES, so that stereochemistry is that of the SMILES."""
    n = int((whole.numbers != HYDROGEN).sum())
    bonds = [(i, j) for i, j in whole.graph.bonds if i < n and j < n]
    skeleton = AtomGraph.of(whole.numbers[:n].tolist(), bonds)
    target = AtomGraph.of(heavy.numbers.tolist(), heavy.graph.bonds)
    maps = mappings(skeleton, target)
    first = next(maps, None)
    if first is None:
        raise InputError(
            f"smiles {whole.smiles}, {whole.formula}, is not the molecule of {heavy.label}, {heavy.formula} without "
            "hydrogen atoms: its heavy atoms or bonds differ"
        )
    return next((each for each in islice(_chain(first, maps), MOST_MAPS) if _keeps(whole, each, positions)), first)


def _chain(first: list[int], others: Iterator[list[int]]) -> Iterator[list[int]]:
    yield first
    yield from others


def _keeps(whole: Molecule, order: Sequence[int], positions: np.ndarray) -> bool:
    """Whether a structure laid on the SMILES has its stereochemistry."""
    from rdkit import Chem

    mol = _placed(whole, positions[list(order)])
    Chem.AssignStereochemistryFrom3D(mol)
    return str(Chem.MolToSmiles(Chem.RemoveHs(mol))) == whole.smiles


def _placed(whole: Molecule, positions: np.ndarray) -> object:
    """The molecule of RDKit with its heavy atoms at some positions, and hydrogen atoms where they fit."""
    from rdkit import Chem
    from rdkit.Geometry import Point3D

    with quiet_rdkit():
        mol = Chem.RemoveHs(whole.template)
        places = Chem.Conformer(mol.GetNumAtoms())
        for k, position in enumerate(positions.tolist()):
            places.SetAtomPosition(k, Point3D(*position))
        places.Set3D(True)
        mol.RemoveAllConformers()
        mol.AddConformer(places)
        return Chem.AddHs(mol, addCoords=True)


def _completed(whole: Molecule, positions: np.ndarray) -> np.ndarray:
    """(n_atoms, 3) Å with hydrogen atoms."""
    mol: object = _placed(whole, positions)
    return np.array(mol.GetConformer().GetPositions())  # type: ignore[attr-defined]
