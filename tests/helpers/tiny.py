"""A small AIMNet2 with random weights that is strong enough for tests to mean something.

Random weights show invariances better than trained ones: no symmetry is learned by accident. Sizes are scaled so that
charges, Coulomb energy and forces are of chemical magnitude.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule

from molcalc.batch import AtomicBatch, collate, from_atoms
from molcalc.calculators import AIMNet2
from molcalc.calculators.base import MolCalculator
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.energy_term import EnergyTerm
from molcalc.fidelity import Fidelity
from molcalc.io.checkpoint import Checkpoint, ModelConfig
from molcalc.models.aimnet2 import AIMNet2Config
from molcalc.models.aimnet2 import AIMNet2Network as Network
from molcalc.models.fidelity_transfer import with_fidelities
from molcalc.potential import Potential
from molcalc.predictor import Predictor, PredictorOptions
from molcalc.registry import build_members, checkpoint_of

ELEMENTS = (1, 6, 7, 8)
REFERENCE_ENERGIES = {1: -13.6, 6: -1029.5, 7: -1484.3, 8: -2041.9}


def tiny_checkpoint(charge_channels: int = 1, n_members: int = 1, seed: int = 3, **changes: Any) -> Checkpoint:
    """Random network(s) with Coulomb "simple" and D3(BJ) for PBE0 declared."""
    config = AIMNet2Config(
        elements=ELEMENTS,
        charge_channels=charge_channels,
        hidden=((32, 24), (32, 24), (32, 24)),
        aim_size=32,
        energy_hidden=(16,),
        max_number=8,
        **changes,
    )
    networks = []
    for k in range(n_members):
        torch.manual_seed(seed + k)
        network = Network(config).initialize()
        with torch.no_grad():
            for z, energy in REFERENCE_ENERGIES.items():
                network.shifts[0, z] = energy
            network.energy_heads[0][-1].weight.mul_(16.0 if charge_channels == 1 else 8.0)
            network.passes[0][-1].weight[:charge_channels].mul_(4.0 if charge_channels == 1 else 1.0)
        networks.append(network)
    model = ModelConfig(
        kind="aimnet2",
        arguments=config.to_dict(),
        n_members=n_members,
        fidelities=(Fidelity(name="pbe0", functional="pbe0", dispersion="d3bj:pbe0"),),
        coulomb="simple",
        coulomb_range=4.6,
    )
    return checkpoint_of(model, networks)


FIDELITIES = (
    Fidelity(name="pbe0", functional="pbe0", dispersion="d3bj:pbe0"),
    Fidelity(name="gfn2", dispersion_in_labels=True),
    Fidelity(name="b3lyp", functional="b3lyp", dispersion="d3bj:b3lyp"),
)
"""Completed by D3, complete, and completed by another D3."""


def tiny_multifidelity(seed: int = 0, charge_channels: int = 1, **changes: Any) -> Network:
    """Network of three fidelities whose random weights all differ."""
    source = build_members(tiny_checkpoint(charge_channels))[0].double()
    assert isinstance(source, Network)
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
    model = ModelConfig(
        kind="aimnet2",
        arguments=networks[0].config.to_dict(),
        n_members=n_members,
        fidelities=tuple(fidelities),
        coulomb=coulomb,
        coulomb_range=None if coulomb is None else 4.6,
    )
    return checkpoint_of(model, list(networks))


def tiny_calculator(checkpoint: Checkpoint, dtype: str = "float64", **options: Any) -> AIMNet2:
    """Calculator of a random network for molecules."""
    return AIMNet2(checkpoint, dtype=dtype, **options)


def periodic_calculator(
    checkpoint: Checkpoint, terms: tuple[EnergyTerm, ...] | None = None, dtype: str = "float64"
) -> MolCalculator:
    """Calculator of a random network with terms that are defined for crystals (by default smoothly cut D3)."""
    if terms is None:
        terms = (D3Dispersion("pbe0", cutoff=9.0, cn_cutoff=7.0, switch_width=2.0),)
    potential = Potential(build_members(checkpoint), terms)
    options = PredictorOptions(dtype=dtype)
    return MolCalculator(Predictor(potential, options, model="tiny", model_hash=checkpoint.hash))


def organic(seed: int = 0) -> Atoms:
    """Rattled acetamide in a random orientation: nothing is aligned with an axis."""
    atoms = molecule("CH3CONH2")
    atoms.rattle(0.05, seed=seed)
    rng = np.random.default_rng(seed)
    atoms.rotate(rng.uniform(20, 160), rng.normal(size=3))
    atoms.translate([0.31, -0.72, 0.44])
    return atoms


def mixed_batch(*fidelities: int) -> AtomicBatch:
    """Acetamides of charge 0, 1, 2, …, one at each of the given fidelities."""
    parts = [from_atoms(organic(k), cutoff=5.0, total_charge=k) for k in range(len(fidelities))]
    return replace(collate(parts), fidelity=torch.tensor(fidelities))


def crystal() -> Atoms:
    """Water and ammonia in a small triclinic cell."""
    water, ammonia = molecule("H2O"), molecule("NH3")
    water.rotate(40, (1, 2, 0.5))
    ammonia.rotate(70, (0.3, -1, 0.8))
    ammonia.translate((2.2, 2.0, 2.3))
    atoms = water + ammonia
    atoms.set_cell([[4.4, 0.3, 0.5], [0.2, 4.6, 0.4], [-0.5, 0.6, 4.9]])
    atoms.pbc = True
    atoms.rattle(0.05, seed=5)
    return atoms


def random_rotation(seed: int) -> np.ndarray:
    """Proper rotation matrix."""
    matrix, upper = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    matrix = matrix * np.sign(np.diag(upper))
    return matrix if np.linalg.det(matrix) > 0 else -matrix


FIDELITY_KINDS: dict[str, dict[str, Any]] = {
    "separate": {},
    "shared": {"embeddings": "shared"},
    "corrections": {"bases": (None, 0, 1)},
    "charge heads": {"charge_heads": True},
    "all": {"embeddings": "shared", "bases": (None, 0, 1), "charge_heads": True},
}
"""What three fidelities may share, as changes of the configuration."""
