"""The bridge between ASE and a predictor."""

from __future__ import annotations

import copy
import os
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from molcalc.batch import AtomicBatch
from molcalc.calculators.carried_state import keep_state
from molcalc.calculators.kept_results import KeptResult, KeptResults
from molcalc.elements import check_masses
from molcalc.errors import ConfigError, InputError, MissingPropertyError, short, suggest
from molcalc.fidelity import Fidelity
from molcalc.neighbors import VerletList
from molcalc.notebook_tables import facts_table
from molcalc.potential import Potential
from molcalc.prediction.options import checked_min_distance
from molcalc.prediction.points import checked_points
from molcalc.prediction.results import Prediction, check_finite, undefined
from molcalc.predictor import Predictor
from molcalc.state import State, charge_argument, multiplicity_argument

if TYPE_CHECKING:
    from molcalc.calculators.vibrations import InfraredVibrations

Own = TypeVar("Own", bound="MolCalculator")
SETTABLE = ("charge", "multiplicity", "mult", "spin", "fidelity")
"""Options that :meth:`MolCalculator.set` changes."""
COMPARED = ("numbers", "positions", "initial_charges", "initial_magmoms")
"""Arrays of a structure that a result depends on."""


class MolCalculator(Calculator):
    """ASE calculator of one potential.

    One pass fills everything that is cheap: energy, free_energy, energies, forces, charges, dipole, magmoms where there
    are spin charges, stress for periodic structures with a full cell. ``results`` is assigned once, at the end, after a
    check that all numbers are finite. What ASE has no name for (standard deviations of an ensemble) is in ``extras``.
    Results of the last few structures are kept, so that the images of a path may share one calculator.

    Parameters
    ----------
    predictor : computes the results; the calculator keeps those of the last structure.

    Attributes
    ----------
    extras : what was computed last and ASE has no name for.
    extra_properties : what is in it.
    """

    name = "molcalc"

    def __init__(self, predictor: Predictor) -> None:
        """Set up with the arguments that the class describes."""  # help() of subclasses would show ASE's arguments
        self.predictor = predictor
        self._edges = VerletList(predictor.potential.cutoff)
        self._kept = KeptResults()
        self._state: State | None = None
        self._renew_lock()
        self.extras: dict[str, Any] = {}
        super().__init__()
        self.implemented_properties = list(predictor.properties)
        self.extra_properties = list(predictor.extra_properties)

    # -- what decides a result beside positions ------------------------------------------------------

    @property
    def charge(self) -> int | None:
        """Total charge imposed on every structure, or None."""
        return self.predictor.charge

    @charge.setter
    def charge(self, value: int | None) -> None:
        self.predictor.charge = charge_argument(value)
        self.reset()

    @property
    def multiplicity(self) -> int | None:
        """Spin multiplicity imposed on every structure, or None."""
        return self.predictor.multiplicity

    @multiplicity.setter
    def multiplicity(self, value: int | None) -> None:
        self.predictor.multiplicity = multiplicity_argument(value)
        self.reset()

    @property
    def fidelity(self) -> str | None:
        """Name of the fidelity in use; None where there is no choice, as of dispersion alone."""
        return self.predictor.fidelity

    @fidelity.setter
    def fidelity(self, value: str) -> None:
        self.predictor.fidelity = value
        self.reset()

    @property
    def neutral_only(self) -> bool:
        """Whether charged structures are refused."""
        return self.predictor.neutral_only

    @neutral_only.setter
    def neutral_only(self, value: bool) -> None:
        self.predictor.neutral_only = value
        self.reset()

    @property
    def min_distance(self) -> float | None:
        """Å below which two atoms are an error; None takes a quarter of their covalent radii."""
        return self.predictor.min_distance

    @min_distance.setter
    def min_distance(self, value: float | None) -> None:
        self.predictor.min_distance = checked_min_distance(value)
        self.reset()

    def set(self, **options: Any) -> dict[str, Any]:
        """Change ``charge``, ``multiplicity`` (or ``mult``, ``spin``) or ``fidelity``; results are discarded.

        Returns
        -------
        the options that were changed, as ASE wants them

        Raises
        ------
        ConfigError, FidelityError
            For other names, or an unknown fidelity.
        """
        for key in options:
            if key not in SETTABLE:
                raise ConfigError(f"unknown option {key!r}{suggest(key, SETTABLE)}; {', '.join(SETTABLE)} can be set")
        if "charge" in options:
            self.charge = options["charge"]
        spins = {key: options[key] for key in ("multiplicity", "mult", "spin") if key in options}
        if spins:
            self.multiplicity = multiplicity_argument(**spins)
        if "fidelity" in options:
            self.fidelity = options["fidelity"]
        return options

    def reset(self) -> None:
        """Forget all results."""
        self._kept.clear()
        self._forget_last()

    def _forget_last(self) -> None:
        self.results: dict[str, Any] = {}
        self.extras = {}
        self._state = None
        self.atoms = None

    def resolve(self, atoms: Atoms) -> State:
        """Charge, multiplicity and fidelity that hold for a structure; raises ChargeError and SpinError."""
        return self.predictor.resolve(atoms)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Changes since the last result, those of ``atoms.info`` included."""
        changes: list[str] = super().check_state(atoms, tol=tol)
        if changes or self._state is None:
            return changes
        try:
            return [] if self.resolve(atoms) == self._state else ["info"]
        except InputError:
            return ["info"]  # the old results go, and calculate() raises

    def _is_last(self, atoms: Atoms) -> bool:
        """Whether the results are those of exactly this structure and state.

        As :meth:`check_state`, which names the changes, and takes ten times as long.
        """
        last = self.atoms
        if last is None or self._state is None:
            return False
        for name in COMPARED:
            mine, its = last.arrays.get(name), atoms.arrays.get(name)
            if mine is not its and (mine is None or its is None or not _same_bits(mine, its)):
                return False
        if not _same_bits(last.cell.array, atoms.cell.array) or not _same_bits(last.pbc, atoms.pbc):
            return False
        try:
            return self.resolve(atoms) == self._state
        except InputError:
            return False  # the old results go, and calculate() raises

    # -- what the predictor is made of ----------------------------------------------------------------

    @property
    def potential(self) -> Potential:
        """Network(s) and energy terms."""
        return self.predictor.potential

    @property
    def device(self) -> torch.device:
        """Device on which the potential is evaluated."""
        return self.predictor.device

    @property
    def model(self) -> str:
        """Name of the model, used in messages and in :meth:`todict`."""
        return self.predictor.model

    @property
    def fidelities(self) -> tuple[Fidelity, ...]:
        """Fidelities of the model by their index; none where the potential knows no difference."""
        return self.predictor.fidelities

    @property
    def completed_by(self) -> tuple[Mapping[str, str], ...]:
        """Energy terms that complete the network, in words, by fidelity."""
        return self.predictor.completed_by

    def prepare(self, atoms: Atoms) -> tuple[AtomicBatch, State]:
        """Check a structure and make a batch of it; see :meth:`molcalc.predictor.Predictor.prepare`."""
        return self.predictor.prepare(atoms)

    # -- results of one structure ---------------------------------------------------------------------

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """One property; safe to call from several threads.

        Returns
        -------
        float, or float64 array that belongs to the caller; None where it is not known and must not be computed

        Raises
        ------
        MissingPropertyError
            For a property that the model does not have, or the structure.
        """
        with self._lock:
            self._require_implemented(name)
            if atoms is not None:
                atoms = self._structure(atoms)
                self._turn_to(atoms)
            if not self.results:
                if not allow_calculation:
                    return None
                self.calculate(atoms, [name])
            if name not in self.results:  # one pass finds all that there are
                raise MissingPropertyError(undefined(name, self._structure(atoms)))
            value = self.results[name]
            return value.copy() if isinstance(value, np.ndarray) else value

    def get_spin_polarized(self) -> bool:
        """Whether unpaired electrons change the results."""
        return "spin_charges" in self.potential.predicts

    def calculation_required(self, atoms: Atoms, properties: Sequence[str]) -> bool:
        """Whether a property of a structure is not known yet, from the last calculation or one of the few before."""
        with self._lock:
            self._turn_to(atoms)
            return any(name not in self.results for name in properties)

    def _turn_to(self, atoms: Atoms) -> None:
        """Leave the results of another structure or state, for those of this one if they are kept."""
        if self._is_last(atoms):
            return
        self._forget_last()
        if not self._kept.knows(atoms):
            return
        try:
            kept = self._kept.find(atoms, self.resolve(atoms))
        except InputError:
            return  # calculate() raises it
        if kept is not None:
            prediction = kept.copied_prediction()
            self.atoms, self._state = kept.atoms.copy(), kept.state
            self.results, self.extras = prediction.results, prediction.extras

    def _require_implemented(self, name: str) -> None:
        if name == "stresses":
            raise MissingPropertyError(
                f"stresses: {self.model!r} does not divide stress among atoms; ask for the stress"
            )
        if name not in self.implemented_properties:
            raise MissingPropertyError(
                f"{name} is not implemented by {self.model!r}; it has {', '.join(self.implemented_properties)}"
            )

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill ``results`` and ``extras`` in one pass.

        Raises
        ------
        MissingPropertyError
            For a property that the model does not have, or the structure.
        InputError
            And its subclasses, as :meth:`prepare` tells.
        NonFiniteResultError
            When a result is not finite.
        ResourceError
            When the structure does not fit into memory.
        """
        atoms = self._structure(atoms)
        self._forget_last()
        for name in properties:
            self._require_implemented(name)
        gradients = self.predictor.gradients_of(atoms)
        if "stress" in properties and "stress" not in gradients:
            raise MissingPropertyError(undefined("stress", atoms))
        batch, state = self.predictor.prepare(atoms, self._edges)
        (prediction,) = self.predictor.predict([batch], gradients)
        check_finite(prediction.results, self.model)
        result = KeptResult(atoms.copy(), state, prediction)
        self._kept.add(result)
        self.atoms, self._state = result.atoms, state
        self.extras = prediction.extras
        self.results = prediction.results

    def _structure(self, atoms: Atoms | None) -> Atoms:
        """The structure that is meant: the given one, or that of the last calculation."""
        atoms = atoms if atoms is not None else self.atoms
        if atoms is None:
            raise ConfigError(
                "no structure: nothing was computed yet, and attaching a calculator does not tell it the structure. "
                "Pass it (atoms=…), or ask for the energy first"
            )
        if not isinstance(atoms, Atoms):
            raise InputError(f"atoms={short(atoms)} is a {type(atoms).__name__}; expected ase.Atoms")
        return atoms

    # -- beyond ASE ------------------------------------------------------------------------------------

    def evaluate(
        self, images: Iterable[Atoms], properties: Sequence[str] = ("energy", "forces")
    ) -> list[dict[str, Any]]:
        """Properties of many structures, evaluated together.

        Parameters
        ----------
        images : structures of any size; charge and multiplicity are resolved for each.
        properties : ASE names, and those in ``extra_properties``: standard deviations of an ensemble
            ("energy_std", "forces_std", "charges_std"). Stress needs periodic structures.

        Returns
        -------
        One dict per structure: float or float64 arrays, as ASE would return them.

        Raises
        ------
        MissingPropertyError, InputError, NonFiniteResultError
            As :meth:`molcalc.predictor.Predictor.evaluate`.
        """
        with self._lock:
            return self.predictor.evaluate(images, properties)

    def compare_fidelities(self, atoms: Atoms | None = None) -> dict[str, dict[str, Any]]:
        """Results at every fidelity of the model, from one pass of its network.

        Each fidelity is completed as it declares, the chosen one as the calculator was asked to. ``results`` stay.

        Returns
        -------
        dict of fidelity name → dict of energy, forces, charges and everything else that :meth:`calculate` finds, as
        Python floats and float64 arrays. Fidelities that do not know an element of the structure are left out, with a
        FidelityWarning.

        Raises
        ------
        UnsupportedElementError
            When no fidelity knows all elements.
        """
        with self._lock:
            return self.predictor.compare_fidelities(self._structure(atoms))

    def get_hessian(self, atoms: Atoms | None = None) -> np.ndarray:
        """Second derivatives of the energy, (n, 3, n, 3) float64 in eV/Å²; constraints are not looked at."""
        with self._lock:
            return self.predictor.hessian(self._structure(atoms))

    def get_hessian_2d(self, atoms: Atoms | None = None) -> np.ndarray:
        """Second derivatives of the energy, (3n, 3n) float64 in eV/Å².

        In this form optimizers of transition states take them: ``Sella(atoms, hessian_function=calc.get_hessian_2d)``.

        Returns
        -------
        (3n, 3n) float64, eV/Å²
        """
        matrix = self.get_hessian(atoms)
        return matrix.reshape(3 * len(matrix), 3 * len(matrix))

    def get_vibrations(
        self, atoms: Atoms | None = None, indices: Sequence[int] | np.ndarray | None = None
    ) -> InfraredVibrations:
        """Harmonic modes about a structure (relax it first), with ``ir_intensities`` in km/mol.

        Parameters
        ----------
        indices : atoms that vibrate; None takes those that FixAtoms and FixCartesian leave free, as ASE does.

        Returns
        -------
        vibrations of these atoms, with the masses of the structure, and its charge in ``info``

        Raises
        ------
        InputError
            When no atom is free, an index is none of an atom, or a mass no positive number.
        """
        from molcalc.calculators.vibrations import InfraredVibrations  # brings half of ASE with it

        atoms = self._structure(atoms)
        check_masses(atoms)
        if indices is None:
            indices = InfraredVibrations.indices_from_constraints(atoms)
        free = _checked_indices(indices, len(atoms))
        with self._lock:
            hessian, slopes = self.predictor.vibration_inputs(atoms)
        partial_slopes = None if slopes is None else slopes[:, free]
        kept = atoms.copy()
        keep_state(kept, self)
        return InfraredVibrations(kept, hessian[free][:, :, free], free, partial_slopes)

    def get_distributed_charges(self, atoms: Atoms | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Distributed charges of a structure; moments of atoms, where there are any, are in ``extras``.

        Returns
        -------
        positions : (n_sites, 3) float64, Å, those of atom 0 first.
        charges : (n_sites,) float64, e.

        Raises
        ------
        ConfigError
            When the model predicts charges on atoms only.
        """
        atoms = self._structure(atoms)
        sites = self.predictor.charge_sites(atoms, "distributed", partial(self._predicted, atoms))
        return sites.positions.numpy().copy(), sites.charges.numpy().copy()

    def get_esp(self, points: np.ndarray, atoms: Atoms | None = None, source: str = "auto") -> np.ndarray:
        """Electrostatic potential of the charges of a molecule.

        Parameters
        ----------
        points : (n_points, 3) Å.
        source : "distributed" charges with moments of atoms, where the model has any; "charges" on the atoms; or
            "auto", those that the dipole is made of.

        Returns
        -------
        (n_points,) float64, V

        Raises
        ------
        MissingPropertyError
            When the model predicts no charges.
        InputError
            For points of the wrong shape, on a charge or on a nucleus; for a periodic structure.
        ConfigError
            For a source that the model does not have.
        """
        points, atoms = checked_points(points), self._structure(atoms)
        return self.predictor.esp(points, atoms, source, partial(self._predicted, atoms))

    def get_electric_field(self, points: np.ndarray, atoms: Atoms | None = None, source: str = "auto") -> np.ndarray:
        """Electric field of the charges of a molecule, (n_points, 3) float64 in V/Å; otherwise as :meth:`get_esp`."""
        points, atoms = checked_points(points), self._structure(atoms)
        return self.predictor.electric_field(points, atoms, source, partial(self._predicted, atoms))

    def _predicted(self, atoms: Atoms) -> Prediction:
        """Results and extras of a structure: those that are kept, or new ones."""
        with self._lock:
            self.get_property("energy", atoms)
            return Prediction(self.results, self.extras)

    # -- provenance and copies -------------------------------------------------------------------------

    def _shown(self) -> dict[str, str]:
        """What somebody who looks at a calculator wants to know of it."""
        values = self.predictor.provenance()
        told = dict.fromkeys(self.predictor.depends_on, "of each structure")
        given = {"charge": self.charge, "multiplicity": self.multiplicity}
        told |= {name: str(value) for name, value in given.items() if value is not None}
        model, identity = values.pop("model"), values.pop("model_hash")
        return {"model": f"{model} ({identity})" if identity else str(model)} | {
            name: str(value) for name, value in (values | told).items() if name != "molcalc"
        }

    def __repr__(self) -> str:
        shown = self._shown()
        return f"<{type(self).__name__} {shown.pop('model')}: {', '.join(f'{k} {v}' for k, v in shown.items())}>"

    def _repr_html_(self) -> str:
        return facts_table(type(self).__name__, self._shown())

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Origin of a result: model and hash, and every option that changes a number. Plain values only.

        Charge and multiplicity are those of the last result; before there is one, those that were given.

        Returns
        -------
        dict of strings, numbers and booleans
        """
        values = self.predictor.provenance()
        known = self._state if self._state is not None else self.predictor
        stated = {"charge": known.charge, "multiplicity": known.multiplicity}
        return {**values, **{name: value for name, value in stated.items() if value is not None}}

    def clone(self: Own) -> Own:
        """A calculator of its own that shares the networks, not the charge, the fidelity or the results to come.

        It takes next to no memory. Changing weights in place changes them for both: :func:`copy.deepcopy` first.

        Returns
        -------
        calculator of the same class
        """
        return copy.copy(self)

    def __copy__(self: Own) -> Own:
        copied = type(self).__new__(type(self))
        copied.__setstate__(self.__getstate__())
        copied.predictor = copy.copy(self.predictor)
        copied._edges = VerletList(self.potential.cutoff)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("_lock", "_kept")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._kept = KeptResults()
        self._renew_lock()

    def _renew_lock(self) -> None:
        self._lock = threading.RLock()
        _alive.add(self)


_alive: weakref.WeakSet[MolCalculator] = weakref.WeakSet()


def _after_fork() -> None:
    """Free calculators that a thread of the parent was using: it is not there to do so."""
    for calculator in list(_alive):
        calculator._renew_lock()


os.register_at_fork(after_in_child=_after_fork)


def _checked_indices(indices: Sequence[int] | np.ndarray, n_atoms: int) -> np.ndarray:
    """(n,) int64 indices of atoms, none twice."""
    found = np.asarray(indices)
    if found.dtype == bool and found.shape == (n_atoms,):
        found = np.flatnonzero(found)
    if found.ndim != 1 or len(found) == 0:
        raise InputError("no atom is free to vibrate: remove constraints, or give indices")
    whole = found.astype(np.int64) if found.dtype.kind in "iu" else np.array([n_atoms])
    if whole.min() < -n_atoms or whole.max() >= n_atoms or len(np.unique(whole % n_atoms)) != len(whole):
        raise InputError(f"indices={short(indices)}; expected different atoms from 0 to {n_atoms - 1}")
    return whole % n_atoms


def _same_bits(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two arrays are of one kind and the same, bit for bit; np.array_equal takes five times as long."""
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()
