"""The kit for potentials: it passes a right network and fails every mistake it is meant to find."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk, molecule

from molcalc.dispersion.d3 import D3Dispersion
from molcalc.electrostatics.thole import TholeCoulomb
from molcalc.errors import ConfigError
from molcalc.io.checkpoint import save
from molcalc.models.network import NoNetwork
from molcalc.potential import Potential
from molcalc.testing import POTENTIAL_CHECKS, check_potential
from tests.helpers.mistakes.networks import MISTAKES, PairNetwork
from tests.helpers.networks import dcm_potential, tiny_dcm

FEW = ("predictions", "forces")


def only(*names: str) -> set[str]:
    return set(POTENTIAL_CHECKS) - set(names)


def test_a_right_network_passes_every_check() -> None:
    report = check_potential(Potential([PairNetwork()]), quiet=True)
    assert report.failures == []
    assert report.skipped == []
    assert report.passed == list(POTENTIAL_CHECKS)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str) -> None:
    make, check = MISTAKES[mistake]
    report = check_potential(make(), quiet=True, skip=only(check))
    assert [failure.name for failure in report.failures] == [check]


def test_every_check_finds_a_mistake() -> None:
    assert set(POTENTIAL_CHECKS) == {check for _, check in MISTAKES.values()}


def test_a_potential_of_energy_terms_alone_passes() -> None:
    report = check_potential(Potential([NoNetwork(range(1, 95))], [D3Dispersion("pbe0", cutoff=8.0, switch_width=2.0)]))
    assert report.ok, str(report)


def test_energies_of_charges_that_do_not_turn_are_not_failed_for_it() -> None:
    potential = dcm_potential(tiny_dcm("noneq-dcm"), terms=(TholeCoulomb(),))
    report = check_potential(potential, quiet=True, skip=only("rotation"))
    assert dict(report.skipped)["rotation"] == "charges that do not turn with the molecule are part of the energy"


def test_a_model_is_given_as_checkpoint_folder_or_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "model", tiny_dcm())
    for model in (tiny_dcm(), tmp_path / "model", str(tmp_path / "model"), "noneq-dcm"):
        report = check_potential(model, skip=only(*FEW))
        assert report.passed == list(FEW)
        assert "2 passed, 0 failed" in capsys.readouterr().out


def test_the_potential_is_left_as_it_is() -> None:
    potential = dcm_potential(tiny_dcm())
    before = {name: (value.dtype, value.requires_grad, value.clone()) for name, value in potential.named_parameters()}
    check_potential(potential, quiet=True, skip=only("reference_energies", "initialization", "gradient_mode"))
    for name, value in potential.named_parameters():
        dtype, trained, old = before[name]
        assert value.dtype == dtype
        assert value.requires_grad == trained
        assert bool((value == old).all())


def test_structures_that_do_not_fit_and_unknown_checks_are_refused() -> None:
    potential = dcm_potential(tiny_dcm())
    with pytest.raises(ConfigError, match=r"skip=\['force'\] are not checks; choose from predictions"):
        check_potential(potential, skip=["force"])
    for atoms in (molecule("SiH4"), bulk("C")):
        with pytest.raises(ConfigError, match="give a molecule of"):
            check_potential(potential, atoms=atoms)


def test_a_structure_of_the_user_is_used() -> None:
    report = check_potential(dcm_potential(tiny_dcm()), quiet=True, atoms=molecule("HCN"), skip=only(*FEW))
    assert report.calculator == "PhysNetDCMNetwork"
    assert report.structure == "CHN"
