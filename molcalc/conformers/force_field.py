"""MMFF94, the force field of RDKit, as a calculator of ASE: cheap energies and forces of one organic molecule.

T. A. Halgren, J. Comput. Chem. 17, 490 (1996); P. Tosco, N. Stiefl, G. Landrum, J. Cheminform. 6, 37 (2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from molcalc.conformers.molecules import Molecule
from molcalc.conformers.rdkit_molecules import quiet_rdkit
from molcalc.errors import InputError, short
from molcalc.units import KCAL_PER_MOL

_ALL_PAIRS = 1e4
"""Å within which RDKit lists pairs, once: no molecule is as large."""


class MMFF94(Calculator):
    """Energy and forces of structures of one molecule, whose bonds are those that its SMILES says.

    Parameters
    ----------
    molecule : with bond orders, as :func:`~molcalc.conformers.rdkit_molecules.molecule_of_smiles` gives it.

    Raises
    ------
    InputError
        When the molecule has no bond orders, or atoms of kinds that the force field does not know.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012  as ASE declares it

    def __init__(self, molecule: Molecule) -> None:
        super().__init__()
        if molecule.template is None:
            raise InputError(f"{molecule.label}: MMFF94 needs the orders of bonds: give SMILES, or an SDF")
        self._molecule = molecule
        self._terms = _terms_of(molecule)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Energy (eV) and forces (eV/Å) of a structure.

        Raises
        ------
        InputError
            When its atoms are others than those of the molecule, or in another order.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        if not np.array_equal(self.atoms.numbers, self._molecule.numbers):
            raise InputError(
                f"{self.atoms.get_chemical_formula()}: its atoms are not, in this order, those of "
                f"{short(self._molecule.smiles)}"
            )
        places = self.atoms.positions.ravel().tolist()
        energy = KCAL_PER_MOL * self._terms.CalcEnergy(places)
        forces = -KCAL_PER_MOL * np.array(self._terms.CalcGrad(places)).reshape(-1, 3)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}

    def __deepcopy__(self, memo: dict[int, Any]) -> MMFF94:
        return type(self)(self._molecule)

    def __reduce__(self) -> tuple[type[MMFF94], tuple[Molecule]]:
        return type(self), (self._molecule,)


def _terms_of(molecule: Molecule) -> Any:
    """Force field of RDKit; it holds positions of its own, which every call replaces."""
    from rdkit import Chem
    from rdkit.Chem import rdForceFieldHelpers

    template = Chem.Mol(molecule.template)
    template.RemoveAllConformers()
    template.AddConformer(Chem.Conformer(template.GetNumAtoms()), assignId=True)
    with quiet_rdkit():
        kinds = rdForceFieldHelpers.MMFFGetMoleculeProperties(template)
        if kinds is None:
            raise InputError(f"{molecule.label}: MMFF94 does not know all atoms of {short(molecule.smiles)}")
        return rdForceFieldHelpers.MMFFGetMoleculeForceField(template, kinds, nonBondedThresh=_ALL_PAIRS)
