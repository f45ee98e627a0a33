"""Pictures of molecular dynamics."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from molcalc.analysis import draw_dynamics
from molcalc.errors import InputError


def frames(n: int = 30, every: float = 5.0) -> list[Atoms]:
    """A run whose total energy is 1 eV, with 9 degrees of freedom at 200 K and 400 K by turns."""
    found = []
    for k in range(n):
        atoms = molecule("H2O")
        kinetic = 0.5 * 9 * units.kB * (200.0 if k % 2 else 400.0)
        momenta = np.zeros((3, 3))
        momenta[0, 0] = np.sqrt(2.0 * kinetic * atoms.get_masses()[0])
        atoms.set_momenta(momenta)
        atoms.info["time_fs"] = every * k
        atoms.calc = SinglePointCalculator(atoms, energy=1.0 - kinetic)
        found.append(atoms)
    return found


def test_energies_and_temperatures_are_those_of_the_frames() -> None:
    figure = draw_dynamics(frames(), temperature=300.0)
    energies, heat = figure.axes
    potential, total = energies.lines
    assert total.get_ydata() == pytest.approx(np.zeros(30), abs=1e-12)
    assert np.ptp(potential.get_ydata()) == pytest.approx(0.5 * 9 * units.kB * 200.0)
    assert heat.lines[0].get_ydata()[:2] == pytest.approx([400.0, 200.0])
    assert heat.lines[1].get_ydata() == pytest.approx(np.full(29, 300.0))
    assert heat.get_xlabel() == "time (fs)"
    assert "mean temperature 300 K" in energies.get_title()
    assert draw_dynamics(frames(), degrees_of_freedom=3).axes[1].lines[0].get_ydata()[0] == pytest.approx(1200.0)


def test_long_runs_are_in_picoseconds_and_frames_without_times_are_counted() -> None:
    assert draw_dynamics(frames(every=1000.0)).axes[1].get_xlabel() == "time (ps)"
    untimed = frames()
    for atoms in untimed:
        del atoms.info["time_fs"]
    assert draw_dynamics(untimed).axes[1].get_xlabel() == "frame"


def test_what_is_no_dynamics_is_refused() -> None:
    with pytest.raises(InputError, match="frame 0 has no energy"):
        draw_dynamics([molecule("H2O"), molecule("H2O")])
    with pytest.raises(InputError, match="two frames"):
        draw_dynamics(frames(1))
