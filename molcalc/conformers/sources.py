"""Reading of what conformers are ranked of: SMILES, files, molecules of RDKit, structures, and lists of these."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from molcalc.conformers.molecules import Ensemble, Molecule, grouped, molecule_of
from molcalc.conformers.rdkit_molecules import (
    SMILES_FILES,
    molecule_of_rdkit,
    molecule_of_smiles,
    positions_in,
    smiles_lines,
)
from molcalc.conformers.sdf import SDF_FILES, read_records
from molcalc.errors import InputError, MolcalcError, reason_of, short
from molcalc.io.files import COMPRESSED, UNREADABLE, open_text
from molcalc.structure_files.images import check_structure_file, image_format, read_images, readers_named
from molcalc.train.data.formats.database_structures import DATABASES, structures_of_database

_NEVER_SMILES = (*SMILES_FILES, *SDF_FILES, *COMPRESSED, ".xyz", ".extxyz", ".traj", ".db", ".json", ".mol2", ".pdb")
"""Endings of names that are meant as files, whether these are there or not."""


class SourceReader:
    """Collects molecules and structures of any number of sources; what cannot be used does not stop the rest.

    Attributes
    ----------
    failures : why sources, lines, records or structures could not be used.
    """

    def __init__(self) -> None:
        self.failures: list[MolcalcError] = []
        self._entries: list[tuple[Molecule, Atoms | None]] = []

    def add(self, source: Any, label: str = "") -> None:
        """Read a source, or each in a list of them.

        Parameters
        ----------
        label : name for messages; files have their own.
        """
        if isinstance(source, Atoms):
            self.add_structure(source, label or "the structure")
        elif isinstance(source, os.PathLike) or (isinstance(source, str) and is_file_name(source)):
            self._attempt(lambda: self._add_file(Path(source)))
        elif isinstance(source, str):
            self._attempt(lambda: self._add_smiles(source, label or "SMILES"))
        elif _is_mol(source):
            self._attempt(lambda: self._add_mol(source, label or "the molecule"))
        elif isinstance(source, Iterable):
            for k, each in enumerate(source):
                self.add(each, f"{'structure' if isinstance(each, Atoms) else 'entry'} {k}")
        else:
            kind = type(source).__name__
            self.failures.append(
                InputError(
                    f"{label + ': ' if label else ''}{short(source)} is a {kind}; expected SMILES, a file, a Mol of "
                    "RDKit, Atoms, or a list of these"
                )
            )

    def add_structure(self, atoms: Atoms, label: str) -> None:
        """Take one structure."""
        self._attempt(lambda: self._entries.append((molecule_of(atoms, label), atoms)))

    def ensembles(self) -> list[Ensemble]:
        """One ensemble for each molecule, in the order of the sources; structures of one molecule are together."""
        given = [(molecule, atoms) for molecule, atoms in self._entries if atoms is not None]
        by_first = {id(ensemble.molecule): ensemble for ensemble in grouped(given)}
        found = [
            Ensemble(molecule=molecule) if atoms is None else by_first.pop(id(molecule), None)
            for molecule, atoms in self._entries
        ]
        return [ensemble for ensemble in found if ensemble is not None]

    def _attempt(self, read: Callable[[], None]) -> None:
        try:
            read()
        except MolcalcError as error:
            self.failures.append(error)

    def _add_smiles(self, text: str, label: str) -> None:
        self._entries.append((molecule_of_smiles(text, label), None))

    def _add_mol(self, mol: Any, label: str) -> None:
        name = mol.GetProp("_Name") if mol.HasProp("_Name") else ""
        molecule = molecule_of_rdkit(mol, name, label)
        structures: list[Atoms | None] = [molecule.structure(positions) for positions in positions_in(mol)]
        self._entries += [(molecule, atoms) for atoms in structures or [None]]

    def _add_file(self, path: Path) -> None:
        check_structure_file(path, str(path))
        plain = Path(path.stem) if path.suffix.lower() in COMPRESSED else path
        if plain.suffix.lower() in SMILES_FILES:
            for label, line in smiles_lines(_text_of(path), str(path)):
                self._attempt(lambda line=line, label=label: self._add_smiles(line, label))  # type: ignore[misc]
        elif plain.suffix.lower() in SDF_FILES:
            for record in read_records(_text_of(path), str(path)):
                if isinstance(record, MolcalcError):
                    self.failures.append(record)
                else:
                    self._entries.append(record)
        else:
            for k, atoms in enumerate(_structures_of(path)):
                self.add_structure(atoms, f"{path}, structure {k}")


def is_file_name(text: str) -> bool:
    """Whether a text is the name of a file, there or not, rather than SMILES."""
    return os.path.exists(text) or text.lower().endswith(_NEVER_SMILES)


def _text_of(path: Path) -> str:
    try:
        with open_text(path) as stream:
            return stream.read()
    except UNREADABLE as error:
        raise InputError(f"{path} cannot be read: {reason_of(error)}") from error


def _structures_of(path: Path) -> Sequence[Atoms]:
    """Structures of a file that ASE reads."""
    with readers_named(str(path), passed=(MolcalcError,)):
        form = image_format(path)
        if form in DATABASES:
            return structures_of_database(os.path.abspath(path), str(path))
        return read_images(path, form)


def _is_mol(source: Any) -> bool:
    rdkit = sys.modules.get("rdkit.Chem")  # whoever made one has imported it
    return rdkit is not None and isinstance(source, rdkit.Mol)
