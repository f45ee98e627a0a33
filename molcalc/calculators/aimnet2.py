"""AIMNet2 as an ASE calculator."""

from __future__ import annotations

import os

from ase.calculators.calculator import external_calculators, register_calculator_class

from molcalc.calculators.base import MolCalculator
from molcalc.calculators.sources import check_kind, chosen_members, label_of
from molcalc.calculators.terms import Wish, completion
from molcalc.checkpoint import Checkpoint
from molcalc.errors import FidelityError
from molcalc.potential import Potential
from molcalc.pretrained.sources import open_model
from molcalc.registry import build_members


class AIMNet2(MolCalculator):
    """Energies, forces and charges of molecules from AIMNet2.

    >>> atoms.calc = AIMNet2("wb97m-d3")

    Parameters
    ----------
    model : published name ("wb97m-d3", "b973c-d3"), model directory, ``.jpt`` or ``.pt`` file, directory in Hugging
        Face style or its name on the hub; or a checkpoint in memory.
    fidelity : level of theory of a multi-fidelity model.
    dispersion : "auto" as the model declares, None, "d3bj:FUNCTIONAL" or "d4:FUNCTIONAL" with an exact name,
        D3Parameters or D4Parameters. D4 needs the package dftd4.
    charge, multiplicity : for every structure. None takes ``atoms.info["charge"]`` / ``["spin"]``, then the sum of
        initial charges, then 0 and the lowest multiplicity.
    member : one network of an ensemble, from 0; None averages all.
    device : "auto", "cpu" or "cuda".
    dtype : "float32" or "float64", arithmetic of the large matrix products of more than 32 atoms; the rest is in
        float64 in any case.
    coulomb : "auto" as the model declares ("simple", molecules only), or for periodic structures "dsf" (any periodic
        directions, 15 Å) or "ewald" (three periodic directions).
    legacy : reproduce the arithmetic inside the published TorchScript files: reference energies added in
        float32 per atom, and their form of D3.
    trusted : allow an unknown TorchScript file; reading it runs the code in it.
    min_distance : Å below which two atoms are an error; None takes a quarter of their covalent radii.

    Raises
    ------
    FileNotFoundError, CheckpointError
        When the model cannot be found or used.
    ConfigError, FidelityError
        When an option does not fit the model.

    References
    ----------
    Anstine, Zubatyuk, Isayev, Chem. Sci. 16, 10228 (2025), doi:10.1039/D4SC08572H.
    """

    name = "aimnet2"

    def __init__(
        self,
        model: str | os.PathLike[str] | Checkpoint = "wb97m-d3",
        *,
        fidelity: str | None = None,
        dispersion: Wish = "auto",
        charge: int | None = None,
        multiplicity: int | None = None,
        member: int | None = None,
        device: str = "auto",
        dtype: str = "float32",
        coulomb: str = "auto",
        legacy: bool = False,
        trusted: bool = False,
        min_distance: float | None = None,
    ) -> None:
        checkpoint = model if isinstance(model, Checkpoint) else open_model(model, trusted=trusted)
        config = checkpoint.config
        label = label_of(model)
        check_kind(config, "aimnet2", label)
        if fidelity is not None and len(config.fidelities) == 1:
            raise FidelityError(f"fidelity={fidelity!r}: {label!r} is a single-fidelity model; leave it out")
        members = chosen_members(build_members(checkpoint), member, label)
        if legacy:
            for network in members:
                network.round_shifted_energies = True  # type: ignore[assignment]
        completed = completion(config, config.fidelities[0], coulomb=coulomb, dispersion=dispersion, legacy=legacy)
        provenance: dict[str, str | bool] = {**completed.provenance}
        if member is not None:
            provenance["member"] = str(member)
        if legacy:
            provenance["legacy"] = True
        super().__init__(
            Potential(members, completed.terms),
            model=label,
            model_hash=checkpoint.hash,
            charge=charge,
            multiplicity=multiplicity,
            neutral_only=config.neutral_only,
            device=device,
            dtype=dtype,
            min_distance=min_distance,
            provenance=provenance,
        )


if "molcalc" not in external_calculators:
    register_calculator_class("molcalc", AIMNet2)
