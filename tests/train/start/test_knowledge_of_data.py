"""What training data cover, found in them and written into the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from molcalc.errors import ChargeError, ExtrapolationWarning
from molcalc.io import checkpoint
from molcalc.knowledge import Knowledge
from molcalc.train import evaluate, fit
from molcalc.train.data import open_dataset
from molcalc.train.start.knowledge_of_data import knowledge_of
from tests.helpers.training_runs import TINY


def labelled(atoms: Atoms, energy: bool = True, **info: int) -> Atoms:
    atoms.info.update(info)
    results = {"forces": np.zeros((len(atoms), 3))} | ({"energy": -1.0} if energy else {})
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def test_charges_spins_compositions_distances_and_sizes_are_found(tmp_path: Path) -> None:
    stretched = molecule("CO2")
    stretched.positions *= 1.1
    images = [molecule("CO2"), stretched, Atoms("OH", [[0, 0, 0], [0, 0, 0.97]]), molecule("CH4")]
    states = [{"charge": 0}, {"charge": 0}, {"charge": -1}, {"charge": 0}]
    frames = [labelled(atoms, **state) for atoms, state in zip(images[:3], states)]
    write(tmp_path / "a.xyz", [*frames, labelled(images[3], energy=False, charge=0)])
    found = knowledge_of(open_dataset(tmp_path / "a.xyz"), 0)
    assert found == Knowledge(
        charges=(-1, 0),
        multiplicities=(1,),
        span=({"H": 1, "O": 1}, {"C": 1, "O": 2}),
        shortest={
            "H-H": pytest.approx(images[3].get_distance(1, 2), abs=1e-4),
            "H-C": pytest.approx(images[3].get_distance(0, 1), abs=1e-4),
            "H-O": 0.97,
            "C-O": pytest.approx(images[0].get_distance(0, 1), abs=1e-4),
            "O-O": pytest.approx(images[0].get_distance(1, 2), abs=1e-4),
        },
        n_systems=4,
        sizes=(2, 5),
    )


def test_distances_in_crystals_reach_over_the_boundary(tmp_path: Path) -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    atoms.positions[1] += [0.1, 0.0, 0.0]
    write(tmp_path / "a.xyz", [labelled(atoms)])
    found = knowledge_of(open_dataset(tmp_path / "a.xyz"), 0)
    assert found.shortest["Na-Cl"] == pytest.approx(2.72, abs=1e-4)


def test_a_trained_model_carries_what_it_knows(tmp_path: Path) -> None:
    frames = []
    for k in range(12):
        atoms = molecule("CO2")
        atoms.positions += np.random.default_rng(k).normal(scale=0.02, size=(3, 3))
        frames.append(labelled(atoms))
    write(tmp_path / "a.xyz", frames)
    fit(tmp_path / "a.xyz", "noneq-dcm", output=tmp_path / "run", epochs=1, plots=False, progress=False,
        arguments=TINY["noneq-dcm"])  # fmt: skip
    (fidelity,) = checkpoint.load(tmp_path / "run").config.fidelities
    assert fidelity.knowledge is not None
    assert fidelity.knowledge.span == ({"C": 1, "O": 2},)
    assert fidelity.knowledge.charges == (0,)
    write(tmp_path / "ion.xyz", [labelled(molecule("CO2"), charge=0), labelled(molecule("CO2"), charge=2)])
    with pytest.raises(ChargeError, match=r"ion.xyz frame 1: charge 2: .* do not depend on the charge"):
        evaluate(tmp_path / "ion.xyz", tmp_path / "run")
    write(tmp_path / "co.xyz", [labelled(molecule("CO"))] * 2)
    with pytest.warns(ExtrapolationWarning, match=r"CO is no sum or difference .* \(CO2\)") as caught:
        evaluate(tmp_path / "co.xyz", tmp_path / "run")
    assert [warning.filename for warning in caught] == [__file__]
    evaluate(tmp_path / "co.xyz", tmp_path / "run", on_extrapolation="ignore")
