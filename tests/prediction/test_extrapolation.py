"""A model says where it knows nothing: once, at the caller's line, or as an error, or not at all."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from molcalc.calculators import AIMNet2
from molcalc.errors import ChargeError, ConfigError, ExtrapolationError, ExtrapolationWarning, UnsupportedElementError
from molcalc.io.checkpoint import Checkpoint
from molcalc.knowledge import Knowledge
from tests.helpers.calculators import tiny_calculator
from tests.helpers.networks import tiny_checkpoint, tiny_dcm

OF_WATER_AND_CO2 = Knowledge(
    charges=(0,),
    multiplicities=(1,),
    span=({"H": 2, "O": 1}, {"C": 1, "O": 2}),
    shortest={"H-H": 1.4, "H-O": 0.9, "C-O": 1.1, "O-O": 2.1},
    n_systems=20,
    sizes=(3, 3),
)


def knowing(model: Checkpoint, known: Knowledge = OF_WATER_AND_CO2) -> Checkpoint:
    fidelities = tuple(replace(fidelity, knowledge=known) for fidelity in model.config.fidelities)
    return replace(model, config=replace(model.config, fidelities=fidelities))


CO2_LIKE = Atoms("CO", [[0, 0, 0], [0, 0, 1.15]])
SQUEEZED = Atoms("OH2", [[0, 0, 0], [0, 0, 0.7], [0, 0.95, -0.2]])
CHARGED = Atoms("OH2", molecule("H2O").positions, info={"charge": 2})


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (CHARGED, "H2O has charge 2; the training data of 'pbe0' have charge 0"),
        (CO2_LIKE, r"CO is no sum or difference .* \(H2O, CO2\).*hundreds of eV.*compositions"),
        (SQUEEZED, r"H2O: H-O of atoms 0 and 1 are 0\.70 Å apart; .* 0\.90 Å is the shortest"),
    ],
    ids=["charge", "composition", "distance"],
)
def test_what_the_data_do_not_have_is_told_once_or_refused_or_passed_over(atoms: Atoms, words: str) -> None:
    model = knowing(tiny_checkpoint())
    told, refused, silent = (AIMNet2(model, on_extrapolation=choice) for choice in ("warn", "raise", "ignore"))
    with pytest.warns(ExtrapolationWarning, match=words) as caught:
        energy = told.get_potential_energy(atoms)
    assert [warning.filename for warning in caught] == [__file__], "it points at the line of the user"
    moved = atoms.copy()
    moved.rotate(30, "x")
    reordered = moved[::-1]
    for again in (moved, reordered):
        told.get_potential_energy(again)
    with pytest.raises(ExtrapolationError, match=words):
        refused.get_potential_energy(atoms)
    with pytest.raises(ExtrapolationError, match=r"structure 1: .*"):
        refused.evaluate([molecule("H2O"), atoms])
    assert silent.get_potential_energy(atoms) == energy


def test_every_molecule_and_reason_has_a_warning_of_its_own() -> None:
    calc = AIMNet2(knowing(tiny_checkpoint()))
    strange = [CO2_LIKE, SQUEEZED, CHARGED, Atoms("CO", [[0, 0, 0], [0, 0, 0.8]])]
    with pytest.warns(ExtrapolationWarning) as caught:
        calc.evaluate([*strange, *strange])
    assert len(caught) == 4


def test_structures_like_the_data_are_computed_without_a_word() -> None:
    calc = AIMNet2(knowing(tiny_checkpoint()), on_extrapolation="raise")
    stretched = molecule("H2O")
    stretched.positions *= 0.95
    far = molecule("H2O") + molecule("H2O")
    far.positions[3:] += [20.0, 0, 0]
    calc.evaluate([molecule("H2O"), molecule("CO2"), stretched, far])


def test_multiplicities_count_for_models_that_see_spin(open_shell: Checkpoint) -> None:
    triplet = Atoms("OH2", molecule("H2O").positions, info={"multiplicity": 3})
    with pytest.warns(ExtrapolationWarning, match="multiplicity 3; .* have 1"):
        tiny_calculator(knowing(open_shell)).get_potential_energy(triplet)


@pytest.mark.parametrize("choice", ["warn", "ignore"])
@pytest.mark.parametrize("kind", ["physnet-dcm", "noneq-dcm"])
def test_a_model_without_charge_dependence_always_refuses_other_charges(kind: str, choice: str) -> None:
    anion = replace(OF_WATER_AND_CO2, charges=(-2,))
    calc = tiny_calculator(knowing(tiny_dcm(kind, coulomb=None), anion), on_extrapolation=choice)
    atoms = molecule("H2O")
    with pytest.raises(ChargeError, match=r"charge 0: .* do not depend on the charge, .* have charge -2"):
        calc.get_potential_energy(atoms)
    calc.get_potential_energy(Atoms(atoms, info={"charge": -2}))


def test_an_old_model_without_charge_dependence_warns_of_charges() -> None:
    calc = tiny_calculator(tiny_dcm(coulomb=None))
    calc.get_potential_energy(molecule("H2O"))
    with pytest.warns(ExtrapolationWarning, match="charge 2, on which energies .* do not depend"):
        calc.get_potential_energy(CHARGED)


def test_elements_are_refused_whatever_is_chosen() -> None:
    with pytest.raises(UnsupportedElementError):
        AIMNet2(knowing(tiny_checkpoint()), on_extrapolation="ignore").get_potential_energy(Atoms("Xe"))


def test_networks_that_disagree_are_told_and_those_that_agree_are_not() -> None:
    members = tiny_checkpoint(n_members=2)
    atoms = molecule("H2O")
    with pytest.warns(
        ExtrapolationWarning, match=r"networks of 'pbe0' disagree by .* eV, .* meV per atom, .* at most 23\.1"
    ):
        std = AIMNet2(members).evaluate([atoms], ["energy_std"])[0]["energy_std"]
    assert std > 0.04 * np.sqrt(3)
    with pytest.raises(ExtrapolationError, match="disagree"):
        AIMNet2(members, on_extrapolation="raise").get_potential_energy(atoms)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AIMNet2(members, member=0).get_potential_energy(atoms)
        AIMNet2(members, on_extrapolation="ignore").get_potential_energy(atoms)


def test_an_unknown_choice_names_the_right_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"on_extrapolation='warm' \(did you mean 'warn'\?\); choose one of warn, raise"
    ):
        AIMNet2(tiny_checkpoint(), on_extrapolation="warm")


def test_knowledge_does_not_change_the_hash_of_a_model() -> None:
    assert knowing(tiny_checkpoint()).hash == tiny_checkpoint().hash


def pair(first: str, second: str, distance: float, charge: int = 0) -> Atoms:
    """Two molecules at a distance; OH and H3O by their formulas."""
    known = {"H3O": Atoms("OH3", [[0, 0, 0], [0.97, 0, 0.2], [-0.5, 0.84, 0.2], [-0.5, -0.84, 0.2]])}
    atoms, other = (known[name] if name in known else molecule(name) for name in (first, second))
    moved = other.copy()
    moved.positions += [distance, 0.0, 0.0]
    whole = atoms + moved
    whole.info["charge"] = charge
    return whole


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (pair("OH", "H3O", 20.0), r"H4O2 has parts that are more than 5 Å apart \(HO and H3O\).*total charge 0 among"),
        (pair("H2O", "CH4", 20.0, charge=2), r"CH6O has parts .* \(H2O and CH4\).*total charge 2 among.*one by one"),
    ],
    ids=["ions of a neutral whole", "a charged whole"],
)
def test_ions_that_do_not_see_each_other_are_told_of_once(atoms: Atoms, words: str) -> None:
    told, refused, silent = (
        AIMNet2(tiny_checkpoint(), on_extrapolation=choice) for choice in ("warn", "raise", "ignore")
    )
    with pytest.warns(ExtrapolationWarning, match=words):
        told.get_potential_energy(atoms)
    told.get_potential_energy(atoms[::-1])
    with pytest.raises(ExtrapolationError, match=words):
        refused.get_potential_energy(atoms)
    silent.get_potential_energy(atoms)


def test_parts_that_are_no_ions_or_see_each_other_are_not_told_of() -> None:
    calc = AIMNet2(tiny_checkpoint(), on_extrapolation="raise")
    for atoms in (
        pair("H2O", "CH4", 20.0),
        pair("OH", "H3O", 4.0),
        pair("CH3CH2OH", "CH3CH2OH", 5.5, charge=2),  # by a chain of neighbors
        Atoms("O16", [[4.5 * k, 0.0, 0.0] for k in range(16)], info={"charge": 2}),  # by a long one
        molecule("H", info={"charge": 1}),
    ):
        calc.get_potential_energy(atoms)
