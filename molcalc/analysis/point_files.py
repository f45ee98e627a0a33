"""Points in space from files, and reference potentials at the points of a structure."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from jaxtyping import Float64

from molcalc.analysis.esp_errors import nearest_atoms
from molcalc.errors import ConfigError, DatasetError, InputError, MissingFileError
from molcalc.io.budget import bounded_memory
from molcalc.io.files import check_regular, open_text, write_atomic
from molcalc.io.plain_numbers import decimal, whole_number
from molcalc.prediction.points import checked_points
from molcalc.units import BOHR

LENGTHS = {"Å": 1.0, "Angstrom": 1.0, "Bohr": BOHR}
"""Å per unit of length."""
LENGTH_WORDS = {"å": "Å", "a": "Å", "ang": "Å", "angstrom": "Å", "bohr": "Bohr", "a0": "Bohr", "au": "Bohr", "nm": "nm"}
"""Units that names of columns say in brackets, in small letters."""
SAME_GEOMETRY = 1e-3
"""Å by which positions of a structure and of its reference may differ."""
INSIDE = 0.5
"""Van der Waals radii within which nobody wants the potential of a molecule: points of another unit end up there."""
FARTHEST = 6.0
"""Van der Waals radii beyond which all points lie that were given in a smaller unit."""


@dataclass(frozen=True)
class ReferencePotential:
    """Potential of one structure that is known.

    Attributes
    ----------
    points : (n_points, 3) Å.
    potential : (n_points,) V.
    name : where it comes from.
    """

    points: Float64[np.ndarray, "n_points 3"]
    potential: Float64[np.ndarray, " n_points"]
    name: str


def read_points(path: str | os.PathLike[str], unit: str = "Å") -> Float64[np.ndarray, "n_points 3"]:
    """Points of a file.

    Parameters
    ----------
    path : .xyz, whose symbols do not matter; .npy (n_points, 3); or a text file (.csv, .txt, .dat) of three columns.
    unit : of the file, "Å" or "Bohr".

    Returns
    -------
    (n_points, 3) float64, Å

    Raises
    ------
    FileNotFoundError, InputError
        When there is no such file, or it does not hold points.
    ConfigError
        For another unit.
    """
    file = Path(path)
    if unit not in LENGTHS:
        raise ConfigError(f"unit={unit!r} is no unit of length here; choose one of {list(LENGTHS)}")
    check_regular(file)
    if not file.is_file():
        raise MissingFileError(f"no file {file}")
    try:
        with bounded_memory(file, str(file)):
            rows = np.load(file, allow_pickle=False) if file.suffix == ".npy" else _rows(file, unit)
        points = checked_points(rows)
        wrong = np.flatnonzero(~np.isfinite(points).all(axis=1))
        if len(wrong):
            raise ValueError(f"point {wrong[0]} is {points[wrong[0]].tolist()}")
    except (ValueError, OSError, EOFError) as error:
        raise InputError(
            f"{file} does not hold points, three numbers in a line: {' '.join(str(error).split())}"
        ) from error
    return points * LENGTHS[unit]


def _rows(path: Path, unit: str) -> Float64[np.ndarray, "n_points 3"]:
    with open_text(path) as file:
        lines = file.read().splitlines()
    if path.suffix in (".xyz", ".extxyz"):
        count = whole_number(lines[0]) if lines else 0
        texts = [line.split()[1:4] for line in lines[2 : 2 + count]]
        if len(texts) != count or len(lines) > 2 + count and any(line.strip() for line in lines[2 + count :]):
            raise ValueError(f"the first line says {count} points, {len(lines) - 2} lines follow its comment")
    else:
        texts = [line.replace(",", " ").split() for line in lines if line.strip() and not line.startswith("#")]
        if texts and not _are_numbers(texts[0]):
            texts = texts[1:]  # names of the columns
        _check_stated(lines, unit)
    for number, text in enumerate(texts):
        if len(text) != 3 or not _are_numbers(text):
            raise ValueError(f"point {number} is {' '.join(text)!r}")
    return np.array(texts, dtype=np.float64).reshape(-1, 3)


def _check_stated(lines: list[str], unit: str) -> None:
    """Refuse columns that are named with another unit in brackets, in the first line or in comments."""
    heads = lines[:1] + [line for line in lines[1:] if line.startswith("#")]
    for word in re.findall(r"[(\[]([^()\[\]]*)[)\]]", " ".join(heads)):
        stated = LENGTH_WORDS.get(word.strip().lower())
        if stated is not None and LENGTHS.get(stated) != LENGTHS[unit]:
            cure = (
                f'--points-unit {stated} (in Python unit="{stated}") converts' if stated in LENGTHS else "convert them"
            )
            raise ValueError(f"its columns are in {stated}, and {unit} is read: {cure}")


def _are_numbers(texts: list[str]) -> bool:
    try:
        return all(np.isfinite(decimal(text)) for text in texts)
    except ValueError:
        return False


def check_unit(points: Float64[np.ndarray, "n_points 3"], atoms: Atoms, name: str) -> None:
    """Refuse points that must be of another unit than Å.

    Raises
    ------
    InputError
        When most of them are inside atoms, or all are farther from every atom than charges are felt.
    """
    distances, scaled, _ = nearest_atoms(atoms, points)
    if np.mean(scaled < INSIDE) > 0.5:
        raise InputError(
            f"{name}: {np.mean(scaled < INSIDE):.0%} of the points are closer to a nucleus than {INSIDE:g} van der "
            'Waals radii: are they of this structure, and in Å? --points-unit Bohr (in Python unit="Bohr") converts'
        )
    if scaled.min() > FARTHEST:
        raise InputError(
            f"{name}: the nearest point is {distances[scaled.argmin()]:.1f} Å from an atom: are the points of this "
            "structure, and in Å?"
        )


def read_reference(
    path: str | os.PathLike[str], atoms: Atoms, units: dict[str, str] | None = None
) -> ReferencePotential:
    """Potential that a file of labels has for a structure.

    Parameters
    ----------
    path : any file that training reads, with ``esp`` and ``esp_points``.
    atoms : its structure there has the same atoms in the same order at the same places, within 0.001 Å.
    units : of labels that the file does not declare, as for training.

    Returns
    -------
    points in Å and potential in V

    Raises
    ------
    DatasetError
        When the file has no potentials, or none of this structure.
    """
    from molcalc.train.data.opening import open_dataset

    data = open_dataset(os.fspath(path), units=units, require=("esp",), allow_missing=True)
    nearest = np.inf
    for k in np.flatnonzero(data.n_atoms() == len(atoms)).tolist():
        batch = data.batch([k], cutoff=0.0, pair_cutoff=None, labels=("esp",))
        if not np.array_equal(batch.numbers.numpy(), atoms.numbers):
            continue
        distance = float(np.abs(batch.positions.numpy() - atoms.positions).max())
        nearest = min(nearest, distance)
        known = np.isfinite(batch.labels["esp"].numpy())
        if distance <= SAME_GEOMETRY and known.any():
            assert batch.esp_points is not None
            return ReferencePotential(
                batch.esp_points.numpy()[known], batch.labels["esp"].numpy()[known], f"{path}, {data.row_name(k)}"
            )
    where = (
        f"the nearest structure of these atoms is {nearest:.3f} Å away"
        if np.isfinite(nearest)
        else "none has its atoms"
    )
    raise DatasetError(
        f"{path} has no potential of {atoms.get_chemical_formula()} as it is here: {where}. Compare the structure of "
        "the reference itself, in its place in space"
    )


def write_values(
    path: Path, points: Float64[np.ndarray, "n_points 3"], values: Float64[np.ndarray, " n_points"], unit: str
) -> None:
    """Write values at points as comma-separated values, one point in a line.

    Parameters
    ----------
    points : (n_points, 3) Å.
    values : (n_points,).
    unit : of the values, for the header.

    Raises
    ------
    ResourceError
        When the file cannot be written.
    """
    lines = [f"x (Å),y (Å),z (Å),potential ({unit})"]
    lines += [f"{x!r},{y!r},{z!r},{value!r}" for (x, y, z), value in zip(points.tolist(), values.tolist())]
    write_atomic(path, ("\n".join(lines) + "\n").encode())
