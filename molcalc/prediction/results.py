"""Results of each structure out of arrays of a batch: Python floats and float64 arrays under the names of ASE."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from molcalc.batch import AtomicBatch
from molcalc.electrostatics.sites import ATOMIC_MOMENTS
from molcalc.errors import NonFiniteResultError
from molcalc.potential import Potential
from molcalc.properties import DIPOLE, PROPERTIES, to_voigt

WHOLE_DIPOLES = frozenset(p.name for p in PROPERTIES.values() if p.quantity is DIPOLE and p.kind == "system")
"""Properties that a network without end does not have."""


@dataclass(frozen=True)
class Prediction:
    """Results of a potential for one structure.

    Attributes
    ----------
    results : by the names of ASE: Python floats, float64 arrays, stress in Voigt order xx, yy, zz, yz, xz, xy.
    extras : what ASE has no name for, such as standard deviations and distributed charges.
    """

    results: dict[str, Any]
    extras: dict[str, Any]

    @classmethod
    def of(cls, values: dict[str, np.ndarray]) -> Prediction:
        """Prediction from arrays of one structure, as :func:`molcalc.derivatives.evaluate` orders them.

        What a structure does not have (see :func:`undefined`) is left out.

        Returns
        -------
        results and extras by name
        """
        results: dict[str, Any] = {}
        extras: dict[str, Any] = {}
        no_dipole = _has_no_dipole(values)
        for name, value in values.items():
            if name not in PROPERTIES or (no_dipole and name in WHOLE_DIPOLES):
                continue
            entry = PROPERTIES[name]
            if entry.kind == "system":
                value = value[0]
            if name == "stress":
                value = to_voigt(value)
            if entry.ase_name is None:
                extras[name] = _plain(value)
            else:
                results[entry.ase_name] = _plain(value)
        results["free_energy"] = results["energy"]
        return cls(results, extras)

    @property
    def all(self) -> dict[str, Any]:
        """Results and extras in one."""
        return {**self.results, **self.extras}


def predicted_properties(potential: Potential) -> list[str]:
    """Names of the results of a potential, as ASE calls them."""
    names = ["energy", "free_energy", "energies", "forces"]
    names += ["stress"] if potential.supports_periodic else []
    names += ["charges", "dipole"] if "charges" in potential.predicts else []
    return names + ["magmoms"] * ("spin_charges" in potential.predicts)


def extra_properties(potential: Potential) -> list[str]:
    """Names of the extras of a potential."""
    names = ["energy_std", "forces_std"] if potential.n_members > 1 else []
    if potential.n_members > 1 and "charges" in potential.predicts:
        names.append("charges_std")
    if "dcm_charges" in potential.predicts:
        names += ["dcm_charges", "dcm_positions", "dcm_dipole", "charge_dipole"]
    return names + [name for name in ATOMIC_MOMENTS if name in potential.predicts]


def undefined(name: str, atoms: Atoms) -> str:
    """Why a structure does not have a property that others of the same model have."""
    if name == "stress":
        return (
            f"stress needs 3 periodic cell vectors; this structure has pbc={atoms.pbc.tolist()} and cell rank "
            f"{atoms.cell.rank}"
        )
    return (
        f"{name}: bonds of this periodic structure reach from a molecule to its own image, and a network without end "
        "has no dipole"
    )


def _has_no_dipole(values: dict[str, np.ndarray]) -> bool:
    """Whether a structure has charges but no dipole: that of finite charges is finite wherever it is defined."""
    return "dipole" in values and bool(np.isnan(values["dipole"]).any() and np.isfinite(values["charges"]).all())


def split_batch(values: dict[str, np.ndarray], batch: AtomicBatch) -> Iterable[dict[str, np.ndarray]]:
    """Arrays of each structure of a batch."""
    bounds = np.concatenate([[0], np.cumsum(batch.atoms_per_system().numpy())])
    for k in range(batch.n_systems):
        yield {
            name: value[k : k + 1] if PROPERTIES[name].kind == "system" else value[bounds[k] : bounds[k + 1]]
            for name, value in values.items()
            if name in PROPERTIES
        }


def check_finite(results: dict[str, Any], model: str) -> None:
    """Raise NonFiniteResultError naming what is not finite, and for which atoms."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = sum(value if isinstance(value, float) else value.sum() for value in results.values())
    if math.isfinite(total):
        return  # so are all of them
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
    # Vectors that depend on each other are refused elsewhere, see molcalc.cells.cell_fault.
    return bool(atoms.pbc.any()) and bool(atoms.cell.array.any(axis=1).all())


def _plain(value: Any) -> Any:
    """A Python float or a float64 array of its own."""
    return float(value) if np.ndim(value) == 0 else np.array(value, dtype=np.float64)
