"""Noise of an energy, and finite differences that take it into account."""

import numpy as np
import pytest
from ase import Atoms

from molcalc.testing.noise import LARGEST_STEP, SMALLEST_STEP, differentiate, estimate_noise

FACTOR = 3.0


def smooth_energy(atoms):
    distance = np.linalg.norm(atoms.positions[1] - atoms.positions[0])
    return 5 * (distance - 1.1) ** 2 + np.exp(-3 * distance)


@pytest.fixture
def path():
    """Structures with one atom pulled away by so many Å."""
    return lambda distance: Atoms("N2", [[0, 0, 0], [0, 0.2, 1.3 + distance]])


@pytest.mark.parametrize("sigma", [1e-8, 1e-6, 1e-3])
def test_noise_of_known_size_is_found(path, sigma):
    rng = np.random.default_rng(1)
    estimates = [
        estimate_noise(lambda atoms: (smooth_energy(atoms) + sigma * rng.normal(), None), path).energy
        for _ in range(20)
    ]
    assert sigma / FACTOR < np.median(estimates) < FACTOR * sigma


def test_a_smooth_energy_has_the_noise_of_its_last_digit(path):
    noise = estimate_noise(lambda atoms: (smooth_energy(atoms), None), path)
    assert noise.energy < 1e-14
    assert noise.forces == 0.0


def test_noise_of_forces_is_that_of_the_worst_component(path):
    rng = np.random.default_rng(1)

    def evaluate(atoms):
        forces = np.ones((2, 3))
        forces[1, 2] += 1e-5 * rng.normal()
        return smooth_energy(atoms), forces

    estimates = [estimate_noise(evaluate, path).forces for _ in range(20)]
    assert 1e-5 / FACTOR < np.median(estimates) < FACTOR * 1e-5


def test_energies_rounded_to_one_float32_number_are_not_taken_for_exact(path):
    quantum = float(np.spacing(np.float32(2000.0)))
    noise = estimate_noise(lambda atoms: (float(np.float32(-2000.0 - 1e-9 * smooth_energy(atoms))), None), path)
    assert noise.energy == quantum


def test_jumps_that_are_rare_on_the_scale_of_rounding_are_found(path):
    def stepped_energy(atoms):
        distance = np.linalg.norm(atoms.positions[1] - atoms.positions[0])
        return smooth_energy(atoms) + 1e-7 * np.floor(400 * distance), None

    assert 1e-8 < estimate_noise(stepped_energy, path).energy < 1e-6


@pytest.mark.parametrize("noise", [1e-15, 1e-6, 1e-4])
def test_a_derivative_is_within_its_stated_error(noise):
    rng = np.random.default_rng(2)

    def central_difference(step):
        energies = [np.exp(-4 * x) + noise * rng.normal() for x in (1 + step, 1 - step)]
        return np.array([(energies[0] - energies[1]) / (2 * step)])

    exact = -4 * np.exp(-4)
    for _ in range(20):
        found = differentiate(central_difference, noise, scale=1.0)
        assert abs(found.value[0] - exact) < found.error + 1e-9


def test_the_step_grows_with_the_noise_within_its_bounds():
    steps = [differentiate(lambda step: np.zeros(1), noise, 1.0).step for noise in (1e-16, 1e-8, 1e-6, 1.0)]
    assert steps[0] == SMALLEST_STEP
    assert steps == sorted(steps)
    assert steps[-1] == LARGEST_STEP
