"""Published data sets in HDF5 that have a group for each molecule: SPICE, ANI-1x, Transition1x, QM7-X."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from molcalc.errors import DatasetError, damaged
from molcalc.properties import LABELS
from molcalc.train.data.block import Block, concatenated
from molcalc.train.data.declaration import Declaration
from molcalc.train.data.declared_units import QUANTITIES, unit_factors
from molcalc.train.data.formats.arrays import array_names, block_of, check_names, shaped
from molcalc.train.data.formats.base import DataFile
from molcalc.train.data.formats.hdf5_members import dataset_shape, member, open_hdf5
from molcalc.train.data.problems import Problems

CHUNK = 2000
MOLECULE_SHIFT = 24
"""A row number is the number of its group, times 2 to this power, plus its place in the group."""
_LOOKED_AT = 3
"""Groups of each level that show what a file is."""


@dataclass(frozen=True)
class MoleculeLayout:
    """Arrays of the groups of a published data set.

    Attributes
    ----------
    title : name of the data set.
    numbers, positions : names of arrays that every group of a molecule has.
    mark : end of the name of another array that tells this data set from others.
    labels : labels by their names; empty where their levels of theory stand in the names.
    units : unit by the end of a name.
    negative : names of arrays of which the label is the negative: gradients.
    root : group that holds everything; others repeat it by links.
    charged : whether the SMILES of a group tell its charge.
    """

    title: str
    numbers: str
    positions: str
    mark: str
    labels: Mapping[str, str]
    units: Mapping[str, str]
    negative: tuple[str, ...] = ()
    root: str = "/"
    charged: bool = False


LAYOUTS = (
    MoleculeLayout(  # Eastman et al., Sci. Data 10, 11 (2023)
        "SPICE", "atomic_numbers", "conformations", "dft_total_energy",
        {"dft_total_energy": "energy", "dft_total_gradient": "forces", "scf_dipole": "dipole",
         "mbis_charges": "charges"},
        {"conformations": "Bohr", "energy": "Hartree", "gradient": "Hartree/Bohr", "dipole": "e*Bohr", "charges": "e"},
        negative=("dft_total_gradient",), charged=True,
    ),
    MoleculeLayout(  # Smith et al., Sci. Data 7, 134 (2020)
        "ANI-1x", "atomic_numbers", "coordinates", ".energy", {},
        {"coordinates": "Angstrom", "energy": "Hartree", "forces": "Hartree/Angstrom", "dipole": "e*Angstrom",
         "charges": "e"},
    ),
    MoleculeLayout(  # Schreiner et al., Sci. Data 9, 779 (2022)
        "Transition1x", "atomic_numbers", "positions", "wB97x_6-31G(d).energy",
        {"wB97x_6-31G(d).energy": "energy", "wB97x_6-31G(d).forces": "forces"},
        {"positions": "Angstrom", "energy": "eV", "forces": "eV/Angstrom"},
        root="/data",
    ),
    MoleculeLayout(  # Hoja et al., Sci. Data 8, 43 (2021)
        "QM7-X", "atNUM", "atXYZ", "ePBE0+MBD",
        {"ePBE0+MBD": "energy", "totFOR": "forces", "vDIP": "dipole", "hCHG": "charges"},
        {"atXYZ": "Angstrom", "ePBE0+MBD": "eV", "ePBE0": "eV", "eMBD": "eV", "eAT": "eV", "FOR": "eV/Angstrom",
         "vDIP": "e*Angstrom", "CHG": "e"},
    ),
)  # fmt: skip


class MoleculeGroups(DataFile):
    """Conformations of one molecule in each group, at any depth. Arrays that are no label are not read."""

    word = "group/row"

    def __init__(self, path: Path, declared: Declaration) -> None:
        super().__init__(path, declared)
        self._size = self.content.stat().st_size
        with open_hdf5(self.content, path) as file:
            layout = layout_of(file)
            if layout is None:
                raise DatasetError(f"{path}: no published data set")
            self.layout = layout
            _, first = next(self._groups(file))
            present = sorted(first)
        check_names(self.name, declared.labels, present)
        usual = {layout.numbers: "numbers", layout.positions: "positions", **(layout.labels or _only_level(present))}
        names = array_names(usual, declared.labels)
        self.names = {theirs: ours for theirs, ours in names.items() if ours in (*LABELS, "numbers", "positions")}
        if not set(self.names.values()) & set(LABELS):
            raise DatasetError(
                f"{self.name} holds several levels of {layout.title}: choose one, such as "
                f'labels={{"energy": "wb97x_dz.energy", "forces": "wb97x_dz.forces"}}; it has {", ".join(present)}'
            )
        self.metadata = {"data_set": layout.title}
        units = {ours: _unit(layout, theirs) for theirs, ours in self.names.items() if ours in QUANTITIES}
        known = {ours: unit for ours, unit in units.items() if unit is not None}
        self.factors = unit_factors({**known, **declared.units}, self.name)

    def read(self, problems: Problems) -> Iterator[Block]:
        """All structures, group after group."""
        waiting: list[Block] = []
        try:
            with open_hdf5(self.content, self.path) as file:
                for number, (_, group) in enumerate(self._groups(file)):
                    first, where = number << MOLECULE_SHIFT, f"{self.path}: {group.name}"
                    waiting.append(block_of(self._arrays(group), first, {}, {}, problems, where))
                    if sum(map(len, waiting)) >= CHUNK:
                        yield concatenated(waiting)
                        waiting = []
        except DatasetError:
            raise
        except Exception as error:  # HDF5 raises anything for damaged files
            raise damaged(self.path, error) from error
        if waiting:
            yield concatenated(waiting)

    def row_label(self, row: int) -> str:
        with open_hdf5(self.content, self.path) as file:
            name, _ = next(islice(self._groups(file), row >> MOLECULE_SHIFT, None))
        return f"{name}/{row & ((1 << MOLECULE_SHIFT) - 1)}"

    def _groups(self, file: Any) -> Iterator[tuple[str, Any]]:
        """Names and groups of all molecules."""
        root = self.layout.root if self.layout.root in file else "/"
        return _molecules(file[root], self.layout, self.path)

    def _arrays(self, group: Any) -> dict[str, np.ndarray]:
        """Row-aligned arrays of a group by our names."""
        layout = self.layout
        found = {}
        for theirs, ours in self.names.items():
            if theirs in group:
                dataset_shape(group, theirs, self.path, self._size)
                values = np.asarray(group[theirs])
                found[ours] = -values if theirs in layout.negative else values
        numbers, positions = found["numbers"].reshape(-1), found["positions"]
        rows = 1 if positions.ndim == 2 else len(positions)
        where = f"{self.path}: {group.name}"
        if positions.size != rows * len(numbers) * 3:
            raise DatasetError(f"{where}/{layout.positions} of shape {positions.shape} for {len(numbers)} atoms")
        arrays = {
            ours: shaped(f"{where}/{ours}", ours, values, rows, len(numbers))
            for ours, values in found.items()
            if ours in LABELS
        }
        arrays["numbers"] = np.broadcast_to(numbers, (rows, len(numbers)))
        arrays["positions"] = positions.reshape(rows, len(numbers), 3)
        if layout.charged and "smiles" in group:
            arrays["total_charge"] = np.full(rows, charge_of_smiles(_text(group["smiles"])))
        return arrays


def layout_of(file: Any) -> MoleculeLayout | None:
    """The published data set that a file is part of; None for other files."""
    import h5py

    level = [file]
    while level:
        for group in level:
            for layout in LAYOUTS:
                if (
                    layout.numbers in group
                    and layout.positions in group
                    and any(name.endswith(layout.mark) for name in group)
                ):
                    return layout
        below = (group[name] for group in level for name in islice(group, _LOOKED_AT) if _is_group(group, name))
        level = [each for each in islice(below, _LOOKED_AT) if isinstance(each, h5py.Group)]
    return None


def _is_group(parent: Any, name: str) -> bool:
    import h5py

    hard = parent.get(name, getclass=True, getlink=True) is h5py.HardLink
    return hard and parent.get(name, getclass=True) is h5py.Group


def _molecules(group: Any, layout: MoleculeLayout, path: Path) -> Iterator[tuple[str, Any]]:
    if layout.numbers in group and layout.positions in group:
        yield group.name.strip("/"), group
        return  # Transition1x repeats ends of a path in groups inside
    for name in group:
        if _is_group(group, name):
            yield from _molecules(member(group, name, path), layout, path)


def _only_level(present: list[str]) -> dict[str, str]:
    """Labels of the level of theory of arrays called LEVEL.LABEL, if there is one only."""
    levels = {name.removesuffix(".energy") for name in present if name.endswith(".energy")}
    if len(levels) != 1:
        return {}
    level = levels.pop()
    return {f"{level}.{label}": label for label in ("energy", "forces", "dipole") if f"{level}.{label}" in present}


def _unit(layout: MoleculeLayout, name: str) -> str | None:
    """Unit of an array, by the longest end of its name in the table."""
    ends = [end for end in layout.units if name.endswith(end)]
    return layout.units[max(ends, key=len)] if ends else None


def _text(dataset: Any) -> str:
    value = np.asarray(dataset).reshape(-1)[0]
    return value.decode() if isinstance(value, bytes) else str(value)


def charge_of_smiles(smiles: str) -> int:
    """Sum of the formal charges in SMILES, e."""
    total = 0
    for atom in re.findall(r"\[[^\]]*\]", smiles):
        if found := re.search(r"([+-]+)(\d*)(?::\d+)?\]$", atom):
            size = int(found[2]) if found[2] else len(found[1])
            total += size if found[1][0] == "+" else -size
    return total
