"""Random rotations turn everything together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from molcalc.batch import from_atoms
from molcalc.derivatives import evaluate
from molcalc.electrostatics.multipoles import quadrupole
from molcalc.potential import Potential
from molcalc.registry import build_members
from molcalc.train.data import open_dataset
from molcalc.train.loop.augmentation import random_rotations, rotated
from molcalc.train.loop.predictions import predict
from tests.helpers.networks import tiny_checkpoint
from tests.helpers.structures import crystal


def test_rotations_are_proper_and_orthogonal() -> None:
    matrices = random_rotations(50, np.random.default_rng(0))
    torch.testing.assert_close(matrices @ matrices.mT, torch.eye(3).double().expand(50, 3, 3))
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(50).double())
    assert float(matrices.mean(dim=0).abs().max()) < 0.3  # no direction is preferred


def test_an_invariant_model_fits_turned_labels_as_well_as_before(labelled_db: Path, tmp_path: Path) -> None:
    """Forces, dipoles, quadrupoles and ESP points turn with the molecules: residuals keep their length."""
    data = open_dataset(labelled_db, cache=tmp_path)
    batch = data.batch(np.arange(6), cutoff=5.0)
    center = torch.zeros(6, 3).double()
    labels = {
        **batch.labels,
        "quadrupole": quadrupole(center, batch.positions, batch.labels["charges"], batch.system_idx),
    }
    batch = type(batch)(**{**vars(batch), "labels": labels})
    potential = Potential(build_members(tiny_checkpoint(seed=8))).set_dtype(torch.float64)
    names = ("energy", "forces", "dipole", "quadrupole", "charges", "esp")
    turned = rotated(batch, np.random.default_rng(1))
    before, after = predict(potential, batch, names), predict(potential, turned, names)
    assert float((turned.labels["forces"] - batch.labels["forces"]).abs().max()) > 0.1
    for name in ("energy", "charges", "esp"):
        torch.testing.assert_close(
            after[name] - turned.labels[name], before[name] - batch.labels[name], rtol=1e-9, atol=1e-9
        )
    for name in ("forces", "dipole"):
        torch.testing.assert_close(
            (after[name] - turned.labels[name]).norm(dim=1),
            (before[name] - batch.labels[name]).norm(dim=1),
            rtol=1e-9,
            atol=1e-9,
        )


def test_a_stress_turns_with_its_crystal() -> None:
    """Of a model that does not prefer a direction, the stress of the turned crystal is the turned stress."""
    atoms = crystal()
    potential = Potential(build_members(tiny_checkpoint(seed=8))).set_dtype(torch.float64)
    batch = from_atoms(atoms, cutoff=5.0)
    stress = evaluate(potential, batch, ("stress",))["stress"]
    turned = rotated(replace(batch, labels={"stress": stress}), np.random.default_rng(1))
    assert float((turned.labels["stress"] - stress).abs().max()) > 1e-3
    torch.testing.assert_close(
        evaluate(potential, turned, ("stress",))["stress"], turned.labels["stress"], rtol=1e-9, atol=1e-10
    )
