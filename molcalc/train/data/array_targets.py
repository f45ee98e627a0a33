"""HDF5 files with one group per number of atoms, and padded numpy archives."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from molcalc.errors import DatasetError
from molcalc.properties import LABELS
from molcalc.state import FIDELITY_KEY
from molcalc.train.data.frames import Frame

TEXTS = "texts"
"""Attribute that lists the texts which integers in a data set stand for."""


def write_hdf5(path: Path, frames: Iterator[Frame], metadata: dict[str, Any]) -> int:
    """Row-aligned arrays by number of atoms, compressed, with checksums."""
    import h5py

    groups: dict[int, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[len(frame.numbers)].append(frame)
    every = [frame for _, members in sorted(groups.items()) for frame in members]
    texts = _texts(every)
    units = {("coord" if name == "positions" else name): unit for name, unit in metadata["units"].items()}
    with h5py.File(path, "w") as file:
        for name, value in {**metadata, "units": units, TEXTS: texts}.items():
            file.attrs[name] = value if isinstance(value, (str, int, float)) else json.dumps(value)
        for n_atoms, members in sorted(groups.items()):
            group = file.create_group(f"{n_atoms:03d}")
            arrays = _arrays(members, every, texts, n_atoms)
            arrays["coord"] = arrays.pop("positions")
            for name, values in arrays.items():
                group.create_dataset(name, data=values, compression="gzip", shuffle=True, fletcher32=True)
    return len(every)


def write_npz(path: Path, frames: Iterator[Frame], metadata: dict[str, Any]) -> int:
    """One archive of energies, forces and ESP, padded to the largest structure."""
    names = {"positions": "R", "numbers": "Z", "energy": "E", "forces": "F", "dipole": "D", "quadrupole": "Q",
             "esp_points": "vdw_surface"}  # fmt: skip
    every = list(frames)
    if not every:
        return 0
    texts = _texts(every)
    arrays = _arrays(every, every, texts, max(len(frame.numbers) for frame in every))
    units = {names.get(name, name): unit for name, unit in metadata["units"].items()}
    packed = {names.get(name, name): values for name, values in arrays.items()}
    packed["N"] = np.array([len(frame.numbers) for frame in every])
    packed["units"] = np.array(json.dumps(units))
    packed["metadata"] = np.array(json.dumps({**metadata, TEXTS: texts}))
    with open(path, "wb") as handle:
        np.savez_compressed(handle, **packed)  # type: ignore[arg-type]
    return len(every)


def _arrays(
    frames: Sequence[Frame], every: Sequence[Frame], texts: Mapping[str, list[str]], width: int
) -> dict[str, np.ndarray]:
    """Arrays by name; what any frame of the file has is there for all, NaN where it is missing."""
    arrays = {
        "numbers": _padded([frame.numbers for frame in frames], (width,), 0).astype(np.int32),
        "positions": _padded([frame.positions for frame in frames], (width, 3), 0.0),
        "total_charge": np.array([frame.total_charge for frame in frames]),
        "multiplicity": np.array([frame.multiplicity for frame in frames]),
    }
    if any(frame.pbc.any() for frame in every):
        arrays["cell"] = np.array([frame.cell for frame in frames])
        arrays["pbc"] = np.array([frame.pbc for frame in frames])
    for name, label in LABELS.items():
        if label.kind != "point" and any(name in frame.labels for frame in every):
            shape = (width, *label.shape) if label.kind == "atom" else label.shape
            missing = np.full(shape, np.nan)
            arrays[name] = _padded([frame.labels.get(name, missing) for frame in frames], shape, 0.0)
    n_points = max((len(frame.esp_points) for frame in every if frame.esp_points is not None), default=0)
    if n_points:
        none = np.empty((0, 3))
        points = [none if frame.esp_points is None else frame.esp_points for frame in frames]
        arrays["esp_points"] = _padded(points, (n_points, 3), np.nan)
        arrays["esp"] = _padded([frame.labels.get("esp", none[:, 0]) for frame in frames], (n_points,), np.nan)
    _add_keys(arrays, frames, every, texts)
    _add_data(arrays, frames, every, width)
    return arrays


def _padded(values: Sequence[np.ndarray], shape: tuple[int, ...], fill: float) -> np.ndarray:
    result = np.full((len(values), *shape), fill, dtype=np.float64)
    for k, value in enumerate(values):
        corner: Any = (k, *(slice(0, n) for n in value.shape))
        result[corner] = value
    return result


def _keys(frame: Frame) -> dict[str, Any]:
    return frame.keys if frame.fidelity is None else {**frame.keys, FIDELITY_KEY: frame.fidelity}


def _texts(frames: Sequence[Frame]) -> dict[str, list[str]]:
    """Different texts of each key that has any, in order of appearance."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for frame in frames:
        for name, value in _keys(frame).items():
            if isinstance(value, str):
                found[name][value] = None
    return {name: list(values) for name, values in found.items()}


def _add_keys(
    arrays: dict[str, np.ndarray], frames: Sequence[Frame], every: Sequence[Frame], texts: Mapping[str, list[str]]
) -> None:
    """Keys as numbers; texts become their position in the list of the attribute ``texts``, -1 where missing."""
    for name in dict.fromkeys(name for frame in every for name in _keys(frame)):
        if name in arrays:
            raise DatasetError(f"the key {name!r} has the name of an array")
        values = [_keys(frame).get(name) for frame in frames]
        if name in texts:
            places = {text: k for k, text in enumerate(texts[name])}
            if any(value is not None and not isinstance(value, str) for value in values):
                raise DatasetError(f"the key {name!r} is a text in some rows and a number in others")
            arrays[name] = np.array([-1 if value is None else places[value] for value in values], dtype=np.int64)
        else:
            column = np.array([np.nan if value is None else value for value in values])
            arrays[name] = column.astype(np.int64) if column.dtype == bool else column


def _add_data(arrays: dict[str, np.ndarray], frames: Sequence[Frame], every: Sequence[Frame], width: int) -> None:
    """Other arrays, when they have one shape per structure or per atom."""
    for name in dict.fromkeys(name for frame in every for name in frame.data):
        values = [np.asarray(frame.data.get(name, np.nan)) for frame in every]
        per_atom = all(value.shape[:1] == (len(frame.numbers),) for value, frame in zip(values, every))
        shapes = {value.shape[1:] if per_atom else value.shape for value in values}
        if len(shapes) > 1 or any(value.dtype.kind not in "biuf" for value in values):
            raise DatasetError(f"data {name!r} are not arrays of one shape; this kind of file cannot hold them")
        (shape,) = shapes
        own = [np.asarray(frame.data[name]) for frame in frames]
        arrays[name] = _padded(own, (width, *shape) if per_atom else shape, 0.0)
