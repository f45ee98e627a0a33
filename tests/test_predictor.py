"""Structures without a calculator of ASE: many at once, all fidelities at once, charges and second derivatives."""

from __future__ import annotations

import resource
import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError

from molcalc import D3, D4, open_model
from molcalc.batch import AtomicBatch
from molcalc.errors import (
    ConfigError,
    FidelityWarning,
    InputError,
    MissingPropertyError,
    NonEquivariantWarning,
    ResourceError,
    UnsupportedElementError,
)
from molcalc.io.checkpoint import Checkpoint
from molcalc.prediction.batching import make_batch
from molcalc.prediction.options import PredictorOptions
from molcalc.predictor import Predictor
from molcalc.steps import CompiledStep, Step, TorchStep
from tests.helpers.calculators import tiny_calculator
from tests.helpers.forks import Fork
from tests.helpers.networks import FIDELITIES, tiny_checkpoint, tiny_dcm, tiny_multifidelity_checkpoint
from tests.helpers.structures import organic

WITHOUT_OXYGEN = (FIDELITIES[0], replace(FIDELITIES[1], elements=(1, 6, 7)), replace(FIDELITIES[2], elements=(1, 6)))


def test_standard_deviations_of_many_structures_are_those_of_single_ones() -> None:
    calc = tiny_calculator(tiny_checkpoint(n_members=3))
    images = [organic(), molecule("H2O"), molecule("NH3")]
    names = ("energy_std", "charges_std", "forces_std", "energy")
    for atoms, found in zip(images, calc.evaluate(images, names)):
        assert tuple(found) == names
        calc.calculate(atoms)
        for name in names[:3]:
            assert found[name] == pytest.approx(calc.extras[name], abs=1e-9)
        assert isinstance(found["energy_std"], float)
        assert found["energy_std"] > 0
    assert set(calc.evaluate(images[:1], ["forces_std"])[0]) == {"forces_std"}
    assert set(calc.extras) == set(calc.extra_properties) == set(names[:3])


def test_one_network_has_no_standard_deviation(closed_shell: Checkpoint) -> None:
    with pytest.raises(PropertyNotImplementedError, match="energy_std is not implemented by 'pbe0'; it has energy"):
        tiny_calculator(closed_shell).evaluate([organic()], ["energy", "energy_std"])


@pytest.mark.parametrize("n_members", [1, 2])
def test_extra_properties_are_what_extras_hold(n_members: int) -> None:
    calc = tiny_calculator(tiny_dcm(n_members=n_members, quadrupoles=True))
    calc.calculate(organic())
    assert set(calc.extras) == set(calc.extra_properties)
    found = calc.evaluate([molecule("H2O"), organic()], calc.extra_properties)[1]
    for name, value in calc.extras.items():
        assert found[name] == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("n_members", [1, 2])
def test_comparison_equals_the_calculator_at_each_fidelity(n_members: int) -> None:
    checkpoint = tiny_multifidelity_checkpoint(charge_channels=2, n_members=n_members)
    calc = tiny_calculator(checkpoint, fidelity="gfn2")
    atoms = organic()
    atoms.info["charge"] = 1
    found = calc.compare_fidelities(atoms)
    assert list(found) == ["pbe0", "gfn2", "b3lyp"]
    for name, results in found.items():
        calc.fidelity = name
        calc.calculate(atoms)
        assert set(results) == {*calc.results, *calc.extras}
        for key, value in {**calc.results, **calc.extras}.items():
            assert results[key] == pytest.approx(value, abs=1e-9), key
        assert isinstance(results["energy"], float)
        assert results["forces"].dtype == results["charges"].dtype == np.float64
    assert ("energy_std" in found["pbe0"]) is (n_members > 1)


def test_comparison_takes_one_pass_and_leaves_results_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calc = tiny_calculator(tiny_multifidelity_checkpoint(), fidelity="gfn2")
    atoms = organic()
    atoms.calc = calc
    energy = atoms.get_potential_energy()
    results, made_by = dict(calc.results), calc.todict()
    sizes = []
    network = calc.potential.members[0]
    handle = network.register_forward_hook(lambda module, inputs, output: sizes.append(inputs[0].fidelity.tolist()))
    found = calc.compare_fidelities()
    handle.remove()
    assert sizes == [[0, 1, 2]]
    assert found["gfn2"]["energy"] == pytest.approx(energy, abs=1e-10)
    assert calc.results.keys() == results.keys()
    assert all(calc.results[name] is value for name, value in results.items())
    assert calc.todict() == made_by
    other = calc.compare_fidelities(molecule("H2O"))
    assert other["gfn2"]["energy"] != energy
    assert atoms.get_potential_energy() is results["energy"]
    monkeypatch.setattr("molcalc.predictor.BATCH_ATOMS", 10)
    for name, value in calc.compare_fidelities().items():
        assert value["energy"] == pytest.approx(found[name]["energy"], abs=1e-10)


def test_a_model_of_one_fidelity_compares_with_nothing(closed_shell: Checkpoint) -> None:
    calc = tiny_calculator(closed_shell)
    found = calc.compare_fidelities(organic())
    assert list(found) == ["pbe0"]
    assert found["pbe0"]["energy"] == calc.get_potential_energy(organic())
    assert list(D3("pbe0").compare_fidelities(organic())) == ["d3bj:pbe0"]


def test_an_element_that_the_chosen_fidelity_has_not_seen_is_refused() -> None:
    calc = tiny_calculator(tiny_multifidelity_checkpoint(fidelities=WITHOUT_OXYGEN), fidelity="gfn2")
    ammonia = calc.get_potential_energy(molecule("NH3"))
    message = r"element O \(Z=8\) of atoms \[0\] was not in the data of fidelity 'gfn2' of .*know it: 'pbe0'$"
    with pytest.raises(UnsupportedElementError, match=message):
        calc.get_potential_energy(molecule("H2O"))
    assert calc.results == {}
    with pytest.raises(UnsupportedElementError, match="structure 1: element O"):
        calc.evaluate([molecule("NH3"), molecule("H2O")])
    with pytest.raises(UnsupportedElementError, match="gfn2"):
        calc.get_hessian(molecule("H2O"))
    with pytest.raises(UnsupportedElementError, match=r"element He \(Z=2\).*supported: H, C, N, O"):
        calc.get_potential_energy(Atoms("He"))
    with pytest.raises(UnsupportedElementError, match=r"atoms \[1\] are dummy or ghost atoms .*remove them"):
        calc.get_potential_energy(Atoms("HX", [[0, 0, 0], [0, 0, 1]]))
    calc.fidelity = "b3lyp"
    with pytest.raises(UnsupportedElementError, match=r"N \(Z=7\).*'b3lyp'.*\(known: H, C\); .*'pbe0', 'gfn2'"):
        calc.get_potential_energy(molecule("NH3"))
    calc.fidelity = "pbe0"
    assert calc.get_potential_energy(molecule("H2O")) < 0.0
    calc.fidelity = "gfn2"
    assert calc.get_potential_energy(molecule("NH3")) == ammonia


def test_a_comparison_leaves_out_fidelities_that_do_not_know_an_element() -> None:
    calc = tiny_calculator(tiny_multifidelity_checkpoint(fidelities=WITHOUT_OXYGEN), fidelity="b3lyp")
    with pytest.warns(FidelityWarning) as caught:
        found = calc.compare_fidelities(molecule("NH3"))
    assert list(found) == ["pbe0", "gfn2"]
    assert [str(warning.message) for warning in caught] == [
        "fidelity 'b3lyp' of 'aimnet2' is left out: N was not in its data"
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(calc.compare_fidelities(molecule("CH4"))) == ["pbe0", "gfn2", "b3lyp"]
    limited = tiny_multifidelity_checkpoint(fidelities=[replace(level, elements=(1, 6)) for level in FIDELITIES])
    with pytest.raises(UnsupportedElementError, match="'pbe0'.*no fidelity of it knows it"):
        tiny_calculator(limited, fidelity="pbe0").compare_fidelities(molecule("H2O"))


def test_a_comparison_that_is_not_finite_names_the_fidelity() -> None:
    checkpoint = tiny_multifidelity_checkpoint()
    weights = {name: value.clone() for name, value in checkpoint.weights.items()}
    weights["members.0.shifts"][1] = torch.nan
    calc = tiny_calculator(Checkpoint(checkpoint.config, weights), fidelity="pbe0")
    with pytest.raises(RuntimeError, match="'aimnet2' at fidelity 'gfn2' returned energ"):
        calc.compare_fidelities(molecule("H2O"))


@pytest.fixture
def short_of_memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Batches of more than two structures do not fit; the sizes that were tried."""
    tried: list[int] = []

    class Limited(TorchStep):
        def evaluate(self, batch: AtomicBatch, properties: Iterable[str]) -> dict[str, torch.Tensor]:
            tried.append(batch.n_systems)
            if batch.n_systems > 2:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
            return super().evaluate(batch, properties)

    monkeypatch.setattr("molcalc.predictor.step_of", Limited)
    return tried


def test_a_batch_that_does_not_fit_into_memory_is_split(short_of_memory: list[int]) -> None:
    calc = tiny_calculator(tiny_checkpoint())
    images = [organic(), molecule("H2O"), molecule("NH3"), molecule("CH4")]
    found = calc.evaluate(images)
    assert short_of_memory == [4, 2, 2]
    for atoms, result in zip(images, found):
        assert result["energy"] == pytest.approx(calc.evaluate([atoms])[0]["energy"], abs=1e-9)


def test_a_batch_is_halved_until_it_fits(short_of_memory: list[int]) -> None:
    assert len(tiny_calculator(tiny_checkpoint()).evaluate([molecule("H2O")] * 6)) == 6
    assert short_of_memory == [6, 3, 1, 2, 3, 1, 2]


def test_a_structure_that_does_not_fit_alone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(TorchStep):
        def evaluate(self, batch: AtomicBatch, properties: Iterable[str]) -> dict[str, torch.Tensor]:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("molcalc.predictor.step_of", Refused)
    calc = tiny_calculator(tiny_checkpoint())
    with pytest.raises(ResourceError, match="^structure 0: H2O with 3 atoms does not fit into memory: use a"):
        calc.evaluate([molecule("H2O"), molecule("CH4")])
    with pytest.raises(ResourceError, match="^CH4 with 5 atoms does not fit into memory"):
        calc.get_potential_energy(molecule("CH4"))


@pytest.mark.parametrize("kind", [CompiledStep, TorchStep])
def test_a_structure_that_takes_more_than_what_is_free_is_refused_before_memory_is_gone(
    kind: type[Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, whose addresses are limited for a moment; after that it has as many as before."""
    monkeypatch.setattr("molcalc.predictor.step_of", kind)
    monkeypatch.setattr("molcalc.prediction.batching.MANY_ATOMS", 1000)
    monkeypatch.setattr("molcalc.prediction.batching.device_memory", lambda device: (3e7, 3e7))
    calc = tiny_calculator(tiny_checkpoint(), dispersion=None, coulomb=None)
    calc.get_potential_energy(molecule("CH4"))
    grid = np.stack(np.meshgrid(*[np.arange(14)] * 3), axis=-1).reshape(-1, 3)
    many = Atoms("H2744", 1.1 * grid)  # 400 edges of each atom

    def refused() -> None:
        limit = resource.getrlimit(resource.RLIMIT_AS)
        with pytest.raises(ResourceError, match="^H2744 with 2744 atoms does not fit into memory: use a machine"):
            calc.get_forces(many)
        assert resource.getrlimit(resource.RLIMIT_AS) == limit

    process = Fork(refused)
    assert process.wait() == 0, process.err


def test_a_structure_whose_neighbors_do_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(atoms: Atoms, *args: Any) -> AtomicBatch:
        if len(atoms) > 3:
            raise MemoryError
        return make_batch(atoms, *args)

    monkeypatch.setattr("molcalc.predictor.make_batch", refused)
    with pytest.raises(ResourceError, match="^structure 1: CH4 with 5 atoms does not fit into memory"):
        tiny_calculator(tiny_checkpoint()).evaluate([molecule("H2O"), molecule("CH4")])


def predictor(**options: Any) -> Predictor:
    return Predictor.of_model(open_model(tiny_checkpoint(2, n_members=2)), options=PredictorOptions(**options))


def test_a_predictor_gives_what_the_calculator_gives() -> None:
    alone, calc = predictor(dtype="float64"), tiny_calculator(tiny_checkpoint(2, n_members=2))
    ion = organic()
    ion.info["charge"] = 1
    for atoms in (ion, molecule("H2O")):
        calc.calculate(atoms)
        found = alone.evaluate([atoms], [*alone.properties[:4], *alone.extra_properties])[0]
        for name, value in found.items():
            assert np.array_equal(value, {**calc.results, **calc.extras}[name]), name
        assert alone.provenance().items() <= calc.todict().items()
    hessian, slopes = alone.vibration_inputs(molecule("H2O"))
    assert np.array_equal(hessian, calc.get_hessian(molecule("H2O")))
    assert np.array_equal(hessian, alone.hessian(molecule("H2O")))
    assert slopes is not None
    assert slopes.shape == (3, 3, 3)


def test_a_predictor_keeps_nothing_of_one_structure_for_the_next() -> None:
    alone, images = predictor(dtype="float64"), [organic(k) for k in range(3)]
    images[1].info["charge"] = 1
    together = [result["energy"] for result in alone.evaluate(images)]
    single = [alone.evaluate([atoms])[0]["energy"] for atoms in reversed(images)]
    assert together == pytest.approx(single[::-1], abs=1e-9)
    before = set(vars(alone))
    alone.evaluate(images)
    assert set(vars(alone)) == before


def test_imposed_charge_multiplicity_and_fidelity_hold_for_every_structure() -> None:
    model = open_model(tiny_multifidelity_checkpoint(charge_channels=2))
    options = PredictorOptions(charge=-1, multiplicity=2, dtype="float64")
    alone = Predictor.of_model(model, "gfn2", options=options)
    state = alone.resolve(molecule("H2O"))
    assert (state.charge, state.multiplicity, state.fidelity) == (-1, 2, 1)
    first = alone.evaluate([molecule("H2O")])[0]["energy"]
    alone.fidelity = "b3lyp"
    assert alone.fidelity == "b3lyp"
    assert alone.provenance()["dispersion"] == "d3bj:b3lyp"
    assert alone.evaluate([molecule("H2O")])[0]["energy"] != first


def test_what_a_potential_does_not_depend_on_is_not_resolved() -> None:
    """D3 takes a structure whose charge says nothing; D4 takes any spin."""
    strange = molecule("H2O")
    strange.info.update(charge=0.5, spin=7)
    assert D3("pbe0").resolve(strange).charge == 0
    pytest.importorskip("dftd4")
    ion = molecule("H2O")
    ion.info.update(charge=1, spin=7)
    state = D4("pbe0").resolve(ion)
    assert (state.charge, state.multiplicity) == (1, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float23"}, r"dtype='float23' \(did you mean 'float32'\?\)"),
        ({"min_distance": 2.0}, "min_distance=2.0 Å; allowed is 0 < min_distance < 1"),
        ({"device": "gpu"}, "device='gpu' is not a torch device"),
    ],
    ids=["dtype", "distance", "device"],
)
def test_options_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        predictor(**options)


POINTS = np.array([[5.0, 0.0, 0.0], [0.0, -6.0, 1.0]])


@pytest.mark.parametrize("kind", ["physnet-dcm", "noneq-dcm"])
def test_potentials_are_those_of_the_charges_that_make_the_dipole(kind: str) -> None:
    calc = tiny_calculator(tiny_dcm(kind))
    alone, source = calc.predictor, "distributed" if kind == "physnet-dcm" else "charges"
    expected = calc.get_esp(POINTS, organic(), source=source)
    assert alone.esp(POINTS, organic()) == pytest.approx(expected, abs=1e-12)
    field = calc.get_electric_field(POINTS, organic(), source=source)
    assert alone.electric_field(POINTS, organic()) == pytest.approx(field, abs=1e-12)


def test_charges_that_do_not_turn_are_warned_of_once() -> None:
    alone = tiny_calculator(tiny_dcm("noneq-dcm")).predictor
    with pytest.warns(NonEquivariantWarning):
        alone.charge_sites(organic(), "distributed")
    alone.charge_sites(organic(), "distributed")  # a second warning would be an error


def test_sources_that_a_model_does_not_have_are_named() -> None:
    with pytest.raises(ConfigError, match="'pbe0' predicts charges on atoms only"):
        predictor().esp(POINTS, molecule("H2O"), "distributed")
    with pytest.raises(ConfigError, match=r"source='charge' \(did you mean 'charges'\?\)"):
        predictor().esp(POINTS, molecule("H2O"), "charge")
    with pytest.raises(MissingPropertyError, match="charges is not implemented by 'd3bj:pbe0'"):
        D3("pbe0").predictor.esp(POINTS, molecule("H2O"))


def test_points_are_checked_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = predictor()
    monkeypatch.setattr(Predictor, "predict", None)
    with pytest.raises(InputError, match=r"points have shape \(3,\); expected \(n_points, 3\)"):
        alone.esp(np.zeros(3), molecule("H2O"))


def test_one_name_in_place_of_a_list_is_refused(closed_shell: Checkpoint) -> None:
    with pytest.raises(ConfigError, match=r"properties='energy'; give the names in a list or tuple"):
        tiny_calculator(closed_shell).evaluate([organic()], "energy")
