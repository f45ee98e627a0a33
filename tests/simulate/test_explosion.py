"""Dynamics that explodes is stopped; what is merely hot goes on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ase.build import molecule
from ase.io import read

from molcalc.calculators import AIMNet2
from molcalc.errors import ExplosionError
from molcalc.simulate import DynamicsSettings, md_all
from molcalc.simulate.explosion import Sense


@pytest.mark.parametrize(
    ("n_freedom", "target", "kelvin", "stops"),
    [
        (3, 300.0, 9880.0, True),
        (30, 300.0, 9880.0, True),
        (1, 300.0, 3000.0, False),
        (300, 300.0, 4000.0, False),
        (30, 4000.0, 12000.0, False),
        (30, 0.0, 5100.0, True),
    ],
    ids=["water", "large", "fluctuation of one mode", "reaction", "hot run", "nothing set"],
)
def test_temperatures_are_judged_by_that_of_the_run_and_its_size(
    n_freedom: int, target: float, kelvin: float, stops: bool
) -> None:
    sense = Sense(DynamicsSettings(temperature=target, timestep=5.0, seed=0), n_freedom, start=0.0)
    if not stops:
        sense.check_temperature(kelvin)
        return
    with pytest.raises(ExplosionError, match=rf"exploded: {kelvin:,.0f} K in a run at {target:g} K.* than 5 fs"):
        sense.check_temperature(kelvin)


def test_only_runs_at_constant_energy_must_conserve_it() -> None:
    for ensemble in ("nve", "langevin"):
        sense = Sense(DynamicsSettings(ensemble=ensemble, seed=0), 9, start=300.0)
        sense.check_energy(-0.1)
        if ensemble == "nve":
            with pytest.raises(ExplosionError, match=r"changed by -0\.60 eV per atom"):
                sense.check_energy(-0.6)
        else:
            sense.check_energy(-0.6)


@pytest.mark.parametrize("ensemble", ["nve", "langevin"])
@pytest.mark.filterwarnings("ignore:.*parts that are more than.*")  # atoms that fly apart
def test_a_run_that_explodes_stops_with_its_frames(calculator: AIMNet2, tmp_path: Path, ensemble: str) -> None:
    settings = DynamicsSettings(ensemble=ensemble, timestep=12.0, seed=1, interval=1)
    path = tmp_path / "a.traj"
    (outcome,) = md_all(molecule("CH3OH"), calculator, settings, steps=200, trajectory=path)
    assert isinstance(outcome, ExplosionError)
    assert re.match(r"step \d+: .* exploded.* smaller timestep than 12 fs.*frames are in", str(outcome))
    assert 1 <= len(read(path, ":")) < 200
