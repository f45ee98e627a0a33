"""One rule decides charge and multiplicity, whatever a structure is read from and whoever asks."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from molcalc.calculators import AIMNet2
from molcalc.cli import main
from molcalc.errors import (
    ChargeError,
    DatasetError,
    InputError,
    OpenShellWarning,
    SpinError,
    StateError,
    UnreadStateWarning,
)
from molcalc.io import checkpoint
from molcalc.io.checkpoint import Checkpoint
from molcalc.prediction.batching import initial_charge
from molcalc.state import (
    CHARGE_KEYS,
    MAX_ROUNDING,
    MULTIPLICITY_KEYS,
    ROUNDING_PER_ATOM,
    STATE_KEYS,
    UNPAIRED_KEYS,
    State,
    multiplicity_of_moments,
    resolve_charge,
    resolve_fidelity,
    without_rounding,
)
from molcalc.train.data import open_dataset
from molcalc.train.data.convert import convert
from tests.helpers.calculators import tiny_calculator

Found = tuple[int, int]
"""Charge and multiplicity."""


class Stated(NamedTuple):
    """What comes with a water molecule of 10 protons, and what that means."""

    keys: Mapping[str, Any]
    initial_charges: tuple[float, float, float] | None
    means: Found | str

    def atoms(self) -> Atoms:
        atoms = molecule("H2O")
        if self.initial_charges is not None:
            atoms.set_initial_charges(self.initial_charges)
        return atoms


RIGHT = {
    "nothing": Stated({}, None, (0, 1)),
    **{f"{key} 1": Stated({key: 1}, None, (1, 2)) for key in CHARGE_KEYS},
    **{f"{key} -2": Stated({key: -2}, None, (-2, 1)) for key in CHARGE_KEYS},
    "whole float": Stated({"total_charge": -1.0}, None, (-1, 2)),
    "both charges alike": Stated({"charge": -1, "total_charge": -1}, None, (-1, 2)),
    "initial charges": Stated({}, (0.4, 0.3, 0.3), (1, 2)),
    "initial charges and the same key": Stated({"charge": 1}, (0.4, 0.3, 0.3), (1, 2)),
    "initial charges that cancel": Stated({}, (-0.8, 0.4, 0.4), (0, 1)),
    "initial charges that cancel beside an ion": Stated({"charge": -1}, (-0.8, 0.4, 0.4), (-1, 2)),
    "rounded initial charges": Stated({}, (-0.834, 0.417, 0.4171), (0, 1)),
    "rounded initial charges beside 0": Stated({"total_charge": 0}, (-0.834, 0.417, 0.4171), (0, 1)),
    "rounded initial charges of an ion": Stated({}, (0.33, 0.33, 0.33), (1, 2)),
    "rounded initial charges beside an ion": Stated({"total_charge": 1}, (0.33, 0.33, 0.33), (1, 2)),
    **{f"{key} 3": Stated({key: 3}, None, (0, 3)) for key in MULTIPLICITY_KEYS},
    **{f"{key} 2": Stated({key: 2}, None, (0, 3)) for key in UNPAIRED_KEYS},
    "other spellings": Stated({"NetCharge": 1, "Mult": 4}, None, (1, 4)),
    "both multiplicities alike": Stated({"spin": 3, "mult": 3}, None, (0, 3)),
    "an array of atoms": Stated({"charge": np.array([1.0, 0.0, 0.0]), "spin": np.ones(3)}, None, (0, 1)),
    "charge and multiplicity": Stated({"total_charge": 1, "multiplicity": 4}, None, (1, 4)),
}
WRONG = {
    "charge and total_charge": Stated({"charge": 1, "total_charge": -1}, None, "contradictory total .*= 1.*= -1"),
    "charge and initial charges": Stated({"charge": -1}, (1.0, 0.0, 0.0), "contradictory total charges .*sum of init"),
    "total_charge 0 and initial charges": Stated({"total_charge": 0}, (1.0, 0.0, 0.0), "contradictory .*= 0.*= 1"),
    "charge and charges that miss it": Stated({"charge": 1}, (0.5, 0.2, 0.2), "contradictory .*= 1.*= 0.9"),
    "half a charge": Stated({"total_charge": 0.5}, None, r"charge 0\.5 is not an integer \(.*total_charge.*\)"),
    "charge in words": Stated({"charge": "plus one"}, None, "charge 'plus one' is not a number .*expected an integer"),
    "initial charges that miss an integer": Stated({}, (0.3, 0.0, 0.0), r"charge 0\.3 is not an integer \(sum of init"),
    "charge 40": Stated({"charge": 40}, None, "charge 40 is impossible for 3 atoms"),
    "spin and multiplicity": Stated({"spin": 1, "multiplicity": 3}, None, "contradictory multiplicities .*= 1.*= 3"),
    "uhf and multiplicity": Stated({"uhf": 2, "spin": 1}, None, r"contradictory multiplicities .*= 1.*\+ 1 = 3"),
    "two charges": Stated({"charge": np.array([1.0, 0.0])}, None, r"charge .* is not a number .*charge"),
    "half a spin": Stated({"spin": 0.5}, None, r"multiplicity 0\.5 is not an integer"),
    "multiplicity 0": Stated({"mult": 0}, None, "10 electrons cannot have multiplicity 0"),
    "wrong parity": Stated({"charge": 1, "spin": 1}, None, r"9 electrons cannot have multiplicity 1 .*2, 4"),
    "more spins than electrons": Stated({"spin_multiplicity": 13}, None, "10 electrons cannot have multiplicity 13"),
}  # fmt: skip


def as_atoms(stated: Stated) -> Atoms:
    atoms = stated.atoms()
    atoms.info.update(stated.keys)
    return atoms


def by_calculator(cases: list[Stated], folder: Path, model: Path) -> list[Found]:
    calc = AIMNet2(model)
    states = [calc.resolve(as_atoms(stated)) for stated in cases]
    return [(state.charge, state.multiplicity) for state in states]


def by_row(cases: list[Stated], folder: Path, model: Path) -> list[Found]:
    return [of_dataset(write_rows([stated], folder / f"{k}.db")) for k, stated in enumerate(cases)]


def by_data_of_a_row(cases: list[Stated], folder: Path, model: Path) -> list[Found]:
    return [of_dataset(write_rows([stated], folder / f"{k}.db", in_data=True)) for k, stated in enumerate(cases)]


def by_frame(cases: list[Stated], folder: Path, model: Path, suffix: str = "xyz") -> list[Found]:
    paths = [folder / f"{k}.{suffix}" for k in range(len(cases))]
    for path, stated in zip(paths, cases):
        write(path, as_atoms(stated))
    return [of_dataset(path) for path in paths]


def by_trajectory(cases: list[Stated], folder: Path, model: Path) -> list[Found]:
    return by_frame(cases, folder, model, "traj")


def by_command_on_rows(cases: list[Stated], folder: Path, model: Path) -> list[Found]:
    return of_command(write_rows(cases, folder / "rows.db"), model)


def by_command_on_data_of_rows(cases: list[Stated], folder: Path, model: Path) -> list[Found]:
    return of_command(write_rows(cases, folder / "rows.db", in_data=True), model)


def by_command_on_frames(cases: list[Stated], folder: Path, model: Path) -> list[Found]:
    write(folder / "frames.xyz", [as_atoms(stated) for stated in cases])
    return of_command(folder / "frames.xyz", model)


def write_rows(cases: list[Stated], path: Path, in_data: bool = False) -> Path:
    with connect(path) as database:
        for stated in cases:
            arrays = {key: value for key, value in stated.keys.items() if in_data or isinstance(value, np.ndarray)}
            keys = {key: value for key, value in stated.keys.items() if key not in arrays}
            database.write(stated.atoms(), data=arrays, **keys)
    return path


def of_dataset(path: Path) -> Found:
    dataset = open_dataset(path, cache=path.parent / "cache")
    return int(dataset.total_charge[0]), int(dataset.multiplicity[0])


def of_command(path: Path, model: Path) -> list[Found]:
    """What ``molcalc energy`` writes of the states that it used."""
    target = path.with_name("out.db")
    if main(["energy", str(path), "--model", str(model), "-o", str(target)]):
        raise CommandError
    return [(row.total_charge, row.multiplicity) for row in connect(target).select()]


class CommandError(Exception):
    """A command ended with an exit status other than 0; what it said is on its standard error."""


Route = Callable[[list[Stated], Path, Path], list[Found]]
ROUTES: dict[str, tuple[Route, type[Exception]]] = {
    "calculator": (by_calculator, StateError),
    "database row": (by_row, DatasetError),
    "data of a row": (by_data_of_a_row, DatasetError),
    "frame": (by_frame, DatasetError),
    "trajectory": (by_trajectory, DatasetError),
    "command on rows": (by_command_on_rows, CommandError),
    "command on data of rows": (by_command_on_data_of_rows, CommandError),
    "command on frames": (by_command_on_frames, CommandError),
}
"""How a structure comes to be described, and the error that a wrong one gets."""


@pytest.fixture(scope="module")
def model(open_shell: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a model that uses charge and spin."""
    folder = tmp_path_factory.mktemp("model")
    checkpoint.save(folder / "open", open_shell)
    return folder / "open"


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_finds_the_same_state(route: str, tmp_path: Path, model: Path) -> None:
    ask, _ = ROUTES[route]
    found = ask(list(RIGHT.values()), tmp_path, model)
    assert dict(zip(RIGHT, found)) == {name: stated.means for name, stated in RIGHT.items()}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("case", WRONG)
def test_every_route_refuses_the_same_states_in_the_same_words(
    case: str, route: str, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask, error = ROUTES[route]
    with pytest.raises(error) as caught:
        ask([WRONG[case]], tmp_path, model)
    text = capsys.readouterr().err if error is CommandError else str(caught.value)
    assert re.search(str(WRONG[case].means), text), text


@pytest.mark.parametrize("key", STATE_KEYS[:-1])
def test_a_calculator_notices_that_a_key_changed(key: str, open_shell: Checkpoint) -> None:
    calc = tiny_calculator(open_shell)
    atoms = molecule("H2O")
    atoms.calc = calc
    before = atoms.get_potential_energy()
    atoms.info[key] = 2 if key in (*CHARGE_KEYS, *UNPAIRED_KEYS) else 3
    assert calc.check_state(atoms) == ["info"]
    assert atoms.get_potential_energy() != before
    del atoms.info[key]
    assert atoms.get_potential_energy() == before


@pytest.mark.parametrize("value", [[-1], np.array([-1.0]), np.array([[-1]]), np.array(-1)], ids=repr)
def test_an_array_of_one_number_is_a_charge(value: Any) -> None:
    assert resolve_charge({"Total_Charge": value}, n_atoms=3, protons=10) == -1


def test_an_argument_takes_precedence_over_nothing_that_contradicts_it() -> None:
    water = {"n_atoms": 3, "protons": 10}
    assert State.of({}, charge=1, multiplicity=4, **water) == State(1, 4)
    assert State.of({"charge": 1, "mult": 2}, charge=1, multiplicity=2, **water) == State(1, 2)
    assert State.of({}, charge=1, initial_charge=0.999, **water) == State(1, 2)
    with pytest.raises(
        ChargeError, match=r"charge argument .*= 1, atoms\.info\[\"charge\"\] = -1\): leave out charge=1, or change"
    ):
        State.of({"charge": -1}, charge=1, **water)
    with pytest.raises(ChargeError, match=r"charge argument .*= 0, sum of initial charges = 1"):
        State.of({}, charge=0, initial_charge=1.0, **water)
    with pytest.raises(SpinError, match=r"multiplicity argument .*= 1, atoms\.info\[\"spin\"\] = 3"):
        State.of({"spin": 3}, multiplicity=1, **water)


def test_what_is_stated_is_told_from_defaults() -> None:
    nothing = State.of({"charge": None}, n_atoms=3, protons=9)
    assert nothing == State(0, 2)
    assert (nothing.charge_stated, nothing.multiplicity_stated) == (False, False)
    zero = State.of({"charge": 0, "spin": 2}, n_atoms=3, protons=9)
    assert zero == nothing
    assert (zero.charge_stated, zero.multiplicity_stated) == (True, True)


@pytest.mark.parametrize("value", [np.int32(1), np.float32(1.0), np.array(1), 1.0000000001], ids=repr)
def test_a_charge_may_be_any_whole_number(value: Any) -> None:
    assert resolve_charge({"charge": value}, n_atoms=3, protons=10) == 1


@pytest.mark.parametrize("value", [True, np.True_, [1, 1], np.ones(2), np.nan, np.inf, "1", 1j], ids=repr)
def test_other_values_are_no_charge(value: Any) -> None:
    with pytest.raises(ChargeError, match="expected an integer|give a whole number"):
        resolve_charge({"charge": value}, n_atoms=3, protons=10)


def test_a_charge_cannot_take_more_electrons_than_there_are() -> None:
    assert resolve_charge({"charge": 1}, n_atoms=1, protons=1) == 1
    with pytest.raises(ChargeError, match="charge 2 is impossible for 1 atoms"):
        resolve_charge({"charge": 2}, n_atoms=1, protons=1)


def test_rounding_is_allowed_by_atom_and_in_all() -> None:
    assert ROUNDING_PER_ATOM * 2 < MAX_ROUNDING < ROUNDING_PER_ATOM * 1000
    found = without_rounding(
        np.array([0.0099, 0.0101, 1.0099, -0.99, 0.099, 0.101]), np.array([2, 2, 2, 2, 1000, 1000])
    )
    assert found.tolist() == [0.0, 0.0101, 1.0, -1.0, 0.0, 0.101]


@pytest.mark.parametrize("total", [np.nan, np.inf])
def test_initial_charges_that_are_not_finite_are_no_charge(total: float, tmp_path: Path) -> None:
    with pytest.raises(ChargeError, match="is not an integer .sum of initial charges"):
        resolve_charge({}, n_atoms=3, protons=10, initial_charge=total)
    with connect(tmp_path / "a.db") as database:
        database.write(Stated({}, (total, 0.0, 0.0), "").atoms())
    with pytest.raises(DatasetError, match="row 1: charge inf is not an integer .sum of initial charges"):
        open_dataset(tmp_path / "a.db", cache=tmp_path)


def test_the_argument_takes_precedence_over_the_fidelity_of_a_file() -> None:
    assert resolve_fidelity({"fidelity": "pbe0"}, "gfn2") == "gfn2"
    assert resolve_fidelity({"fidelity": "pbe0"}) == "pbe0"
    assert resolve_fidelity({}) is None


def test_rows_with_one_mistake_are_reported_together(tmp_path: Path) -> None:
    with connect(tmp_path / "a.db") as database:
        for charge in (0.25, 0.0, 0.5, 0.75):
            database.write(molecule("H2O"), total_charge=charge)
        database.write(molecule("H2O"), total_charge=0, spin=2)
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path / "a.db", cache=tmp_path)
    assert "row 1, 3, 4: charge 0.25 is not an integer (key total_charge): give a whole number; row 5: 10 el" in str(
        caught.value
    )
    assert open_dataset(tmp_path / "a.db", cache=tmp_path, skip_bad=True).total_charge.tolist() == [0.0]


def test_ions_may_be_told_by_initial_charges_where_no_row_has_a_key(tmp_path: Path) -> None:
    with connect(tmp_path / "a.db") as database:
        database.write(molecule("H2O"))
        database.write(Stated({}, (1.0, 0.0, 0.0), "").atoms())
    assert open_dataset(tmp_path / "a.db", cache=tmp_path).total_charge.tolist() == [0.0, 1.0]


def with_moments(moments: Any, **info: Any) -> Atoms:
    atoms = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], info=info)
    atoms.set_initial_magnetic_moments(moments)
    return atoms


def test_initial_magnetic_moments_that_do_not_count_are_told_once(
    closed_shell: Checkpoint, open_shell: Checkpoint
) -> None:
    for model in (closed_shell, open_shell):
        calc = tiny_calculator(model)
        with pytest.warns(OpenShellWarning, match=r"multiplicity 1, although .* moments add up to one of 3.*info"):
            calc.get_potential_energy(with_moments([1.0, 1.0]))
        calc.get_potential_energy(with_moments([1.0, 1.1]))


@pytest.mark.parametrize(
    "atoms",
    [
        with_moments([1.0, -1.0]),
        with_moments([0.5, 0.0]),
        with_moments([0.8, 0.8]),
        with_moments([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
        with_moments([1.0, 0.0]),
        with_moments([1.0, 1.0], spin=1),
    ],
    ids=["paired", "fraction", "far from whole", "vectors", "of another charge", "multiplicity given"],
)
def test_initial_magnetic_moments_that_say_nothing_are_not_mentioned(atoms: Atoms, open_shell: Checkpoint) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny_calculator(open_shell).get_potential_energy(atoms)


def test_moments_hint_at_a_multiplicity_that_the_electrons_allow() -> None:
    assert [multiplicity_of_moments(total, 16) for total in (0.0, 2.0, -2.0, 1.87, 1.0, np.nan)] == [
        1, 3, 3, 3, None, None
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a.db", "a.json", "a.traj", "a.xyz", None])
def test_rows_whose_initial_moments_do_not_count_are_told_however_often_they_are_opened(
    name: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = [
        with_moments([1.0, 1.0]),
        with_moments([[0.0, 0.0, 1.0], [0.0, 0.1, 0.9]]),
        with_moments([1.0, -1.0]),
        with_moments([1.0, 1.0], multiplicity=3),
        with_moments([1.0, 0.0]),
    ]
    if name in ("a.db", "a.json"):
        with connect(tmp_path / name) as database:
            for frame in frames:
                database.write(frame, **frame.info)
    elif name is not None:
        write(tmp_path / name, frames)
    for _ in range(2):
        caplog.clear()
        dataset = open_dataset(frames if name is None else tmp_path / name, cache=tmp_path / "cache")
        assert dataset.multiplicity.tolist() == [1, 1, 1, 3, 1]
        (told,) = [record.message for record in caplog.records]
        first = 1 if name in ("a.db", "a.json") else 0
        assert f" {first}, {first + 1}: multiplicity 1 is taken, although the initial magnetic moments add up" in told
        assert "to one of 3: moments do not count, state the multiplicity" in told


def test_conversions_tell_of_moments_and_of_rows_that_they_leave_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = with_moments([1.0, 1.0])
    broken.positions[0, 0] = np.nan
    write(tmp_path / "a.traj", [with_moments([1.0, 1.0]), broken])
    assert convert([tmp_path / "a.traj"], tmp_path / "b.db", skip_bad=True) == 1
    left_out, moments = [record.message for record in caplog.records]
    assert left_out == "a.traj: left out: frame 1: positions are not finite"
    assert moments.startswith("a.traj: frame 0, 1: multiplicity 1 is taken, although")


def test_initial_charges_are_told_from_none() -> None:
    assert initial_charge(molecule("H2O")) is None
    assert initial_charge(Stated({}, (0.5, 0.25, 0.25), "").atoms()) == 1.0


def test_a_key_without_a_value_records_no_charge(tmp_path: Path) -> None:
    """Trajectories keep None: the other frames need no charge then."""
    frames = [molecule("H2O"), molecule("NH3")]
    frames[0].info["charge"] = None
    for frame in frames:
        frame.calc = SinglePointCalculator(frame, energy=0.0)
    write(tmp_path / "frames.traj", frames)
    assert open_dataset(tmp_path / "frames.traj").total_charge.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("name", "value"), [("Q", -2), ("formal_charge", 1.0), ("charges", np.array([1])), ("spinState", 3)]
)
def test_keys_that_seem_to_state_charge_or_spin_and_are_not_read_are_told(
    name: str, value: Any, open_shell: Checkpoint
) -> None:
    kind = "multiplicity" if name == "spinState" else "charge"
    calc = tiny_calculator(open_shell)
    with pytest.warns(
        UnreadStateWarning, match=rf"computed with {kind} [01]: atoms.info\['{name}'\].*info\['{kind}'\]"
    ):
        calc.get_potential_energy(Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], info={name: value}))


@pytest.mark.parametrize(
    "info",
    [{"Q": -2, "charge": 2}, {"Q": 0}, {"charges": np.ones(2)}, {"q": 0.25}, {"spin_polarized": True}, {"queue": 3}],
    ids=["charge stated", "zero", "array", "fraction", "truth value", "another word"],
)
def test_keys_that_say_nothing_of_the_state_are_not_mentioned(info: dict[str, Any], open_shell: Checkpoint) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny_calculator(open_shell).get_potential_energy(Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], info=info))


@pytest.mark.parametrize("key", ["charge", "spin", "uhf"])
def test_what_almost_is_a_whole_number_is_none(key: str) -> None:
    """A sum of charges in double precision misses it by 1e-16 at most."""
    with pytest.raises(StateError, match="is not an integer"):
        State.of({key: 2.0000002}, n_atoms=3, protons=10)
    assert State.of({"charge": 1 - 1e-15}, n_atoms=3, protons=10).charge == 1


@pytest.mark.parametrize("moments", [[np.nan, 1.0], [1.0, np.inf], [[0.0, 0.0, np.nan], [0.0, 0.0, 1.0]]], ids=str)
def test_initial_magnetic_moments_that_are_no_numbers_are_refused(moments: Any, open_shell: Checkpoint) -> None:
    with pytest.raises(InputError, match=r"initial magnetic moments are not finite: that of atom [01] is .*takes them"):
        tiny_calculator(open_shell).get_potential_energy(with_moments(moments, spin=3))
