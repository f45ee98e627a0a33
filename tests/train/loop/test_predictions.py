"""What labels are compared with, and how it follows the weights of a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc.assembly.potentials import training_potential
from molcalc.batch import AtomicBatch, collate, from_atoms
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.electrostatics.coulomb import EwaldCoulomb
from molcalc.errors import ConfigError, DatasetError
from molcalc.potential import Potential
from molcalc.registry import build_members
from molcalc.train import fit
from molcalc.train.data import open_dataset
from molcalc.train.loop.losses import Loss, LossConfig
from molcalc.train.loop.predictions import predict
from tests.helpers.networks import tiny_checkpoint, tiny_dcm
from tests.helpers.structures import crystal
from tests.helpers.training_runs import TINY

GRADIENT_FD = 1e-6  # relative, central differences of a loss in float64
STEP = 1e-4  # of a weight


def aimnet2() -> Potential:
    """With D3 as it is declared for crystals."""
    terms = [D3Dispersion("pbe0", cutoff=9.0, cn_cutoff=7.0, switch_width=2.0)]
    return Potential(build_members(tiny_checkpoint()), terms).set_dtype(torch.float64)


def physnet_dcm() -> Potential:
    return Potential(build_members(tiny_dcm("physnet-dcm"))).set_dtype(torch.float64)


def with_sum(name: str, **options: float) -> Potential:
    """AIMNet2 as it is trained on crystals with a sum of its Coulomb energy."""
    model = tiny_checkpoint()
    config = replace(model.config, coulomb_sum=name, coulomb_options=options)
    return training_potential(config, build_members(model)).set_dtype(torch.float64)


def mixed(potential: Potential) -> AtomicBatch:
    """A crystal with a stress label, a molecule (where the potential takes it) and a crystal without; forces of 0."""
    strained = crystal()
    strained.set_cell(strained.cell.array * 1.03, scale_atoms=True)
    crystals_only = any(isinstance(term, EwaldCoulomb) for term in potential.energy_terms)
    images = [crystal(), *([] if crystals_only else [molecule("H2O")]), strained]
    batch = collate([from_atoms(atoms, cutoff=potential.cutoff, pair_cutoff=potential.pair_cutoff) for atoms in images])
    label = torch.zeros(len(images), 3, 3).double()
    label[1:] = torch.nan
    return replace(batch, labels={"stress": label, "forces": torch.zeros_like(batch.positions)})


@pytest.mark.parametrize(
    ("make", "weights"),
    [
        (aimnet2, {"stress": 1e4}),
        (physnet_dcm, {"stress": 1e4}),
        (lambda: with_sum("dsf", cutoff=8.0, alpha=0.25), {"stress": 1e4, "forces": 1.0}),
        (lambda: with_sum("ewald", accuracy=1e-6), {"stress": 1e4, "forces": 1.0}),
    ],
    ids=["aimnet2 with D3", "physnet-dcm", "aimnet2 with dsf", "aimnet2 with ewald"],
)
def test_the_gradient_of_a_loss_on_crystals_by_a_weight_equals_its_finite_difference(make, weights) -> None:
    potential = make().requires_grad_()
    batch = mixed(potential)
    loss = Loss(LossConfig(weights=weights))
    counts = loss.counts(batch)

    def value() -> torch.Tensor:
        return loss(predict(potential, batch, tuple(weights), create_graph=True), batch, counts)[0]

    parameters = list(potential.members.parameters())
    gradients = torch.autograd.grad(value(), parameters, allow_unused=True)
    used = [(p, g) for p, g in zip(parameters, gradients) if g is not None and bool(g.any())]
    assert all(bool(torch.isfinite(gradient).all()) for _, gradient in used)
    assert len(used) > 8
    scale = max(float(gradient.abs().max()) for _, gradient in used)
    for parameter, gradient in used[:: len(used) // 6]:
        place = int(gradient.abs().argmax())
        with torch.no_grad():
            flat = parameter.view(-1)
            kept = float(flat[place])
            flat[place] = kept + STEP
        above = float(value().detach())
        with torch.no_grad():
            flat[place] = kept - STEP
        below = float(value().detach())
        with torch.no_grad():
            flat[place] = kept
        found = (above - below) / (2 * STEP)
        assert float(gradient.view(-1)[place]) == pytest.approx(found, rel=1e-4, abs=GRADIENT_FD * scale)


def test_the_stress_of_a_molecule_is_missing_and_disturbs_no_other() -> None:
    potential = aimnet2()
    batch = mixed(potential)
    stress = predict(potential, batch, ("stress",))["stress"]
    assert bool(stress[1].isnan().all())
    alone = predict(potential, from_atoms(crystal(), cutoff=potential.cutoff, pair_cutoff=9.0), ("stress",))["stress"]
    torch.testing.assert_close(stress[:1], alone, rtol=1e-9, atol=1e-12)


def copper(path: Path, n: int = 16) -> Path:
    """Strained crystals with the stress of EMT, and two dimers whose program wrote a stress of 0."""
    rng = np.random.default_rng(3)
    with connect(path) as database:
        for k in range(n + 2):
            strain = rng.normal(scale=0.01, size=(3, 3))
            atoms = bulk("Cu", cubic=True) if k < n else Atoms("Cu2", [[0, 0, 0], [0, 0, 2.3 + 0.1 * (k - n)]])
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain + strain.T), scale_atoms=True)
            atoms.rattle(0.01, seed=k)
            atoms.calc = EMT()
            results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
            results["stress"] = atoms.get_stress() if k < n else np.zeros(6)
            atoms.calc = SinglePointCalculator(atoms, **results)
            database.write(atoms)
    return path


def test_a_fit_to_stress_labels_lowers_the_error_of_the_stress(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = copper(tmp_path / "copper.db")
    assert open_dataset(data).counts()["stress"] == 16
    options = {
        "arguments": {**TINY["aimnet2"], "max_number": 29}, "coulomb": None, "epochs": 8, "batch_size": 4,
        "batch_mode": "molecules", "valid": 4, "test": 0, "learning_rate": 3e-3, "ema": 0.0, "progress": False,
        "plots": False, "seed": 1,
    }  # fmt: skip
    weights = {"energy": 1.0, "forces": 1.0}
    fit(data, "aimnet2", output=tmp_path / "plain", loss={"weights": weights}, **{**options, "epochs": 1})
    assert "labels that are not in the loss: stress; loss.weights.stress gives them a part" in caplog.text
    caplog.clear()
    trained = fit(data, "aimnet2", output=tmp_path / "run", loss={"weights": {**weights, "stress": 1e3}}, **options)
    assert "not in the loss" not in caplog.text
    first, last = trained.history[0], trained.history[-1]
    assert last["train_stress"] < 0.2 * first["train_stress"]
    assert trained.metrics["valid"]["stress"]["mae"] < 0.5 * first["stress_mae"]


def test_a_stress_loss_on_molecules_is_refused(labelled_db: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="loss term 'stress': no training system has stress; labels found: energy"):
        fit(labelled_db, "aimnet2", output=tmp_path / "run", loss={"weights": {"stress": 1.0}}, progress=False)


def test_two_dipoles_need_distributed_charges(labelled_db: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'charge_dipole' needs dcm_charges, which aimnet2 does not predict"):
        fit(labelled_db, "aimnet2", output=tmp_path / "run", loss={"weights": {"charge_dipole": 1.0}}, progress=False)


def test_both_dipoles_of_physnet_dcm_are_trained_unless_a_user_says_otherwise(
    labelled_db: Path, tmp_path: Path
) -> None:
    options = {
        "epochs": 2, "batch_size": 8, "progress": False, "plots": False,
        "arguments": {"n_features": 8, "n_radial": 8, "n_modules": 1, "head_features": 8, "n_dcm": 2},
    }  # fmt: skip
    row = fit(labelled_db, "physnet-dcm", output=tmp_path / "run", **options).history[-1]
    assert row["train_dipole"] > 0 < row["train_charge_dipole"]
    assert row["train_dipole"] != row["train_charge_dipole"]
