"""Rows as every source gives them, and blocks of packed arrays made from them.

A row is what an ASE database holds: little-endian bytes for arrays, plain values for the rest. All sources yield rows,
so that one function decides what a label is, which charge a structure has, and what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from molcalc.properties import LABELS, from_voigt
from molcalc.state import STATE_KEYS
from molcalc.train.data.block import Block
from molcalc.train.data.limits import FIDELITY_OFFSET, LARGEST_Z
from molcalc.train.data.problems import Problems
from molcalc.train.data.states import States

F8 = 8
_SIZES = {"numbers": 4, "positions": 24, "cell": 72, "initial_charges": F8, "forces": 24, "stress": 48, "dipole": 24,
          "magmoms": F8, "charges": F8}  # fmt: skip
"""Bytes of the columns of a row, per atom or per structure."""
_PER_ATOM = ("numbers", "positions", "initial_charges", "forces", "magmoms", "charges")


class Row(NamedTuple):
    """One structure with its results, in the units of its source.

    Attributes
    ----------
    id : number that names the row in its file.
    natoms : number of atoms.
    numbers : int32 bytes; positions, cell : float64 bytes.
    pbc : sum of 1, 2, 4 for the periodic directions.
    initial_charges … charges : float64 bytes, or None where missing; energy is a float.
    keys : names and scalars.
    data : names and arrays (those of :data:`LABEL_DATA` and whatever else there is).
    """

    id: int
    natoms: int
    numbers: bytes
    positions: bytes
    cell: bytes | None
    pbc: int
    initial_charges: bytes | None
    energy: float | None
    forces: bytes | None
    stress: bytes | None
    dipole: bytes | None
    magmoms: bytes | None
    charges: bytes | None
    keys: Mapping[str, Any]
    data: Mapping[str, Any]


def pack(rows: Sequence[Row], factors: Mapping[str, float], states: States, problems: Problems) -> Block:
    """Join rows into arrays in eV, Å and e.

    Rows that cannot be used are noted in ``problems`` and left out.

    Parameters
    ----------
    factors : from the units of the source, by name.
    states : decides charge, multiplicity and fidelity, and remembers what it saw.
    """
    rows = _fitting(rows, problems)
    block = _join(rows)
    _scale(block, factors)
    _drop_undefined_stress(block)
    found = states.resolve(
        block.systems["row"],
        block.systems["n_atoms"],
        _protons(block),
        _initial_charges(rows),
        {key: block.keys.pop(key) for key in STATE_KEYS if key in block.keys},
        problems,
    )
    block.systems.update(total_charge=found.charge, multiplicity=found.multiplicity, fidelity=found.fidelity)
    bad = found.bad | _find_bad(block, problems)
    if bad.any():
        block = block.only(~bad)
    return block


def _fitting(rows: Sequence[Row], problems: Problems) -> list[Row]:
    """Rows whose arrays have the size that their number of atoms asks for."""
    n_atoms = np.array([row.natoms for row in rows], dtype=np.int64)
    columns = dict(zip(Row._fields, zip(*rows)))
    fits = n_atoms > 0
    _note_rows("there are no atoms", ~fits, rows, problems)
    for name, size in _SIZES.items():
        expected = size * n_atoms if name in _PER_ATOM else np.full(len(rows), size)
        found = _lengths(columns[name], expected if name not in ("numbers", "positions") else np.zeros(len(rows)))
        wrong = fits & (found != expected)
        if name == "stress":
            wrong &= found != 72
        if wrong.any():
            half = wrong & (2 * found == expected)
            verb = "are" if name.endswith("s") and name != "stress" else "is"
            reason = f"{name} {verb} float32 where ASE expects float64 (repair with: molcalc db repair)"
            _note_rows(reason, half, rows, problems)
            reason = f"{name} {'have' if verb == 'are' else 'has'} the wrong size"
            _note_rows(reason, wrong & ~half, rows, problems)
            fits &= ~wrong
    if not set(map(type, columns["energy"])) <= {float, int, type(None)}:
        wrong = fits & [not isinstance(energy, (float, int, type(None))) for energy in columns["energy"]]
        _note_rows("energy is not a number", wrong, rows, problems)
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


IN_DATA = tuple(label for label in LABELS.values() if label.ase_name is None and label.kind in ("system", "atom"))
"""Labels that a row keeps among its data, beside the electrostatic potential."""
LABEL_DATA = ("esp", "esp_points", *(label.name for label in IN_DATA))
"""Names among the data of a row that are labels or belong to them."""
_POINT_DATA = {"esp": (1, "(n_points,)"), "esp_points": (3, "(n_points, 3)")}
"""Numbers per point, and the shape for messages."""


def _data_fits(row: Row, problems: Problems) -> bool:
    """Whether labels among the data can be read as arrays."""
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
                order = f": {', '.join('xyz'[a] + 'xyz'[b] for a, b in label.components)}" if label.components else ""
                problems.add(f"{label.name} has the wrong shape, expected {shape}{order}", row.id)
                return False
    return True


def _as_floats(values: Any) -> np.ndarray | None:
    """float64 array; None for what is no array of numbers."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
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
    for name, column, size in (("forces", "forces", 24), ("charges", "charges", 8), ("spin_charges", "magmoms", 8)):
        blobs = [getattr(row, column) for row in rows]
        if any(blob is not None for blob in blobs):
            values = _joined(blobs, (size * n_atoms).tolist())
            atoms[name] = values.reshape(-1, 3) if size == 24 else values
    stresses = [None if row.stress is None else _full_stress(row.stress) for row in rows]
    for name, blobs, shape in (("dipole", [row.dipole for row in rows], (3,)), ("stress", stresses, (3, 3))):
        if any(blob is not None for blob in blobs):
            systems[name] = _joined(blobs, [8 * int(np.prod(shape))] * len(rows)).reshape(-1, *shape)
    block = Block(systems, atoms, {}, _keys(rows))
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
    """Values by key; charge, multiplicity and fidelity also where a row has them, as one value, in its data."""
    names = dict.fromkeys(name for row in rows for name in row.keys)
    keys = {name: [row.keys.get(name) for row in rows] for name in names}
    for k, row in enumerate(rows):
        if row.data:
            for name in STATE_KEYS:
                value = row.data.get(name)
                if value is not None and np.ndim(value) == 0 and row.keys.get(name) is None:
                    keys.setdefault(name, [None] * len(rows))[k] = value
    return keys


def _protons(block: Block) -> np.ndarray:
    owner = np.repeat(np.arange(len(block)), block.systems["n_atoms"])
    return np.bincount(owner, weights=block.atoms["numbers"], minlength=len(block)).astype(np.int64)


def _initial_charges(rows: Sequence[Row]) -> np.ndarray:
    """(n,) e, sums of initial charges; NaN where a row has none, infinite where one of them is not finite."""
    sums = np.full(len(rows), np.nan)
    for k, row in enumerate(rows):
        if row.initial_charges is not None:
            total = np.frombuffer(row.initial_charges, dtype="<f8").sum()
            sums[k] = total if np.isfinite(total) else np.inf
    return sums


def _scale(block: Block, factors: Mapping[str, float]) -> None:
    for part in (block.systems, block.atoms, block.points):
        for name in part:
            if name in factors:
                part[name] = part[name] * factors[name]


def _drop_undefined_stress(block: Block) -> None:
    """Mark the stress of structures without a periodic direction or a volume as missing: programs write zeros there."""
    if "stress" in block.systems:
        defined = block.systems["pbc"].any(axis=1) & (np.linalg.det(block.systems["cell"]) != 0)
        block.systems["stress"] = np.where(defined[:, None, None], block.systems["stress"], np.nan)


def _find_bad(block: Block, problems: Problems) -> np.ndarray:
    """(n_systems,) bool, rows that cannot be used."""
    systems, n = block.systems, len(block)
    owners = {"atom": np.repeat(np.arange(n), systems["n_atoms"])}
    if "n_points" in systems:
        owners["point"] = np.repeat(np.arange(n), np.maximum(systems["n_points"], 0))
    bad = np.zeros(n, dtype=bool)

    def note(what: str, wrong: np.ndarray, kind: str = "system") -> None:
        if wrong.any():
            mask = wrong if kind == "system" else np.bincount(owners[kind][wrong], minlength=n) > 0
            problems.add_many(what, systems["row"][mask])
            bad[mask] = True

    numbers = block.atoms["numbers"]
    wrong = (numbers < 1) | (numbers > LARGEST_Z)
    if wrong.any():
        note(_wrong_number(int(numbers[wrong][0])), wrong, "atom")
    first = block.atoms["positions"][np.cumsum(systems["n_atoms"]) - systems["n_atoms"]]
    apart = _any_of(block.atoms["positions"] != first[owners["atom"]])
    at_one_place = np.bincount(owners["atom"][apart], minlength=n) == 0
    note("all atoms are at the same place (was the file written to its end?)", at_one_place & (systems["n_atoms"] > 1))
    note("positions are not finite", _any_of(~np.isfinite(block.atoms["positions"])), "atom")
    note("the cell is not finite", _any_of(~np.isfinite(systems["cell"])))
    zero = np.abs(systems["cell"]).sum(axis=2) == 0
    note("a periodic direction has a zero cell vector", _any_of(systems["pbc"] & zero))
    if "n_points" in systems:
        note("esp and esp_points differ in length", systems["n_points"] < 0)
        note("esp_points are not finite", _any_of(~np.isfinite(block.points["esp_points"])), "point")
    for name, label in LABELS.items():
        values = {"system": systems, "atom": block.atoms, "point": block.points}[label.kind].get(name)
        if values is not None:
            verb = "are" if name.endswith("s") and name != "stress" else "is"
            unusable = ~np.isfinite(values) if label.kind == "point" else np.isinf(values)
            note(f"{name} {verb} not finite", _any_of(unusable), label.kind)
    return bad


def _wrong_number(number: int) -> str:
    """What is wrong with an atomic number; some programs add 200 to it for every fidelity after the first."""
    text = f"an atomic number is {number}, expected 1–{LARGEST_Z}"
    fidelity, element = divmod(number, FIDELITY_OFFSET)
    if fidelity < 1 or not 1 <= element <= LARGEST_Z:
        return text
    return (
        f"{text}; it seems to be {element} of a fidelity numbered {fidelity}: subtract {FIDELITY_OFFSET * fidelity}, "
        "and name the fidelity as NAME=FILE (in Python, in a dict) or by a key 'fidelity' of every row"
    )


def _any_of(mask: np.ndarray) -> np.ndarray:
    """Whether any value of each entry is true."""
    return np.asarray(mask.any(axis=tuple(range(1, mask.ndim))))
