"""What a calculator can tell beside what ASE asks for: many structures, second derivatives, potentials and fields."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.data import chemical_symbols

from molcalc.batch import AtomicBatch, collate
from molcalc.calculators.points import atomic_sites, check_points, values_at
from molcalc.calculators.results import beyond_ase, check_finite, chunks, has_volume, split_batch, to_ase
from molcalc.derivatives import dipole_derivatives, evaluate, hessian
from molcalc.electrostatics.sites import ChargeSites
from molcalc.errors import ConfigError, ResourceError
from molcalc.fidelity import Fidelity, fidelities_knowing
from molcalc.memory import memory_named
from molcalc.neighbors import VerletList
from molcalc.potential import Potential
from molcalc.state import State

if TYPE_CHECKING:
    from molcalc.calculators.vibrations import InfraredVibrations

BATCH_ATOMS = 2000
"""Atoms evaluated at once."""


class FidelityWarning(UserWarning):
    """A fidelity is left out of a comparison."""


class BeyondASE:
    """Methods of :class:`molcalc.calculators.base.MolCalculator` that ASE has no name for."""

    potential: Potential
    device: torch.device
    model: str
    atoms: Atoms | None
    fidelities: tuple[Fidelity, ...]
    implemented_properties: list[str]
    extra_properties: list[str]
    _lock: threading.RLock

    if TYPE_CHECKING:

        def prepare(
            self, atoms: Atoms, edges: VerletList | None = None, fidelity: int | None = None
        ) -> tuple[AtomicBatch, State]:
            """See the calculator."""

        def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
            """See the calculator."""

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
        """
        images = list(images)
        known = [*self.implemented_properties, *self.extra_properties]
        unknown = [name for name in properties if name not in known]
        if unknown:
            raise PropertyNotImplementedError(
                f"{unknown[0]} is not implemented by {self.model!r}; it has {', '.join(known)}"
            )
        if "stress" in properties and not all(has_volume(atoms) for atoms in images):
            raise PropertyNotImplementedError("stress needs 3 periodic cell vectors in every structure")
        asked = {name.removesuffix("_std") for name in properties}
        wanted = tuple(name for name in ("forces", "stress") if name in asked)
        results: list[dict[str, Any]] = []
        with self._lock:
            for start, stop in chunks([len(atoms) for atoms in images], BATCH_ATOMS):
                batches = []
                for k in range(start, stop):
                    try:
                        batches.append(self.prepare(images[k])[0])
                    except ValueError as error:
                        raise type(error)(f"structure {k}: {error}") from error
                for k, result in enumerate(self._together(batches, wanted)):
                    check_finite(result, f"{self.model!r} for structure {start + k}")
                    results.append({name: result[name] for name in properties})
        return results

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
        atoms = self._structure(atoms)
        fidelities = self.fidelities or (Fidelity(name=self.model),)
        known = fidelities_knowing(atoms.numbers, fidelities, range(len(fidelities)), self.model)
        for k in sorted(set(range(len(fidelities))) - set(known)):
            symbols = ", ".join(chemical_symbols[z] for z in fidelities[k].unknown_elements(atoms.numbers))
            warnings.warn(
                f"fidelity {fidelities[k].name!r} of {self.model!r} is left out: {symbols} was not in its data",
                FidelityWarning,
                stacklevel=2,
            )
        wanted = ("forces", "stress") if has_volume(atoms) and "stress" in self.implemented_properties else ("forces",)
        found: list[dict[str, Any]] = []
        with self._lock:
            batch, _ = self.prepare(atoms, fidelity=known[0])
            replicas = [replace(batch, fidelity=torch.full_like(batch.fidelity, k)) for k in known]
            for start, stop in chunks([len(atoms)] * len(known), BATCH_ATOMS):
                found += self._together(replicas[start:stop], wanted)
        for k, result in zip(known, found):
            check_finite(result, f"{self.model!r} at fidelity {fidelities[k].name!r}")
        return {fidelities[k].name: result for k, result in zip(known, found)}

    def get_hessian(self, atoms: Atoms | None = None) -> np.ndarray:
        """Second derivatives of the energy, (n, 3, n, 3) float64 in eV/Å²."""
        atoms = self._structure(atoms)
        with self._lock:
            batch, _ = self.prepare(atoms)
            matrix = hessian(self.potential, batch.to(self.device)).cpu().numpy()
        check_finite({"hessian": matrix}, self.model)
        return matrix

    def get_vibrations(self, atoms: Atoms | None = None) -> InfraredVibrations:
        """Harmonic modes about a structure (relax it first), with ``ir_intensities`` in km/mol."""
        from molcalc.calculators.vibrations import InfraredVibrations  # brings half of ASE with it

        atoms = self._structure(atoms)
        matrix = self.get_hessian(atoms)
        slopes = None
        if "charges" in self.potential.predicts:
            with self._lock:
                batch, _ = self.prepare(atoms)
                slopes = dipole_derivatives(self.potential, batch.to(self.device)).cpu().numpy()
        return InfraredVibrations(atoms, matrix, slopes)

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
        PropertyNotImplementedError
            When the model predicts no charges.
        InputError
            For points of the wrong shape, or on a charge; for a periodic structure.
        """
        atoms = self._structure(atoms)
        where = check_points(points, atoms)
        return values_at(where, self._charge_sites(atoms).potential)

    def get_electric_field(self, points: np.ndarray, atoms: Atoms | None = None) -> np.ndarray:
        """Electric field of the charges of a molecule, (n_points, 3) float64 in V/Å; otherwise as :meth:`get_esp`."""
        atoms = self._structure(atoms)
        where = check_points(points, atoms)
        return values_at(where, self._charge_sites(atoms).field)

    def _charge_sites(self, atoms: Atoms) -> ChargeSites:
        """The charges that make potential and field."""
        return atomic_sites(atoms, self.get_property("charges", atoms))

    def _evaluate(self, batch: AtomicBatch, properties: Sequence[str]) -> dict[str, np.ndarray]:
        systems = "a structure" if batch.n_systems == 1 else f"a batch of {batch.n_systems} structures"
        with memory_named(f"{systems} with {batch.n_atoms} atoms", "use a machine with more, or a smaller structure"):
            values = evaluate(self.potential, batch.to(self.device), properties)
            return {name: value.double().cpu().numpy() for name, value in values.items()}

    def _together(self, batches: list[AtomicBatch], wanted: Sequence[str]) -> list[dict[str, Any]]:
        """Everything about structures that are evaluated in one batch, or in two where memory is short."""
        try:
            return self._in_one_batch(batches, wanted)
        except ResourceError:
            if len(batches) == 1:
                raise
        half = len(batches) // 2
        return self._in_one_batch(batches[:half], wanted) + self._in_one_batch(batches[half:], wanted)

    def _in_one_batch(self, batches: list[AtomicBatch], wanted: Sequence[str]) -> list[dict[str, Any]]:
        batch = collate(batches)
        values = self._evaluate(batch, wanted)
        return [{**to_ase(parts), **beyond_ase(parts)} for parts in split_batch(values, batch)]

    def _structure(self, atoms: Atoms | None) -> Atoms:
        atoms = atoms if atoms is not None else self.atoms
        if atoms is None:
            raise ConfigError("no structure: pass atoms=…, or calculate something first")
        return atoms
