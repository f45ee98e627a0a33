"""SDF records: molecules and structures that they hold, and files of ranked conformers with bonds and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ase import Atoms

from molcalc.conformers.molecules import Ensemble, Molecule, molecule_of
from molcalc.conformers.ranked import Conformer, RankedMolecule
from molcalc.conformers.rdkit_molecules import molecule_of_rdkit, positions_in, quiet_rdkit, require_rdkit
from molcalc.errors import InputError, MolcalcError
from molcalc.io.files import write_atomic
from molcalc.structure_files.molfiles import read_molfile

SDF_FILES = (".sdf", ".sd", ".mol")
_MOST_TRIES = 100_000
"""Assignments of bond orders that are tried for a structure that has none."""

Record = tuple[Molecule, Atoms | None]
"""Molecule, and the structure of it that is given; None where only its bonds are."""


def read_records(text: str, name: str) -> list[Record | MolcalcError]:
    """Molecules of all records of an SDF, each with the structure that it holds.

    A record without depth, or without its hydrogen atoms, holds no structure: only bonds. Where RDKit is not installed,
    every record is a structure, and its bonds are seen in its distances.

    Parameters
    ----------
    name : of the file, for messages.

    Returns
    -------
    molecules and structures; the error in place of a record that cannot be used

    Raises
    ------
    InputError
        When the text is no SDF.
    """
    found: list[Record | MolcalcError] = []
    structures = read_molfile(text, name)
    for k, (atoms, mol) in enumerate(zip(structures, _mols(text, len(structures)))):
        label = f"{name}, record {k}"
        try:
            found.append(_record(atoms, mol, label) if _has_rdkit() else (molecule_of(atoms, label), atoms))
        except MolcalcError as error:
            found.append(error)
    return found


def _has_rdkit() -> bool:
    try:
        import rdkit  # noqa: F401
    except ImportError:
        return False
    return True


def _mols(text: str, n_records: int) -> Sequence[Any]:
    """Records as RDKit reads them, None for those that it cannot."""
    if not _has_rdkit():
        return [None] * n_records
    from rdkit import Chem

    supplier = Chem.SDMolSupplier()
    with quiet_rdkit():
        supplier.SetData(text, True, False)
        return [supplier[k] for k in range(n_records)]


def _record(atoms: Atoms, mol: Any, label: str) -> Record:
    if mol is None:
        raise InputError(f"{label}: its bonds make no molecule, says RDKit: check them, and formal charges")
    molecule = molecule_of_rdkit(mol, str(atoms.info.get("name", "")), label)
    if not positions_in(mol):
        return molecule, None
    atoms.info.setdefault("charge", molecule.charge)
    if molecule.multiplicity != 1:
        atoms.info.setdefault("multiplicity", molecule.multiplicity)
    seen = molecule_of(atoms, label)
    if seen.charge != molecule.charge:
        raise InputError(
            f"{label} states charge {seen.charge}, its formal charges add up to {molecule.charge}: mend one of them"
        )
    return replace(molecule, multiplicity=seen.multiplicity), atoms


def with_bond_orders(ensemble: Ensemble) -> Ensemble:
    """Ensemble of structures whose molecule has bond orders, found from bonds and charge where the source has none.

    Returns
    -------
    the ensemble itself, where its molecule has them already

    Raises
    ------
    ConfigError
        When RDKit is not installed.
    InputError
        When no orders fit.
    """
    molecule = ensemble.molecule
    if molecule.template is not None:
        return ensemble
    require_rdkit("SDF files of conformers")
    from rdkit import Chem
    from rdkit.Chem import rdDetermineBonds

    mol = Chem.RWMol()
    for z in molecule.numbers.tolist():
        mol.AddAtom(Chem.Atom(z))
    for i, j in molecule.graph.bonds:
        mol.AddBond(i, j, Chem.BondType.SINGLE)
    try:
        with quiet_rdkit():
            rdDetermineBonds.DetermineBondOrders(
                mol, charge=molecule.charge, embedChiral=False, maxIterations=_MOST_TRIES
            )
            Chem.SanitizeMol(mol)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"{molecule.label}: no bond orders of {molecule.formula} with charge {molecule.charge} fit, which an SDF "
            f"needs: write .xyz or .db{molecule.cure_without_hydrogen}"
        ) from error
    return replace(ensemble, molecule=replace(molecule, template=mol.GetMol()))


def write_sdf(path: Path, molecules: Sequence[RankedMolecule]) -> None:
    """Write conformers with bonds, energies, ranks and weights as data items, in one step.

    Positions have the four digits of the format, energies all of theirs.

    Parameters
    ----------
    molecules : with bond orders, see :func:`with_bond_orders`.

    Raises
    ------
    ResourceError
        When the disk is full or not writable; an old file stays.
    """
    records = [_text(each.molecule, conformer) for each in molecules for conformer in each.conformers]
    write_atomic(path, "".join(records).encode())


def _text(molecule: Molecule, conformer: Conformer) -> str:
    from rdkit import Chem
    from rdkit.Geometry import Point3D

    mol = Chem.Mol(molecule.template)
    mol.RemoveAllConformers()
    places = Chem.Conformer(mol.GetNumAtoms())
    for k, position in enumerate(conformer.atoms.positions.tolist()):
        places.SetAtomPosition(k, Point3D(*position))
    places.Set3D(True)
    mol.AddConformer(places)
    mol.SetProp("_Name", molecule.name)
    items: dict[str, float | str] = {"energy_eV": conformer.energy, **conformer.numbers}
    if molecule.smiles:
        items["smiles"] = molecule.smiles
    lines = [f">  <{name}>\n{value}\n" for name, value in items.items()]
    return "\n".join([Chem.MolToMolBlock(mol).rstrip("\n"), *lines, "$$$$\n"])
