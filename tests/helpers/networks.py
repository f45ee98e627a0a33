"""Small networks with random weights that are strong enough for tests to mean something, and potentials of them.

Random weights show invariances better than trained ones: no symmetry is learned by accident. Sizes are scaled so that
charges, Coulomb energy and forces are of chemical magnitude (asserted in ``tests/models``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from ase import Atoms

from molcalc.batch import AtomicBatch, collate, from_atoms
from molcalc.electrostatics.coulomb import PhysNetCoulomb
from molcalc.energy_term import EnergyTerm
from molcalc.fidelity import Fidelity
from molcalc.io.checkpoint import Checkpoint, ModelConfig
from molcalc.models.aimnet2 import AIMNet2Config, AIMNet2Network
from molcalc.models.dcm import DistributedChargeModel
from molcalc.models.fidelity_transfer import with_fidelities
from molcalc.potential import Potential
from molcalc.registry import MODELS, build_members, checkpoint_of
from tests.helpers.structures import organic

ELEMENTS = (1, 6, 7, 8)
REFERENCE_ENERGIES = {1: -13.6, 6: -1029.5, 7: -1484.3, 8: -2041.9}
COULOMB_RANGE = 4.6
D3 = {"s6": 1.0, "s8": 1.2177, "a1": 0.4145, "a2": 4.8593}
"""Damping of D3(BJ) for PBE0."""

AIMNET2 = {"hidden": ((32, 24), (32, 24), (32, 24)), "aim_size": 32, "energy_hidden": (16,)}
SMALLER_AIMNET2: dict[str, Any] = {
    "n_channels": 4,
    "n_radial": 8,
    "n_vector": 4,
    "hidden": ((16, 12), (16, 12), (16, 12)),
    "aim_size": 16,
    "energy_hidden": (8,),
}
SMALLER_ELEMENTS = (1, 6, 8)

VARIANTS: dict[str, dict[str, Any]] = {
    "closed shell": {},
    "open shell": {"charge_channels": 2},
    "charges that miss a little": {"exact_charges": False},
    "ensemble": {"n_members": 2},
    "two passes": {"hidden": ((32, 24), (24,))},
}
"""Changes of a tiny AIMNet2 that go other ways through it."""

FIDELITY_KINDS: dict[str, dict[str, Any]] = {
    "separate": {},
    "shared": {"embeddings": "shared"},
    "one readout": {"embeddings": "shared", "readouts": "shared"},
    "corrections": {"bases": (None, 0, 1)},
    "charge heads": {"charge_heads": True},
    "all": {"embeddings": "shared", "bases": (None, 0, 1), "charge_heads": True},
}
"""What three fidelities may share, as changes of the configuration."""

FIDELITIES = (
    Fidelity(name="pbe0", functional="pbe0", dispersion="d3bj:pbe0"),
    Fidelity(name="gfn2", dispersion_in_labels=True),
    Fidelity(name="b3lyp", functional="b3lyp", dispersion="d3bj:b3lyp"),
)
"""Completed by D3, complete, and completed by another D3."""
UNEVEN_FIDELITIES = (
    Fidelity(name="gfn2", elements=ELEMENTS),
    Fidelity(name="wb97m", functional="wb97m", dispersion_in_labels=True, elements=(1, 6, 8)),
    Fidelity(name="pbe0", functional="pbe0", dispersion="d3bj:pbe0", elements=ELEMENTS),
)
"""Without any dispersion; complete, for fewer elements; completed by D3."""

DCM_KINDS = tuple(kind for kind, entry in MODELS.items() if issubclass(entry.network, DistributedChargeModel))
TRUNK = {"n_features": 16, "n_radial": 12, "n_modules": 2, "n_interaction": 1, "n_atomic": 1, "cutoff": 4.0}
HEAD = {
    "physnet-dcm": {"head_features": 16, "head_radial": 10, "head_cutoff": 5.0},
    "noneq-dcm": {"head_features": 24},
}


def tiny_checkpoint(
    charge_channels: int = 1, n_members: int = 1, seed: int = 3, dispersion: str = "d3bj:pbe0", **changes: Any
) -> Checkpoint:
    """AIMNet2 network(s) for H, C, N and O with Coulomb "simple"; D3(BJ) for PBE0 declared."""
    config = AIMNet2Config(
        **{"elements": ELEMENTS, "charge_channels": charge_channels, "max_number": 8, **AIMNET2, **changes}
    )
    networks = []
    for k in range(n_members):
        torch.manual_seed(seed + k)
        network = AIMNet2Network(config).initialize()
        with torch.no_grad():
            for z in config.elements:
                network.shifts[0, z] = REFERENCE_ENERGIES[z]
            network.energy_heads[0][-1].weight.mul_(16.0 if charge_channels == 1 else 8.0)
            network.passes[0][-1].weight[:charge_channels].mul_(4.0 if charge_channels == 1 else 1.0)
        networks.append(network)
    model = ModelConfig(
        kind="aimnet2",
        arguments=config.to_dict(),
        n_members=n_members,
        fidelities=(Fidelity(name="pbe0", functional="pbe0", dispersion=dispersion),),
        coulomb="simple",
        coulomb_range=COULOMB_RANGE,
    )
    return checkpoint_of(model, networks)


def small_checkpoint(charge_channels: int = 1, n_members: int = 1, seed: int = 5, **changes: Any) -> Checkpoint:
    """The same of about 7000 weights for H, C and O, where files matter and not the physics; D3 by its parameters."""
    dispersion = "d3bj:" + ",".join(f"{key}={value!r}" for key, value in D3.items())
    size = {"elements": SMALLER_ELEMENTS, **SMALLER_AIMNET2, **changes}
    return tiny_checkpoint(charge_channels, n_members, seed, dispersion, **size)


def tiny_multifidelity(seed: int = 0, charge_channels: int = 1, **changes: Any) -> AIMNet2Network:
    """Network of three fidelities whose random weights all differ."""
    source = build_members(tiny_checkpoint(charge_channels))[0].double()
    assert isinstance(source, AIMNet2Network)
    network = with_fidelities(source, [0, 0, 0], **changes)
    torch.manual_seed(seed)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return network


def tiny_multifidelity_checkpoint(
    charge_channels: int = 1,
    n_members: int = 1,
    seed: int = 0,
    fidelities: Sequence[Fidelity] = FIDELITIES,
    coulomb: str | None = "simple",
    **changes: Any,
) -> Checkpoint:
    """Random network(s) of three fidelities."""
    networks = [tiny_multifidelity(seed + k, charge_channels, **changes) for k in range(n_members)]
    return multifidelity_model(networks, fidelities, coulomb)


def multifidelity_model(
    networks: Sequence[AIMNet2Network], fidelities: Sequence[Fidelity] = FIDELITIES, coulomb: str | None = "simple"
) -> Checkpoint:
    """Checkpoint of networks of several fidelities."""
    model = ModelConfig(
        kind="aimnet2",
        arguments=networks[0].config.to_dict(),
        n_members=len(networks),
        fidelities=tuple(fidelities),
        coulomb=coulomb,
        coulomb_range=None if coulomb is None else COULOMB_RANGE,
    )
    return checkpoint_of(model, list(networks))


def uneven_checkpoint(charge_channels: int = 1, n_members: int = 1, **changes: Any) -> Checkpoint:
    """Random network(s) of three fidelities that know different elements: gfn2, wb97m, pbe0."""
    return tiny_multifidelity_checkpoint(charge_channels, n_members, fidelities=UNEVEN_FIDELITIES, **changes)


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


def dcm_batch(atoms: Atoms, potential: Potential, charge: int = 0) -> AtomicBatch:
    """One structure as a potential needs it."""
    pair_cutoff = float("inf") if potential.pair_cutoff is not None else None
    return from_atoms(atoms, cutoff=potential.cutoff, pair_cutoff=pair_cutoff, total_charge=charge)


def mixed_batch(*fidelities: int) -> AtomicBatch:
    """Acetamides of charge 0, 1, 2, …, one at each of the given fidelities."""
    parts = [from_atoms(organic(k), cutoff=5.0, total_charge=k) for k in range(len(fidelities))]
    return replace(collate(parts), fidelity=torch.tensor(fidelities))
