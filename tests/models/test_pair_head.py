"""The head of pairs: neutral corrections, symmetric moments, and charges that stay near their atoms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from molcalc.batch import AtomicBatch, from_atoms
from molcalc.models.pair_head import PairHead, PairHeadConfig
from molcalc.models.physnet import Edges
from tests.helpers.structures import organic
from tests.helpers.training_runs import PAIR_HEAD

N_FEATURES = 6


def predicted(
    atoms: Atoms, seed: int = 0, scale: float = 1.0, alike: bool = False, **changes: Any
) -> tuple[AtomicBatch, Any, Any]:
    """A batch, the charges given to a head of random weights, and what it makes of them."""
    torch.manual_seed(seed)
    head = PairHead(PairHeadConfig(elements=(1, 6, 7, 8), max_number=8, **{**PAIR_HEAD, **changes}), N_FEATURES)
    head.initialize()
    head.double().requires_grad_(False).pair_leave.weight.data *= scale
    batch = from_atoms(atoms, cutoff=head.cutoff)
    charges = 0.3 * torch.randn(len(atoms), dtype=torch.float64)
    features = torch.randn(len(atoms), N_FEATURES, dtype=torch.float64)
    if alike:  # atoms of one element
        charges, features = torch.zeros_like(charges), torch.ones_like(features)
    return batch, charges, head(batch, Edges.of_batch(batch), charges, features)


@pytest.mark.parametrize("changes", [{}, {"n_dcm": 1, "multipoles": True}], ids=["charges", "multipoles"])
def test_atoms_exchange_charge_and_lose_none(changes: dict[str, Any]) -> None:
    _, charges, found = predicted(organic(), **changes)
    of_atoms = found["dcm_charges"].sum(dim=1)
    assert (of_atoms - charges).abs().max() > 1e-3
    assert float(of_atoms.sum() - charges.sum()) == pytest.approx(0.0, abs=1e-12)


def test_exact_monopoles_leave_each_atom_its_charge() -> None:
    _, charges, found = predicted(organic(), exact_monopoles=True)
    torch.testing.assert_close(found["dcm_charges"].sum(dim=1), charges, rtol=0, atol=1e-12)


def test_charges_stay_near_their_atoms_however_strong_the_weights_are() -> None:
    batch, _, found = predicted(organic(), scale=1e3, max_displacement=0.4, axial_pair=False)
    distances = (found["dcm_positions"] - batch.positions[:, None]).norm(dim=2)
    assert 0.3 < float(distances.max()) < 0.4 + 1e-12


def test_multipoles_sit_on_the_atoms_and_quadrupoles_are_symmetric_without_trace() -> None:
    batch, _, found = predicted(organic(), n_dcm=1, multipoles=True)
    assert torch.equal(found["dcm_positions"][:, 0], batch.positions)
    moments = found["atomic_quadrupoles"]
    assert moments.abs().max() > 1e-2
    assert found["atomic_dipoles"].abs().max() > 1e-2
    torch.testing.assert_close(moments, moments.mT)
    assert moments.diagonal(dim1=1, dim2=2).sum(dim=1).abs().max() < 1e-12


def test_an_atom_alone_has_its_charge_and_nothing_else() -> None:
    _, charges, found = predicted(Atoms("O", [[0.1, 0.2, 0.3]]), n_dcm=1, multipoles=True)
    torch.testing.assert_close(found["dcm_charges"][:, 0], charges)
    assert not found["atomic_dipoles"].any()
    assert not found["atomic_quadrupoles"].any()


def test_several_charges_with_multipoles_are_refused() -> None:
    with pytest.raises(ValueError, match="n_dcm=3 with multipoles=True"):
        PairHeadConfig(elements=(1,), n_dcm=3, multipoles=True)


def test_a_pair_of_charges_leaves_the_plane_of_a_planar_molecule() -> None:
    """Charges that follow vectors cannot: their mirror images would be others."""
    atoms = molecule("C6H6")  # in the plane of x and y
    for n_dcm, leaves in ((2, False), (4, True)):
        heights = predicted(atoms, n_dcm=n_dcm, alike=True)[2]["dcm_positions"][..., 2].abs()
        assert float(heights.max()) > 0.4 if leaves else float(heights.max()) < 1e-12


def test_a_pair_has_two_equal_charges_opposite_to_each_other() -> None:
    batch, _, found = predicted(organic(), n_dcm=3, pair_distance=0.4)
    arms = found["dcm_positions"] - batch.positions[:, None]
    torch.testing.assert_close(arms[:, 1], -arms[:, 2])
    torch.testing.assert_close(arms[:, 1].norm(dim=1), torch.full((len(arms),), 0.4, dtype=torch.float64))
    assert torch.equal(found["dcm_charges"][:, 1], found["dcm_charges"][:, 2])
    assert found["dcm_charges"][:, 1].abs().max() > 1e-3


@pytest.mark.parametrize("changes", [{"n_dcm": 4}, {"n_dcm": 1, "multipoles": True}], ids=["charges", "multipoles"])
def test_atoms_of_elements_that_were_not_learned_keep_their_charges(changes: dict[str, Any]) -> None:
    atoms = organic()
    batch, charges, found = predicted(atoms, head_elements=(1, 6), **changes)
    strange = torch.tensor(~np.isin(atoms.numbers, (1, 6)))
    torch.testing.assert_close(found["dcm_charges"].sum(dim=1)[strange], charges[strange])
    near = found["dcm_positions"] - batch.positions[:, None]
    charged = found["dcm_charges"].abs() > 1e-12
    if "atomic_dipoles" in found:
        assert not found["atomic_dipoles"][strange].any()
        assert found["atomic_dipoles"][~strange].any()
    assert not (near.abs().sum(dim=2) * charged)[strange][:, :2].any()
    assert float(found["dcm_charges"].sum()) == pytest.approx(float(charges.sum()), abs=1e-12)
