"""Molecules of SMILES and of RDKit, and structures that its distance geometry (ETKDG) makes of them.

S. Wang, J. Witek, G. A. Landrum, S. Riniker, J. Chem. Inf. Model. 60, 2044 (2020).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from ase import Atoms

from molcalc.conformers.graphs import AtomGraph
from molcalc.conformers.molecules import Molecule, atom_labels, in_small_ring
from molcalc.conformers.stereo import holds_ligands
from molcalc.errors import ConfigError, InputError, OpenStereoWarning, short, warn_user

SMILES_FILES = (".smi", ".smiles", ".ism")
LONGEST_SMILES = 5000
"""Characters, name included; RDKit goes one call deeper with each atom, and beyond ten thousand the process dies."""
STRUCTURES_BY_BONDS = ((1, 50), (7, 200), (12, 400), (10**6, 600))
"""Structures for a molecule of up to so many bonds that turn. Most shapes need fewer (J.-P. Ebejer, G. M. Morris, C. M.
Deane, J. Chem. Inf. Model. 52, 1146 (2012)), the lowest energies as many: of butane-1,4-diol 50 miss them."""
_MAX_SEED = 2**31 - 1
_SECOND_HALF = 1_000_003
"""Added to the seed for the second half of the structures."""
_FORCE_FIELD_STEPS = 500
"""At most; where they do not suffice, the model goes on from there."""


def require_rdkit(what: str) -> None:
    """Say what to install for work that needs bonds.

    Parameters
    ----------
    what : that needs it, in the plural, as in "SMILES".

    Raises
    ------
    ConfigError
        When RDKit is not installed.
    """
    try:
        import rdkit  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"{what} need the package rdkit, which is not installed: pip install 'molcalc[conformers]', or give "
            "structures (xyz, database)"
        ) from error


def smiles_lines(text: str, name: str) -> Iterator[tuple[str, str]]:
    """Lines of a file of SMILES, with names behind them or not; empty ones, and those that begin with #, are none.

    Parameters
    ----------
    name : of the file, for messages.

    Yields
    ------
    label for messages, and the line

    Raises
    ------
    InputError
        When there is no line.
    """
    numbered = [(k, line.strip()) for k, line in enumerate(text.splitlines(), start=1)]
    numbered = [(k, line) for k, line in numbered if line and not line.startswith("#")]
    if not numbered:
        raise InputError(f"{name} holds no SMILES")
    yield from ((f"{name}, line {k}", line) for k, line in numbered)


def molecule_of_smiles(text: str, label: str) -> Molecule:
    """Molecule that a SMILES says, with its hydrogen atoms, charge and multiplicity.

    Where it leaves centers or double bonds open, one stereoisomer is taken, with a warning that names it.

    Parameters
    ----------
    text : SMILES, also with extensions; what follows is the name.
    label : where it stands, for messages.

    Returns
    -------
    molecule with bond orders

    Raises
    ------
    ConfigError
        When RDKit is not installed.
    InputError
        When it cannot be read, has several parts or atoms that are no elements.
    """
    require_rdkit("SMILES")
    from rdkit import Chem

    if len(text) > LONGEST_SMILES:
        raise InputError(f"{label}: {short(text)} has {len(text):,} characters; at most {LONGEST_SMILES:,} are read")
    settings: Any = Chem.SmilesParserParams()
    settings.parseName = True
    with quiet_rdkit():
        read = Chem.MolFromSmiles(text, settings)
    if read is None or not read.GetNumAtoms():
        raise InputError(f"{label}: {short(text)} cannot be read as SMILES{_problem(text)}")
    name = read.GetProp("_Name").strip() if read.HasProp("_Name") else ""
    return molecule_of_rdkit(read, name, label)


def molecule_of_rdkit(read: Any, name: str, label: str) -> Molecule:
    """Molecule of RDKit with its hydrogen atoms, of one stereoisomer: that of its structures, where it has any.

    Parameters
    ----------
    read : its Mol.
    name : its SMILES, where it is empty.
    label : for messages.

    Returns
    -------
    molecule with bond orders; atoms that ``read`` has come first and in their order

    Raises
    ------
    InputError
        When it has several parts, atoms that are no elements, or stereochemistry that contradicts itself.
    """
    from rdkit import Chem

    parts = len(Chem.GetMolFrags(read))
    smiles = _written(read)
    if parts != 1:
        raise InputError(
            f"{label}: {short(smiles)} has {parts} parts: give one molecule, or structures of them together (xyz, "
            "database)"
        )
    unknown = [atom.GetIdx() for atom in read.GetAtoms() if atom.GetAtomicNum() == 0]
    if unknown:
        raise InputError(f"{label}: atom {unknown[0]} of {short(smiles)} is no element: replace it by one")
    if positions_in(read):
        chosen = Chem.Mol(read)
        Chem.AssignStereochemistryFrom3D(chosen)
    else:
        chosen = _one_stereoisomer(read, label)
    smiles = _written(chosen)
    template = Chem.AddHs(chosen, addCoords=True)
    numbers = np.array([atom.GetAtomicNum() for atom in template.GetAtoms()])
    # Without isotopes ASE's masses, so that structures of files are the same molecule.
    masses = np.array([atom.GetMass() if atom.GetIsotope() else np.nan for atom in template.GetAtoms()])
    masses = np.where(np.isnan(masses), Atoms(numbers).get_masses(), masses)
    bonds = sorted((min(ends), max(ends)) for ends in _ends_of(template.GetBonds()))
    graph = AtomGraph.of(atom_labels(numbers, masses), bonds)
    double = [bond for bond in template.GetBonds() if bond.GetBondType() == Chem.BondType.DOUBLE]
    held = [
        (min(ends), max(ends))
        for ends in _ends_of(double)
        if holds_ligands(graph, *ends) and not in_small_ring(graph, *ends)
    ]
    return Molecule(
        name=name or smiles,
        label=label,
        numbers=numbers,
        masses=masses,
        graph=graph,
        double_bonds=tuple(sorted(held)),
        charge=Chem.GetFormalCharge(template),
        multiplicity=1 + sum(atom.GetNumRadicalElectrons() for atom in template.GetAtoms()),
        smiles=smiles,
        template=template,
    )


def positions_in(read: Any) -> list[np.ndarray]:
    """Structures that a Mol of RDKit holds: none without depth, or without all hydrogen atoms.

    Returns
    -------
    list of (n_atoms, 3) Å
    """
    if any(atom.GetTotalNumHs() for atom in read.GetAtoms()):  # those that are no atoms of their own
        return []
    return [np.array(each.GetPositions()) for each in read.GetConformers() if each.Is3D()]


def embed(molecule: Molecule, n_structures: int | None, seed: int, relaxed: bool = True) -> list[Atoms]:
    """Structures of a molecule, made from its bonds by distance geometry; the seed decides all of them.

    Parameters
    ----------
    n_structures : how many; None takes :data:`STRUCTURES_BY_BONDS`.
    relaxed : with the force field MMFF94, where it knows the molecule: models need half as many steps from there.

    Returns
    -------
    structures, fewer than asked for where some could not be made

    Raises
    ------
    InputError
        When none could be made.
    """
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolDescriptors

    if n_structures is None:
        with quiet_rdkit():
            turning = rdMolDescriptors.CalcNumRotatableBonds(Chem.RemoveHs(molecule.template))
        n_structures = next(number for most, number in STRUCTURES_BY_BONDS if turning <= most)
    settings: Any = rdDistGeom.ETKDGv3()
    settings.randomSeed = seed % _MAX_SEED
    settings.numThreads = 1
    settings.forceTransAmides = False  # cis amides are conformers, too
    made = Chem.Mol(molecule.template)
    with quiet_rdkit():
        # One first: what is impossible takes long to fail. Crowded molecules need coordinates that begin anywhere.
        if not list(rdDistGeom.EmbedMultipleConfs(made, 1, settings)):
            settings.useRandomCoords = True
            if not list(rdDistGeom.EmbedMultipleConfs(made, 1, settings)):
                raise InputError(
                    f"{molecule.label}: no structure of {short(molecule.smiles)} could be made: its bonds or its "
                    "stereochemistry are impossible in space"
                )
        # Half of them without torsions of crystals, where few molecules fold onto hydrogen bonds of their own.
        found = list(rdDistGeom.EmbedMultipleConfs(made, (n_structures + 1) // 2, settings))
        settings.useExpTorsionAnglePrefs = False
        settings.clearConfs = False
        settings.randomSeed = (seed + _SECOND_HALF) % _MAX_SEED  # lest molecules without such torsions come twice
        found += list(rdDistGeom.EmbedMultipleConfs(made, n_structures // 2, settings))
        if relaxed and rdForceFieldHelpers.MMFFHasAllMoleculeParams(made):
            rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(made, numThreads=1, maxIters=_FORCE_FIELD_STEPS)
    return [molecule.structure(np.array(made.GetConformer(k).GetPositions())) for k in found]


@contextlib.contextmanager
def quiet_rdkit() -> Iterator[None]:
    """Keep RDKit from printing what is told in errors."""
    from rdkit import rdBase

    with rdBase.BlockLogs():
        yield


def _ends_of(bonds: Any) -> list[tuple[int, int]]:
    return [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in bonds]


def _one_stereoisomer(read: Any, label: str) -> Any:
    """The molecule itself, or one of its stereoisomers where it leaves that open."""
    from rdkit import Chem
    from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers, StereoEnumerationOptions

    with quiet_rdkit():
        possible = Chem.FindPotentialStereo(read)
    left_open = [each.centeredOn for each in possible if each.specified == Chem.StereoSpecified.Unspecified]
    if not left_open:
        return read
    options = StereoEnumerationOptions(tryEmbedding=True, unique=True, maxIsomers=1)
    with quiet_rdkit():
        chosen = next(iter(EnumerateStereoisomers(read, options=options)), None)
    if chosen is None:
        raise InputError(f"{label}: no stereoisomer of {Chem.MolToSmiles(read)} can be made in space")
    written = _written(chosen)
    if written != _written(read):
        warn_user(
            f"{label}: the stereochemistry is left open at {len(left_open)} place"
            f"{'s' if len(left_open) > 1 else ''}: {written} is taken; write the stereoisomer that is meant",
            OpenStereoWarning,
        )
    return chosen


def _written(mol: Any) -> str:
    """SMILES of a molecule, hydrogen atoms left out where they can be."""
    from rdkit import Chem

    with quiet_rdkit():
        return str(Chem.MolToSmiles(Chem.RemoveHs(mol, sanitize=False)))


def _problem(text: str) -> str:
    """What RDKit finds wrong with a SMILES whose grammar is right, behind a colon."""
    from rdkit import Chem

    with quiet_rdkit():
        read = Chem.MolFromSmiles(text.split()[0] if text.split() else "", sanitize=False)
        problems = [] if read is None else [each.Message() for each in Chem.DetectChemistryProblems(read)]
    return f": {' '.join(problems[0].split())}" if problems else ""
