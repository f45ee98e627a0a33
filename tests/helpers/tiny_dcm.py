"""Small PhysNet-DCM models with random weights that are strong enough for tests to mean something.

Sizes are scaled so that charges, Coulomb energy and forces are of chemical magnitude (asserted in
``tests/models/test_dcm.py``).
"""

from __future__ import annotations

from typing import Any

import torch
from ase import Atoms

from molcalc.batch import AtomicBatch, from_atoms
from molcalc.electrostatics.coulomb import PhysNetCoulomb
from molcalc.energy_term import EnergyTerm
from molcalc.fidelity import Fidelity
from molcalc.io.checkpoint import Checkpoint, ModelConfig
from molcalc.models.dcm import DistributedChargeModel
from molcalc.potential import Potential
from molcalc.registry import MODELS, build_members, calculator_class, checkpoint_of
from tests.helpers.tiny import ELEMENTS, REFERENCE_ENERGIES

KINDS = tuple(kind for kind, entry in MODELS.items() if issubclass(entry.network, DistributedChargeModel))
TRUNK = {"n_features": 16, "n_radial": 12, "n_modules": 2, "n_interaction": 1, "n_atomic": 1, "cutoff": 4.0}
HEAD = {
    "physnet-dcm": {"head_features": 16, "head_radial": 10, "head_cutoff": 5.0},
    "noneq-dcm": {"head_features": 24},
}


def tiny_dcm(
    kind: str = "physnet-dcm",
    n_members: int = 1,
    seed: int = 3,
    coulomb: str | None = "physnet",
    repulsion: str | None = None,
    **changes: Any,
) -> Checkpoint:
    """Random network(s) for H, C, N and O."""
    entry = MODELS[kind]
    config = entry.config(**{"elements": ELEMENTS, "max_number": 8, **TRUNK, **HEAD[kind], **changes})
    networks = []
    for k in range(n_members):
        torch.manual_seed(seed + k)
        network: Any = entry.network(config).initialize()
        network.set_reference_energies(REFERENCE_ENERGIES)
        with torch.no_grad():
            network.trunk.scales.copy_(torch.tensor([[30.0, 4.0]]) * (1.0 + 0.2 * torch.rand(9, 2)))
            network.trunk.charge_shifts.copy_(0.2 * torch.randn(9))
        networks.append(network)
    model = ModelConfig(
        kind=kind,
        arguments=config.to_dict(),
        n_members=n_members,
        fidelities=(Fidelity(name="pbe0", functional="pbe0"),),
        coulomb=coulomb,
        coulomb_range=config.cutoff if coulomb == "physnet" else None,
        repulsion=repulsion,
    )
    return checkpoint_of(model, networks)


def dcm_potential(
    checkpoint: Checkpoint, dtype: torch.dtype = torch.float64, terms: tuple[EnergyTerm, ...] | None = None
) -> Potential:
    """Potential of the networks with PhysNet's Coulomb energy, or with other terms."""
    members = build_members(checkpoint)
    if terms is None:
        terms = (PhysNetCoulomb(checkpoint.config.arguments["cutoff"]),)
    return Potential(members, terms).set_dtype(dtype)


def dcm_calculator(checkpoint: Checkpoint, dtype: str = "float64", **options: Any) -> Any:
    """Calculator of the networks."""
    return calculator_class(checkpoint.config.kind)(checkpoint, dtype=dtype, **options)


def dcm_batch(atoms: Atoms, potential: Potential, charge: int = 0) -> AtomicBatch:
    """One structure as a potential needs it."""
    pair_cutoff = float("inf") if potential.pair_cutoff is not None else None
    return from_atoms(atoms, cutoff=potential.cutoff, pair_cutoff=pair_cutoff, total_charge=charge)
