"""Wrong input gets one clear error, and leaves the calculator as good as new."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import InputError as AseInputError
from ase.calculators.calculator import PropertyNotImplementedError
from ase.optimize import BFGS

from molcalc.calculators import AIMNet2
from molcalc.calculators.base import MolCalculator
from molcalc.errors import (
    AtomsTooCloseError,
    CellError,
    ChargeError,
    ConfigError,
    FidelityError,
    InputError,
    NonFiniteResultError,
    OpenShellWarning,
    SpinError,
    UnsupportedElementError,
)
from molcalc.io.checkpoint import Checkpoint
from molcalc.prediction import batching
from tests.helpers.calculators import periodic_calculator, tiny_calculator
from tests.helpers.networks import tiny_checkpoint
from tests.helpers.structures import crystal


def water() -> Atoms:
    return molecule("H2O")


def with_position(value: float) -> Atoms:
    atoms = water()
    atoms.positions[2, 1] = value
    return atoms


def with_info(**info: object) -> Atoms:
    atoms = water()
    atoms.info.update(info)
    return atoms


def with_cell(cell: object, pbc: object = True) -> Atoms:
    atoms = crystal()
    atoms.cell[:] = np.array(cell, dtype=float)
    atoms.pbc = pbc
    return atoms


def with_numbers(*numbers: int) -> Atoms:
    return Atoms(numbers=numbers, positions=np.arange(3 * len(numbers)).reshape(-1, 3) * 1.0)


BAD_STRUCTURES = {
    "NaN position": (lambda: with_position(np.nan), InputError, r"positions.*not finite.*atom 2"),
    "infinite position": (lambda: with_position(np.inf), InputError, r"positions.*not finite.*atom 2"),
    "no atoms": (lambda: Atoms(), InputError, "no atoms"),
    "untrained element": (lambda: with_numbers(8, 2), UnsupportedElementError, r"He \(Z=2\).*atoms \[1\].*: H,"),
    "dummy atom": (lambda: with_numbers(0, 8), UnsupportedElementError, "Z=0"),
    "element 119": (lambda: with_numbers(8, 119), UnsupportedElementError, "Z=119"),
    "coincident atoms": (
        lambda: Atoms("OHH", positions=np.zeros((3, 3))), AtomsTooCloseError, r"atoms 0 and 1.*0\.000 Å.*image",
    ),
    "atoms 0.01 Å apart": (
        lambda: Atoms("OH", positions=[[0, 0, 0], [0.01, 0, 0]], info={"charge": -1}),
        AtomsTooCloseError, r"0\.010 Å.*minimum",
    ),
    "fractional charge": (lambda: with_info(charge=0.5), ChargeError, r"charge 0\.5.*integer"),
    "NaN charge": (lambda: with_info(charge=np.nan), ChargeError, "charge nan.*integer"),
    "charge array": (lambda: with_info(charge=np.zeros(2)), ChargeError, r"shape \(2,\).*integer"),
    "charge text": (lambda: with_info(charge="plus one"), ChargeError, "'plus one'.*integer"),
    "charge 40": (lambda: with_info(charge=40), ChargeError, "charge 40 is impossible"),
    "wrong parity": (lambda: with_info(charge=1, spin=1), SpinError, r"9 electrons.*multiplicity 1"),
    "multiplicity 0": (lambda: with_info(spin=0), SpinError, "multiplicity 0"),
    "spin contradiction": (lambda: with_info(spin=1, mult=3), SpinError, "contradictory.*= 1.*= 3"),
    "spin of a closed-shell model": (lambda: with_info(spin=3), SpinError, "does not use spin"),
}  # fmt: skip

BAD_CRYSTALS = {
    "NaN cell": (lambda: with_cell(np.full((3, 3), np.nan)), CellError, "cell.*not finite"),
    "zero cell": (lambda: with_cell(np.zeros((3, 3))), CellError, "zero cell"),
    "missing vector": (lambda: with_cell([[4, 0, 0], [0, 4, 0], [0, 0, 0]]), CellError, "pbc=.*cell rank 2"),
    "tiny volume": (lambda: with_cell(np.eye(3) * 0.5), CellError, r"volume .* Å3/atom"),
    "flat cell": (lambda: with_cell([[4, 0, 0], [4, 1e-7, 0], [0, 0, 4]]), CellError, "rank|volume"),
    "image too close": (
        lambda: Atoms("O", cell=[0.2, 9, 9], pbc=True), AtomsTooCloseError, r"atom 0 and its own periodic image",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::molcalc.errors.OpenShellWarning")
@pytest.mark.parametrize("name", [*BAD_STRUCTURES, *BAD_CRYSTALS])
def test_bad_structure_is_named_and_does_no_harm(name: str, closed_shell: Checkpoint) -> None:
    make, error, message = {**BAD_STRUCTURES, **BAD_CRYSTALS}[name]
    calc: MolCalculator = (periodic_calculator if name in BAD_CRYSTALS else tiny_calculator)(closed_shell)
    expected = calc.get_potential_energy(water())
    with pytest.raises(error, match=message) as caught:
        calc.get_potential_energy(make())
    assert isinstance(caught.value, (AseInputError, ValueError))
    assert calc.results == {}
    assert calc.extras == {}
    assert calc.get_potential_energy(water()) == expected


def test_structure_of_a_batch_is_named(closed_shell: Checkpoint) -> None:
    with pytest.raises(InputError, match=r"structure 1: positions.*atom 2"):
        tiny_calculator(closed_shell).evaluate([water(), with_position(np.nan)])


def test_periodic_structure_with_molecular_coulomb_names_the_alternatives(closed_shell: Checkpoint) -> None:
    calc = tiny_calculator(closed_shell)
    with pytest.raises(CellError, match=r"not.*periodic.*pbc.*dsf.*ewald"):
        calc.get_potential_energy(crystal())
    assert "stress" not in calc.implemented_properties


def test_unknown_property_is_not_implemented(closed_shell: Checkpoint) -> None:
    with pytest.raises(PropertyNotImplementedError, match="magmoms"):
        tiny_calculator(closed_shell).get_property("magmoms", water())
    with pytest.raises(PropertyNotImplementedError, match="magmoms"):
        tiny_calculator(closed_shell).evaluate([water()], ("magmoms",))


def test_neutral_only_model_refuses_ions(closed_shell: Checkpoint) -> None:
    calc = tiny_calculator(closed_shell)
    calc.neutral_only = True
    with pytest.raises(ChargeError, match="neutral molecules only"):
        calc.get_potential_energy(with_info(charge=-2))


def test_closest_distance_can_be_lowered(closed_shell: Checkpoint) -> None:
    atoms = Atoms("OH", positions=[[0, 0, 0], [0.2, 0, 0]], info={"charge": -1})
    calc = tiny_calculator(closed_shell)
    with pytest.raises(AtomsTooCloseError, match=r"0\.200 Å.*min_distance"):
        calc.get_potential_energy(atoms)
    calc.min_distance = 0.1
    energy = calc.get_potential_energy(atoms)
    assert energy == tiny_calculator(closed_shell, min_distance=0.1).get_potential_energy(atoms)
    calc.min_distance = None
    with pytest.raises(AtomsTooCloseError):
        calc.get_potential_energy(atoms)


def test_odd_electron_in_a_closed_shell_model_is_told_once_for_each_molecule(closed_shell: Checkpoint) -> None:
    calc = tiny_calculator(closed_shell)
    for name in ("CH3", "OH"):
        atoms = Atoms(molecule(name), calculator=calc)
        with pytest.warns(OpenShellWarning, match=f"{atoms.get_chemical_formula()} .* odd number") as caught:
            BFGS(atoms, logfile=None).run(steps=2)
        assert [warning.filename for warning in caught] == [__file__], "it points at the line of the user"
    calc.get_potential_energy(molecule("CH3"))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dtype": "float16"}, ConfigError, "dtype='float16'"),
        ({"device": "toaster"}, ConfigError, "device='toaster'"),
        ({"min_distance": -1.0}, ConfigError, "min_distance=-1.0"),
        ({"member": 7}, ConfigError, r"member=7.*0…0"),
        ({"fidelity": "pbe"}, FidelityError, "did you mean 'pbe0'.*'pbe0' has 'pbe0'"),
        ({"coulomb": "simpel"}, ConfigError, "did you mean 'simple'"),
        ({"dispersion": False}, ConfigError, "dispersion=False"),
        ({"dispersion": "pbe0"}, ConfigError, "d3bj:FUNCTIONAL"),
        ({"dispersion": "d3bj:pbee0"}, ConfigError, "pbee0"),
        ({"dispersion": "d5:pbe0"}, ConfigError, "d4:FUNCTIONAL"),
        ({"dispersion": "d3bj:s8=1.0"}, ConfigError, "missing a1, a2"),
        ({"dispersion": "d3bj:s8=x,a1=1,a2=1"}, ConfigError, "s8='x'"),
    ],
    ids=str,
)
def test_wrong_option_is_named(
    closed_shell: Checkpoint, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        AIMNet2(closed_shell, **options)  # type: ignore[arg-type]


def test_dispersion_is_not_added_twice() -> None:
    from dataclasses import replace

    checkpoint = tiny_checkpoint()
    fidelity = replace(checkpoint.config.fidelities[0], dispersion_in_labels=True)
    with_labels = Checkpoint(replace(checkpoint.config, fidelities=(fidelity,)), checkpoint.weights)
    with pytest.raises(ConfigError, match="count it twice"):
        AIMNet2(with_labels, dispersion="d3bj:pbe0")
    energy = AIMNet2(with_labels, dtype="float64").get_potential_energy(water())
    assert energy == tiny_calculator(checkpoint, dispersion=None).get_potential_energy(water())


def test_arrays_in_info_do_no_harm(closed_shell: Checkpoint) -> None:
    calc = tiny_calculator(closed_shell)
    atoms = with_info(forces=np.ones((3, 3)), note="x", missing=None, bad=np.nan)
    atoms.calc = calc
    energy = atoms.get_potential_energy()
    assert atoms.get_potential_energy() == energy == calc.get_potential_energy(water())


def test_result_that_is_not_finite_is_named(closed_shell: Checkpoint) -> None:
    calc = tiny_calculator(closed_shell)
    calc.potential.members[0].shifts[0, 8] = float("nan")
    with pytest.raises(NonFiniteResultError, match=r"energies.*atom 0|energy"):
        calc.get_potential_energy(water())
    assert calc.results == {}


def test_large_molecules_give_the_same_results_without_a_list_of_all_pairs(
    closed_shell: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    calc: MolCalculator = tiny_calculator(closed_shell)
    assert calc.potential.pair_cutoff == np.inf
    found = []
    for listed in (batching.LISTED_ATOMS, 2):
        monkeypatch.setattr(batching, "LISTED_ATOMS", listed)
        calc.reset()
        batch, _ = calc.prepare(water())
        assert (batch.pair_index.shape[1] == 0) == (listed == 2)
        found.append((calc.get_potential_energy(water()), calc.get_forces(water()), calc.get_hessian(water())))
    for value, right in zip(*found):
        np.testing.assert_allclose(value, right, rtol=1e-12, atol=1e-12)
