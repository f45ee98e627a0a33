"""Taking dispersion out of training labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.stress import voigt_6_to_full_3x3_stress

from molcalc.batch import AtomicBatch, collate, from_atoms
from molcalc.calculators import D3, D4
from molcalc.errors import ConfigError
from molcalc.fidelity import Fidelity
from molcalc.train.data.dispersion_subtraction import DispersionSubtraction

PBE0 = Fidelity(name="high", functional="pbe0", dispersion_in_labels=True)
EXACT = 1e-12


def labelled(n_fidelities: int = 1) -> tuple[list[Any], AtomicBatch, dict[str, torch.Tensor]]:
    """A molecule, a crystal and an ion with random labels, several of them missing."""
    images = [molecule("CH3OH"), bulk("NaCl", "rocksalt", 5.64), molecule("OH")]
    images[2].info["charge"] = -1
    for image in images:
        image.rattle(0.05, seed=3)
    batches = [
        from_atoms(x, cutoff=3.0, total_charge=x.info.get("charge", 0), fidelity=k % n_fidelities)
        for k, x in enumerate(images)
    ]
    batch = collate(batches)
    rng = np.random.default_rng(0)
    labels = {
        "energy": torch.tensor(rng.normal(-6000.0, 100.0, 3)),
        "forces": torch.tensor(rng.normal(size=(batch.n_atoms, 3))),
        "stress": torch.full((3, 3, 3), torch.nan, dtype=torch.float64),
        "dipole": torch.tensor(rng.normal(size=(3, 3))),
    }
    labels["stress"][1] = torch.tensor(rng.normal(size=(3, 3)))
    labels["energy"][2] = labels["forces"][4] = torch.nan
    return images, replace(batch, labels=labels), labels


@pytest.mark.parametrize("dispersion", ["d3bj:pbe0", "d4:pbe0"])
def test_energy_forces_and_stress_lose_exactly_the_term(dispersion: str) -> None:
    if dispersion.startswith("d4"):
        pytest.importorskip("dftd4")
    images, batch, labels = labelled()
    result = DispersionSubtraction(PBE0, dispersion)(batch)
    calc = (D4 if dispersion.startswith("d4") else D3)("pbe0")
    first = 0
    for k, image in enumerate(images):
        atoms = slice(first, first := first + len(image))
        difference = labels["energy"][k] - result.labels["energy"][k]
        if k != 2:
            assert difference.item() == pytest.approx(calc.get_potential_energy(image), abs=1e-11)
        change = (labels["forces"] - result.labels["forces"])[atoms].numpy()
        there = np.isfinite(change)
        assert np.allclose(change[there], calc.get_forces(image)[there], rtol=0.0, atol=EXACT)
    change = (labels["stress"] - result.labels["stress"])[1].numpy()
    expected = voigt_6_to_full_3x3_stress(calc.get_stress(images[1]))
    assert np.allclose(change, expected, rtol=0.0, atol=EXACT)


def test_missing_labels_stay_missing_and_others_are_untouched() -> None:
    _, batch, labels = labelled()
    result = DispersionSubtraction(PBE0, "d3bj:pbe0")(batch)
    for name, label in labels.items():
        assert torch.equal(result.labels[name].isnan(), label.isnan()), name
    assert result.labels["dipole"] is labels["dipole"]
    assert batch.labels["energy"][0] == labels["energy"][0], "the batch was changed in place"
    assert torch.equal(result.positions, batch.positions)


def test_adding_the_term_again_gives_the_labels_back() -> None:
    """The network learns the rest; the calculator adds what ``fidelity.dispersion`` names."""
    images, batch, labels = labelled()
    subtraction = DispersionSubtraction(PBE0, "d3bj:pbe0")
    rest = subtraction(batch).labels["energy"][0].item()
    assert subtraction.fidelity == replace(PBE0, dispersion="d3bj:pbe0", dispersion_in_labels=False)
    assert rest + D3("pbe0").get_potential_energy(images[0]) == pytest.approx(labels["energy"][0].item(), abs=1e-11)


def test_only_structures_of_the_chosen_fidelity_change() -> None:
    _, batch, labels = labelled(n_fidelities=2)  # 0, 1, 0
    result = DispersionSubtraction(PBE0, "d3bj:pbe0", index=1)(batch)
    changed = {name: (result.labels[name] != labels[name]) & ~labels[name].isnan() for name in ("energy", "forces")}
    assert changed["energy"].tolist() == [False, True, False]
    assert changed["forces"].any(1).tolist() == (batch.fidelity[batch.system_idx] == 1).tolist()


def test_single_precision_labels_are_subtracted_in_double() -> None:
    _, batch, labels = labelled()
    single = replace(batch, labels={"energy": labels["energy"].float()})
    result = DispersionSubtraction(PBE0, "d3bj:pbe0")(single)
    assert result.labels["energy"].dtype == torch.float64


def test_a_batch_without_such_labels_is_returned_as_it_is() -> None:
    _, batch, labels = labelled()
    bare = replace(batch, labels={"dipole": labels["dipole"]})
    assert DispersionSubtraction(PBE0, "d3bj:pbe0")(bare) is bare


def test_what_the_fidelity_declares_is_subtracted() -> None:
    _, batch, _ = labelled()
    declared = DispersionSubtraction(replace(PBE0, dispersion="d3bj:pbe0"))
    given = DispersionSubtraction(PBE0, "d3bj:pbe0")
    assert torch.equal(declared(batch).labels["forces"].nan_to_num(), given(batch).labels["forces"].nan_to_num())
    assert declared.fidelity == given.fidelity


@pytest.mark.parametrize(
    ("changes", "dispersion", "message"),
    [
        ({"dispersion_in_labels": False}, "d3bj:pbe0", "'high' contain no dispersion.*subtracted twice"),
        ({}, None, "is not declared: give dispersion="),
        ({"dispersion": "d3bj:b3lyp"}, "d3bj:pbe0", "contain dispersion='d3bj:b3lyp', not 'd3bj:pbe0'"),
        ({}, "d3bj:pbee0", "near matches"),
        ({}, "pbe0", "d3bj:FUNCTIONAL"),
    ],
    ids=["no dispersion", "undeclared", "another", "unknown", "method left out"],
)
def test_wrong_requests_are_refused(changes: dict[str, Any], dispersion: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DispersionSubtraction(replace(PBE0, **changes), dispersion)


def test_subtracting_again_is_refused() -> None:
    once = DispersionSubtraction(PBE0, "d3bj:pbe0")
    with pytest.raises(ConfigError, match="subtracted twice"):
        DispersionSubtraction(once.fidelity)
