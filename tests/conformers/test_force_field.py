"""MMFF94 as a calculator: units, gradients, and molecules that it cannot take."""

from __future__ import annotations

import copy
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.fd import calculate_numerical_forces
from ase.io import read

pytest.importorskip("rdkit")
from molcalc.conformers.force_field import MMFF94
from molcalc.conformers.molecules import molecule_of
from molcalc.conformers.rdkit_molecules import embed, molecule_of_smiles
from molcalc.errors import InputError


def test_forces_are_minus_the_gradient_and_the_energy_is_that_of_rdkit() -> None:
    from rdkit import Chem
    from rdkit.Chem import rdForceFieldHelpers

    known = molecule_of_smiles("CCO", "ethanol")
    (atoms,) = embed(known, 1, 1)
    atoms.rattle(0.1, seed=0)
    atoms.calc = MMFF94(known)
    assert atoms.get_forces() == pytest.approx(calculate_numerical_forces(atoms, eps=1e-4), abs=1e-5)
    mol = Chem.Mol(known.template)
    places = Chem.Conformer(len(atoms))
    places.SetPositions(atoms.positions)
    mol.AddConformer(places, assignId=True)
    field = rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, rdForceFieldHelpers.MMFFGetMoleculeProperties(mol))
    # 1 kcal/mol is 0.0433641 eV.
    assert atoms.get_potential_energy() == pytest.approx(0.0433641 * field.CalcEnergy(), rel=1e-5)
    other = copy.deepcopy(atoms.calc)
    assert other.get_potential_energy(atoms) == pytest.approx(atoms.get_potential_energy())


def test_atoms_in_another_order_and_molecules_without_bond_orders_are_refused() -> None:
    known = molecule_of_smiles("CCO", "ethanol")
    (atoms,) = embed(known, 1, 1)
    with pytest.raises(InputError, match="not, in this order, those of 'CCO'"):
        MMFF94(known).get_potential_energy(atoms[::-1])
    with pytest.raises(InputError, match="needs the orders of bonds"):
        MMFF94(molecule_of(molecule("CH3CH2OH"), "it"))
    with pytest.raises(InputError, match="does not know all atoms"):
        MMFF94(molecule_of_smiles("CB(C)C", "a borane"))


def test_trajectories_of_a_peptide_have_both_helices_and_one_labelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "aib.xyz.gz"
    options = "--residues 1 --helices 2 --extended 1 --frames 3 --interval 5 --heavy --output"
    monkeypatch.setattr(sys, "argv", ["it", *options.split(), str(path)])
    runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/peptide_trajectories.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "trajectory 0: residues right-handed [1.0], left-handed [0.0]"
    assert lines[1] == "trajectory 1: residues right-handed [0.0], left-handed [1.0]"
    frames = read(path, ":")
    assert lines[2].startswith("trajectory 2: residues")
    assert [len(atoms) for atoms in frames] == [11] * 9
    # The signed volume that N, a methyl group and C span about the quaternary carbon.
    volumes = [np.linalg.det(atoms.positions[[3, 5, 7]] - atoms.positions[4]) for atoms in frames]
    assert len(set(np.sign(volumes))) == 1
