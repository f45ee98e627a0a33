"""The compiled step is the twin of the graph: same energies, charges and derivatives, of whatever batch."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.fd import calculate_numerical_forces

from molcalc.assembly.opening import open_model
from molcalc.assembly.potentials import PotentialOptions, potential_of
from molcalc.batch import AtomicBatch, collate, from_atoms
from molcalc.calculators import AIMNet2
from molcalc.derivatives import evaluate
from molcalc.energy_term import EnergyTerm
from molcalc.kernels import runtime
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.potential import Potential
from molcalc.steps import CompiledStep, step_of
from tests.helpers.calculators import tiny_calculator
from tests.helpers.networks import VARIANTS, tiny_checkpoint, tiny_multifidelity
from tests.helpers.structures import crystal, organic, rattled

pytestmark = pytest.mark.skipif(not runtime.available(), reason="needs numba")

TWIN = 1e-11
"""Relative difference of two orders of summation in double precision."""
SINGLE = 3e-6
"""The same in single precision, of energies in eV and forces in eV/Å of a small molecule."""
NETWORKS: dict[str, dict[str, Any]] = {
    **VARIANTS,
    "few combinations": {"n_channels": 5, "n_vector": 7},
}


def potential(dtype: torch.dtype = torch.float64, coulomb: str = "auto", **changes: Any) -> Potential:
    """Small networks with Coulomb and D3, whose perceptrons are in the given arithmetic."""
    found = potential_of(open_model(tiny_checkpoint(**changes)), options=PotentialOptions(coulomb=coulomb))
    return found.set_dtype(dtype)


def batch_of(*structures: Atoms, charge: int = 0) -> AtomicBatch:
    pair_cutoff = 15.0 if structures[0].pbc.any() else np.inf
    return collate([
        from_atoms(atoms, cutoff=5.0, pair_cutoff=pair_cutoff, total_charge=charge, multiplicity=1 + 2 * (k % 2))
        for k, atoms in enumerate(structures)
    ])  # fmt: skip


def twin(found: Potential) -> CompiledStep:
    step = step_of(found)
    assert isinstance(step, CompiledStep)
    return step


def assert_twins(found: Potential, batch: AtomicBatch, properties: tuple[str, ...], tolerance: float = TWIN) -> None:
    expected, results = evaluate(found, batch, properties), twin(found).evaluate(batch, properties)
    assert results.keys() == expected.keys()
    for name, value in expected.items():
        assert results[name].dtype == value.dtype, name
        close = torch.isclose(results[name], value, rtol=tolerance, atol=tolerance * 10, equal_nan=True)
        assert bool(close.all()), f"{name}: {(results[name] - value).abs().max()}"


@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_molecules_have_the_results_of_the_graph(changes: dict[str, Any]) -> None:
    batch = batch_of(organic(), rattled("H2O"), rattled("CH3OH", seed=2), charge=1)
    assert_twins(potential(**changes), batch, ("forces",))


@pytest.mark.parametrize("coulomb", ["dsf", "ewald"])
def test_crystals_have_the_results_of_the_graph(coulomb: str) -> None:
    assert_twins(potential(coulomb=coulomb, n_members=2), batch_of(crystal()), ("forces", "stress"))


@pytest.mark.parametrize("edges", [1, 40], ids="{} edges".format)
@pytest.mark.parametrize("threads", [1, 2], ids="{} threads".format)
def test_many_edges_in_shares_have_the_results_of_the_graph(
    edges: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with an atom that has more edges than a share, and one without any."""
    monkeypatch.setattr("molcalc.models.aimnet2_step.STORED_EDGES", 0)
    monkeypatch.setattr("molcalc.models.aimnet2_step.SHARE_OF_EDGES", edges)
    monkeypatch.setattr("molcalc.kernels.runtime.SERIAL_WORK", 1)
    molecules = batch_of(organic(), Atoms("O"), rattled("CH3OH", seed=2), charge=1)
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    assert_twins(potential(charge_channels=2), molecules, ("forces",))
    assert_twins(potential(coulomb="dsf"), batch_of(crystal()), ("forces", "stress"))


def test_energies_without_derivatives_are_the_same() -> None:
    assert_twins(potential(charge_channels=2), batch_of(organic()), ())
    assert_twins(potential(coulomb="dsf"), batch_of(crystal()), ("stress",))


@pytest.mark.parametrize("atoms", [Atoms("O"), Atoms("CO", [[0, 0, 0], [0, 0, 7.0]])], ids=["one", "far apart"])
def test_atoms_without_neighbors_have_the_results_of_the_graph(atoms: Atoms) -> None:
    assert_twins(potential(), batch_of(atoms), ("forces",))


def test_networks_without_energy_terms_have_the_results_of_the_graph() -> None:
    assert_twins(Potential(potential().networks), batch_of(organic()), ("forces",))


class Tether(EnergyTerm):
    """Cubes of distances to the origin and of charges; its derivatives are left to autograd."""

    requires = ("charges",)

    def forward(self, batch: AtomicBatch, predictions: Any) -> torch.Tensor:
        energies: torch.Tensor = batch.positions.norm(dim=1) ** 3 + predictions["charges"] ** 3
        return energies


def test_terms_without_loops_have_the_results_of_the_graph() -> None:
    assert_twins(Potential(potential().networks, [Tether()]), batch_of(organic(), organic(1)), ("forces",))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_atoms", range(1, 9))
def test_molecules_of_every_small_size_have_the_results_of_the_graph(n_atoms: int, dtype: torch.dtype) -> None:
    """Layers of a few rows have loops of their own, which take rows and columns in groups."""
    atoms = organic()[:n_atoms]
    changes = {"hidden": ((33, 18), (24,)), "aim_size": 21, "energy_hidden": (5,)}
    assert_twins(potential(dtype, **changes), batch_of(atoms), ("forces",), TWIN if dtype == torch.float64 else SINGLE)


def test_reading_weights_leaves_their_memory_shared() -> None:
    model = open_model(tiny_checkpoint())
    found = [potential_of(model).set_dtype(torch.float32) for _ in range(2)]
    for each in found:
        twin(each).evaluate(batch_of(rattled("H2O")), ("forces",))
    places = [[torch._C._data_address(p) for p in each.networks[0].passes.parameters()] for each in found]  # type: ignore
    assert places[0] == places[1]


def test_single_precision_is_that_of_the_graph() -> None:
    found = potential(torch.float32, n_members=2)
    found.set_dtype(torch.float32)
    assert_twins(found, batch_of(organic(), organic(1)), ("forces",), SINGLE)


def test_several_threads_change_nothing() -> None:
    found, batch = potential(n_members=2), batch_of(*[organic(seed) for seed in range(20)])
    alone = twin(found).evaluate(batch, ("forces",))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        shared = twin(found).evaluate(batch, ("forces",))
    finally:
        torch.set_num_threads(threads)
    for name, value in alone.items():
        torch.testing.assert_close(shared[name], value, rtol=TWIN, atol=TWIN)


def test_arrays_that_stay_carry_nothing_from_one_structure_to_another() -> None:
    found = potential()
    step, batches = twin(found), [batch_of(organic()), batch_of(rattled("H2O")), batch_of(organic(1), rattled("H2O"))]
    for batch in (*batches, *reversed(batches)):
        expected = evaluate(found, batch, ("forces",))
        torch.testing.assert_close(step.evaluate(batch, ("forces",))["forces"], expected["forces"], rtol=0, atol=1e-11)


def test_several_threads_may_use_one_step_at_once() -> None:
    found = potential()
    step, batches = twin(found), [batch_of(organic(seed)) for seed in range(8)]
    expected = [step.evaluate(batch, ("forces",))["forces"] for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda k: step.evaluate(batches[k % 8], ("forces",))["forces"], range(40)))
    assert all(torch.equal(result, expected[k % 8]) for k, result in enumerate(results))


def test_copies_do_not_carry_arrays_and_have_weights_of_their_own() -> None:
    found, batch = potential(), batch_of(organic())
    step = twin(found)
    size = len(pickle.dumps(step))
    before = step.evaluate(batch, ("forces",))
    copied = copy.deepcopy(step)
    assert len(pickle.dumps(step)) < size + 1000
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.mul_(1.01)
    assert torch.equal(copied.evaluate(batch, ("forces",))["forces"], before["forces"])


def test_weights_changed_in_place_are_used() -> None:
    found, batch = potential(), batch_of(organic())
    step = twin(found)
    step.evaluate(batch, ("forces",))
    for name, parameter in found.members.named_parameters():
        parameter.data.mul_(1.01 if "shifts" not in name else 1.0)
    expected = evaluate(found, batch, ("forces",))
    torch.testing.assert_close(step.evaluate(batch, ("forces",))["forces"], expected["forces"], rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", [{}, {"embeddings": "shared", "readouts": "shared"}, {"bases": (None, 0, 1)}])
def test_every_fidelity_has_the_results_of_the_graph(kind: dict[str, Any]) -> None:
    found = Potential([tiny_multifidelity(**kind)])
    single = batch_of(organic(), rattled("H2O"))
    for fidelity in ((0, 0), (2, 2), (1, 2)):
        batch = batch_of(organic(), rattled("H2O"))
        batch.fidelity[:] = torch.tensor(fidelity)
        assert_twins(found, batch, ("forces",))
    assert single.fidelity.tolist() == [0, 0]


def test_what_has_no_compiled_step_runs_in_torch_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    atoms = organic()
    calc = tiny_calculator(tiny_checkpoint())
    assert calc.todict()["step"] == "compiled"
    expected = calc.get_forces(atoms)
    monkeypatch.setattr(runtime, "available", lambda: False)
    monkeypatch.setattr("molcalc.steps.available", lambda: False)
    plain = tiny_calculator(tiny_checkpoint())
    assert plain.todict()["step"] == "torch"
    np.testing.assert_allclose(plain.get_forces(atoms), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("changes", [{"n_radial": 8}, {"charge_heads": True}])
def test_networks_of_another_form_have_no_compiled_step(changes: dict[str, Any]) -> None:
    network = potential(**changes).networks[0]
    assert isinstance(network, AIMNet2Network)
    assert step_of(Potential([network])).kind == "torch"


def test_forces_equal_minus_energy_gradient() -> None:
    atoms = organic()
    atoms.calc = AIMNet2(tiny_checkpoint(), dtype="float64")
    numerical = calculate_numerical_forces(atoms, eps=1e-4, iatoms=[0, 3, 5])
    np.testing.assert_allclose(atoms.get_forces()[[0, 3, 5]], numerical, rtol=0, atol=1e-5)
