"""A potential that takes structures: it checks and batches them, and gives results of each.

It knows nothing of ASE's calculators, which stand on it, and keeps nothing of one structure for the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Float64

from molcalc._version import __version__
from molcalc.assembly.opening import OpenedModel
from molcalc.assembly.potentials import AS_DECLARED, PotentialOptions, potential_of
from molcalc.assembly.terms import completed_by
from molcalc.batch import AtomicBatch, collate
from molcalc.devices import usable_device
from molcalc.electrostatics.sites import CHARGE_SOURCES, ChargeSites
from molcalc.errors import (
    ChargeError,
    ConfigError,
    FidelityWarning,
    MissingPropertyError,
    MolcalcError,
    NonEquivariantWarning,
    OpenShellWarning,
    ResourceError,
    SpinError,
    UnreadStateWarning,
    suggest,
    warn_user,
)
from molcalc.fidelity import Fidelity, fidelities_knowing, find_fidelity
from molcalc.neighbors import VerletList
from molcalc.potential import Potential
from molcalc.prediction.batching import check_images, check_structure, initial_charge, make_batch, memory_of
from molcalc.prediction.extrapolation import judge_of
from molcalc.prediction.options import DTYPES, PredictorOptions
from molcalc.prediction.points import charge_sites, field_at, potential_at
from molcalc.prediction.results import (
    Prediction,
    check_finite,
    extra_properties,
    has_volume,
    predicted_properties,
    split_batch,
    undefined,
)
from molcalc.second_derivatives import second_derivatives
from molcalc.state import (
    State,
    is_unread_state,
    multiplicity_of_moments,
    resolve_charge,
    single,
    total_moment,
    unread_kind,
)
from molcalc.steps import step_of
from molcalc.surroundings import own_settings

BATCH_ATOMS = 2000
"""Atoms evaluated at once."""
DEFAULTS = PredictorOptions()


class Predictor:
    """Predictor of energies, forces and all else that a potential knows of structures, many at once.

    >>> predictor = Predictor.of_model(open_model("wb97m-d3"))
    >>> results = predictor.evaluate(images, ("energy", "forces"))

    Parameters
    ----------
    potential : network(s) and energy terms.
    options : charge and multiplicity of all structures, device, arithmetic, smallest distance.
    model : name used in messages and as provenance.
    model_hash : identifies the weights.
    neutral_only : refuse charged structures.
    depends_on : what decides the energy beside positions, elements and cell: "charge", "multiplicity".
    fidelities : by their index; none where the potential knows no difference.
    fidelity : index of the one that is used at first.
    completed_by : by fidelity, what completes the network, in words.
    provenance : what else made the results.

    Attributes
    ----------
    charge, multiplicity : imposed on every structure, or None.
    properties, extra_properties : names of what it predicts: of ASE, and beyond.
    device : where it computes.
    """

    @own_settings()
    def __init__(
        self,
        potential: Potential,
        options: PredictorOptions = DEFAULTS,
        *,
        model: str,
        model_hash: str = "",
        neutral_only: bool = False,
        depends_on: Sequence[str] = ("charge", "multiplicity"),
        fidelities: Sequence[Fidelity] = (),
        fidelity: int = 0,
        completed_by: Sequence[Mapping[str, str]] = (),
        provenance: Mapping[str, str | bool | float] | None = None,
    ) -> None:
        self.device = usable_device(options.device)
        self.potential = potential.set_dtype(DTYPES[str(options.dtype)]).to(self.device)
        self._step = step_of(self.potential)
        self.charge, self.multiplicity = options.charge, options.multiplicity
        self.min_distance = options.min_distance
        self.model = model
        self.neutral_only = neutral_only
        self.depends_on = tuple(depends_on)
        self.fidelities, self._fidelity = tuple(fidelities), fidelity
        self.completed_by = tuple(completed_by)
        self.properties, self.extra_properties = predicted_properties(potential), extra_properties(potential)
        self._provenance = {"model": model, "model_hash": model_hash, "dtype": options.dtype, **(provenance or {})}
        self._extrapolation = judge_of(options.on_extrapolation, model, fidelities, potential)
        self._warned: set[str] = set()

    @classmethod
    @own_settings()
    def of_model(
        cls,
        model: OpenedModel,
        fidelity: str | None = None,
        energy: PotentialOptions = AS_DECLARED,
        options: PredictorOptions = DEFAULTS,
    ) -> Predictor:
        """Predictor of a model at one of its fidelities.

        Parameters
        ----------
        fidelity : its name; may be left out where there is only one.
        energy : dispersion, Coulomb energy and member of an ensemble.

        Returns
        -------
        predictor with the potential of that fidelity

        Raises
        ------
        FidelityError, ConfigError, CheckpointMismatchError
            As :func:`molcalc.assembly.potentials.potential_of` tells.
        """
        config, chosen = model.config, model.index_of(fidelity)
        potential = potential_of(model, fidelity, energy)
        provenance: dict[str, str | bool | float] = {} if energy.member is None else {"member": str(energy.member)}
        if energy.legacy:
            provenance["legacy"] = True
        if "dcm_charges" in potential.predicts:
            provenance["equivariant"] = potential.rotation_invariant
        return cls(
            potential,
            options,
            model=model.label,
            model_hash=model.hash,
            neutral_only=config.neutral_only,
            fidelities=config.fidelities,
            fidelity=chosen,
            completed_by=completed_by(config, chosen, coulomb=energy.coulomb, dispersion=energy.dispersion),
            provenance=provenance,
        )

    # -- what decides a result beside positions ------------------------------------------------------

    @property
    def fidelity(self) -> str | None:
        """Name of the fidelity in use; None where there is no choice, as of dispersion alone."""
        return self.fidelities[self._fidelity].name if self.fidelities else None

    @fidelity.setter
    def fidelity(self, value: str) -> None:
        self._fidelity = find_fidelity([each.name for each in self.fidelities], value, self.model)

    def provenance(self) -> dict[str, Any]:
        """Origin of the results: model and hash, dtype, version, and the fidelity with what completes it."""
        values: dict[str, Any] = {**self._provenance, "step": self._step.kind, "molcalc": __version__}
        if self.fidelities:
            values.update(fidelity=self.fidelity, **self.completed_by[self._fidelity])
        return values

    def resolve(self, atoms: Atoms) -> State:
        """Charge, multiplicity and fidelity that hold for a structure.

        Returns
        -------
        State
            By the rule of :mod:`molcalc.state`, with the index of the fidelity in use. What the energy does not depend
            on is not asked for, and has its default.

        Raises
        ------
        ChargeError, SpinError
            When the structure contradicts itself or the arguments, or the model does not know this charge or spin.
        """
        if "charge" not in self.depends_on:
            return State(0, 1, self._fidelity)
        protons = int(atoms.numbers.sum())
        sources: dict[str, Any] = {"n_atoms": len(atoms), "protons": protons, "initial_charge": initial_charge(atoms)}
        if "multiplicity" not in self.depends_on:
            charge = resolve_charge(atoms.info, argument=self.charge, **sources)
            self._tell_unread(atoms, {"charge": 0} if charge is None else {})
            return State(charge or 0, 1, self._fidelity)
        state = State.of(
            atoms.info, charge=self.charge, multiplicity=self.multiplicity, fidelity=self._fidelity, **sources
        )
        taken = {} if state.charge_stated else {"charge": state.charge}
        self._tell_unread(atoms, taken if state.multiplicity_stated else {**taken, "multiplicity": state.multiplicity})
        if state.charge and self.neutral_only:
            raise ChargeError(f"charge {state.charge}: {self.model!r} knows neutral molecules only")
        if "spin_charges" not in self.potential.predicts and state.multiplicity != 1:
            if state.multiplicity_stated:
                raise SpinError(
                    f"multiplicity {state.multiplicity}: {self.model!r} does not use spin (closed shells only); use an "
                    "open-shell model"
                )
            named = f"{atoms.get_chemical_formula()} with charge {state.charge}"
            self._warn_once(
                f"odd: {named}",
                f"{named} has an odd number of electrons; "
                f"{self.model!r} was trained on closed shells and does not see the unpaired one",
                OpenShellWarning,
            )
        if atoms.has("initial_magmoms") and not state.multiplicity_stated:
            moment = total_moment(atoms.get_initial_magnetic_moments())
            hinted = multiplicity_of_moments(moment, protons - state.charge)
            if hinted not in (None, state.multiplicity):
                formula = atoms.get_chemical_formula()
                self._warn_once(
                    f"moments: {formula}",
                    f"{formula} is computed with multiplicity {state.multiplicity}, although its "
                    f"initial magnetic moments add up to one of {hinted}: moments do not count, "
                    'set atoms.info["multiplicity"]',
                    OpenShellWarning,
                )
        return state

    def _tell_unread(self, atoms: Atoms, taken: Mapping[str, int]) -> None:
        """Tell of keys that seem to state what was taken by default, under names that nothing reads."""
        for name, value in atoms.info.items():
            if isinstance(name, str) and unread_kind(name) in taken and is_unread_state(name, value):
                kind, formula = str(unread_kind(name)), atoms.get_chemical_formula()
                self._warn_once(
                    f"unread {name}: {formula}",
                    f"{formula} is computed with {kind} {taken[kind]}: atoms.info[{name!r}] = {single(value)} is not "
                    f"read; if it is meant, set atoms.info[{kind!r}]",
                    UnreadStateWarning,
                )

    # -- from structures to results ------------------------------------------------------------------

    @own_settings()
    def prepare(
        self, atoms: Atoms, edges: VerletList | None = None, fidelity: int | None = None
    ) -> tuple[AtomicBatch, State]:
        """Check a structure and make a batch of it.

        Parameters
        ----------
        edges : follows earlier steps of this structure, and saves finding the neighbors again.
        fidelity : its index; None takes the one in use.

        Returns
        -------
        batch, and the charge, multiplicity and fidelity in it.

        Raises
        ------
        InputError
            And its subclasses for elements, distances, cell, charge and spin that the model cannot describe.
        """
        self.check(atoms)
        state = self.resolve(atoms)
        if fidelity is not None:
            state = replace(state, fidelity=fidelity)
        if self.fidelities:
            fidelities_knowing(atoms.numbers, self.fidelities, [state.fidelity], self.model)
        self._extrapolation.check_state(atoms.numbers, state)
        with memory_of(atoms.numbers):
            return make_batch(atoms, self.potential, state, self.min_distance, edges, self._extrapolation), state

    def check(self, atoms: Atoms) -> None:
        """Refuse a structure that the model cannot describe, before its distances and charge are looked at.

        Raises
        ------
        InputError, UnsupportedElementError, CellError
        """
        check_structure(atoms, self.potential.elements, self.model, self.potential.supports_periodic)

    def gradients_of(self, atoms: Atoms) -> tuple[str, ...]:
        """Derivatives of the energy that a structure has: forces, and stress where its cell has a volume."""
        return ("forces", "stress") if has_volume(atoms) and "stress" in self.properties else ("forces",)

    @own_settings()
    def predict(
        self, batches: Sequence[AtomicBatch], gradients: Sequence[str], first: int | None = None
    ) -> list[Prediction]:
        """Predictions for structures that are evaluated together, or in smaller parts where memory is short.

        Parameters
        ----------
        batches : of one structure each, as :meth:`prepare` makes them.
        gradients : "forces" and "stress", as far as they are wanted.
        first : number of the first structure among those of the caller, for messages; None where there is only one.

        Returns
        -------
        predictions in the order of the batches

        Raises
        ------
        ResourceError
            When a single one does not fit into memory; names it.
        """
        try:
            return self._in_one_batch(batches, gradients)
        except ResourceError as error:
            if len(batches) == 1:
                raise error if first is None else ResourceError(f"structure {first}: {error}") from error
        half = len(batches) // 2
        second = None if first is None else first + half
        return self.predict(batches[:half], gradients, first) + self.predict(batches[half:], gradients, second)

    def predict_each(self, images: Sequence[Atoms], edges: Sequence[VerletList]) -> list[Prediction | MolcalcError]:
        """Predictions with all gradients for structures that are evaluated together and go wrong apart.

        Parameters
        ----------
        images : structures of any kind.
        edges : of each structure, which follow it from call to call.

        Returns
        -------
        One prediction for each structure; the error in place of one that cannot be described, or whose results are not
        finite.
        """
        found: list[Prediction | MolcalcError | None] = [None] * len(images)
        batches: dict[int, AtomicBatch] = {}
        for k, (atoms, list_) in enumerate(zip(images, edges)):
            try:
                batches[k] = self.prepare(atoms, list_)[0]
            except MolcalcError as error:
                found[k] = error
        for gradients in sorted({self.gradients_of(images[k]) for k in batches}):
            group = [k for k in batches if self.gradients_of(images[k]) == gradients]
            for k, prediction in zip(group, self._apart([batches[k] for k in group], gradients)):
                found[k] = prediction
        return [each for each in found if each is not None]

    def _apart(self, batches: Sequence[AtomicBatch], gradients: Sequence[str]) -> list[Prediction | MolcalcError]:
        """Predictions of one batch; where it fails, of each structure alone."""
        found: list[Prediction | MolcalcError] = []
        try:
            predictions = self.predict(batches, gradients)
        except MolcalcError as error:
            return [error] if len(batches) == 1 else [self._apart([batch], gradients)[0] for batch in batches]
        for prediction in predictions:
            try:
                check_finite(prediction.results, self.model)
                found.append(prediction)
            except MolcalcError as error:
                found.append(error)
        return found

    def evaluate(
        self, images: Iterable[Atoms], properties: Sequence[str] = ("energy", "forces")
    ) -> list[dict[str, Any]]:
        """Properties of many structures, evaluated together.

        Parameters
        ----------
        images : structures of any size; charge and multiplicity are resolved for each.
        properties : from ``properties`` and ``extra_properties``. Stress needs periodic structures.

        Returns
        -------
        One dict per structure: float or float64 arrays, as ASE would return them.

        Raises
        ------
        MissingPropertyError
            For a property that is not predicted, stress of a structure without volume, or the dipole of a network
            without end.
        InputError
            For what is no structure, or one that the model cannot describe; says which one.
        NonFiniteResultError
            When a result is not finite; says of which structure.
        """
        images = check_images(images)
        if isinstance(properties, str):
            raise ConfigError(f'properties={properties!r}; give the names in a list or tuple, as ("{properties}",)')
        known = [*self.properties, *self.extra_properties]
        unknown = [name for name in properties if name not in known]
        if unknown:
            raise MissingPropertyError(f"{unknown[0]} is not implemented by {self.model!r}; it has {', '.join(known)}")
        if "stress" in properties and not all(has_volume(atoms) for atoms in images):
            raise MissingPropertyError("stress needs 3 periodic cell vectors in every structure")
        asked = {name.removesuffix("_std") for name in properties}
        gradients = tuple(name for name in ("forces", "stress") if name in asked)
        results: list[dict[str, Any]] = []
        for start, stop in _ranges([len(atoms) for atoms in images], BATCH_ATOMS):
            batches = []
            for k in range(start, stop):
                try:
                    batches.append(self.prepare(images[k])[0])
                except (ValueError, ResourceError) as error:
                    raise type(error)(f"structure {k}: {error}") from error
            for k, prediction in enumerate(self.predict(batches, gradients, start)):
                found = prediction.all
                check_finite(found, f"{self.model!r} for structure {start + k}")
                missing = [name for name in properties if name not in found]
                if missing:
                    raise MissingPropertyError(f"structure {start + k}: {undefined(missing[0], images[start + k])}")
                results.append({name: found[name] for name in properties})
        return results

    @own_settings()
    def compare_fidelities(self, atoms: Atoms) -> dict[str, dict[str, Any]]:
        """Results at every fidelity of the model, from one pass of its network.

        Each fidelity is completed as it declares, except the one whose dispersion was chosen.

        Returns
        -------
        dict of fidelity name → dict of energy, forces, charges and everything else that is predicted, as Python floats
        and float64 arrays. Fidelities that do not know an element of the structure are left out, with a
        FidelityWarning.

        Raises
        ------
        UnsupportedElementError
            When no fidelity knows all elements.
        """
        fidelities = self.fidelities or (Fidelity(name=self.model),)
        known = fidelities_knowing(atoms.numbers, fidelities, range(len(fidelities)), self.model)
        for k in sorted(set(range(len(fidelities))) - set(known)):
            symbols = ", ".join(chemical_symbols[z] for z in fidelities[k].unknown_elements(atoms.numbers))
            warn_user(
                f"fidelity {fidelities[k].name!r} of {self.model!r} is left out: {symbols} was not in its data",
                FidelityWarning,
            )
        gradients = self.gradients_of(atoms)
        found: list[Prediction] = []
        batch, _ = self.prepare(atoms, fidelity=known[0])
        replicas = [replace(batch, fidelity=torch.full_like(batch.fidelity, k)) for k in known]
        for start, stop in _ranges([len(atoms)] * len(known), BATCH_ATOMS):
            found += self.predict(replicas[start:stop], gradients)
        results = {fidelities[k].name: prediction.all for k, prediction in zip(known, found)}
        for name, values in results.items():
            check_finite(values, f"{self.model!r} at fidelity {name!r}")
        return results

    @own_settings()
    def hessian(self, atoms: Atoms) -> Float64[np.ndarray, "n_atoms 3 n_atoms 3"]:
        """Second derivatives of the energy, (n, 3, n, 3) float64 in eV/Å²."""
        return self._second_derivatives(self.prepare(atoms)[0])[0]

    @own_settings()
    def vibration_inputs(
        self, atoms: Atoms
    ) -> tuple[Float64[np.ndarray, "n_atoms 3 n_atoms 3"], Float64[np.ndarray, "3 n_atoms 3"] | None]:
        """Second derivatives that harmonic vibrations with infrared intensities are made of.

        Returns
        -------
        hessian : (n, 3, n, 3) float64, eV/Å².
        dipole_derivatives : (3, n, 3) float64, e; None for a model without charges, or a structure without dipole.
        """
        matrix, slopes = self._second_derivatives(self.prepare(atoms)[0])
        return matrix, slopes if slopes is not None and np.isfinite(slopes).all() else None

    # -- charges and their potential -----------------------------------------------------------------

    @own_settings()
    def charge_sites(
        self, atoms: Atoms, source: str = "auto", predict: Callable[[], Prediction] | None = None
    ) -> ChargeSites:
        """Charges of one structure, as point charges.

        Parameters
        ----------
        source : "distributed" charges, atomic "charges", or "auto": those that the dipole is made of.
        predict : gives the prediction of this structure, where somebody keeps it; None evaluates it.

        Returns
        -------
        charges in e at positions in Å, float64

        Raises
        ------
        MissingPropertyError
            When the model predicts no charges.
        ConfigError
            For another source.
        """
        if "charges" not in self.properties:
            raise MissingPropertyError(f"charges is not implemented by {self.model!r}")
        if source == "auto":
            distributed = "dcm_charges" in self.potential.predicts and self.potential.rotation_invariant
            source = "distributed" if distributed else "charges"
        if source not in CHARGE_SOURCES:
            raise ConfigError(
                f"source={source!r}{suggest(str(source), CHARGE_SOURCES)}; choose one of {list(CHARGE_SOURCES)}"
            )
        if source == "distributed" and "dcm_charges" not in self.potential.predicts:
            raise ConfigError(f'source="distributed": {self.model!r} predicts charges on atoms only; use "charges"')
        if source == "distributed" and not self.potential.rotation_invariant:
            self._warn_once(
                "orientation",
                "the distributed charges of this model keep their direction in space when the molecule turns: results "
                'depend on its orientation; use PhysNetDCM, or source="charges"',
                NonEquivariantWarning,
            )
        return charge_sites(atoms, predict() if predict is not None else self._predict_charges(atoms), source)

    @own_settings()
    def esp(
        self, points: np.ndarray, atoms: Atoms, source: str = "auto", predict: Callable[[], Prediction] | None = None
    ) -> Float64[np.ndarray, " n_points"]:
        """Electrostatic potential of the charges of a molecule, (n_points,) float64 in V.

        Parameters
        ----------
        points : (n_points, 3) Å.
        source, predict : as in :meth:`charge_sites`.

        Returns
        -------
        (n_points,) float64, V

        Raises
        ------
        MissingPropertyError, ConfigError
            As :meth:`charge_sites`.
        InputError
            For points of the wrong shape, on a charge or on a nucleus; for a periodic structure.
        """
        return potential_at(points, atoms, partial(self.charge_sites, atoms, source, predict))

    @own_settings()
    def electric_field(
        self, points: np.ndarray, atoms: Atoms, source: str = "auto", predict: Callable[[], Prediction] | None = None
    ) -> Float64[np.ndarray, "n_points 3"]:
        """Electric field of the charges of a molecule, (n_points, 3) float64 in V/Å; otherwise as :meth:`esp`."""
        return field_at(points, atoms, partial(self.charge_sites, atoms, source, predict))

    # -- evaluation ----------------------------------------------------------------------------------

    def _in_one_batch(self, batches: Sequence[AtomicBatch], gradients: Sequence[str]) -> list[Prediction]:
        batch = batches[0] if len(batches) == 1 else collate(list(batches))
        with memory_of(batch.numbers, len(batches)):
            tensors = self._step.evaluate(batch.to(self.device), gradients)
            values = {name: value.double().cpu().numpy() for name, value in tensors.items()}
        parts = [values] if len(batches) == 1 else split_batch(values, batch)
        predictions = [Prediction.of(part) for part in parts]
        for one, prediction in zip(batches, predictions):
            if "energy_std" in prediction.extras:
                self._extrapolation.check_spread(one, prediction.extras["energy_std"])
        return predictions

    def _second_derivatives(self, batch: AtomicBatch) -> tuple[np.ndarray, np.ndarray | None]:
        """Hessian, and derivatives of the dipole where a model has one."""
        matrix, slopes = second_derivatives(self.potential, batch.to(self.device))
        found = matrix.cpu().numpy()
        check_finite({"hessian": found}, self.model)
        return found, None if slopes is None else slopes.cpu().numpy()

    def _predict_charges(self, atoms: Atoms) -> Prediction:
        (prediction,) = self.predict([self.prepare(atoms)[0]], ())
        check_finite(prediction.results, self.model)
        return prediction

    def _warn_once(self, subject: str, message: str, category: type[Warning]) -> None:
        if subject not in self._warned:
            self._warned.add(subject)
            warn_user(message, category)


def _ranges(sizes: Sequence[int], limit: int) -> Iterable[tuple[int, int]]:
    """Ranges of consecutive structures with at most ``limit`` atoms together, and at least one structure."""
    start, total = 0, 0
    for k, size in enumerate(sizes):
        if k > start and total + size > limit:
            yield start, k
            start, total = k, 0
        total += size
    if sizes:
        yield start, len(sizes)
