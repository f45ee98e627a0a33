"""The kit for ASE calculators: it passes good ones and fails every mistake it is meant to find."""

import os

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from molcalc.errors import ConfigError
from molcalc.testing import CHECKS, Failure, Report, Skip, check_calculator
from tests.helpers.mistakes.calculators import MISTAKES
from tests.helpers.mistakes.pair_potential import Float32Network, HardCutoff, MoleculesOnly, Reference
from tests.helpers.mistakes.physics import ForcesUphill, StressOrder, StressSign
from tests.helpers.mistakes.results import NotCopyable
from tests.helpers.mistakes.state import Prints

THREAD_CHECKS = ("two_instances", "shared_by_threads")
MEMORY_STEPS = 100


@pytest.fixture(autouse=True)
def _own_process_state(tmp_path, monkeypatch):
    """Undo what the broken calculators do to the process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAMPLE_CALCULATOR_WAS_HERE", raising=False)
    n_threads = torch.get_num_threads()
    with np.errstate():
        yield
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.set_num_threads(n_threads)
    os.environ.pop("SAMPLE_CALCULATOR_WAS_HERE", None)


def failed_checks(factory, **options):
    return {failure.name for failure in check_calculator(factory, quiet=True, **options).failures}


def sentence_of(factory, check):
    others = set(CHECKS) - {check}
    report = check_calculator(factory, quiet=True, skip=others)
    return dict([*report.failures, *report.skipped])[check]


def test_a_calculator_that_obeys_every_rule_passes_every_check():
    report = check_calculator(Reference, quiet=True, memory_steps=MEMORY_STEPS)
    assert report.failures == []
    assert report.skipped == []
    assert report.passed == list(CHECKS)
    assert report.ok


@pytest.mark.parametrize("factory", [Float32Network, HardCutoff])
def test_correct_forces_are_not_failed_for_noise_of_the_energy(factory):
    assert failed_checks(factory, memory_steps=0, skip=THREAD_CHECKS) == set()


def test_a_calculator_for_molecules_only_is_not_failed_for_refusing_crystals():
    report = check_calculator(MoleculesOnly, quiet=True, memory_steps=0)
    assert report.failures == []
    assert {"forces_in_crystal", "periodic_images", "changed_cell"} <= {name for name, _ in report.skipped}


# ASE's own calculators return numbers for NaN positions (a used LennardJones keeps its neighbor list), and
# no plain ASE calculator is safe to share between threads.
KNOWN_OF_LENNARD_JONES = {"nan_positions", "shared_by_threads"}
# EMT also keeps one force array, holds a lambda, and lists magmoms that it gives for magnetic atoms only.
KNOWN_OF_EMT = {*KNOWN_OF_LENNARD_JONES, "shared_arrays", "pickle", "properties_delivered"}


@pytest.mark.parametrize(
    ("factory", "atoms", "known"),
    [
        pytest.param(LennardJones, None, KNOWN_OF_LENNARD_JONES, id="Lennard-Jones molecule"),
        pytest.param(
            lambda: LennardJones(sigma=3.4, epsilon=0.0104, rc=6.0, smooth=True),
            bulk("Ar", a=5.3),
            KNOWN_OF_LENNARD_JONES,
            id="Lennard-Jones crystal",
        ),
        pytest.param(EMT, None, KNOWN_OF_EMT, id="EMT molecule"),
        pytest.param(EMT, bulk("Cu", cubic=True), KNOWN_OF_EMT, id="EMT crystal"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:divide by zero encountered:RuntimeWarning")
def test_calculators_of_ase_fail_nothing_but_what_is_known_of_them(factory, atoms, known):
    assert failed_checks(factory, atoms=atoms, memory_steps=0) == known


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_mistake_fails_its_checks_and_no_other(mistake):
    in_threads = mistake.failures & set(THREAD_CHECKS)
    found = failed_checks(
        mistake.calculator,
        skip=() if in_threads else THREAD_CHECKS,
        memory_steps=MEMORY_STEPS if "memory" in mistake.failures else 0,
    )
    assert found == mistake.failures


def test_every_check_is_failed_by_some_mistake():
    assert set().union(*(mistake.failures for mistake in MISTAKES)) == set(CHECKS)


@pytest.mark.parametrize(
    ("factory", "check", "words"),
    [
        (ForcesUphill, "forces", "opposite sign"),
        (StressSign, "stress", "positive under tension"),
        (StressOrder, "stress", "in the order xx, yy, zz, xy, xz, yz instead of xx, yy, zz, yz, xz, xy"),
        (Prints, "silence", "SCF converged"),
        (NotCopyable, "deepcopy", "TypeError: cannot copy a handle"),
    ],
)
def test_a_failure_says_what_is_wrong(factory, check, words):
    assert words in sentence_of(factory, check)


class ChargeBlind(Reference):
    def charge_of(self, atoms):
        return 0.0


def test_charge_checks_are_skipped_where_energies_do_not_depend_on_charge():
    for check in ("changed_charge", "charge_leak"):
        assert "do not depend" in sentence_of(ChargeBlind, check)
    report = check_calculator(ChargeBlind, quiet=True, memory_steps=0, skip=THREAD_CHECKS)
    assert report.ok


def test_a_calculator_said_to_be_charge_aware_fails_if_it_is_not():
    found = failed_checks(ChargeBlind, charge_aware=True, memory_steps=0, skip=THREAD_CHECKS)
    assert found == {"changed_charge", "charge_leak"}


class EvenElectronsOnly(Reference):
    def check_input(self, atoms):
        super().check_input(atoms)
        if (atoms.numbers.sum() - self.charge_of(atoms)) % 2:
            raise ValueError("odd number of electrons")


def test_a_calculator_without_open_shells_is_checked_with_charges_it_accepts():
    report = check_calculator(EvenElectronsOnly, quiet=True, memory_steps=0, skip=THREAD_CHECKS)
    assert report.ok
    assert {"changed_charge", "charge_leak"} <= set(report.passed)


class NobleGasOnly(Reference):
    def check_input(self, atoms):
        super().check_input(atoms)
        if (atoms.numbers != 18).any():
            raise ValueError("argon only")


def test_structures_are_offered_until_one_is_accepted():
    report = check_calculator(NobleGasOnly, quiet=True, memory_steps=0, skip=THREAD_CHECKS)
    assert report.structure == "Ar4"
    assert report.ok


def test_a_given_structure_is_used_and_not_changed():
    atoms = Atoms("CO", [[0, 0, 0], [0, 0.1, 1.15]], info={"charge": 1})
    before = atoms.copy()
    report = check_calculator(Reference, quiet=True, atoms=atoms, memory_steps=0, skip=THREAD_CHECKS)
    assert report.structure == "CO"
    assert report.ok
    assert atoms == before
    assert atoms.info == before.info
    assert atoms.calc is None


def test_a_given_crystal_is_used_itself():
    crystal = bulk("Cu", "fcc", a=3.6)
    report = check_calculator(Reference, quiet=True, atoms=crystal, memory_steps=0, skip=THREAD_CHECKS)
    assert report.ok
    assert {"stress", "changed_cell", "changed_pbc"} <= set(report.passed)


def test_a_calculator_that_cannot_be_made_is_reported():
    def factory():
        raise OSError("weights are missing")

    report = check_calculator(factory, quiet=True)
    assert not report.ok
    assert report.failures == [Failure("usable", "the calculator cannot be made: OSError: weights are missing")]
    assert [name for name, _ in report.skipped] == list(CHECKS)


def test_a_calculator_that_accepts_no_structure_is_reported():
    report = check_calculator(NobleGasOnly, quiet=True, atoms=Atoms("H"))
    assert [failure.name for failure in report.failures] == ["usable"]
    assert "argon only" in report.failures[0].sentence


def test_a_factory_that_returns_one_calculator_twice_is_an_error():
    calc = Reference()
    with pytest.raises(ConfigError, match="has to make a new one every time"):
        check_calculator(lambda: calc, quiet=True)


def test_an_unknown_check_to_skip_is_an_error_that_lists_the_checks():
    with pytest.raises(ConfigError, match=r"skip=\['strees'\] are not checks; choose from .* stress,"):
        check_calculator(Reference, quiet=True, skip=["strees"])


def test_memory_is_skipped_when_it_does_not_fit_into_the_time_budget():
    report = check_calculator(Reference, quiet=True, skip=set(CHECKS) - {"memory"}, time_budget=1e-4)
    assert "time budget" in dict(report.skipped)["memory"]


def test_the_report_is_printed_as_a_table_unless_quiet(capsys):
    skip = set(CHECKS) - {"forces", "rotation", "deepcopy"}
    report = check_calculator(NotCopyable, quiet=True, skip=skip)
    assert capsys.readouterr().out == ""
    check_calculator(NotCopyable, skip=skip)
    table = capsys.readouterr().out
    assert table == f"{report}\n"
    lines = [line.split() for line in table.splitlines()]
    assert lines[0] == ["NotCopyable,", "checked", "with", "CH4O"]
    assert lines[1][:2] == ["FAILED", "deepcopy"]
    assert ["ok", "forces"] in lines
    assert ["skipped", "memory", "left", "out", "by", "the", "caller"] in lines
    assert lines[-1] == ["2", "passed,", "1", "failed,", str(len(CHECKS) - 3), "skipped"]


def test_output_of_the_calculator_does_not_bury_the_report(capfd):
    check_calculator(Prints, quiet=True, memory_steps=0, skip=THREAD_CHECKS)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize("mistake", [EMT(), "EMT", None], ids=["calculator", "name", "nothing"])
def test_a_calculator_in_place_of_its_factory_is_explained(mistake):
    with pytest.raises(
        ConfigError, match=r"function that makes a new calculator.*check_calculator\(lambda: \w+\(…\)\)"
    ):
        check_calculator(mistake)


def test_notebooks_show_every_check_with_what_is_wrong() -> None:
    report = Report("<Calc>", "CH4O", ["forces"], [Failure("stress", "wrong sign")], [Skip("charge", "unaware")])
    table = report._repr_html_()
    assert "<caption>&lt;Calc&gt;, checked with CH4O</caption>" in table
    for row in (
        "FAILED</td><td>stress</td><td>wrong sign",
        "skipped</td><td>charge</td><td>unaware",
        "ok</td><td>forces",
    ):
        assert row in table
