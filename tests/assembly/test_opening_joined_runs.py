"""Ensembles of several runs of one model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molcalc.calculators import AIMNet2, PhysNetDCM
from molcalc.calculators.of_model import calculator_of
from molcalc.errors import CheckpointMismatchError, ConfigError
from molcalc.io.checkpoint import Checkpoint, save
from molcalc.models.fidelity_transfer import with_fidelities
from molcalc.registry import build_members, checkpoint_of
from tests.helpers.calculators import tiny_calculator
from tests.helpers.networks import FIDELITIES, tiny_checkpoint, tiny_dcm, tiny_multifidelity_checkpoint
from tests.helpers.structures import organic


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two runs of three fidelities, the second with two networks and its fidelities in another order."""
    first, second = tiny_multifidelity_checkpoint(seed=0), tiny_multifidelity_checkpoint(seed=5, n_members=2)
    networks = [with_fidelities(member, [2, 0, 1]) for member in build_members(second)]  # type: ignore[arg-type]
    config = replace(second.config, fidelities=tuple(FIDELITIES[k] for k in (2, 0, 1)))
    save(tmp_path / "a", first)
    save(tmp_path / "b", checkpoint_of(config, list(networks)))
    return [tmp_path / "a", tmp_path / "b"]


@pytest.mark.parametrize("name", ["pbe0", "gfn2", "b3lyp"])
def test_results_are_means_over_all_networks_of_all_runs(runs: list[Path], name: str) -> None:
    calc = AIMNet2(runs, fidelity=name, dtype="float64")
    calc.calculate(organic())
    members = [AIMNet2(runs[0], fidelity=name, dtype="float64")]
    members += [AIMNet2(runs[1], fidelity=name, dtype="float64", member=k) for k in (0, 1)]
    for member in members:
        member.calculate(organic())
    for key in ("energy", "forces", "charges"):
        values = np.array([member.results[key] for member in members])
        assert calc.results[key] == pytest.approx(values.mean(axis=0), abs=1e-9)
        assert calc.extras[f"{key}_std"] == pytest.approx(values.std(axis=0, ddof=1), abs=1e-9)
    assert calc.extras["energy_std"] > 0
    last = AIMNet2(runs, fidelity=name, dtype="float64", member=2)
    assert last.get_potential_energy(organic()) == pytest.approx(members[2].results["energy"], abs=1e-9)


def test_provenance_names_all_runs(runs: list[Path]) -> None:
    made_by = AIMNet2(runs, fidelity="pbe0").todict()
    hashes = [AIMNet2(run, fidelity="pbe0").todict()["model_hash"] for run in runs]
    assert made_by["model"] == "a+b"
    assert made_by["model_hash"] == "+".join(hashes)
    with pytest.raises(ConfigError, match=r"member=3; 'a\+b' has members 0…2"):
        AIMNet2(runs, fidelity="pbe0", member=3)
    assert AIMNet2(runs[:1], fidelity="pbe0").todict()["model"] == "a"


def test_a_comparison_of_an_ensemble_has_deviations_at_every_fidelity(runs: list[Path]) -> None:
    found = AIMNet2(runs, fidelity="pbe0", dtype="float64").compare_fidelities(organic())
    assert list(found) == ["pbe0", "gfn2", "b3lyp"]
    assert all(result["energy_std"] > 0 for result in found.values())


def test_models_of_one_fidelity_make_ensembles_too() -> None:
    first, second = tiny_checkpoint(seed=1), tiny_checkpoint(seed=2)
    both = AIMNet2([first, second], dtype="float64")
    energies = [tiny_calculator(model).get_potential_energy(organic()) for model in (first, second)]
    assert both.get_potential_energy(organic()) == pytest.approx(np.mean(energies), abs=1e-9)
    pair = PhysNetDCM([tiny_dcm(seed=1), tiny_dcm(seed=2)], dtype="float64")
    pair.calculate(organic())
    assert pair.extras["energy_std"] > 0


def test_elements_are_those_that_all_runs_know() -> None:
    fidelities = [[replace(FIDELITIES[0], elements=known), *FIDELITIES[1:]] for known in ((1, 6, 7), (1, 6, 8), None)]
    models = [tiny_multifidelity_checkpoint(seed=k, fidelities=found) for k, found in enumerate(fidelities)]
    assert AIMNet2(models, fidelity="pbe0").fidelities[0].elements == (1, 6)
    assert AIMNet2(models, fidelity="pbe0").fidelities[1].elements is None


def changed(checkpoint: Checkpoint, **changes: Any) -> Checkpoint:
    return Checkpoint(replace(checkpoint.config, **changes), checkpoint.weights)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (tiny_dcm(seed=9), "kind is 'physnet-dcm' in the one, 'aimnet2' in the other"),
        (tiny_multifidelity_checkpoint(seed=9, coulomb=None), "coulomb is None in the one, 'simple' in the other"),
        (changed(tiny_multifidelity_checkpoint(seed=9), neutral_only=True), "neutral_only is True in the one, False"),
        (
            changed(
                tiny_multifidelity_checkpoint(seed=9), fidelities=(*FIDELITIES[:2], replace(FIDELITIES[2], name="b97"))
            ),
            r"fidelities is \['pbe0', 'gfn2', 'b97'\] in the one, \['pbe0', 'gfn2', 'b3lyp'\] in the other",
        ),
        (
            changed(
                tiny_multifidelity_checkpoint(seed=9),
                fidelities=(replace(FIDELITIES[0], dispersion=None), *FIDELITIES[1:]),
            ),
            "dispersion of fidelity 'pbe0' is None in the one, 'd3bj:pbe0' in the other",
        ),
        (tiny_multifidelity_checkpoint(seed=9, charge_heads=True), "charge_heads is True in the one, False"),
    ],
    ids=["kind", "coulomb", "neutral", "fidelities", "dispersion", "network"],
)
def test_runs_of_different_models_are_refused(other: Checkpoint, message: str) -> None:
    with pytest.raises(CheckpointMismatchError, match="make no ensemble: " + message):
        AIMNet2([tiny_multifidelity_checkpoint(), other], fidelity="pbe0")


def test_lists_that_make_no_ensemble_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one model"):
        AIMNet2([])
    model = tiny_checkpoint()
    with pytest.raises(ConfigError, match="'pbe0' and 'pbe0' are the same model: every run counts once"):
        AIMNet2([model, tiny_checkpoint(seed=4), model])
    with pytest.raises(CheckpointMismatchError, match="load it with PhysNetDCM"):
        AIMNet2([tiny_dcm(seed=1), tiny_dcm(seed=2)])
    with pytest.raises(ConfigError, match="66 networks in one ensemble; allowed are 64"):
        AIMNet2([tiny_checkpoint(seed=100 * k, n_members=33) for k in range(2)])


def test_the_calculator_of_a_model_is_found_by_its_kind() -> None:
    assert isinstance(calculator_of(tiny_checkpoint()), AIMNet2)
    assert calculator_of(tiny_multifidelity_checkpoint(), fidelity="gfn2").fidelity == "gfn2"
    assert isinstance(calculator_of(tiny_dcm()), PhysNetDCM)
