"""Blocks from arrays that hold many structures of one size, and such arrays from blocks."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from molcalc.errors import DatasetError
from molcalc.io.exact_numbers import exact_flags, exact_integers, real_numbers
from molcalc.properties import LABELS, Property, from_voigt
from molcalc.state import state_key
from molcalc.train.data.block import Block
from molcalc.train.data.formats.row import NOT_OTHER
from molcalc.train.data.formats.row_labels import no_such_name
from molcalc.train.data.problems import Problems

TEXTS = "texts"
"""Name under which files list the texts that the integers of some keys stand for."""


def expected_shape(name: str, rows: int, n_atoms: int) -> tuple[int, ...] | None:
    """Shape of a row-aligned array that is a label or states charge, multiplicity or fidelity; None for others."""
    if state_key(name) is not None:
        return (rows,)
    if name not in LABELS or LABELS[name].kind == "point":
        return None
    label = LABELS[name]
    return (rows, n_atoms, *label.shape) if label.kind == "atom" else (rows, *label.shape)


def check_shape(where: str, name: str, shape: tuple[int, ...], rows: int, n_atoms: int) -> None:
    """Refuse an array whose shape is not that of what its name says.

    Parameters
    ----------
    where : file and array, for messages.
    name : of the array here, whatever the file calls it.

    Raises
    ------
    DatasetError
    """
    expected = expected_shape(name, rows, n_atoms)
    if expected not in (None, shape) and not (name == "stress" and shape == (rows, 6)):
        raise DatasetError(f"{where} has shape {shape}; expected {expected} for {rows} structures of {n_atoms} atoms")


def shaped(where: str, name: str, values: np.ndarray, rows: int, n_atoms: int) -> np.ndarray:
    """An array in the shape of what its name says, if it has as many numbers.

    Returns
    -------
    view of the values, or the values themselves

    Raises
    ------
    DatasetError
        As :func:`check_shape`.
    """
    expected = expected_shape(name, rows, n_atoms)
    if expected is not None and values.size == math.prod(expected):
        return values.reshape(expected)
    check_shape(where, name, values.shape, rows, n_atoms)
    return values


def array_names(usual: Mapping[str, str], chosen: Mapping[str, str]) -> dict[str, str]:
    """Our names of arrays by theirs; what a chosen array takes the place of is called ``other_…``.

    Parameters
    ----------
    usual : our names by theirs, for files of this kind.
    chosen : theirs by ours, as a user gave them.

    Returns
    -------
    our names by theirs; arrays that are not here keep their names
    """
    taken = {theirs: ours for ours, theirs in chosen.items()}
    usual = {**{ours: ours for ours in chosen}, **usual}
    return {**{theirs: f"other_{ours}" if ours in chosen else ours for theirs, ours in usual.items()}, **taken}


def check_names(source: str, chosen: Mapping[str, str], present: Collection[str]) -> None:
    """Refuse names that a user gave and no array has.

    Raises
    ------
    DatasetError
    """
    for ours, theirs in chosen.items():
        if theirs not in present:
            raise no_such_name(source, ours, theirs, sorted(present))


def block_of(
    arrays: Mapping[str, np.ndarray],
    first: int,
    rename: Mapping[str, str],
    texts: Mapping[str, Sequence[str]],
    problems: Problems,
    where: str,
) -> Block:
    """A block of row-aligned arrays.

    Scalars of a row become keys, other arrays data; a label that is NaN throughout a row is missing there.

    Parameters
    ----------
    arrays : by name, of shapes that :func:`check_shape` passes; after renaming, numbers (m, n) and positions (m, n, 3)
        are needed. Columns of zeros at the end of numbers are padding.
    first : number of the first row.
    rename : names of the file that differ from ours.
    texts : what the integers of some keys stand for.
    problems : takes the rows without atoms.
    where : file, and group in it, for messages.

    Returns
    -------
    block without the rows that have no atoms

    Raises
    ------
    DatasetError
        When something is not made of numbers, or of whole numbers where they count.
    ValueError, IndexError
        When a cell or points have another number of entries, or an integer stands for no text.
    """
    named = {rename.get(name, name): values for name, values in arrays.items()}
    theirs = {rename.get(name, name): f"{where}: {name}" for name in arrays}
    numbers = exact_integers(named.pop("numbers"), theirs["numbers"])
    positions = real_numbers(named.pop("positions"), theirs["positions"])
    m, width = numbers.shape
    n_atoms = np.count_nonzero(numbers, axis=1)
    present = np.arange(width) < n_atoms[:, None]
    systems = {
        "n_atoms": n_atoms,
        "row": first + np.arange(m),
        "cell": real_numbers(named.pop("cell", np.zeros((m, 3, 3))), theirs.get("cell", "")).reshape(m, 3, 3),
        "pbc": exact_flags(named.pop("pbc", np.zeros((m, 3))), theirs.get("pbc", "")).reshape(m, 3),
    }
    block = Block(
        systems,
        {"numbers": numbers[present].astype("<i4"), "positions": positions[present]},
        {},
    )
    fits = n_atoms > 0
    problems.add_many("there are no atoms", systems["row"][~fits])
    for name, label in LABELS.items():
        if label.kind != "point" and name in named:
            _add_label(block, label, real_numbers(named.pop(name), theirs[name]), present)
    if "esp" in named or "esp_points" in named:
        esp = real_numbers(named.pop("esp", np.empty((m, 0))), theirs.get("esp", ""))
        _add_points(
            block, esp, real_numbers(named.pop("esp_points", np.empty((m, 0, 3))), theirs.get("esp_points", ""))
        )
    for name, values in named.items():
        if values.ndim == 1:
            block.keys[name] = _key(values, texts.get(name))
        elif name not in NOT_OTHER:
            padded = values.shape[1] == width
            block.data[name] = [own[:n] if padded else own for own, n in zip(values, n_atoms.tolist())]
    return block if fits.all() else block.only(fits)


def _add_label(block: Block, label: Property, values: np.ndarray, present: np.ndarray) -> None:
    if label.name == "stress" and values.ndim == 2:
        values = from_voigt(values)
    owner = np.arange(len(block))
    if label.kind == "atom":
        values, owner = values[present], np.repeat(owner, block.systems["n_atoms"])
    block.part(label.kind)[label.name] = _missing_or_wrong(values, owner, len(block))


def _missing_or_wrong(values: np.ndarray, owner: np.ndarray, n: int) -> np.ndarray:
    """Values whose NaN are infinite where the structure has other ones: it has the label, and it is not finite."""
    nan = np.isnan(values)
    if nan.any():
        values = values.copy()
        has = np.bincount(owner[~nan.reshape(len(values), -1).all(axis=1)], minlength=n) > 0
        values[nan & has[owner].reshape(-1, *[1] * (values.ndim - 1))] = np.inf
    return values


def _add_points(block: Block, esp: np.ndarray, points: np.ndarray) -> None:
    """Add the ESP without the NaN that rows are filled up with; −1 points where ESP and points differ in number."""
    esp = esp.reshape(len(block), -1)
    points = points.reshape(len(block), -1, 3)
    filled = ~np.isnan(esp)
    counts = np.where(filled.any(axis=1), esp.shape[1] - np.argmax(filled[:, ::-1], axis=1), 0)
    if esp.shape[1] != points.shape[1]:
        counts = np.full(len(block), -1)
    present = np.arange(esp.shape[1]) < counts[:, None]
    block.systems["n_points"] = counts
    block.points["esp"] = esp[present]
    block.points["esp_points"] = points[present] if present.shape == points.shape[:2] else np.empty((0, 3))


def _key(values: np.ndarray, texts: Sequence[str] | None) -> list[Any]:
    listed: list[Any] = values.tolist()
    return listed if texts is None else [texts[value] if value >= 0 else None for value in listed]


def arrays_of(block: Block, whole: Block, texts: Mapping[str, Sequence[str]], width: int) -> dict[str, np.ndarray]:
    """Row-aligned arrays by name of the structures of a block.

    Parameters
    ----------
    whole : all structures of the file: what any of them has gets an array, with NaN where it is missing.
    texts : different texts of each key that has any, from :func:`texts_of`.
    width : atoms that rows are filled up to with zeros.

    Returns
    -------
    arrays by name, each with a row per structure

    Raises
    ------
    DatasetError
        When a key or data cannot be kept in arrays.
    """
    present = np.arange(width) < block.systems["n_atoms"][:, None]
    arrays = {name: _padded(block.atoms[name], present, 0) for name in ("numbers", "positions")}
    if whole.systems["pbc"].any():
        arrays.update(cell=block.systems["cell"], pbc=block.systems["pbc"])
    for name, label in LABELS.items():
        if label.kind != "point" and not np.isnan(whole.part(label.kind).get(name, np.nan)).all():
            values = block.part(label.kind)[name]
            arrays[name] = _padded(values, present, 0) if label.kind == "atom" else values
    if "esp" in whole.points and len(whole.points["esp"]):
        filled = np.arange(whole.systems["n_points"].max()) < block.systems["n_points"][:, None]
        arrays.update({name: _padded(values, filled, np.nan) for name, values in block.points.items()})
    for name, column in block.keys.items():
        if any(value is not None for value in whole.keys[name]):
            if name in arrays:
                raise DatasetError(f"the key {name!r} has the name of an array")
            arrays[name] = _column(name, column, texts.get(name))
    for name in block.data:
        arrays[name] = _data(name, block, whole, width)
    return arrays


def texts_of(block: Block) -> dict[str, list[str]]:
    """Different texts of each key that has any, in order of appearance."""
    found = {
        name: list(dict.fromkeys(value for value in values if isinstance(value, str)))
        for name, values in block.keys.items()
    }
    return {name: texts for name, texts in found.items() if texts}


def _padded(values: np.ndarray, present: np.ndarray, fill: float) -> np.ndarray:
    """(m, width, ...) values of structures, filled up."""
    result = np.full((*present.shape, *values.shape[1:]), fill, dtype=values.dtype)
    result[present] = values
    return result


def _column(name: str, values: Sequence[Any], texts: Sequence[str] | None) -> np.ndarray:
    """A key as numbers; texts become their position in the list of texts, -1 where missing."""
    if texts is None:
        column = np.array([np.nan if value is None else value for value in values])
        return column.astype(np.int64) if column.dtype == bool else column
    if any(value is not None and not isinstance(value, str) for value in values):
        raise DatasetError(f"the key {name!r} is a text in some rows and a number in others")
    places = {text: k for k, text in enumerate(texts)}
    return np.array([-1 if value is None else places[value] for value in values], dtype=np.int64)


def _data(name: str, block: Block, whole: Block, width: int) -> np.ndarray:
    """Other data as one array, when they have one shape per structure or per atom."""
    sizes = whole.systems["n_atoms"].tolist()
    every = [np.asarray(np.nan if value is None else value) for value in whole.data[name]]
    per_atom = all(value.shape[:1] == (n,) for value, n in zip(every, sizes))
    shapes = {value.shape[1:] if per_atom else value.shape for value in every}
    if len(shapes) > 1 or any(value.dtype.kind not in "biuf" for value in every):
        raise DatasetError(f"data {name!r} are not arrays of one shape; this kind of file cannot hold them")
    own = [np.asarray(value, dtype=np.float64) for value in block.data[name]]
    if not per_atom:
        return np.array(own)
    return _padded(np.concatenate(own), np.arange(width) < block.systems["n_atoms"][:, None], 0.0)
