"""AIMNet2 with a head: energies are those without it, by both ways of computing them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ase.build import molecule

from molcalc import AIMNet2
from molcalc.derivatives import evaluate
from molcalc.errors import ConfigError, ExtrapolationWarning, MissingPropertyError
from molcalc.io.checkpoint import Checkpoint
from molcalc.models.aimnet2_dcm import AIMNet2DCMConfig
from molcalc.registry import MODELS, build_members, checkpoint_of
from molcalc.second_derivatives import dipole_derivatives, second_derivatives
from tests.helpers.networks import tiny_checkpoint
from tests.helpers.training_runs import PAIR_HEAD

POINTS = np.array([[4.0, 1.0, 0.5], [-3.0, 2.0, 4.0], [0.0, -5.0, 1.0]])
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "charges": ("aimnet2-dcm", PAIR_HEAD),
    "multipoles": ("aimnet2-dcm", {**PAIR_HEAD, "n_dcm": 1, "multipoles": True}),
    "plain": ("aimnet2-noneq-dcm", {"head_features": 8}),
}
variants = pytest.mark.parametrize("variant", VARIANTS)


def with_head(variant: str, n_members: int = 1, **more: Any) -> tuple[Checkpoint, Checkpoint]:
    """Random AIMNet2, and the same with a head."""
    trunk = tiny_checkpoint(n_members=n_members)
    kind, changes = VARIANTS[variant]
    entry = MODELS[kind]
    config = entry.config(**{**trunk.config.arguments, **changes, **more})
    networks = []
    for k, below in enumerate(build_members(trunk)):
        torch.manual_seed(k)
        network = entry.network(config).initialize()
        network.load_state_dict({**network.state_dict(), **below.state_dict()})
        networks.append(network)
    declared = {**vars(trunk.config), "kind": kind, "arguments": config.to_dict()}
    return trunk, checkpoint_of(type(trunk.config)(**declared), networks)


@variants
@pytest.mark.parametrize("n_members", [1, 2])
def test_energies_forces_and_charges_are_those_of_the_trunk_to_the_last_bit(variant: str, n_members: int) -> None:
    results = []
    for model in with_head(variant, n_members):
        atoms = molecule("CH3OH")
        atoms.calc = AIMNet2(model)
        results.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_charges()))
    for plain, headed in zip(*results):
        assert np.array_equal(plain, headed)


@variants
def test_both_steps_give_the_same_distributed_charges(variant: str) -> None:
    calc, atoms = AIMNet2(with_head(variant)[1], dtype="float64"), molecule("CH3OH")
    atoms.calc = calc
    atoms.get_forces()
    assert calc.todict()["step"] == "compiled"
    reference = evaluate(calc.potential, calc.prepare(atoms)[0], ("forces",))
    for name in calc.predictor.extra_properties:
        torch.testing.assert_close(torch.as_tensor(calc.extras[name]), reference[name].reshape(calc.extras[name].shape))


@variants
def test_derivatives_of_the_dipole_are_those_of_the_distributed_charges(variant: str) -> None:
    calc = AIMNet2(with_head(variant, n_members=2)[1])
    potential, batch = calc.potential.set_dtype(torch.float64), calc.prepare(molecule("CH3OH"))[0]
    _, slopes = second_derivatives(potential, batch)
    torch.testing.assert_close(slopes, dipole_derivatives(potential, batch), rtol=0, atol=1e-10)


def test_potential_dipole_and_distributed_charges_belong_together() -> None:
    calc, atoms = AIMNet2(with_head("charges", 2)[1]), molecule("CH3OH")
    positions, charges = calc.get_distributed_charges(atoms)
    assert charges.shape == (len(atoms) * 4 * 2,)
    distances = np.linalg.norm(POINTS[:, None] - positions, axis=2)
    np.testing.assert_allclose(calc.get_esp(POINTS, atoms), 14.399645478 * (charges / distances).sum(axis=1), rtol=1e-7)
    arms = positions - atoms.get_center_of_mass()
    np.testing.assert_allclose(calc.get_dipole_moment(atoms), charges @ arms, atol=1e-9)
    assert not np.allclose(calc.get_esp(POINTS, atoms, "charges"), calc.get_esp(POINTS, atoms))


def test_far_away_multipoles_are_a_charge_and_a_dipole() -> None:
    calc, atoms = AIMNet2(with_head("multipoles")[1], charge=2), molecule("CH3OH")
    far = 3e3 * POINTS
    arms = far - atoms.get_center_of_mass()
    distances = np.linalg.norm(arms, axis=1)
    expected = 2.0 / distances + arms @ calc.get_dipole_moment(atoms) / distances**3
    np.testing.assert_allclose(calc.get_esp(far, atoms), 14.399645478 * expected, rtol=1e-6)


def test_elements_that_the_head_did_not_learn_are_told_of() -> None:
    model = with_head("charges", head_elements=(1, 6))[1]
    atoms = molecule("CH3OH")
    with pytest.warns(ExtrapolationWarning, match=r"CH4O: the charges around O \(Z=8\) were not learned by 'pbe0'"):
        AIMNet2(model).get_potential_energy(atoms)
    AIMNet2(model, on_extrapolation="ignore").get_potential_energy(atoms)


def test_a_model_with_charges_on_atoms_only_says_so() -> None:
    calc = AIMNet2(tiny_checkpoint())
    with pytest.raises(ConfigError, match='predicts charges on atoms only; use "charges"'):
        calc.get_distributed_charges(molecule("CH3OH"))
    with pytest.raises(MissingPropertyError, match="dcm_charges is not implemented"):
        calc.evaluate([molecule("CH3OH")], ("dcm_charges",))


def test_a_head_does_not_reach_farther_than_its_trunk() -> None:
    with pytest.raises(ValueError, match=r"head_cutoff=6.0 Å is beyond the cutoff of the trunk, 5.0 Å"):
        AIMNet2DCMConfig(elements=(1,), head_cutoff=6.0)
