"""Encoder and decoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from molcalc.conformers.vae.losses import aligned, torsion_vectors
from molcalc.conformers.vae.model_files import new_network
from molcalc.conformers.vae.network import ALL_PAIRS, VAENetwork, VAENetworkConfig, motion
from molcalc.conformers.vae.reference import ReferenceStructure
from tests.helpers.twisted_frames import twisted


def network_of(atoms: Atoms, **options: int) -> VAENetwork:
    torch.manual_seed(0)
    reference = ReferenceStructure.of(atoms)
    network = new_network(reference, VAENetworkConfig(n_features=16, **options)).double()
    x = torch.from_numpy(reference.positions)
    network.learn_extent(x, x[None])
    return network


def alkane(n: int) -> Atoms:
    """A chain of carbon atoms, without hydrogen."""
    return Atoms("C" * n, [[1.25 * k, 0.45 * (-1) ** k, 0.3 * (k % 3)] for k in range(n)])


@pytest.mark.parametrize("degree", [1, 2])
def test_latents_stay_when_a_structure_is_turned_and_change_when_it_is_mirrored(degree: int) -> None:
    network = network_of(twisted(1)[0], degree=degree)
    x = torch.tensor(twisted(1, torsion=100.0)[0].positions)[None]
    q, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    q = q * torch.linalg.det(q)
    means, log_variances = network.encode(x)
    turned = network.encode(x @ q.T + 2.0)
    assert torch.allclose(turned[0], means, atol=1e-8)
    assert torch.allclose(turned[1], log_variances, atol=1e-8)
    assert (network.encode(-x)[0] - means).abs().max() > 1e-5


def test_flat_structures_and_blind_encoders_see_no_difference_in_a_mirror() -> None:
    flat = torch.tensor(twisted(1, torsion=180.0)[0].positions)[None]
    network = network_of(twisted(1)[0])
    assert torch.allclose(network.encode(flat)[0], network.encode(-flat)[0], atol=1e-8)
    blind, x = network_of(twisted(1)[0], n_pseudoscalars=0), torch.tensor(twisted(1)[0].positions)[None]
    assert torch.allclose(blind.encode(x)[0], blind.encode(-x)[0], atol=1e-8)


@pytest.mark.parametrize("atoms", [twisted(1)[0], molecule("C6H6"), alkane(ALL_PAIRS + 6)], ids=["4", "12", "70"])
def test_posteriors_are_narrow_at_first_whatever_the_size(atoms: Atoms) -> None:
    network = network_of(atoms)
    _, log_variances = network.encode(torch.from_numpy(atoms.positions)[None])
    assert ((log_variances + 3.0).abs() < 0.5).all()


@pytest.mark.parametrize("atoms", [molecule("C6H6"), alkane(ALL_PAIRS + 6)], ids=["12", "70"])
def test_the_decoder_begins_with_the_reference_and_says_the_same_twice(atoms: Atoms) -> None:
    network = network_of(atoms, latent_dim=4)
    latents = torch.randn(3, 4, dtype=torch.float64)
    made = network.decode(latents)
    assert torch.equal(made, network.decode(latents))
    assert torch.allclose(made.mean(1), torch.zeros(3, 3, dtype=torch.float64), atol=1e-10)
    centered = torch.from_numpy(atoms.positions - atoms.positions.mean(0))
    assert (made - centered).norm(dim=-1).max() < 0.2 * centered.norm(dim=-1).max()


def test_directions_of_motion_lead_to_every_structure_wherever_it_lies() -> None:
    """Both hands of H2O2: superposed, and turned about again, structures are the mean and steps along directions."""
    frames = torch.tensor(np.array([atoms.positions for atoms in twisted(40)]))
    turns, _ = torch.linalg.qr(torch.randn(40, 3, 3, dtype=torch.float64, generator=torch.manual_seed(1)))
    turns = turns * torch.linalg.det(turns)[:, None, None]
    mean, modes = motion(frames[0], frames @ turns + 3.0, 6)
    superposed = aligned(frames, mean.expand_as(frames))
    steps = torch.linalg.lstsq(modes.flatten(1).T, (superposed - mean).flatten(1).T).solution
    rebuilt = mean + torch.einsum("mk,mic->kic", steps, modes)
    assert (rebuilt - superposed).norm(dim=-1).max() < 1e-4
    assert torch.allclose(
        steps.square().mean(1), torch.ones(6, dtype=torch.float64), atol=1e-3
    )  # by which structures spread
    assert modes[0].norm() > 5 * modes[1].norm()
    few = motion(frames[0], frames[:2], 6)[1]
    assert few[2:].abs().max() == 0.0


def test_before_training_latents_are_principal_components_and_keep_the_hand() -> None:
    atoms = twisted(60)
    frames = torch.tensor(np.array([each.positions for each in atoms]))
    network = network_of(atoms[0], latent_dim=4)
    network.learn_extent(frames[0], frames)
    means, _ = network.encode(frames)
    assert torch.allclose(means.var(0), torch.ones(4, dtype=torch.float64), atol=0.1)
    signs = [torsion_vectors(x, torch.tensor([[2], [0], [1], [3]]))[0].sign() for x in (frames, network.decode(means))]
    assert torch.equal(signs[0], signs[1])


def test_a_number_of_features_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="n_features=20 is not a multiple of n_heads=8"):
        VAENetworkConfig(n_features=20)
