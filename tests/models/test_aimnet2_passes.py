"""The passes of AIMNet2: in which arithmetic they run, and what they share while they are trained."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from molcalc.batch import collate, from_atoms
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.models.aimnet2_passes import FirstPass, Pass
from molcalc.registry import build_members
from tests.helpers.networks import tiny_checkpoint
from tests.helpers.structures import organic


def mixed_network() -> tuple[AIMNet2Network, AIMNet2Network]:
    """A network whose large perceptrons are in single precision, and the same in double precision."""
    double = build_members(tiny_checkpoint())[0].double()
    mixed = build_members(tiny_checkpoint())[0].double()
    mixed.passes.float()
    assert isinstance(mixed, AIMNet2Network)
    assert isinstance(double, AIMNet2Network)
    return mixed, double


def test_batches_of_every_size_run_in_the_precision_of_the_weights() -> None:
    mixed, double = mixed_network()
    for n in (1, 4):
        batch = collate([from_atoms(organic(seed), cutoff=5.0) for seed in range(n)])
        difference = (mixed(batch)["atomic_energies"] - double(batch)["atomic_energies"]).abs().max()
        assert 0.0 < float(difference) < 1e-4


@pytest.mark.parametrize("channels", [1, 2])
def test_training_shares_the_first_products_of_equal_atoms_without_changing_any_gradient(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build_members(tiny_checkpoint(channels))[0].double().requires_grad_()
    batch = collate([from_atoms(atoms, cutoff=5.0) for atoms in (organic(), organic())])
    weights = list(network.parameters())
    found = []
    for _ in range(2):
        positions = batch.positions.clone().requires_grad_()
        energy = network(replace(batch, positions=positions))["atomic_energies"].sum()
        (forces,) = torch.autograd.grad(energy, positions, create_graph=True)
        found.append((forces, *torch.autograd.grad(energy + forces.square().sum(), weights, allow_unused=True)))
        monkeypatch.setattr(FirstPass, "read", lambda layer, features, _, near: Pass.read(layer, features, None, near))
    for a, b in zip(*found):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)
