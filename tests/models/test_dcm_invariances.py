"""What must not change a result of either head, and what must (acceptance A1–A11, A16, A17, A30–A36, A47)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from molcalc.batch import AtomicBatch, collate
from molcalc.calculators.base import MolCalculator
from molcalc.derivatives import evaluate
from tests.helpers.tiny import dtypes_seen, organic, random_rotation
from tests.helpers.tiny_dcm import KINDS, dcm_batch, dcm_calculator, dcm_potential, tiny_dcm

E64, F64 = 1e-9, 1e-8  # eV, eV/Å in double precision
E32_PER_ATOM, F32 = 2e-6, 1e-4  # float32 network
kinds = pytest.mark.parametrize("kind", KINDS)


pytestmark = pytest.mark.filterwarnings("ignore::molcalc.errors.OpenShellWarning")


@pytest.fixture(params=KINDS)
def calc(request: pytest.FixtureRequest) -> MolCalculator:
    return dcm_calculator(tiny_dcm(request.param))


def results(calc: MolCalculator, atoms: Atoms) -> dict[str, np.ndarray]:
    atoms = atoms.copy()
    calc.calculate(atoms)
    return {name: np.array(value) for name, value in calc.results.items()}


def charged(charge: int) -> Atoms:
    atoms = organic()
    atoms.info["charge"] = charge
    return atoms


@kinds
@pytest.mark.parametrize("shift", [10.0, 1e3, 1e5])
def test_translation_changes_nothing_at_any_distance(kind: str, shift: float) -> None:  # A1
    atoms, moved = organic(), organic()
    moved.translate([shift, -0.7 * shift, 0.4 * shift])
    for dtype, energy, force in (("float64", 1e-8, 1e-8), ("float32", 1e-6 * len(atoms), 1e-5)):
        calc = dcm_calculator(tiny_dcm(kind), dtype)
        before, after = results(calc, atoms), results(calc, moved)
        assert abs(before["energy"] - after["energy"]) < energy
        assert np.abs(before["forces"] - after["forces"]).max() < force


@kinds
@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "reflection"])
def test_turned_molecules_have_turned_forces_and_dipoles(kind: str, sign: int) -> None:  # A2, A3
    limits = {"float64": (E64, F64, 1e-9), "float32": (E32_PER_ATOM * len(organic()), F32, 1e-5)}
    for dtype, (energy, force, charge) in limits.items():
        calc, atoms = dcm_calculator(tiny_dcm(kind), dtype), organic()
        before = results(calc, atoms)
        for seed in range(5):
            matrix = sign * random_rotation(seed)
            turned = atoms.copy()
            turned.positions = atoms.positions @ matrix.T
            after = results(calc, turned)
            assert abs(before["energy"] - after["energy"]) < energy
            assert np.abs(before["forces"] @ matrix.T - after["forces"]).max() < force
            assert np.abs(before["charges"] - after["charges"]).max() < charge
            assert np.abs(before["dipole"] @ matrix.T - after["dipole"]).max() < 10 * charge


@kinds
def test_order_of_atoms_does_not_matter(kind: str) -> None:  # A4
    atoms = organic()
    order = np.random.default_rng(3).permutation(len(atoms))
    for dtype, energy, force in (("float64", 1e-10, 1e-10), ("float32", 1e-6 * len(atoms), 1e-5)):
        calc = dcm_calculator(tiny_dcm(kind), dtype)
        before, after = results(calc, atoms), results(calc, atoms[order])
        assert abs(before["energy"] - after["energy"]) < energy
        assert np.abs(before["forces"][order] - after["forces"]).max() < force


@kinds
@pytest.mark.parametrize("coulomb", ["physnet", "distributed"])
def test_no_net_force_or_torque(kind: str, coulomb: str) -> None:  # A5
    """The energy of charges that do not turn with the molecule has a torque."""
    atoms = organic()
    forces = results(dcm_calculator(tiny_dcm(kind, coulomb=coulomb)), atoms)["forces"]
    torque = np.cross(atoms.positions - atoms.positions.mean(axis=0), forces).sum(axis=0)
    assert np.abs(forces.sum(axis=0)).max() < 1e-9 * len(atoms)
    if kind == "physnet-dcm" or coulomb == "physnet":
        assert np.abs(torque).max() < 1e-9 * len(atoms)
    else:
        assert np.abs(torque).max() > 1e-4


@kinds
@pytest.mark.filterwarnings("ignore::molcalc.errors.NonEquivariantWarning")
def test_orientation_spreads_the_potential_of_the_plain_head_only(kind: str) -> None:  # A6
    calc, atoms = dcm_calculator(tiny_dcm(kind)), organic()
    directions = np.random.default_rng(0).normal(size=(6, 3))
    points = atoms.get_center_of_mass() + 5.0 * directions / np.linalg.norm(directions, axis=1)[:, None]
    values = []
    for seed in range(50):
        matrix, turned = random_rotation(seed), atoms.copy()
        turned.positions = atoms.positions @ matrix.T
        values.append(calc.get_esp(points @ matrix.T, turned))
    spread = np.std(values, axis=0).max()
    assert spread < 1e-10 if kind == "physnet-dcm" else spread > 1e-3
    assert calc.parameters["equivariant"] is (kind == "physnet-dcm")


@pytest.mark.parametrize("charge", [-1, 0, 1, 2])
def test_charges_and_dipole_follow_the_total_charge(calc: MolCalculator, charge: int) -> None:  # A7, A8
    found = results(calc, charged(charge))
    assert abs(found["charges"].sum() - charge) < 1e-10
    shifted = charged(charge)
    shifted.translate([7.0, -5.0, 3.0])
    assert np.abs(results(calc, shifted)["dipole"] - found["dipole"]).max() < 1e-8  # about the center of mass
    arms = organic().positions - organic().get_center_of_mass()
    assert np.abs(calc.extras["charge_dipole"] - found["charges"] @ arms).max() < 1e-8


@kinds
def test_single_precision_stays_close_to_double(kind: str) -> None:  # A10
    single, double = (dcm_calculator(tiny_dcm(kind), dtype) for dtype in ("float32", "float64"))
    for seed in range(10):
        atoms = organic(seed)
        a, b = results(single, atoms), results(double, atoms)
        assert abs(a["energy"] - b["energy"]) < E32_PER_ATOM * len(atoms)
        assert np.abs(a["forces"] - b["forces"]).max() < F32


def test_nothing_is_single_in_double_precision(calc: MolCalculator) -> None:  # A11
    assert dtypes_seen(calc, organic()) == {torch.float64}


@kinds
def test_distant_molecules_do_not_see_each_other_without_coulomb_energy(kind: str) -> None:  # A16
    limits = {"float64": 1e-10, "float32": 1e-6 * 7}
    for dtype, limit in limits.items():
        calc = dcm_calculator(tiny_dcm(kind, coulomb=None), dtype)
        first, second = molecule("H2O"), molecule("NH3")
        second.translate([40.0, 0, 0])
        together = results(calc, first + second)["energy"]
        assert abs(together - results(calc, first)["energy"] - results(calc, second)["energy"]) < limit


def test_distant_waters_attract_as_dipoles_do(calc: MolCalculator) -> None:  # A17
    def interaction(distance: float) -> float:
        second = molecule("H2O")
        second.translate([0.0, 0.0, distance])
        return float(results(calc, molecule("H2O") + second)["energy"]) - 2 * alone

    alone = float(results(calc, molecule("H2O"))["energy"])
    near, far = interaction(20.0), interaction(50.0)
    assert abs(near) > 1e-6
    assert near / far == pytest.approx(2.5**3, rel=0.05)
    assert abs(interaction(1000.0)) < 1e-6


@pytest.fixture
def trembling(calc: MolCalculator) -> Atoms:
    """A molecule near a minimum of the random potential, with small velocities."""
    atoms = molecule("CH3OH")
    atoms.calc = calc
    BFGS(atoms, logfile=None).run(fmax=0.02, steps=200)
    atoms.set_velocities(np.random.default_rng(0).normal(scale=0.004, size=(len(atoms), 3)))
    return atoms


def total_energies(atoms: Atoms, step_fs: float, n_steps: int) -> np.ndarray:
    return np.array([atoms.get_total_energy() for _ in VelocityVerlet(atoms, step_fs * units.fs).irun(n_steps)])


def test_total_energy_does_not_drift_and_its_error_is_of_second_order(trembling: Atoms) -> None:  # A30, A31
    coarse, fine = (total_energies(_copy(trembling), step, round(60 / step)) for step in (0.5, 0.25))
    assert coarse.std() / fine.std() == pytest.approx(4.0, abs=0.8)
    half = len(fine) // 2
    assert abs(fine[half:].mean() - fine[:half].mean()) < fine.std()


def test_motion_is_reversible_in_time(trembling: Atoms) -> None:  # A32
    atoms = _copy(trembling)
    start = atoms.positions.copy()
    total_energies(atoms, 0.5, 100)
    assert np.abs(atoms.positions - start).max() > 0.01
    atoms.set_momenta(-atoms.get_momenta())
    total_energies(atoms, 0.5, 100)
    assert np.abs(atoms.positions - start).max() < 1e-8


def _copy(atoms: Atoms) -> Atoms:
    copied = atoms.copy()
    copied.calc = atoms.calc
    return copied


@kinds
@pytest.mark.parametrize(("dtype", "energy", "force"), [("float64", 1e-10, 1e-10), ("float32", 1e-6, 1e-5)])
def test_batch_equals_single_structures(kind: str, dtype: str, energy: float, force: float) -> None:  # A34
    calc = dcm_calculator(tiny_dcm(kind), dtype)
    images = [organic(), Atoms("O"), molecule("NH3"), molecule("H2O"), molecule("C2H6")]
    images[2].info["charge"] = 1
    for order in (list(range(5)), [3, 2, 0, 1, 4]):
        found = calc.evaluate([images[k] for k in order], ("energy", "forces", "charges", "dipole"))
        for k, batched in zip(order, found):
            single = results(calc, images[k])
            assert abs(batched["energy"] - single["energy"]) < energy * len(images[k])
            for name in ("forces", "charges", "dipole"):
                assert np.abs(batched[name] - single[name]).max() < force


@kinds
def test_structures_of_a_batch_do_not_leak_into_each_other(kind: str) -> None:  # A35
    potential = dcm_potential(tiny_dcm(kind))
    batch = _batch(kind, [organic(0), organic(1), molecule("H2O")])
    positions = batch.positions.clone().requires_grad_()
    energy = evaluate(potential, replace(batch, positions=positions), (), create_graph=True)["energy"]
    (gradient,) = torch.autograd.grad(energy[1], positions)
    inside = batch.system_idx == 1
    assert float(gradient[~inside].abs().max()) == 0.0
    assert float(gradient[inside].abs().max()) > 0.1


@kinds
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["f64", "f32"])
def test_nan_in_one_structure_of_a_batch_leaves_the_others_alone(kind: str, dtype: torch.dtype) -> None:  # A36
    potential, clean = dcm_potential(tiny_dcm(kind), dtype), _batch(kind, [organic(k) for k in range(8)])
    poisoned = clean.positions.clone()
    poisoned[clean.system_idx == 2] = float("nan")
    found = evaluate(potential, replace(clean, positions=poisoned), ("forces",))
    expected = evaluate(potential, clean, ("forces",))
    good = clean.system_idx != 2
    for name in ("forces", "charges", "dcm_positions"):
        assert torch.equal(found[name][good], expected[name][good]), name
    assert bool(found["energy"][2].isnan())


def _batch(kind: str, images: list[Atoms]) -> AtomicBatch:
    potential = dcm_potential(tiny_dcm(kind))
    return collate([dcm_batch(atoms, potential) for atoms in images])


@kinds
def test_every_way_of_giving_the_charge_has_the_same_energy(kind: str) -> None:  # A47
    checkpoint = tiny_dcm(kind)
    energies = []
    for charge in (-1, 0, 1):
        given = dcm_calculator(checkpoint, charge=charge)
        set_later = dcm_calculator(checkpoint)
        set_later.charge = charge
        by_info, by_initial = molecule("H2O"), molecule("H2O")
        by_info.info["charge"] = charge
        by_initial.set_initial_charges([charge, 0.0, 0.0])
        calc, potential = dcm_calculator(checkpoint), dcm_potential(checkpoint)
        routes = [
            given.get_potential_energy(molecule("H2O")),
            set_later.get_potential_energy(molecule("H2O")),
            calc.get_potential_energy(by_info),
            calc.get_potential_energy(by_initial),
            calc.evaluate([by_info, Atoms("O")], ("energy",))[0]["energy"],
            float(evaluate(potential, dcm_batch(molecule("H2O"), potential, charge), ())["energy"]),
        ]
        assert np.ptp(routes) < 1e-10
        energies.append(routes[0])
    assert min(abs(a - b) for k, a in enumerate(energies) for b in energies[:k]) > 1e-3
