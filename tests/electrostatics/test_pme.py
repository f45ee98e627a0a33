"""Particle-mesh Ewald summation with nvalchemi-toolkit-ops, which compiles its kernels on first use (slow)."""

import sys

import numpy as np
import pytest
import torch

from molcalc.electrostatics.charged_cells import ChargedCellWarning
from molcalc.electrostatics.coulomb import EwaldCoulomb, PMECoulomb
from molcalc.errors import CellError, ConfigError
from tests.helpers.checks import IDENTITY, batch_of, energies_of, random_charges, total_energy
from tests.helpers.structures import random_atoms

TRICLINIC = [[9.0, 0.0, 0.0], [1.5, 8.0, 0.0], [-0.8, 1.1, 8.5]]


@pytest.fixture
def package():
    pytest.importorskip("nvalchemiops", reason="nvalchemi-toolkit-ops is not installed")


@pytest.mark.slow
@pytest.mark.usefixtures("package")
@pytest.mark.filterwarnings("ignore::molcalc.electrostatics.charged_cells.ChargedCellWarning")
@pytest.mark.parametrize("accuracy", [1e-4, 1e-6, 1e-7])
@pytest.mark.parametrize("total", [0.0, 1.0], ids=["neutral", "charged"])
def test_energy_forces_and_stress_equal_the_plain_sum_within_the_accuracy(accuracy, total):
    batch, charges = batch_of(random_atoms(40, cell=TRICLINIC), pair_cutoff=1.0), random_charges(40, total=total)
    results = []
    for term in (PMECoulomb(accuracy), EwaldCoulomb(1e-14)):
        leaves = tuple(t.clone().requires_grad_() for t in (charges, batch.positions, torch.zeros_like(IDENTITY)))
        energy = energies_of(term, batch, *leaves).sum()
        results.append((energy.detach(), *torch.autograd.grad(energy, leaves)))
    for mesh, exact in zip(*results):
        assert float((mesh - exact).norm() / exact.norm()) < 5 * accuracy


@pytest.mark.slow
@pytest.mark.usefixtures("package")
def test_second_derivatives_equal_those_of_the_plain_sum():
    batch, charges = batch_of(random_atoms(6, cell=TRICLINIC), pair_cutoff=1.0), random_charges(6)
    direction = torch.tensor(np.random.default_rng(2).normal(size=(6, 3)))
    products = []
    for term in (PMECoulomb(), EwaldCoulomb(1e-14)):
        positions = batch.positions.clone().requires_grad_()
        energy = energies_of(term, batch, charges, positions).sum()
        (gradient,) = torch.autograd.grad(energy, positions, create_graph=True)
        products.append(torch.autograd.grad((gradient * direction).sum(), positions)[0])
    assert float((products[0] - products[1]).norm() / products[1].norm()) < 1e-4


@pytest.mark.slow
@pytest.mark.usefixtures("package")
def test_batch_equals_single_systems():
    structures = [random_atoms(n, seed=n, cell=np.eye(3) * 7) for n in (5, 1, 8)]
    charges = [random_charges(n) for n in (5, 1, 8)]
    together = energies_of(PMECoulomb(), batch_of(*structures, pair_cutoff=1.0), torch.cat(charges))
    alone = [energies_of(PMECoulomb(), batch_of(a, pair_cutoff=1.0), q) for a, q in zip(structures, charges)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.usefixtures("package")
def test_what_the_plain_sum_refuses_is_refused():
    atoms = random_atoms(3, cell=np.eye(3) * 6)
    with pytest.warns(ChargedCellWarning):
        total_energy(PMECoulomb(), batch_of(atoms, pair_cutoff=1.0), random_charges(3, total=1.0))
    atoms.pbc = (True, True, False)
    with pytest.raises(CellError, match="Ewald needs pbc=TTT"):
        total_energy(PMECoulomb(), batch_of(atoms, pair_cutoff=1.0), random_charges(3))


def test_missing_package_is_an_error_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvalchemiops.torch.interactions.electrostatics", None)
    with pytest.raises(ConfigError, match=r"pip install 'molcalc\[pme\]', or use Coulomb method \"ewald\""):
        PMECoulomb()


@pytest.mark.usefixtures("package")
def test_accuracy_that_no_mesh_reaches_is_an_error():
    with pytest.raises(ConfigError, match='accuracy=1e-09 is beyond.*"ewald"'):
        PMECoulomb(1e-9)
