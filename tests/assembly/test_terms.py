"""Which energy terms complete a network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from molcalc.assembly.terms import (
    completed_by,
    completing_terms,
    coulomb_term,
    dispersion_from,
    dispersion_term,
    dispersion_words,
    trained_coulomb,
)
from molcalc.batch import from_atoms
from molcalc.calculators import D3, AIMNet2
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.dispersion.d4 import D4Dispersion
from molcalc.dispersion.parameters import D3Parameters, D4Parameters, d3_parameters, d4_parameters
from molcalc.electrostatics.coulomb import DSFCoulomb, EwaldCoulomb, SimpleCoulomb
from molcalc.electrostatics.zbl import ZBLRepulsion
from molcalc.errors import CellError, CheckpointMismatchError, ConfigError
from molcalc.fidelity import Fidelity
from molcalc.io.checkpoint import Checkpoint
from molcalc.models.network import NoNetwork
from molcalc.potential import Potential
from tests.helpers.networks import tiny_checkpoint
from tests.helpers.structures import rattled

COMPLETED = Fidelity(name="pbe0", functional="pbe0", dispersion="d3bj:pbe0")


def test_energy_with_dispersion_less_energy_without_is_that_of_d3() -> None:
    atoms = rattled("CH3OH", seed=1)
    with_d3, without = (AIMNet2(tiny_checkpoint(), dtype="float64", dispersion=x) for x in ("auto", None))
    difference = with_d3.get_potential_energy(atoms) - without.get_potential_energy(atoms)
    assert difference == pytest.approx(D3("pbe0").get_potential_energy(atoms), abs=1e-10)
    forces = with_d3.get_forces(atoms) - without.get_forces(atoms)
    assert np.allclose(forces, D3("pbe0").get_forces(atoms), rtol=0.0, atol=1e-10)


def test_auto_takes_what_the_fidelity_declares() -> None:
    contained = replace(COMPLETED, dispersion_in_labels=True)
    for fidelity, choice, words in (
        (COMPLETED, "auto", "d3bj:pbe0"),
        (replace(COMPLETED, dispersion=None), "auto", "none"),
        (contained, "auto", "in labels"),
        (COMPLETED, None, "none"),
    ):
        assert dispersion_words(fidelity, choice) == words
        assert (dispersion_term(fidelity, choice) is not None) is (words == "d3bj:pbe0")


@pytest.mark.parametrize("choice", ["d3bj:pbe0", d3_parameters("pbe0")], ids=str)
def test_dispersion_is_never_added_to_labels_that_contain_it(choice: str | D3Parameters) -> None:
    with pytest.raises(ConfigError, match="count it twice"):
        dispersion_term(replace(COMPLETED, dispersion_in_labels=True), choice)


@pytest.mark.parametrize("choice", [False, True, 3, ["d3bj:pbe0"]], ids=str)
def test_dispersion_of_another_type_is_refused(choice: object) -> None:
    with pytest.raises(ConfigError, match="give 'auto', None, 'd3bj:FUNCTIONAL'"):
        dispersion_term(COMPLETED, choice)  # type: ignore[arg-type]


def test_the_word_false_is_no_functional() -> None:
    with pytest.raises(ConfigError, match="dispersion='False'; give 'auto', None"):
        dispersion_term(COMPLETED, "False")


def test_a_coulomb_term_without_charges_is_refused_when_the_potential_is_built() -> None:
    with pytest.raises(ConfigError, match="SimpleCoulomb needs charges, which NoNetwork does not predict"):
        Potential([NoNetwork([1])], [SimpleCoulomb()])


@pytest.mark.parametrize("pbc", [True, (True, True, False), (False, False, True)], ids=str)
def test_a_crystal_with_the_method_for_molecules_names_both_alternatives(pbc: object) -> None:
    crystal = bulk("C", "diamond", 3.57, cubic=True)
    crystal.pbc = pbc
    with pytest.raises(CellError, match=r"(?s)dsf.*ewald"):
        AIMNet2(tiny_checkpoint()).get_potential_energy(crystal)


def test_coulomb_methods_of_a_model_without_coulomb() -> None:
    config = replace(tiny_checkpoint().config, coulomb=None)
    assert coulomb_term(config, "auto") is None
    with pytest.raises(ConfigError, match="trained without a Coulomb term"):
        coulomb_term(config, "ewald")


def test_a_model_remembers_the_sum_that_it_was_trained_with() -> None:
    config = replace(tiny_checkpoint().config, coulomb_sum="dsf", coulomb_options={"cutoff": 9.0})
    remembered, default = coulomb_term(config), coulomb_term(config, "ewald")
    assert isinstance(remembered, DSFCoulomb)
    assert remembered.pair_cutoff == 9.0
    assert isinstance(default, EwaldCoulomb)
    assert isinstance(coulomb_term(config, "simple"), SimpleCoulomb)
    assert completed_by(config, 0)[0]["coulomb"] == "dsf (cutoff=9)"
    assert completed_by(config, 0, coulomb="ewald")[0]["coulomb"] == "ewald"
    with pytest.raises(CheckpointMismatchError, match="unknown Coulomb method 'dfs'"):
        coulomb_term(replace(config, coulomb_sum="dfs"))


def test_what_a_model_can_be_trained_with_is_looked_up_with_its_options() -> None:
    assert trained_coulomb("dsf", {"cutoff": 12.0}) == ("simple", "dsf", {"cutoff": 12.0})
    assert trained_coulomb("simple", {}) == ("simple", None, {})
    assert trained_coulomb("physnet", {}) == ("physnet", None, {})
    assert trained_coulomb("shifted", {}) == ("physnet", "shifted", {})
    with pytest.raises(ConfigError, match="'cutof' .*did you mean 'cutoff'.*those of 'dsf' are: cutoff, alpha"):
        trained_coulomb("dsf", {"cutof": 12.0})
    with pytest.raises(ConfigError, match="those of 'simple' are: none"):
        trained_coulomb("simple", {"alpha": 0.2})


def test_zero_volume_cell_is_refused() -> None:
    flat = Atoms("C2", [[0, 0, 0], [1.4, 0, 0]], cell=[[5, 0, 0], [0, 5, 0], [5, 5, 0]], pbc=True)
    for method in ("dsf", "ewald"):
        with pytest.raises(CellError, match="cell"):
            AIMNet2(tiny_checkpoint(), coulomb=method).get_potential_energy(flat)


def test_a_calculator_adds_the_repulsion_that_its_model_was_trained_with() -> None:
    plain = tiny_checkpoint()
    repelled = Checkpoint(replace(plain.config, repulsion="zbl"), plain.weights)
    close = Atoms("CO", [[0, 0, 0], [0, 0, 0.7]])
    energies = [AIMNet2(model, dtype="float64").get_potential_energy(close) for model in (plain, repelled)]
    batch = from_atoms(close, cutoff=5.0, pair_cutoff=5.0)
    assert energies[1] - energies[0] == pytest.approx(float(ZBLRepulsion()(batch, {}).sum()), abs=1e-9)


def test_dispersion_is_smooth_exactly_where_the_other_terms_allow_crystals() -> None:
    config, level = tiny_checkpoint().config, replace(COMPLETED, dispersion="d3bj:pbe0")
    for coulomb, smooth in ((None, True), ("simple", False)):
        terms = completing_terms(replace(config, coulomb=coulomb, fidelities=(level,)), 0)
        assert (terms[-1].switch_width > 0) is smooth


def test_texts_and_parameters_of_both_methods_become_terms() -> None:
    pytest.importorskip("dftd4")
    assert isinstance(dispersion_from("d3bj:pbe0"), D3Dispersion)
    assert isinstance(dispersion_from("d4:pbe0"), D4Dispersion)
    assert isinstance(dispersion_from(d4_parameters("pbe")), D4Dispersion)
    assert dispersion_from("d3bj:pbe0", legacy=True).legacy


def test_legacy_form_of_d4_does_not_exist() -> None:
    with pytest.raises(ConfigError, match="legacy=True reproduces models with D3"):
        dispersion_from(D4Parameters(1.0, 1.0, 0.4, 5.0), legacy=True)
