"""PhysNet with distributed charges as ASE calculators."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from ase import Atoms

from molcalc.assembly.ensembles import Source
from molcalc.assembly.terms import Wish
from molcalc.calculators.of_model import ModelCalculator
from molcalc.calculators.points import atomic_sites, check_points, distributed_sites, values_at
from molcalc.calculators.sources import Model
from molcalc.electrostatics.sites import SOURCES, ChargeSites
from molcalc.errors import ConfigError, suggest


class NonEquivariantWarning(UserWarning):
    """Distributed charges are used that do not turn with the molecule."""


class DistributedChargeCalculator(ModelCalculator):
    """What both calculators of distributed charges have in common.

    ``extras`` holds ``dcm_charges`` (n_atoms, n_dcm) in e, ``dcm_positions`` (n_atoms, n_dcm, 3) in Å, and the dipoles
    in e·Å of the distributed and of the atomic charges, ``dcm_dipole`` and ``charge_dipole``.
    """

    rotation_invariant: ClassVar[bool]

    def __init__(
        self,
        model: Model | Sequence[Model] | Source,
        *,
        fidelity: str | None = None,
        dispersion: Wish = "auto",
        charge: int | None = None,
        multiplicity: int | None = None,
        member: int | None = None,
        device: str = "auto",
        dtype: str = "float32",
        coulomb: str = "auto",
        min_distance: float | None = None,
    ) -> None:
        super().__init__(
            model,
            fidelity=fidelity,
            dispersion=dispersion,
            charge=charge,
            multiplicity=multiplicity,
            member=member,
            device=device,
            dtype=dtype,
            coulomb=coulomb,
            min_distance=min_distance,
            provenance={"equivariant": self.rotation_invariant},
        )
        self.parameters["equivariant"] = self.rotation_invariant

    def get_distributed_charges(self, atoms: Atoms | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Distributed charges of a structure.

        Returns
        -------
        positions : (n_sites, 3) float64, Å, those of atom 0 first.
        charges : (n_sites,) float64, e.
        """
        sites = self._sites(self._structure(atoms), "distributed")
        return sites.positions.numpy().copy(), sites.charges.numpy().copy()

    def get_esp(self, points: np.ndarray, atoms: Atoms | None = None, source: str = "distributed") -> np.ndarray:
        """Electrostatic potential of a molecule.

        Parameters
        ----------
        points : (n_points, 3) Å.
        source : "distributed" charges or atomic "charges".

        Returns
        -------
        (n_points,) float64, V

        Raises
        ------
        InputError
            For points of the wrong shape, or on a charge; for a periodic structure.
        ConfigError
            For another source.
        """
        atoms = self._structure(atoms)
        where = check_points(points, atoms)
        return values_at(where, self._sites(atoms, source).potential)

    def get_electric_field(
        self, points: np.ndarray, atoms: Atoms | None = None, source: str = "distributed"
    ) -> np.ndarray:
        """Electric field −∇V of a molecule, (n_points, 3) float64 in V/Å; otherwise as :meth:`get_esp`."""
        atoms = self._structure(atoms)
        where = check_points(points, atoms)
        return values_at(where, self._sites(atoms, source).field)

    def _sites(self, atoms: Atoms, source: str) -> ChargeSites:
        if source not in SOURCES:
            raise ConfigError(f"source={source!r}{suggest(str(source), SOURCES)}; choose one of {list(SOURCES)}")
        with self._lock:
            charges = self.get_property("charges", atoms)
            extras: dict[str, Any] = self.extras
        return atomic_sites(atoms, charges) if source == "charges" else distributed_sites(atoms, extras)


class PhysNetDCM(DistributedChargeCalculator):
    """Energies, forces, charges and electrostatic potentials of molecules from PhysNet-DCM.

    >>> atoms.calc = PhysNetDCM("runs/co2")

    The ``dipole`` in the results is that of the distributed charges, about the center of mass.

    Parameters
    ----------
    model : model directory as :func:`molcalc.train.fit` writes it, or a checkpoint in memory. A list of runs of one
        model makes an ensemble.
    fidelity : models of this kind have a single one; its name may be given.
    dispersion : "auto" as the model declares, None, "d3bj:FUNCTIONAL" or "d4:FUNCTIONAL" with an exact name, or
        parameters.
    charge, multiplicity : for every structure. None takes what each Atoms states: keys of ``atoms.info``, then
        the sum of initial charges, then 0 and the lowest multiplicity (:mod:`molcalc.state`).
    member : one network of an ensemble, from 0; None averages all.
    device : "auto", "cpu" or "cuda".
    dtype : "float32" or "float64", arithmetic of the network; distances, electrostatics and sums are in float64 in any
        case.
    coulomb : "auto" as the model declares, or "shifted" for periodic structures (PhysNet's Coulomb energy, 15 Å).
    min_distance : Å below which two atoms are an error; None takes a quarter of their covalent radii.

    Raises
    ------
    FileNotFoundError, CheckpointError
        When the model cannot be found or used.
    CheckpointMismatchError
        When it is a model of another kind; the message names the calculator to use.
    ConfigError, FidelityError
        When an option does not fit the model.

    References
    ----------
    Unke, Meuwly, J. Chem. Theory Comput. 15, 3678 (2019), doi:10.1021/acs.jctc.9b00181.
    """

    name = "physnet-dcm"
    rotation_invariant = True


class NonEquivariantDCM(DistributedChargeCalculator):
    """Energies, forces, charges and electrostatic potentials from PhysNet with the plain head.

    >>> atoms.calc = NonEquivariantDCM("runs/co2_noneq")

    Energy, forces, charges and the ``dipole`` in the results, which is that of the atomic charges, turn with the
    molecule. The distributed charges do not: asking for them, or for their potential or field, gives a
    :class:`NonEquivariantWarning`, once. ``parameters["equivariant"]`` is False.

    Parameters and errors are those of :class:`PhysNetDCM`.
    """

    name = "noneq-dcm"
    rotation_invariant = False
    _warned_of_rotation = False

    def _sites(self, atoms: Atoms, source: str) -> ChargeSites:
        if source == "distributed" and not self._warned_of_rotation:
            self._warned_of_rotation = True
            warnings.warn(
                "the distributed charges of this model keep their direction in space when the molecule turns: results "
                'depend on its orientation; use PhysNetDCM, or source="charges"',
                NonEquivariantWarning,
                stacklevel=3,
            )
        return super()._sites(atoms, source)
