"""PhysNet-DCM and its plain sibling: symmetry, charges, derivatives, batches."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import molecule
from torch import Tensor

from molcalc.batch import from_atoms
from molcalc.derivatives import evaluate
from molcalc.electrostatics.sites import ChargeSites
from molcalc.electrostatics.thole import TholeCoulomb
from molcalc.errors import ConfigError
from molcalc.potential import Potential
from molcalc.registry import MODELS
from molcalc.second_derivatives import hessian
from tests.helpers.networks import DCM_KINDS, dcm_batch, dcm_potential, tiny_dcm
from tests.helpers.structures import organic, points_around, random_rotation

DOUBLE, SINGLE = 1e-12, 1e-5
CHARGES = 1e-10
kinds = pytest.mark.parametrize("kind", DCM_KINDS)


def symmetric_molecules() -> dict[str, Atoms]:
    """Linear and planar molecules, where local frames would not be defined."""
    planar = Atoms("NH3", [[0, 0, 0], [1, 0, 0], [-0.5, 3**0.5 / 2, 0], [-0.5, -(3**0.5) / 2, 0]])
    return {"CO2": molecule("CO2"), "C2H2": molecule("C2H2"), "HCN": molecule("HCN"), "planar NH3": planar}


def probes(atoms: Atoms, n_points: int = 8) -> Tensor:
    return torch.tensor(points_around(atoms.positions.mean(axis=0), n_points, seed=5))


def results_of(potential: Potential, atoms: Atoms, points: Tensor, charge: int = 0) -> dict[str, Tensor]:
    batch = dcm_batch(atoms, potential, charge)
    batch = replace(batch, esp_points=points, esp_system_idx=torch.zeros(len(points), dtype=torch.int64))
    return {name: value.double() for name, value in evaluate(potential, batch, ("forces", "esp")).items()}


def turned(results: dict[str, Tensor], matrix: Tensor) -> dict[str, Tensor]:
    """What the results should become when everything is turned."""
    vectors = ("forces", "dipole", "dcm_positions", "dcm_dipole", "charge_dipole")
    expected = {name: value @ matrix.T if name in vectors else value for name, value in results.items()}
    if "atomic_quadrupoles" in expected:
        expected["atomic_quadrupoles"] = matrix @ results["atomic_quadrupoles"] @ matrix.T
    return expected


def test_charges_of_the_plain_head_do_not_turn_but_everything_else_does() -> None:
    potential = dcm_potential(tiny_dcm("noneq-dcm"))
    atoms, matrix = organic(), torch.tensor(random_rotation(0))
    points = probes(atoms)
    expected = turned(results_of(potential, atoms, points), matrix)
    atoms.positions = atoms.positions @ matrix.numpy().T
    found = results_of(potential, atoms, points @ matrix.T)
    for name in ("energy", "forces", "charges", "dipole", "dcm_charges"):
        assert torch.allclose(found[name], expected[name], rtol=1e-12, atol=1e-11), name
    for name in potential.fixed_in_space:
        assert (found[name] - expected[name]).abs().max() > 1e-3, name
    assert set(potential.fixed_in_space) == {"dcm_positions", "dcm_dipole", "esp"}
    assert not potential.rotation_invariant


def test_an_energy_that_contains_charges_which_do_not_turn_says_so() -> None:
    potential = dcm_potential(tiny_dcm("noneq-dcm"), terms=(TholeCoulomb(),))
    assert {"energy", "forces", "stress", "dcm_positions"} <= set(potential.fixed_in_space)
    atoms = organic()
    before = results_of(potential, atoms, probes(atoms))["energy"]
    atoms.positions = atoms.positions @ random_rotation(0).T
    assert abs(results_of(potential, atoms, probes(atoms))["energy"] - before) > 1e-4


@kinds
def test_models_of_the_tests_are_strong_enough(kind: str) -> None:
    found = results_of(dcm_potential(tiny_dcm(kind)), organic(), probes(organic()))
    assert found["charges"].abs().max() > 0.1
    assert found["forces"].abs().max() > 0.5
    displacements = (found["dcm_positions"] - torch.tensor(organic().positions)[:, None]).norm(dim=2)
    assert 0.1 < displacements.max() < 0.3


@kinds
@pytest.mark.parametrize("charge", [-1, 0, 1])
def test_charges_add_up_exactly(kind: str, charge: int) -> None:
    potential = dcm_potential(tiny_dcm(kind))
    found = results_of(potential, organic(), probes(organic()), charge)
    assert float(found["charges"].sum()) == pytest.approx(charge, abs=CHARGES)
    assert torch.allclose(found["dcm_charges"].sum(dim=1), found["charges"], rtol=0, atol=CHARGES)
    single = dcm_potential(tiny_dcm(kind), torch.float32)
    assert float(results_of(single, organic(), probes(organic()), charge)["charges"].sum()) == pytest.approx(
        charge, abs=1e-5
    )


@kinds
def test_without_exact_monopoles_the_sum_is_free(kind: str) -> None:
    potential = dcm_potential(tiny_dcm(kind, exact_monopoles=False))
    found = results_of(potential, organic(), probes(organic()))
    assert (found["dcm_charges"].sum(dim=1) - found["charges"]).abs().max() > 1e-2


@kinds
@pytest.mark.parametrize("name", symmetric_molecules())
def test_symmetric_molecules_have_finite_derivatives(kind: str, name: str) -> None:
    """The energy contains the distributed charges, so that the head is differentiated twice."""
    potential, atoms = dcm_potential(tiny_dcm(kind), terms=(TholeCoulomb(),)), symmetric_molecules()[name]
    batch = dcm_batch(atoms, potential)
    results = evaluate(potential, batch, ("forces",))
    matrix = hessian(potential, batch)
    assert all(bool(torch.isfinite(value).all()) for value in results.values())
    assert bool(torch.isfinite(matrix).all())
    step, column = 1e-4, []
    for sign in (1, -1):
        image = atoms.copy()
        image.positions[1, 1] += sign * step
        column.append(evaluate(potential, dcm_batch(image, potential), ("forces",))["forces"])
    numeric = -(column[0] - column[1]) / (2 * step)
    assert torch.allclose(matrix[1, 1], numeric, rtol=0, atol=1e-5)
    assert matrix.sum(dim=2).abs().max() < 1e-7


def test_charges_of_a_planar_molecule_stay_in_its_plane() -> None:
    atoms = symmetric_molecules()["planar NH3"]
    found = results_of(dcm_potential(tiny_dcm()), atoms, probes(atoms))
    assert found["dcm_positions"][..., 2].abs().max() < 1e-14


def test_a_quadrupole_reaches_where_charges_cannot() -> None:
    """At an inversion center charges stay on the nucleus; the quadrupole on it acts all the same."""
    atoms = symmetric_molecules()["CO2"]
    found = results_of(dcm_potential(tiny_dcm(quadrupoles=True)), atoms, probes(atoms))
    assert (found["dcm_positions"][0] - torch.tensor(atoms.positions[0])).abs().max() < 1e-14
    moment = found["atomic_quadrupoles"][0]
    assert moment.abs().max() > 1e-3
    assert abs(float(moment.trace())) < 1e-14


@kinds
def test_potential_of_the_distributed_charges_trains_the_trunk(kind: str) -> None:
    potential, atoms = dcm_potential(tiny_dcm(kind)), organic()
    for parameter in potential.parameters():
        parameter.requires_grad_(True)
    batch = dcm_batch(atoms, potential)
    predictions = potential.members[0](batch)
    points = probes(atoms)
    sites = ChargeSites.of(batch, predictions)
    sites.potential(points, torch.zeros(len(points), dtype=torch.int64)).square().sum().backward()
    trunk = potential.members[0].trunk
    for interaction in trunk.interactions:
        assert interaction.both.weight.grad.abs().max() > 1e-6
    assert trunk.embedding.grad.abs().max() > 1e-6
    assert trunk.filters.weight.grad.abs().max() > 1e-6


@kinds
def test_gradients_of_a_fresh_model_reach_every_weight(kind: str) -> None:
    torch.manual_seed(0)
    entry = MODELS[kind]
    model: Any = entry.network(entry.config.reference_size((6, 8))).initialize().double()
    potential = Potential([model])
    batch = from_atoms(molecule("CO2"), cutoff=potential.cutoff)
    points = probes(molecule("CO2"))
    batch = replace(batch, esp_points=points, esp_system_idx=torch.zeros(len(points), dtype=torch.int64))
    batch.positions.add_(0.05 * torch.randn(3, 3))
    results = evaluate(potential, batch, ("forces", "esp"), create_graph=True)
    (results["esp"].square().sum() + (results["forces"] - 1.0).square().sum() + results["energy"].sum()).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert silent == []


@pytest.mark.parametrize(
    ("kind", "default", "reference"), [("physnet-dcm", 850_000, 324_004), ("noneq-dcm", 450_000, 121_954)]
)
def test_presets_have_the_advertised_number_of_parameters(kind: str, default: int, reference: int) -> None:
    entry = MODELS[kind]
    for config, expected in (
        (entry.config(elements=(6, 8)), default),
        (entry.config.reference_size((6, 8)), reference),
    ):
        with torch.device("meta"):
            count = sum(parameter.numel() for parameter in entry.network(config).parameters())
        assert count == pytest.approx(expected, rel=0.025)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_dcm": 0}, "n_dcm=0; expected at least 1"),
        ({"elements": (6, 95)}, "allowed are 1…94"),
        ({"elements": ()}, "allowed"),
        ({"n_modules": 0}, "n_modules=0"),
        ({"max_displacement": 0.0}, "max_displacement=0.0; expected above 0"),
        ({"cutoff": -1.0}, "cutoff=-1.0; expected above 0"),
    ],
    ids=["charges", "element", "no elements", "modules", "displacement", "cutoff"],
)
@kinds
def test_impossible_sizes_are_refused(kind: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MODELS[kind].config(**{"elements": (1, 6), **changes})


def test_a_batch_with_too_short_edges_is_refused() -> None:
    potential = dcm_potential(tiny_dcm())
    with pytest.raises(ConfigError, match=r"reach to 4.0 Å, the network to 5.0 Å: build the batch with cutoff=5.0"):
        potential.members[0](from_atoms(molecule("H2O"), cutoff=4.0))


@kinds
def test_reference_energies_are_kept_in_double_precision(kind: str) -> None:
    network = dcm_potential(tiny_dcm(kind), torch.float32).members[0]
    before = network(from_atoms(Atoms("O"), cutoff=9.0))["atomic_energies"]
    network.set_reference_energies({8: -2041.9 - 1e-9})
    after = network(from_atoms(Atoms("O"), cutoff=9.0))["atomic_energies"]
    assert float(before - after) == pytest.approx(1e-9, rel=1e-2)
    with pytest.raises(ConfigError, match="Z=9; allowed are 1…8"):
        network.set_reference_energies({9: 1.0})


@kinds
def test_ensembles_join_their_charges_with_equal_shares(kind: str) -> None:
    checkpoint, atoms = tiny_dcm(kind, n_members=2), organic()
    potential = dcm_potential(checkpoint)
    together = results_of(potential, atoms, probes(atoms))
    members = [
        results_of(Potential([member], tuple(potential.terms)), atoms, probes(atoms)) for member in potential.members
    ]
    assert together["dcm_charges"].shape == (len(atoms), 6)
    for name in ("energy", "forces", "dipole", "esp"):
        expected = 0.5 * (members[0][name] + members[1][name])
        assert torch.allclose(together[name], expected, rtol=1e-12, atol=1e-12), name
    assert math.isfinite(float(together["energy_std"]))


@kinds
def test_a_potential_without_points_is_refused(kind: str) -> None:
    potential = dcm_potential(tiny_dcm(kind))
    with pytest.raises(ConfigError, match="esp was asked for, but the batch has no points: set esp_points"):
        evaluate(potential, dcm_batch(organic(), potential), ("esp",))
