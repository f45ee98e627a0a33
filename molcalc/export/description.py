"""Description of an exported model, inside its file, and beside it with a checksum."""

from __future__ import annotations

from dataclasses import asdict

import torch

from molcalc._version import __version__
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.energy_term import EnergyTerm
from molcalc.io.checkpoint import UNITS, Checkpoint
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.pretrained.foreign.exported import Contents
from molcalc.units import symbols_of

INPUTS = {
    "coord": "(N, 3) or (B, N, 3) Å",
    "numbers": "(N,) or (B, N) atomic numbers, 0 where there is no atom",
    "charge": "() or (B,) total charge in e",
    "mult": "() or (B,) 2S+1; for open shells only",
}
OUTPUTS = {
    "energy": "() or (B,) float64 eV, with reference energies, Coulomb and dispersion",
    "forces": "(N, 3) or (B, N, 3) float64 eV/Å",
    "charges": "(N,) or (B, N) float64 e",
}
OF_OPEN_SHELLS = {"spin_charges": "(N,) or (B, N) float64 e"}
OF_ENSEMBLES = {
    "energy_std": "standard deviation (n − 1) over the members, as energy",
    "forces_std": "as forces",
    "charges_std": "as charges",
}


def describe_export(
    model: Checkpoint, members: list[AIMNet2Network], terms: tuple[EnergyTerm, ...], *, form: str, dtype: str,
    source: str, source_hash: str,
) -> Contents:  # fmt: skip
    """Description of an exported model, but for the checksum of its file.

    Parameters
    ----------
    model, members, terms : of the one fidelity.
    form : what kind of file it is.
    source, source_hash : name and hash of the model that it was exported from.

    Returns
    -------
    description that goes into the file
    """
    config = model.config
    fidelity = config.fidelities[0]
    network = members[0].config
    dispersion = [term for term in terms if isinstance(term, D3Dispersion)]
    return Contents(
        form=form,
        molcalc=__version__,
        torch=str(torch.__version__),
        source=source,
        source_hash=source_hash,
        hash=model.hash,
        fidelity=fidelity.name,
        functional=fidelity.functional,
        dispersion="in the labels" if fidelity.dispersion_in_labels else fidelity.dispersion,
        dispersion_parameters=_constants(dispersion[0]) if dispersion else {},
        coulomb=config.coulomb,
        coulomb_range=config.coulomb_range,
        repulsion=config.repulsion,
        elements=tuple(_symbol(z) for z in network.elements),
        self_atomic_energies={
            _symbol(z): tuple(float(member.shifts[0, z]) for member in members) for z in network.elements
        },
        charged=not config.neutral_only,
        open_shells=network.charge_channels == 2,
        cutoff=network.cutoff,
        units=dict(UNITS),
        dtype=dtype,
        members=config.n_members,
        parameters=sum(parameter.numel() for parameter in members[0].parameters()),
        inputs=INPUTS,
        outputs={
            **OUTPUTS,
            **(OF_OPEN_SHELLS if network.charge_channels == 2 else {}),
            **(OF_ENSEMBLES if len(members) > 1 else {}),
        },
        model=config,
    )


def _constants(term: D3Dispersion) -> dict[str, float]:
    """Constants of D3(BJ), and its ranges in Å."""
    ranges = {"cutoff": term.cutoff, "cn_cutoff": term.cn_cutoff, "switch_width": term.switch_width}
    return {**asdict(term.damping), **ranges}


def _symbol(number: int) -> str:
    return symbols_of([number]).partition(" ")[0]
