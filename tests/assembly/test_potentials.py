"""Networks and energy terms put together."""

from __future__ import annotations

import pytest
import torch

from molcalc.assembly.opening import open_model
from molcalc.assembly.potentials import (
    PotentialOptions,
    dispersion_potential,
    potential_of,
    training_potential,
)
from molcalc.batch import from_atoms
from molcalc.calculators import D3, AIMNet2
from molcalc.derivatives import evaluate
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.electrostatics.coulomb import DSFCoulomb, SimpleCoulomb
from molcalc.electrostatics.zbl import ZBLRepulsion
from molcalc.errors import ConfigError, FidelityError
from molcalc.registry import build_members
from tests.helpers.networks import tiny_checkpoint, tiny_dcm, tiny_multifidelity_checkpoint
from tests.helpers.structures import organic


def test_one_opened_model_serves_calculators_of_different_arithmetic() -> None:
    """Float32 weights of one do not round those of the next."""
    model = open_model(tiny_checkpoint(n_members=2))
    expected = AIMNet2(tiny_checkpoint(n_members=2), dtype="float64").get_potential_energy(organic())
    single = AIMNet2(model, dtype="float32").get_potential_energy(organic())
    double = AIMNet2(model, dtype="float64")
    assert double.get_potential_energy(organic()) == expected
    assert single == pytest.approx(expected, abs=1e-3)
    assert double.potential.members[0] is not model.members[0]


def test_legacy_arithmetic_stays_with_the_potential_that_asked_for_it() -> None:
    model = open_model(tiny_checkpoint())
    legacy = potential_of(model, options=PotentialOptions(legacy=True))
    assert legacy.members[0].round_shifted_energies
    assert not potential_of(model).members[0].round_shifted_energies


def test_options_choose_member_coulomb_and_dispersion() -> None:
    model = open_model(tiny_checkpoint(n_members=3))
    potential = potential_of(model, options=PotentialOptions(member=1, coulomb="dsf", dispersion=None))
    assert potential.n_members == 1
    assert [type(term) for term in potential.terms] == [DSFCoulomb]
    assert torch.equal(potential.members[0].shifts, model.members[1].shifts)
    declared = potential_of(model)
    assert declared.n_members == 3
    assert [type(term) for term in declared.terms] == [SimpleCoulomb, D3Dispersion]


def test_a_fidelity_must_be_named_where_there_are_several() -> None:
    model = open_model(tiny_multifidelity_checkpoint())
    with pytest.raises(FidelityError, match="choose one with fidelity=NAME"):
        potential_of(model)
    with pytest.raises(ConfigError, match="already contain dispersion"):
        potential_of(model, "gfn2", PotentialOptions(dispersion="d3bj:pbe0"))


def test_a_potential_for_training_trains_the_network_itself_and_adds_no_dispersion() -> None:
    checkpoint = tiny_dcm(repulsion="zbl")
    networks = build_members(checkpoint)
    potential = training_potential(checkpoint.config, networks)
    assert potential.members[0] is networks[0]
    assert isinstance(potential.terms[-1], ZBLRepulsion)
    assert len(potential.terms) == 2
    several = tiny_multifidelity_checkpoint()
    assert [type(term) for term in training_potential(several.config, build_members(several)).terms] == [SimpleCoulomb]


def test_dispersion_alone_is_a_potential() -> None:
    potential = dispersion_potential(D3Dispersion("pbe0"), range(1, 10))
    assert potential.elements == tuple(range(1, 10))
    found = evaluate(potential, from_atoms(organic(), cutoff=3.0, pair_cutoff=float("inf")), ())
    assert float(found["energy"]) == pytest.approx(D3("pbe0").get_potential_energy(organic()), abs=1e-12)
