"""The bridge between ASE and a potential."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from molcalc._version import __version__
from molcalc.batch import AtomicBatch
from molcalc.calculators.beyond_ase import BeyondASE
from molcalc.calculators.inputs import check_structure, initial_charge
from molcalc.calculators.results import beyond_ase, check_finite, extra_properties, has_volume, to_ase
from molcalc.calculators.structures import make_batch
from molcalc.errors import ChargeError, ConfigError, InputError, SpinError, suggest
from molcalc.fidelity import Fidelity, fidelities_knowing, find_fidelity
from molcalc.neighbors import VerletList
from molcalc.potential import Potential
from molcalc.state import State, multiplicity_of_moments

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class OpenShellWarning(UserWarning):
    """Unpaired electrons of a structure are not seen: a closed-shell model, or initial magnetic moments alone."""


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
    fidelities : by their index; none where the potential knows no difference.
    fidelity : index of the one that is used at first.
    completed_by : by fidelity, what completes the network, in words.
    provenance : what ``todict`` says beside model, fidelity and state.

    Attributes
    ----------
    extras : what was computed last and ASE has no name for.
    extra_properties : what is in it.
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
        fidelities: Sequence[Fidelity] = (),
        fidelity: int = 0,
        completed_by: Sequence[Mapping[str, str]] = (),
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
        self.fidelities, self._fidelity = tuple(fidelities), fidelity
        self.completed_by = tuple(completed_by)
        self._charge, self._multiplicity = charge, multiplicity
        self._provenance = {"model": model, "model_hash": model_hash, "dtype": dtype, **(provenance or {})}
        self._edges = VerletList(potential.cutoff)
        self._state: State | None = None
        self._lock = threading.RLock()
        self._told: set[str] = set()
        self.extras: dict[str, Any] = {}
        super().__init__()
        names = ["energy", "free_energy", "energies", "forces"]
        names += ["stress"] if potential.supports_periodic else []
        names += ["charges", "dipole"] if "charges" in potential.predicts else []
        names += ["magmoms"] if "spin_charges" in potential.predicts else []
        self.implemented_properties = names
        self.extra_properties = extra_properties(potential)

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

    @property
    def fidelity(self) -> str | None:
        """Name of the level of theory in use; None where there is no choice, as of dispersion alone."""
        return self.fidelities[self._fidelity].name if self.fidelities else None

    @fidelity.setter
    def fidelity(self, value: str) -> None:
        self._fidelity = find_fidelity([each.name for each in self.fidelities], value, self.model)
        self.reset()

    def set(self, **options: Any) -> dict[str, Any]:
        """Change ``charge``, ``multiplicity`` or ``fidelity``; results are discarded.

        Raises
        ------
        ConfigError, FidelityError
            For other names, or an unknown fidelity.
        """
        known = ("charge", "multiplicity", "fidelity")
        for key, value in options.items():
            if key not in known:
                raise ConfigError(f"unknown option {key!r}{suggest(key, known)}; {', '.join(known)} can be set")
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

        Returns
        -------
        By the rule of :mod:`molcalc.state`, with the index of the fidelity in use.

        Raises
        ------
        ChargeError, SpinError
            When the structure contradicts itself or the arguments, or the model does not know this charge or spin.
        """
        protons = int(atoms.numbers.sum())
        state = State.of(
            atoms.info,
            n_atoms=len(atoms),
            protons=protons,
            initial_charge=initial_charge(atoms),
            charge=self._charge,
            multiplicity=self._multiplicity,
            fidelity=self._fidelity,
        )
        if state.charge and self.neutral_only:
            raise ChargeError(f"charge {state.charge}: {self.model!r} knows neutral molecules only")
        if "spin_charges" not in self.potential.predicts and state.multiplicity != 1:
            if state.multiplicity_stated:
                raise SpinError(
                    f"multiplicity {state.multiplicity}: {self.model!r} does not use spin (closed shells only); use an "
                    "open-shell model"
                )
            self._tell_once(
                "odd",
                f"{atoms.get_chemical_formula()} with charge {state.charge} has an odd number of electrons; "
                f"{self.model!r} was trained on closed shells and does not see the unpaired one",
            )
        if atoms.has("initial_magmoms") and not state.multiplicity_stated:
            hinted = multiplicity_of_moments(atoms.get_initial_magnetic_moments().sum(), protons - state.charge)
            if hinted not in (None, state.multiplicity):
                self._tell_once(
                    "moments",
                    f"{atoms.get_chemical_formula()} is computed with multiplicity {state.multiplicity}, although its "
                    f"initial magnetic moments add up to one of {hinted}: moments do not count, "
                    'set atoms.info["multiplicity"]',
                )
        return state

    def _tell_once(self, kind: str, text: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            warnings.warn(text, OpenShellWarning, stacklevel=3)

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
        self.extras = beyond_ase(values)
        self.results = results

    def prepare(
        self, atoms: Atoms, edges: VerletList | None = None, fidelity: int | None = None
    ) -> tuple[AtomicBatch, State]:
        """Check a structure and make a batch of it.

        Parameters
        ----------
        edges : follows earlier steps, and saves finding the neighbors again.
        fidelity : its index; None takes the chosen one.
        """
        check_structure(atoms, self.potential.elements, self.model, self.potential.supports_periodic)
        state = self.resolve(atoms)
        if fidelity is not None:
            state = replace(state, fidelity=fidelity)
        if self.fidelities:
            fidelities_knowing(atoms.numbers, self.fidelities, [state.fidelity], self.model)
        return make_batch(atoms, self.potential, state, self.min_distance, edges), state

    # -- provenance and copies ------------------------------------------------------------------------

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """What made a result: model and hash, fidelity, dtype, charge and multiplicity, version. Plain values only."""
        values: dict[str, Any] = {**self._provenance, "molcalc": __version__}
        if self.fidelities:
            values.update(fidelity=self.fidelity, **self.completed_by[self._fidelity])
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
