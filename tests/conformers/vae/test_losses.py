"""What reconstructions cost."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ase.build import molecule

from molcalc.conformers.vae.losses import (
    ObjectiveConfig,
    TopologyTensors,
    center_cost,
    divergence,
    reconstruction_terms,
    torsion_vectors,
)
from molcalc.conformers.vae.model_files import new_network
from molcalc.conformers.vae.network import VAENetworkConfig
from molcalc.conformers.vae.reference import ReferenceStructure
from tests.helpers.twisted_frames import rattled, twisted

KINDS = [
    ObjectiveConfig(loss=loss, bond_order=order, hand=hand)
    for loss, order in (("pairwise", 3), ("bond", 1), ("bond", 3))
    for hand in ("torsion", "kabsch", "none")
]
kinds = pytest.mark.parametrize("objective", KINDS, ids=lambda o: f"{o.loss}{o.bond_order}-{o.hand}")


def topology_of(name: str = "CH3CH2OH") -> TopologyTensors:
    reference = ReferenceStructure.of(molecule(name))
    return new_network(reference, VAENetworkConfig(n_features=8)).double().topology


def positions(name: str = "CH3CH2OH", n: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.array([atoms.positions for atoms in rattled(name, n, seed)]))


def turned(x: torch.Tensor) -> torch.Tensor:
    """Every structure turned and moved by itself."""
    q, _ = torch.linalg.qr(torch.randn(len(x), 3, 3, dtype=x.dtype, generator=torch.Generator().manual_seed(1)))
    q = q * torch.linalg.det(q)[:, None, None]
    return x @ q.mT + torch.arange(len(x), dtype=x.dtype)[:, None, None]


def total(made: torch.Tensor, true: torch.Tensor, objective: ObjectiveConfig) -> torch.Tensor:
    """(n_structures,)."""
    found = reconstruction_terms(made, true, topology_of(), objective)
    return torch.stack([found[name] for name in ("distances", *objective.further_terms)]).sum(0)


@kinds
def test_a_batch_costs_what_its_structures_cost_however_each_is_turned(objective: ObjectiveConfig) -> None:
    made, true = positions(seed=1), positions(seed=2)
    together = total(made, true, objective)
    alone = torch.cat([total(made[k : k + 1], true[k : k + 1], objective) for k in range(3)])
    assert torch.allclose(together, alone, atol=1e-9)
    assert torch.allclose(total(turned(made), true, objective), together, atol=1e-7)
    assert torch.allclose(total(true, true, objective), torch.zeros(3, dtype=torch.float64), atol=1e-4)


@kinds
def test_a_mirror_image_costs_more_unless_the_hand_is_none(objective: ObjectiveConfig) -> None:
    true = positions()
    mirrored = true * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
    more = total(mirrored, true, objective) > 1.0
    assert more.all() if objective.hand != "none" else not more.any()


@kinds
def test_what_is_far_off_is_pulled_back(objective: ObjectiveConfig) -> None:
    true = positions()
    made = (1e4 * true + torch.randn_like(true)).requires_grad_()
    total(made, true, objective).sum().backward()
    assert made.grad is not None
    assert (made.grad.abs().sum((1, 2)) > 1.0).all()
    assert made.grad.isfinite().all()


def test_distances_weigh_as_the_formula_says() -> None:
    """Two atoms more make no difference to H2, whose one distance is all there is."""
    topology = topology_of("H2")
    made, true = (torch.tensor([[[0.0, 0, 0], [0, 0, d]]], dtype=torch.float64) for d in (0.8, 0.74))
    found = reconstruction_terms(made, true, topology, ObjectiveConfig(sigma=0.1, hand="none"))
    assert float(found["distances"]) == pytest.approx(0.5 * 0.06**2 / 0.01, rel=1e-6)


def test_bonds_alone_leave_others_free_until_they_clash() -> None:
    reference = ReferenceStructure.of(molecule("CH3CH2OH"))
    network = new_network(reference, VAENetworkConfig(n_features=8)).double()
    true = positions()
    network.learn_extent(true[0], true)
    made = true.clone()
    made[:, 3] = made[:, 4]  # two hydrogen atoms in one place
    objective = ObjectiveConfig(loss="bond", bond_order=1, hand="none")
    found = reconstruction_terms(made, true, network.topology, objective)
    assert (found["clashes"] > 10.0).all()
    assert torch.allclose(reconstruction_terms(true, true, network.topology, objective)["clashes"], true.new_zeros(3))


def test_centers_of_the_other_hand_cost_and_flat_ones_cost_less() -> None:
    """CHFClBr: no torsion tells its hands apart, only the volume that its ligands span."""
    atoms = molecule("CH4")
    atoms.numbers[2:] = [9, 17, 35]
    for k, distance in ((2, 1.36), (3, 1.76), (4, 1.94)):
        atoms.set_distance(0, k, distance, fix=0)
    topology = new_network(ReferenceStructure.of(atoms), VAENetworkConfig(n_features=8)).double().topology
    true = torch.from_numpy(atoms.positions)[None]
    mirrored, flat = (true * torch.tensor([1.0, 1.0, z], dtype=torch.float64) for z in (-1.0, 0.0))
    costs = [float(center_cost(made, true, topology)) for made in (true, flat, mirrored)]
    assert costs[0] == 0.0
    assert costs[0] < costs[1] < costs[2]
    objective = ObjectiveConfig(hand="torsion")
    assert float(reconstruction_terms(mirrored, true, topology, objective)["hand"]) == pytest.approx(costs[2])


def test_torsions_are_those_of_ase() -> None:
    frames = twisted(4)
    x = torch.from_numpy(np.array([atoms.positions for atoms in frames]))
    sine, cosine = torsion_vectors(x, torch.tensor([[2], [0], [1], [3]]))
    expected = torch.tensor([math.radians(atoms.get_dihedral(2, 0, 1, 3)) for atoms in frames])
    difference = torch.atan2(sine, cosine)[:, 0] - expected
    assert torch.allclose(difference.sin(), torch.zeros(4, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(sine.square() + cosine.square(), torch.ones(4, 1, dtype=torch.float64), atol=0.01)


def test_the_divergence_is_that_of_torch() -> None:
    means, log_variances = torch.randn(2, 5, 3, dtype=torch.float64)
    posterior = torch.distributions.Normal(means, (0.5 * log_variances).exp())
    prior = torch.distributions.Normal(torch.zeros_like(means), torch.ones_like(means))
    assert torch.allclose(divergence(means, log_variances), torch.distributions.kl_divergence(posterior, prior))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "bonds"}, "loss='bonds'.*did you mean.*bond"),
        ({"bond_order": 0}, "bond_order=0; expected at least 1"),
        ({"hand": "left"}, "hand='left'; choose one of torsion, kabsch, none"),
        ({"sigma": 0.0}, "sigma=0.0; expected above 0"),
    ],
)
def test_options_without_meaning_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectiveConfig(**options)  # type: ignore[arg-type]
