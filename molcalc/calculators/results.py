"""From arrays of a batch to what ASE expects of each structure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from ase import Atoms

from molcalc.batch import AtomicBatch
from molcalc.errors import NonFiniteResultError
from molcalc.potential import Potential
from molcalc.properties import PROPERTIES, to_voigt


def to_ase(values: dict[str, np.ndarray]) -> dict[str, Any]:
    """ASE results of one structure: Python floats, float64 arrays, stress in Voigt order xx, yy, zz, yz, xz, xy."""
    results: dict[str, Any] = {}
    for name, value in values.items():
        entry = PROPERTIES.get(name)
        if entry is None or entry.ase_name is None:
            continue
        if entry.kind == "system":
            value = value[0]
        if name == "stress":
            value = to_voigt(value)
        results[entry.ase_name] = plain(value)
    results["free_energy"] = results["energy"]
    return results


def beyond_ase(values: dict[str, np.ndarray]) -> dict[str, Any]:
    """Results of one structure that ASE has no name for: Python floats and float64 arrays."""
    return {
        name: plain(value[0] if PROPERTIES[name].kind == "system" else value)
        for name, value in values.items()
        if name in PROPERTIES and PROPERTIES[name].ase_name is None
    }


def extra_properties(potential: Potential) -> list[str]:
    """Names of what :func:`beyond_ase` will find."""
    names = ["energy_std", "forces_std"] if potential.n_members > 1 else []
    if potential.n_members > 1 and "charges" in potential.predicts:
        names.append("charges_std")
    if "dcm_charges" in potential.predicts:
        names += ["dcm_charges", "dcm_positions", "dcm_dipole", "charge_dipole"]
    return names + ["atomic_quadrupoles"] * ("atomic_quadrupoles" in potential.predicts)


def plain(value: Any) -> Any:
    """A Python float or a float64 array of its own."""
    return float(value) if np.ndim(value) == 0 else np.array(value, dtype=np.float64)


def check_finite(results: dict[str, Any], model: str) -> None:
    """Raise NonFiniteResultError naming what is not finite, and for which atoms."""
    for name, value in results.items():
        finite = np.isfinite(value)
        if not np.all(finite):
            where = ""
            if np.ndim(value) >= 1 and name != "stress":
                bad = np.flatnonzero(~finite.reshape(len(value), -1).all(axis=1)).tolist()
                where = f": atom {bad[0]}" if len(bad) == 1 else f": atoms {bad[:10]}"
            raise NonFiniteResultError(f"{model} returned {name} that are not finite{where}; check the structure")


def has_volume(atoms: Atoms) -> bool:
    """Whether stress is defined: some direction is periodic and the cell has a volume."""
    return bool(atoms.pbc.any()) and atoms.cell.rank == 3


def chunks(sizes: list[int], limit: int) -> Iterable[tuple[int, int]]:
    """Ranges of consecutive structures with at most ``limit`` atoms together, and at least one structure."""
    start, total = 0, 0
    for k, size in enumerate(sizes):
        if k > start and total + size > limit:
            yield start, k
            start, total = k, 0
        total += size
    if sizes:
        yield start, len(sizes)


def split_batch(values: dict[str, np.ndarray], batch: AtomicBatch) -> Iterable[dict[str, np.ndarray]]:
    """Results of each structure of a batch."""
    bounds = np.concatenate([[0], np.cumsum(batch.atoms_per_system().numpy())])
    for k in range(batch.n_systems):
        yield {
            name: value[k : k + 1] if PROPERTIES[name].kind == "system" else value[bounds[k] : bounds[k + 1]]
            for name, value in values.items()
            if name in PROPERTIES
        }
