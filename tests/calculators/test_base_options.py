"""Options of calculators: every one that changes a number is in their provenance, and none gives an error of Python."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import molecule

from molcalc.calculators import D3, D4, AIMNet2, NonEquivariantDCM, PhysNetDCM
from molcalc.calculators.base import MolCalculator
from molcalc.dispersion.parameters import D3Parameters, D4Parameters
from molcalc.errors import ConfigError, InputError, MissingPropertyError, MolcalcError, SpinError
from molcalc.io.checkpoint import Checkpoint
from tests.helpers.calculators import tiny_calculator
from tests.helpers.networks import small_checkpoint, tiny_dcm, tiny_multifidelity_checkpoint
from tests.helpers.structures import organic

NO_NUMBER = {"device", "trusted", "min_distance", "on_extrapolation"}
"""Options that change no result."""
D3_OF_ANOTHER = D3Parameters(s6=1.0, s8=0.5, a1=0.4, a2=5.0)
MODEL_OPTIONS: dict[str, Any] = {
    "fidelity": "gfn2",
    "dispersion": None,
    "charge": 1,
    "multiplicity": 3,
    "mult": 3,
    "spin": 3,
    "member": 1,
    "dtype": torch.float64,
    "coulomb": None,
    "legacy": True,
}
OTHER: dict[type[MolCalculator], dict[str, Any]] = {
    AIMNet2: MODEL_OPTIONS,
    PhysNetDCM: {**MODEL_OPTIONS, "dispersion": "d3bj:pbe0"},
    NonEquivariantDCM: {**MODEL_OPTIONS, "dispersion": "d3bj:pbe0"},
    D3: {"functional": "b3lyp", "backend": "torch", "atm": True, "parameters": D3_OF_ANOTHER, "cutoff": 20.0,
         "cn_cutoff": 15.0, "atm_cutoff": 10.0, "switch_width": 1.0},
    D4: {"functional": "b3lyp", "atm": False, "parameters": D4Parameters(s6=1.0, s8=0.5, a1=0.4, a2=5.0), "charge": 1,
         "cutoff": 20.0, "atm_cutoff": 10.0, "cn_cutoff": 15.0, "switch_width": 1.0},
}  # fmt: skip
"""For every option another value than its default."""


def options_of(kind: type[MolCalculator]) -> list[str]:
    """Names of the options of a calculator."""
    return [name for name in inspect.signature(kind.__init__).parameters if name not in ("self", "model")]


@pytest.fixture(scope="module")
def makers() -> dict[type[MolCalculator], Callable[..., MolCalculator]]:
    """Functions of options that make calculators; of a model with two members, and with several fidelities."""
    two, several = small_checkpoint(2, n_members=2), tiny_multifidelity_checkpoint(2)

    def aimnet2(**options: Any) -> MolCalculator:
        if "fidelity" in options:
            return AIMNet2(several, **options)
        return AIMNet2(two, **options)

    def dispersion(kind: type[MolCalculator]) -> Callable[..., MolCalculator]:
        def make(**options: Any) -> MolCalculator:
            named = {} if "parameters" in options else {"functional": "pbe0"}
            return kind(**{**named, **({"atm": True} if "atm_cutoff" in options and kind is D3 else {}), **options})

        return make

    return {
        AIMNet2: aimnet2,
        PhysNetDCM: lambda **options: PhysNetDCM(tiny_dcm("physnet-dcm", n_members=2), **options),
        NonEquivariantDCM: lambda **options: NonEquivariantDCM(tiny_dcm("noneq-dcm", n_members=2), **options),
        D3: dispersion(D3),
        D4: dispersion(D4),
    }


CASES = [(kind, name) for kind in OTHER for name in options_of(kind) if name not in NO_NUMBER]


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{kind.__name__} {name}" for kind, name in CASES])
def test_every_option_that_changes_a_number_is_in_the_provenance(
    makers: dict[type[MolCalculator], Callable[..., MolCalculator]], kind: type[MolCalculator], name: str
) -> None:
    if kind is D4:
        pytest.importorskip("dftd4")
    if kind in (PhysNetDCM, NonEquivariantDCM) and name == "fidelity":
        pytest.skip("models of this kind have one fidelity")
    changed = {name: OTHER[kind][name]}
    usual = {"atm": True} if name == "atm_cutoff" and kind is D3 else {}
    usual = {"fidelity": "pbe0"} if name == "fidelity" else usual
    plain, other = makers[kind](**usual).todict(), makers[kind](**changed).todict()
    assert plain != other
    assert all(isinstance(value, (str, int, float, bool)) for value in other.values())


NONSENSE = [-1, "abc", "", 1.5, float("nan"), [], {}, object(), True, None, b"x", 10**400]


@pytest.mark.filterwarnings("ignore::molcalc.errors.OpenShellWarning")
@pytest.mark.parametrize("name", options_of(AIMNet2))
def test_no_value_of_an_option_gives_an_error_of_python(closed_shell: Checkpoint, name: str) -> None:
    water, unnamed = molecule("H2O"), list[str]()
    for value in NONSENSE:
        try:
            calc = tiny_calculator(closed_shell, **{"dtype": "float64", name: value})
            assert np.isfinite(calc.get_potential_energy(water))
        except MolcalcError as error:
            unnamed += [f"{value!r}: {error}"] if name not in str(error) else []
    assert not unnamed


@pytest.mark.parametrize("name", ["mult", "spin"])
def test_other_names_of_the_multiplicity_are_taken(open_shell: Checkpoint, name: str) -> None:
    wanted = tiny_calculator(open_shell, multiplicity=3).get_potential_energy(organic())
    assert tiny_calculator(open_shell, **{name: 3}).get_potential_energy(organic()) == wanted
    calc = tiny_calculator(open_shell)
    calc.set(**{name: 3})
    assert calc.get_potential_energy(organic()) == wanted
    with pytest.raises(SpinError, match="contradictory"):
        tiny_calculator(open_shell, multiplicity=1, **{name: 3})


def test_no_coulomb_energy_is_none(closed_shell: Checkpoint) -> None:
    bare = tiny_calculator(closed_shell, coulomb=None, dispersion=None)
    assert bare.todict()["coulomb"] == "none"
    assert bare.potential.energy_terms == []
    far = molecule("H2O") + molecule("H2O")
    far.positions[3:] += 20.0
    assert bare.get_potential_energy(far) == pytest.approx(2 * bare.get_potential_energy(molecule("H2O")), abs=1e-9)


def test_dtypes_of_torch_are_taken(closed_shell: Checkpoint) -> None:
    assert tiny_calculator(closed_shell, dtype=torch.float64).todict()["dtype"] == "float64"
    with pytest.raises(ConfigError, match=r"dtype=torch\.float16"):
        tiny_calculator(closed_shell, dtype=torch.float16)


def test_entries_that_are_no_structures_are_named(closed_shell: Checkpoint) -> None:
    calc, water = tiny_calculator(closed_shell), molecule("H2O")
    wrong: list[tuple[Any, Any, str]] = [
        ([water, None], ("energy",), "structure 1 is None"),
        ([water, [water]], ("energy",), "structure 1 is .* a list"),
        (water, ("energy",), "a list is expected"),
        ("water.xyz", ("energy",), "expected a list"),
        (3, ("energy",), "expected a list"),
        ([water], "energy", r'\("energy",\)'),
    ]
    for images, properties, message in wrong:
        with pytest.raises(InputError, match=message):
            calc.evaluate(images, properties)
    for ask in (calc.get_potential_energy, calc.get_hessian, calc.get_vibrations, calc.compare_fidelities):
        with pytest.raises(InputError, match=r"expected ase\.Atoms"):
            ask("water.xyz")
    for points in ("abc", None, [[1, 2]], [["a", "b", "c"]], {}):
        with pytest.raises(InputError, match="points"):
            calc.get_esp(points)


def test_what_is_missing_is_said_before_anything_was_computed(closed_shell: Checkpoint) -> None:
    calc = tiny_calculator(closed_shell)
    molecule("H2O", calculator=calc)
    for ask in (calc.get_hessian, calc.get_vibrations, calc.get_potential_energy):
        with pytest.raises(ConfigError, match=r"atoms=….*energy first"):
            ask()


def test_stress_of_single_atoms_is_refused(closed_shell: Checkpoint) -> None:
    atoms = molecule("H2O", calculator=tiny_calculator(closed_shell))
    with pytest.raises(MissingPropertyError, match="stresses: .* does not divide stress among atoms"):
        atoms.get_stresses()


def test_a_network_without_end_has_no_dipole_and_says_so(closed_shell: Checkpoint) -> None:
    calc = tiny_calculator(closed_shell, coulomb="dsf", dispersion=None)
    chain = molecule("H2", cell=[1.5, 9, 9], pbc=True)
    chain.positions[:] = [[0, 0, 0], [0.75, 0, 0]]
    chain.calc = calc
    assert "dipole" not in {**calc.results, "charges": chain.get_charges()}
    for ask in (chain.get_dipole_moment, lambda: calc.evaluate([chain], ("dipole",))):
        with pytest.raises(MissingPropertyError, match="network without end"):
            ask()


def test_a_calculator_that_another_thread_held_works_after_a_fork(closed_shell: Checkpoint) -> None:
    calc, held, free = tiny_calculator(closed_shell), threading.Event(), threading.Event()

    def hold() -> None:
        with calc._lock:
            held.set()
            free.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    child = os.fork()
    if child == 0:
        os._exit(0 if calc._lock.acquire(blocking=False) else 1)
    free.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
