"""The bridge between ASE and a potential."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from molcalc._version import __version__
from molcalc.batch import AtomicBatch, build_batch
from molcalc.calculators.beyond_ase import BeyondASE
from molcalc.calculators.inputs import (
    State,
    check_distances,
    check_structure,
    resolve_charge,
    resolve_multiplicity,
)
from molcalc.calculators.results import check_finite, has_volume, plain, to_ase
from molcalc.errors import ChargeError, ConfigError, InputError, SpinError
from molcalc.neighbors import VerletList, all_pairs, neighbor_list, unique_pairs
from molcalc.potential import Potential
from molcalc.properties import PROPERTIES
from molcalc.schema import suggest

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class OpenShellWarning(UserWarning):
    """A closed-shell model is used for an odd number of electrons."""


class MolCalculator(BeyondASE, Calculator):
    """ASE calculator of one potential.

    One pass fills everything that is cheap: energy, free_energy, energies, forces, charges, dipole, magmoms where there
    are spin charges, stress for periodic structures with a full cell. ``results`` is assigned once, at the end, after a
    check that all numbers are finite. What ASE has no name for (standard deviations of an ensemble) is in ``extras``.

    Parameters
    ----------
    potential : network(s) and energy terms.
    model : name used in messages and in ``todict``.
    model_hash : identifies the weights.
    charge, multiplicity : for every structure; None reads them from each Atoms (see the README).
    neutral_only : refuse charged structures.
    device : "auto", "cpu" or "cuda"; "auto" takes a GPU if there is one.
    dtype : "float32" or "float64", arithmetic of the large matrix products; the rest is in float64 in any case.
    min_distance : Å below which two atoms are an error; None takes a quarter of their covalent radii.
    """

    name = "molcalc"

    def __init__(
        self,
        potential: Potential,
        *,
        model: str,
        model_hash: str,
        charge: int | None = None,
        multiplicity: int | None = None,
        neutral_only: bool = False,
        device: str = "auto",
        dtype: str = "float32",
        min_distance: float | None = None,
        provenance: dict[str, str | bool] | None = None,
    ) -> None:
        if dtype not in _DTYPES:
            raise ConfigError(f"dtype={dtype!r}{suggest(str(dtype), _DTYPES)}; choose one of {list(_DTYPES)}")
        if min_distance is not None and not 0.0 < min_distance < 1.0:
            raise ConfigError(f"min_distance={min_distance!r} Å; allowed is 0 < min_distance < 1")
        self.device = _device(device)
        self.potential = potential.set_dtype(_DTYPES[dtype]).to(self.device)
        self.model = model
        self.neutral_only = neutral_only
        self.min_distance = min_distance
        self._charge, self._multiplicity = charge, multiplicity
        self._provenance = {"model": model, "model_hash": model_hash, "dtype": dtype, **(provenance or {})}
        self._edges = VerletList(potential.cutoff)
        self._state: State | None = None
        self._lock = threading.RLock()
        self._warned = False
        self.extras: dict[str, Any] = {}
        super().__init__()
        names = ["energy", "free_energy", "energies", "forces"]
        names += ["stress"] if potential.supports_periodic else []
        names += ["charges", "dipole"] if "charges" in potential.predicts else []
        names += ["magmoms"] if "spin_charges" in potential.predicts else []
        self.implemented_properties = names

    # -- what decides a result beside positions ------------------------------------------------------

    @property
    def charge(self) -> int | None:
        """Total charge imposed on every structure, or None."""
        return self._charge

    @charge.setter
    def charge(self, value: int | None) -> None:
        self._charge = value
        self.reset()

    @property
    def multiplicity(self) -> int | None:
        """Spin multiplicity imposed on every structure, or None."""
        return self._multiplicity

    @multiplicity.setter
    def multiplicity(self, value: int | None) -> None:
        self._multiplicity = value
        self.reset()

    def set(self, **options: Any) -> dict[str, Any]:
        """Change ``charge`` or ``multiplicity``; results are discarded. Raises ConfigError for other names."""
        for key, value in options.items():
            if key not in ("charge", "multiplicity"):
                raise ConfigError(f"unknown option {key!r}; charge and multiplicity can be set")
            setattr(self, key, value)
        return options

    def reset(self) -> None:
        """Forget the results."""
        self.results: dict[str, Any] = {}
        self.extras = {}
        self._state = None
        self.atoms = None

    def resolve(self, atoms: Atoms) -> State:
        """Charge, multiplicity and fidelity that hold for a structure.

        Raises
        ------
        ChargeError, SpinError
        """
        charge = resolve_charge(atoms, self._charge)
        if charge and self.neutral_only:
            raise ChargeError(f"charge {charge}: {self.model!r} knows neutral molecules only")
        multiplicity, given = resolve_multiplicity(atoms, self._multiplicity, charge)
        if "spin_charges" not in self.potential.predicts and multiplicity != 1:
            if given:
                raise SpinError(
                    f"multiplicity {multiplicity}: {self.model!r} does not use spin (closed shells only); use an "
                    "open-shell model"
                )
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"{atoms.get_chemical_formula()} with charge {charge} has an odd number of electrons; "
                    f"{self.model!r} was trained on closed shells and does not see the unpaired one",
                    OpenShellWarning,
                    stacklevel=2,
                )
        return State(charge, multiplicity)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What changed since the last result, ``atoms.info`` included."""
        changes: list[str] = super().check_state(atoms, tol=tol)
        if changes or self._state is None:
            return changes
        try:
            return [] if self.resolve(atoms) == self._state else ["info"]
        except InputError:
            return ["info"]  # the old results go, and calculate() raises

    # -- results ------------------------------------------------------------------------------------

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """One property; safe to call from several threads."""
        with self._lock:
            return super().get_property(name, atoms, allow_calculation)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill ``results`` and ``extras`` in one pass."""
        atoms = atoms if atoms is not None else self.atoms
        if atoms is None:
            raise ConfigError("calculate needs a structure: attach the calculator to an Atoms object")
        self.reset()
        for name in properties:
            if name not in self.implemented_properties:
                raise PropertyNotImplementedError(f"{name} is not implemented by {self.model!r}")
        has_stress = has_volume(atoms) and "stress" in self.implemented_properties
        if "stress" in properties and not has_stress:
            raise PropertyNotImplementedError(
                f"stress needs 3 periodic cell vectors; this structure has pbc={atoms.pbc.tolist()} and "
                f"cell rank {atoms.cell.rank}"
            )
        batch, state = self.prepare(atoms, self._edges)
        values = self._evaluate(batch, ("forces", "stress") if has_stress else ("forces",))
        results = to_ase(values)
        check_finite(results, self.model)
        self.atoms = atoms.copy()
        self._state = state
        self.extras = {
            name: plain(value[0] if PROPERTIES[name].kind == "system" else value)
            for name, value in values.items()
            if name in PROPERTIES and PROPERTIES[name].ase_name is None
        }
        self.results = results

    def prepare(self, atoms: Atoms, edges: VerletList | None = None) -> tuple[AtomicBatch, State]:
        """Check a structure and make a batch of it, with an edge list that may follow earlier steps."""
        check_structure(atoms, self.potential.elements, self.model, self.potential.supports_periodic)
        state = self.resolve(atoms)
        positions = np.array(atoms.positions, dtype=np.float64)
        cell, pbc = np.array(atoms.cell.array, dtype=np.float64), np.array(atoms.pbc)
        cutoff = self.potential.cutoff
        lists = edges.update(positions, cell, pbc) if edges else neighbor_list(positions, cell, pbc, cutoff)
        vectors = positions[lists[0][1]] - positions[lists[0][0]]
        if pbc.any():
            vectors += lists[1] @ cell
        check_distances(atoms.numbers, vectors, lists[0], self.min_distance)
        pair_cutoff = self.potential.pair_cutoff
        if pair_cutoff is None:
            pairs, pair_cutoff = (np.empty((2, 0), dtype=np.int64), np.empty((0, 3))), 0.0
        elif not pbc.any():
            index = all_pairs(len(atoms))
            pairs, pair_cutoff = (index, np.zeros((index.shape[1], 3))), np.inf
        else:
            pairs = unique_pairs(*neighbor_list(positions, cell, pbc, pair_cutoff))
        batch = build_batch(
            numbers=atoms.numbers,
            positions=positions,
            cell=cell,
            pbc=pbc,
            edges=lists,
            cutoff=cutoff,
            pairs=pairs,
            pair_cutoff=pair_cutoff,
            total_charge=state.charge,
            multiplicity=state.multiplicity,
            fidelity=state.fidelity,
        )
        return batch, state

    # -- provenance and copies ------------------------------------------------------------------------

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """What made a result: model and hash, dtype, charge and multiplicity, version. Plain values only."""
        values: dict[str, Any] = {**self._provenance, "molcalc": __version__}
        if self._state is not None:
            values.update(charge=self._state.charge, multiplicity=self._state.multiplicity)
        return values

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device={name!r} is not a torch device; use 'auto', 'cpu' or 'cuda'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device={name!r}: torch finds no GPU here; use device='cpu'")
    return device
