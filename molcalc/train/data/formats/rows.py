"""Files that give one row after the other, and blocks made of their rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from molcalc.errors import DatasetError, InputError, damaged, is_number, short
from molcalc.io.exact_numbers import real_numbers
from molcalc.properties import Property, from_voigt
from molcalc.state import is_single, single, state_key, total_moment
from molcalc.train.data.block import Block
from molcalc.train.data.formats.base import DataFile
from molcalc.train.data.formats.database_keys import is_key_in_data
from molcalc.train.data.formats.row import IN_DATA, NOT_OTHER, Row
from molcalc.train.data.formats.row_labels import RowLabels
from molcalc.train.data.problems import Problems

CHUNK = 1000
"""Rows that make a block."""
F8 = 8
_SIZES = {"numbers": 4, "positions": 24, "cell": 72, "initial_charges": F8, "initial_magmoms": F8, "forces": 24,
          "stress": 48, "dipole": 24, "magmoms": F8, "charges": F8}  # fmt: skip
"""Bytes of the columns of a row, per atom or per structure."""
_OTHER_SIZES = {"stress": 72, "initial_magmoms": 24}
"""Of columns that may be longer: a stress of nine numbers, moments that are vectors."""
_ATOM_COLUMNS = (
    ("forces", "forces", 24), ("charges", "charges", 8), ("spin_charges", "magmoms", 8),
    ("initial_charges", "initial_charges", 8),
)  # fmt: skip
"""Arrays of atoms, the columns they stand in, and bytes per atom."""
_PER_ATOM = ("numbers", "positions", "initial_charges", "initial_magmoms", "forces", "magmoms", "charges")


class RowFile(DataFile):
    """A file whose reader gives one row after the other and may raise anything."""

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """All rows in the order of the file."""

    def read(self, problems: Problems) -> Iterator[Block]:
        """All structures in the order of the file, :data:`CHUNK` at a time."""
        rows, labels = self.rows(), RowLabels(self.name, self.declared.labels)
        while True:
            try:
                with self.bounded_memory():
                    chunk = list(islice(rows, CHUNK))
            except DatasetError:
                raise
            except InputError as error:
                raise DatasetError(str(error)) from error
            except Exception as error:  # readers of ASE raise anything
                raise damaged(self.path, error) from error
            if not chunk:
                break
            yield joined_rows(chunk, labels, problems)
        labels.finish()


def joined_rows(rows: Sequence[Row], labels: RowLabels, problems: Problems) -> Block:
    """Rows as a block, without those whose arrays are not what their number of atoms asks for.

    Parameters
    ----------
    labels : of the file, which go into their places.
    problems : takes the rows that are left out.

    Returns
    -------
    Block in the units of the rows, with their keys as they are.
    """
    return _join(_fitting(labels.place(rows, problems), problems))


def _fitting(rows: Sequence[Row], problems: Problems) -> list[Row]:
    """Rows whose arrays have the size that their number of atoms asks for."""
    if not rows:
        return []
    columns = dict(zip(Row._fields, zip(*rows)))
    counts = columns["natoms"]
    if None in counts:  # ASE always writes one: the file is not what it was
        raise DatasetError(f"row {rows[counts.index(None)].id} has no number of atoms: the file is damaged")
    if not set(map(type, columns["pbc"])) <= {int, float, type(None)}:
        row = next(row for row in rows if not isinstance(row.pbc, (int, float, type(None))))
        raise DatasetError(f"row {row.id}: pbc is {short(row.pbc)}, no number: the file is damaged")
    whole = np.ones(len(rows), dtype=bool)
    if set(map(type, counts)) != {int}:  # a column of SQLite holds anything
        whole = np.array([isinstance(count, int) for count in counts])
        _note_rows("the number of atoms is not a whole number", ~whole, rows, problems)
        counts = [count if isinstance(count, int) else 0 for count in counts]
    n_atoms = np.array(counts, dtype=np.int64)
    fits = n_atoms > 0
    _note_rows("there are no atoms", whole & ~fits, rows, problems)
    for name, size in _SIZES.items():
        expected = size * n_atoms if name in _PER_ATOM else np.full(len(rows), size)
        found = _lengths(columns[name], expected if name not in ("numbers", "positions") else np.zeros(len(rows)))
        wrong = fits & (found != expected)
        if name in _OTHER_SIZES:
            wrong &= found != _OTHER_SIZES[name] * (n_atoms if name in _PER_ATOM else 1)
        if wrong.any():
            half = wrong & (2 * found == expected)
            verb = "are" if name.endswith("s") and name != "stress" else "is"
            reason = f"{name} {verb} float32 where ASE expects float64 (repair with: molcalc db repair)"
            _note_rows(reason, half, rows, problems)
            reason = f"{name} {'have' if verb == 'are' else 'has'} the wrong size"
            _note_rows(reason, wrong & ~half, rows, problems)
            fits &= ~wrong
    if not set(map(type, columns["energy"])) <= {float, int, type(None)}:
        wrong = fits & [energy is not None and not is_number(energy) for energy in columns["energy"]]
        _note_rows("energy is not a number", wrong, rows, problems)
        fits &= ~wrong
    if not set(columns["pbc"]) <= _PERIODICITIES:  # of a column that holds anything; 1.0 counts as 1
        wrong = fits & [pbc not in _PERIODICITIES for pbc in columns["pbc"]]
        _note_rows("pbc is not a sum of 1, 2 and 4", wrong, rows, problems)
        fits &= ~wrong
    for k in np.flatnonzero(fits & [bool(data) for data in columns["data"]]).tolist():
        fits[k] = _data_fits(rows[k], problems)
    return list(rows) if fits.all() else [row for row, good in zip(rows, fits) if good]


def _lengths(blobs: Sequence[Any], missing: np.ndarray) -> np.ndarray:
    """(n,) int64 number of bytes; ``missing`` where there are none, -1 for what is not bytes."""
    kinds = set(map(type, blobs))
    if kinds == {bytes}:
        return np.array(list(map(len, blobs)), dtype=np.int64)
    if kinds == {type(None)}:
        return missing
    found = [m if b is None else len(b) if isinstance(b, bytes) else -1 for b, m in zip(blobs, missing.tolist())]
    return np.array(found, dtype=np.int64)


def _note_rows(reason: str, mask: np.ndarray, rows: Sequence[Row], problems: Problems) -> None:
    problems.add_many(reason, [rows[k].id for k in np.flatnonzero(mask).tolist()])


_PERIODICITIES = {None, *range(8)}
"""Sums of 1, 2 and 4 for the periodic directions of a row."""
_POINT_DATA = {"esp": (1, "(n_points,)"), "esp_points": (3, "(n_points, 3)")}
"""Numbers per point, and the shape for messages."""


def _data_fits(row: Row, problems: Problems) -> bool:
    """Whether labels among the data can be read as arrays, and nothing there contradicts the keys."""
    for name, value in row.data.items():
        said = row.keys.get(name)
        if said is not None and state_key(name) and is_single(value) and single(value) not in (None, single(said)):
            problems.add(f"{name} among the keys and among the data of the row differ: remove one of them", row.id)
            return False
    for name, (columns, expected) in _POINT_DATA.items():
        if name in row.data:
            values = _as_floats(row.data[name])
            if values is None or values.ndim > 2 or values.size % columns:
                problems.add(f"{name} has the wrong shape, expected {expected}", row.id)
                return False
    for label in IN_DATA:
        if label.name in row.data:
            shape = (row.natoms, *label.shape) if label.kind == "atom" else label.shape
            values = _as_floats(row.data[label.name])
            if values is None or values.size != np.prod(shape):
                problems.add(_wrong_shape(label, row.natoms), row.id)
                return False
    return True


def _wrong_shape(label: Property, n_atoms: int) -> str:
    """What is wrong with a label that is no array of its shape."""
    shape = (n_atoms, *label.shape) if label.kind == "atom" else label.shape
    order = f": {', '.join('xyz'[a] + 'xyz'[b] for a, b in label.components)}" if label.components else ""
    return f"{label.name} has the wrong shape, expected {shape}{order}"


def _as_floats(values: Any) -> np.ndarray | None:
    """float64 array; None for what is no array of numbers."""
    try:
        return real_numbers(values, "data")
    except DatasetError:
        return None


def _join(rows: Sequence[Row]) -> Block:
    n_atoms = np.array([row.natoms for row in rows], dtype=np.int64)
    systems: dict[str, np.ndarray] = {
        "n_atoms": n_atoms,
        "row": np.array([row.id for row in rows], dtype=np.int64),
        "cell": _joined([row.cell for row in rows], [72] * len(rows), 0.0).reshape(-1, 3, 3),
        "pbc": (np.array([row.pbc or 0 for row in rows], dtype=np.int64)[:, None] & [1, 2, 4]).astype(bool),
    }
    atoms: dict[str, np.ndarray] = {
        "numbers": np.frombuffer(b"".join([row.numbers for row in rows]), dtype="<i4"),
        "positions": np.frombuffer(b"".join([row.positions for row in rows]), dtype="<f8").reshape(-1, 3),
    }
    energies = [row.energy for row in rows]
    if any(energy is not None for energy in energies):
        blobs = [None if energy is None else np.float64(energy).tobytes() for energy in energies]
        systems["energy"] = _joined(blobs, [8] * len(rows))
    for name, column, size in _ATOM_COLUMNS:
        blobs = [getattr(row, column) for row in rows]
        if any(blob is not None for blob in blobs):
            values = _joined(blobs, (size * n_atoms).tolist())
            atoms[name] = values.reshape(-1, 3) if size == 24 else values
    if any(row.initial_magmoms is not None for row in rows):
        systems["initial_moment"] = np.array([_initial_moment(row) for row in rows])
    stresses = [None if row.stress is None else _full_stress(row.stress) for row in rows]
    for name, blobs, shape in (("dipole", [row.dipole for row in rows], (3,)), ("stress", stresses, (3, 3))):
        if any(blob is not None for blob in blobs):
            systems[name] = _joined(blobs, [8 * int(np.prod(shape))] * len(rows)).reshape(-1, *shape)
    block = Block(systems, atoms, {}, _keys(rows), _data(rows))
    _join_data(rows, block)
    return block


def _joined(blobs: Sequence[bytes | None], sizes: Sequence[int], fill: float = np.nan) -> np.ndarray:
    """float64 array of all blobs; missing ones are filled, and a NaN that is given becomes infinite."""
    unit = np.array([fill], dtype="<f8").tobytes()
    parts = [unit * (size // F8) if blob is None else blob for blob, size in zip(blobs, sizes)]
    values = np.frombuffer(b"".join(parts), dtype="<f8").copy()
    nan = np.isnan(values)
    if nan.any():
        given = np.repeat([blob is not None for blob in blobs], np.asarray(sizes) // F8)
        values[nan & given] = np.inf
    return values


def _initial_moment(row: Row) -> float:
    """Total initial magnetic moment in μ_B; NaN where a row has none."""
    if row.initial_magmoms is None:
        return np.nan
    return total_moment(np.frombuffer(row.initial_magmoms, dtype="<f8").reshape(row.natoms, -1))


def _full_stress(blob: bytes) -> bytes:
    """Nine numbers from six in Voigt order xx, yy, zz, yz, xz, xy."""
    if len(blob) == 72:
        return blob
    return from_voigt(np.frombuffer(blob, dtype="<f8")).tobytes()


def _join_data(rows: Sequence[Row], block: Block) -> None:
    """ESP and the other labels that rows keep among their data."""
    for label in IN_DATA:
        if any(label.name in row.data for row in rows):
            given = [row.data.get(label.name) for row in rows]
            blobs = [None if value is None else np.asarray(value, dtype="<f8").tobytes() for value in given]
            size = F8 * int(np.prod(label.shape))
            sizes = [size * row.natoms if label.kind == "atom" else size for row in rows]
            part = block.atoms if label.kind == "atom" else block.systems
            part[label.name] = _joined(blobs, sizes).reshape(-1, *label.shape)
    if not any("esp" in row.data or "esp_points" in row.data for row in rows):
        return
    values = [np.asarray(row.data.get("esp", ()), dtype=np.float64).reshape(-1) for row in rows]
    points = [np.asarray(row.data.get("esp_points", ()), dtype=np.float64).reshape(-1, 3) for row in rows]
    n_points = np.array([len(v) if len(v) == len(p) else -1 for v, p in zip(values, points)])
    fitting = np.flatnonzero(n_points >= 0)
    block.systems["n_points"] = n_points
    block.points["esp"] = np.concatenate([np.empty(0), *(values[k] for k in fitting)])
    block.points["esp_points"] = np.concatenate([np.empty((0, 3)), *(points[k] for k in fitting)])


def _keys(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Values by key, also those that a row has among its data: charge and the like, and what a database takes there."""
    names = dict.fromkeys(name for row in rows for name in row.keys)
    keys = {name: [row.keys.get(name) for row in rows] for name in names}
    for k, row in enumerate(rows):
        for name, value in row.data.items():
            if is_key_in_data(name, value, row.natoms) and row.keys.get(name) is None:
                keys.setdefault(name, [None] * len(rows))[k] = single(value)
    return keys


def _data(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Other data by name."""
    found: dict[str, list[Any]] = {}
    for k, row in enumerate(rows):
        for name, value in row.data.items():
            if name not in NOT_OTHER and not is_key_in_data(name, value, row.natoms):
                found.setdefault(name, [None] * len(rows))[k] = value
    return found
