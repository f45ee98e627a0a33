"""AIMNet2 as an ASE calculator."""

from __future__ import annotations

import torch
from ase.calculators.calculator import external_calculators, register_calculator_class

from molcalc.assembly.opening import AnyModel
from molcalc.assembly.potentials import PotentialOptions
from molcalc.assembly.terms import DispersionChoice
from molcalc.calculators.of_model import ModelCalculator
from molcalc.devices import Device
from molcalc.prediction.options import PredictorOptions


class AIMNet2(ModelCalculator):
    """Energies, forces and charges of molecules from AIMNet2.

    >>> atoms.calc = AIMNet2("wb97m-d3")

    Parameters
    ----------
    model : published name ("wb97m-d3", "b973c-d3"); name of a model of the package ("wb97m-d3-multipoles" and
        "wb97m-d3-dcm" have the energies of "wb97m-d3", and a potential of their own); model directory, ``.jpt`` or
        ``.pt`` file, directory in Hugging Face style or its name on the hub; a checkpoint in memory; or what
        :func:`molcalc.open_model` returns. A list of runs of one model makes an ensemble.
    fidelity : level of theory, by name; may be left out where the model has only one. ``calc.fidelity = "gfn2"``
        changes it at any time.
    dispersion : "auto" as the model declares, None, "d3bj:FUNCTIONAL" or "d4:FUNCTIONAL" with an exact name,
        D3Parameters or D4Parameters. D4 needs the package dftd4. What is not "auto" is for the ``fidelity`` given here:
        all others have what they declare.
    charge, multiplicity : for every structure. None takes what each Atoms states: keys of ``atoms.info``, then
        the sum of initial charges, then 0 and the lowest multiplicity (:mod:`molcalc.state`).
    mult, spin : other names of ``multiplicity``, 2S+1 as well.
    member : one network of an ensemble, from 0; None averages all.
    device : "auto", "cpu", "cuda", the number of a graphics card, or a device of torch.
    dtype : "float32" or "float64" (or those of torch), arithmetic of the large matrix products; the rest is in float64,
        and so is everything for second derivatives (docs/performance.md says what single precision means).
    coulomb : "auto" as the model declares ("simple", molecules only), or for periodic structures "dsf" (any periodic
        directions, 15 Å), "ewald" or "pme" (three periodic directions). None leaves the Coulomb energy out.
    legacy : reproduce the arithmetic inside the published TorchScript files: reference energies added in
        float32 per atom, and their form of D3.
    trusted : allow an unknown TorchScript file; reading it runs the code in it.
    min_distance : Å below which two atoms are an error; None takes a quarter of their covalent radii.
    on_extrapolation : "warn" (once for each molecule and reason), "raise" or "ignore" structures that are unlike the
        training data, and energies on which the networks of an ensemble disagree (docs/limits.md).

    Raises
    ------
    FileNotFoundError, CheckpointError
        When the model cannot be found or used.
    FidelityError
        When the fidelity is unknown, or missing where there are several; lists them.
    ConfigError
        When an option does not fit the model.

    References
    ----------
    Anstine, Zubatyuk, Isayev, Chem. Sci. 16, 10228 (2025), doi:10.1039/D4SC08572H.
    """

    name = "aimnet2"

    def __init__(
        self,
        model: AnyModel = "wb97m-d3",
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
        legacy: bool = False,
        trusted: bool = False,
        min_distance: float | None = None,
        on_extrapolation: str = "warn",
    ) -> None:
        super().__init__(
            model,
            fidelity,
            PotentialOptions(dispersion=dispersion, coulomb=coulomb, member=member, legacy=legacy),
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
            trusted=trusted,
        )


if "molcalc" not in external_calculators:
    register_calculator_class("molcalc", AIMNet2)
