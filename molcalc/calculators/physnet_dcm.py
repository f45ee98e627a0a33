"""PhysNet with distributed charges as ASE calculators."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms

from molcalc.assembly.opening import AnyModel
from molcalc.assembly.potentials import PotentialOptions
from molcalc.assembly.terms import DispersionChoice
from molcalc.calculators.of_model import ModelCalculator
from molcalc.devices import Device
from molcalc.prediction.options import PredictorOptions


class DistributedChargeCalculator(ModelCalculator):
    """Base of both calculators of distributed charges.

    ``extras`` holds ``dcm_charges`` (n_atoms, n_dcm) in e, ``dcm_positions`` (n_atoms, n_dcm, 3) in Å, and the dipoles
    in e·Å of the distributed and of the atomic charges, ``dcm_dipole`` and ``charge_dipole``.
    """

    def __init__(
        self,
        model: AnyModel,
        *,
        fidelity: str | None = None,
        dispersion: DispersionChoice = "auto",
        charge: int | None = None,
        multiplicity: int | None = None,
        mult: int | None = None,
        spin: int | None = None,
        member: int | None = None,
        device: Device = "auto",
        dtype: str | torch.dtype = "float32",
        coulomb: str | None = "auto",
        min_distance: float | None = None,
        on_extrapolation: str = "warn",
    ) -> None:
        super().__init__(
            model,
            fidelity,
            PotentialOptions(dispersion=dispersion, coulomb=coulomb, member=member),
            PredictorOptions(
                charge=charge,
                multiplicity=multiplicity,
                mult=mult,
                spin=spin,
                device=device,
                dtype=dtype,
                min_distance=min_distance,
                on_extrapolation=on_extrapolation,
            ),
        )
        self.parameters["equivariant"] = self.potential.rotation_invariant

    def get_esp(self, points: np.ndarray, atoms: Atoms | None = None, source: str = "distributed") -> np.ndarray:
        """Electrostatic potential of a molecule, (n_points,) float64 in V, as of any calculator.

        Of the distributed charges, also where they do not turn with the molecule, unless ``source`` says otherwise.

        Returns
        -------
        (n_points,) float64, V
        """
        return super().get_esp(points, atoms, source)

    def get_electric_field(
        self, points: np.ndarray, atoms: Atoms | None = None, source: str = "distributed"
    ) -> np.ndarray:
        """Electric field −∇V of a molecule, (n_points, 3) float64 in V/Å; otherwise as :meth:`get_esp`."""
        return super().get_electric_field(points, atoms, source)


class PhysNetDCM(DistributedChargeCalculator):
    """Energies, forces, charges and electrostatic potentials of molecules from PhysNet-DCM.

    >>> atoms.calc = PhysNetDCM("runs/co2")

    The ``dipole`` in the results is that of the distributed charges, about the center of mass.

    Parameters
    ----------
    model : model directory as :func:`molcalc.train.fit` writes it, a checkpoint in memory, or what
        :func:`molcalc.open_model` returns. A list of runs of one model makes an ensemble.
    fidelity : models of this kind have a single one; its name may be given.
    dispersion : "auto" as the model declares, None, "d3bj:FUNCTIONAL" or "d4:FUNCTIONAL" with an exact name, or
        parameters.
    charge, multiplicity : for every structure. None takes what each Atoms states: keys of ``atoms.info``, then
        the sum of initial charges, then 0 and the lowest multiplicity (:mod:`molcalc.state`).
    mult, spin : other names of ``multiplicity``, 2S+1 as well.
    member : one network of an ensemble, from 0; None averages all.
    device : "auto", "cpu", "cuda", the number of a graphics card, or a device of torch.
    dtype : "float32" or "float64" (or those of torch), arithmetic of the network; distances, electrostatics and sums
        are in float64 in any case.
    coulomb : "auto" as the model declares, or "shifted" for periodic structures (PhysNet's Coulomb energy, 15 Å); None
        leaves the Coulomb energy out.
    min_distance : Å below which two atoms are an error; None takes a quarter of their covalent radii.
    on_extrapolation : "warn" (once for each molecule and reason), "raise" or "ignore" structures that are unlike the
        training data, and energies on which the networks of an ensemble disagree (docs/limits.md).

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


class NonEquivariantDCM(DistributedChargeCalculator):
    """Energies, forces, charges and electrostatic potentials from PhysNet with the plain head.

    >>> atoms.calc = NonEquivariantDCM("runs/co2_noneq")

    Energy, forces, charges and the ``dipole`` in the results, which is that of the atomic charges, turn with the
    molecule. The distributed charges do not: asking for them, or for their potential or field, gives a
    :class:`molcalc.errors.NonEquivariantWarning`, once. ``parameters["equivariant"]`` is False.

    Parameters and errors are those of :class:`PhysNetDCM`.
    """

    name = "noneq-dcm"
