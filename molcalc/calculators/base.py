"""The bridge between ASE and a predictor."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from molcalc.batch import AtomicBatch
from molcalc.errors import ConfigError, InputError, MissingPropertyError, suggest
from molcalc.fidelity import Fidelity
from molcalc.neighbors import VerletList
from molcalc.potential import Potential
from molcalc.prediction.results import Prediction, check_finite
from molcalc.predictor import Predictor
from molcalc.state import State

if TYPE_CHECKING:
    from molcalc.calculators.vibrations import InfraredVibrations


class MolCalculator(Calculator):
    """ASE calculator of one potential.

    One pass fills everything that is cheap: energy, free_energy, energies, forces, charges, dipole, magmoms where there
    are spin charges, stress for periodic structures with a full cell. ``results`` is assigned once, at the end, after a
    check that all numbers are finite. What ASE has no name for (standard deviations of an ensemble) is in ``extras``.

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
        self.predictor = predictor
        self._edges = VerletList(predictor.potential.cutoff)
        self._state: State | None = None
        self._lock = threading.RLock()
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
        self.predictor.charge = value
        self.reset()

    @property
    def multiplicity(self) -> int | None:
        """Spin multiplicity imposed on every structure, or None."""
        return self.predictor.multiplicity

    @multiplicity.setter
    def multiplicity(self, value: int | None) -> None:
        self.predictor.multiplicity = value
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
        self.predictor.min_distance = value
        self.reset()

    def set(self, **options: Any) -> dict[str, Any]:
        """Change ``charge``, ``multiplicity`` or ``fidelity``; results are discarded.

        Returns
        -------
        the options that were changed, as ASE wants them

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
        """One property; safe to call from several threads."""
        with self._lock:
            return super().get_property(name, atoms, allow_calculation)

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
        self.reset()
        for name in properties:
            if name not in self.implemented_properties:
                raise MissingPropertyError(f"{name} is not implemented by {self.model!r}")
        gradients = self.predictor.gradients_of(atoms)
        if "stress" in properties and "stress" not in gradients:
            raise MissingPropertyError(
                f"stress needs 3 periodic cell vectors; this structure has pbc={atoms.pbc.tolist()} and "
                f"cell rank {atoms.cell.rank}"
            )
        batch, state = self.predictor.prepare(atoms, self._edges)
        (prediction,) = self.predictor.predict([batch], gradients)
        check_finite(prediction.results, self.model)
        self.atoms = atoms.copy()
        self._state = state
        self.extras = prediction.extras
        self.results = prediction.results

    def _structure(self, atoms: Atoms | None) -> Atoms:
        atoms = atoms if atoms is not None else self.atoms
        if atoms is None:
            raise ConfigError("no structure: attach the calculator to an Atoms object, or pass atoms=…")
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
        """Second derivatives of the energy, (n, 3, n, 3) float64 in eV/Å²."""
        with self._lock:
            return self.predictor.hessian(self._structure(atoms))

    def get_vibrations(self, atoms: Atoms | None = None) -> InfraredVibrations:
        """Harmonic modes about a structure (relax it first), with ``ir_intensities`` in km/mol."""
        from molcalc.calculators.vibrations import InfraredVibrations  # brings half of ASE with it

        atoms = self._structure(atoms)
        with self._lock:
            return InfraredVibrations(atoms, *self.predictor.vibration_inputs(atoms))

    def get_esp(self, points: np.ndarray, atoms: Atoms | None = None) -> np.ndarray:
        """Electrostatic potential of the charges of a molecule.

        Parameters
        ----------
        points : (n_points, 3) Å.

        Returns
        -------
        (n_points,) float64, V

        Raises
        ------
        MissingPropertyError
            When the model predicts no charges.
        InputError
            For points of the wrong shape, or on a charge; for a periodic structure.
        """
        atoms = self._structure(atoms)
        return self.predictor.esp(points, atoms, "charges", partial(self._predicted, atoms))

    def get_electric_field(self, points: np.ndarray, atoms: Atoms | None = None) -> np.ndarray:
        """Electric field of the charges of a molecule, (n_points, 3) float64 in V/Å; otherwise as :meth:`get_esp`."""
        atoms = self._structure(atoms)
        return self.predictor.electric_field(points, atoms, "charges", partial(self._predicted, atoms))

    def _predicted(self, atoms: Atoms) -> Prediction:
        """Results and extras of a structure: those that are kept, or new ones."""
        with self._lock:
            self.get_property("energy", atoms)
            return Prediction(self.results, self.extras)

    # -- provenance and copies -------------------------------------------------------------------------

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Origin of a result: model and hash, fidelity, dtype, charge and multiplicity, version. Plain values only."""
        values = self.predictor.provenance()
        if self._state is not None:
            values.update(charge=self._state.charge, multiplicity=self._state.multiplicity)
        return values

    def __copy__(self) -> MolCalculator:
        """A calculator of its own: it shares the networks, not the charge, the fidelity or the results to come."""
        copied = type(self).__new__(type(self))
        copied.__setstate__(self.__getstate__())
        copied.predictor = copy.copy(self.predictor)
        copied._edges = VerletList(self.potential.cutoff)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()
