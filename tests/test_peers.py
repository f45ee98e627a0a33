"""The kit for ASE calculators, pointed at the calculator of another package with published weights."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from molcalc.testing import check_calculator
from tests.helpers.peers import find_published_ensemble, write_v2_file

pytestmark = pytest.mark.peers

ENSEMBLE = "aimnet2_wb97m-d3_ens"
# The published file adds reference energies in float32 per atom, the v2 format in float64.
ENERGY_TOLERANCE = 3e-3
FORCE_TOLERANCE = 2e-5

# What the ASE class of aimnet 0.2.6 fails, and why it deserves to.
FAILURES_OF_AIMNET = {
    "property_names",  # "dipole_moment" is no ASE property; ASE's is "dipole"
    "properties_delivered",  # free_energy is promised and never filled
    "array_types",  # float32 forces and stress, stress as a 3x3 matrix
    "free_energy",
    "one_pass",  # energy, then forces: two network passes in every step
    "database",  # float32 forces come back with half of their size
    "pickle",
    "stress_of_molecule",  # AssertionError instead of PropertyNotImplementedError
    "translation",  # positions are cast to float32
    "charge_leak",  # a charge is used for the next molecule, too
    "nan_positions",
    "torch_state",  # no forces inside torch.no_grad()
    "random_state",  # loading weights draws random numbers
    "shared_by_threads",
}


@pytest.fixture(scope="module")
def published_file() -> Path:
    path = find_published_ensemble(ENSEMBLE)
    if path is None:
        pytest.skip("the published weights are not installed (extra aimnet2)")
    return path


@pytest.fixture(scope="module")
def v2_file(published_file, tmp_path_factory) -> Path:
    """First member of the published ensemble in the v2 format."""
    return write_v2_file(published_file, 0, tmp_path_factory.mktemp("v2") / "member.pt")


@pytest.fixture
def aimnet_calculator(v2_file):
    """Factory of the ASE class of aimnet."""
    # Imported here and not above: it takes 15 s.
    calculators = pytest.importorskip("aimnet.calculators")
    if version("aimnet") != "0.2.6":
        pytest.skip(f"aimnet {version('aimnet')} is installed; these tests describe 0.2.6")
    return lambda: calculators.AIMNet2ASE(str(v2_file))


def test_the_v2_format_needs_a_known_dispersion(published_file, tmp_path):
    copy = tmp_path / "unknown.jpt"
    copy.symlink_to(published_file)
    with pytest.raises(ValueError, match=r"no D3 parameters are known for 'unknown.jpt'"):
        write_v2_file(copy, 0, tmp_path / "out.pt")


def test_a_member_that_does_not_exist_is_an_error(published_file, tmp_path):
    with pytest.raises(ValueError, match="has no member 4"):
        write_v2_file(published_file, 4, tmp_path / "out.pt")


@pytest.mark.parametrize(
    ("atoms", "charge"),
    [
        pytest.param(molecule("CH3CH2OH"), 0, id="ethanol"),
        pytest.param(Atoms("CHO2", molecule("HCOOH").positions[[1, 4, 0, 2]]), -1, id="formate"),
    ],
)
def test_a_converted_file_gives_the_published_energies(published_file, aimnet_calculator, atoms, charge):
    member = next(torch.jit.load(str(published_file)).models.children())
    inputs = {
        "coord": torch.tensor(atoms.positions[None], dtype=torch.float32),
        "numbers": torch.tensor(atoms.numbers[None]),
        "charge": torch.tensor([float(charge)]),
    }
    with torch.jit.optimized_execution(False):
        published = member(inputs)
    atoms.info["charge"] = charge
    atoms.calc = aimnet_calculator()
    assert atoms.get_potential_energy() == pytest.approx(published["energy"].item(), abs=ENERGY_TOLERANCE)
    np.testing.assert_allclose(
        atoms.get_forces(), published["forces"][0].detach().numpy(), rtol=0, atol=FORCE_TOLERANCE
    )


@pytest.mark.timeout(300)
def test_aimnet_fails_what_it_deserves_to_fail(aimnet_calculator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Without the two checks that take longest and find nothing.
    report = check_calculator(aimnet_calculator, quiet=True, memory_steps=0, skip=["two_instances"])
    assert {failure.name for failure in report.failures} == FAILURES_OF_AIMNET, str(report)
