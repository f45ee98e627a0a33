"""Weight files of several fidelities: what comes out is the network that went in, and what is wrong is named."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule
from torch import Tensor

from molcalc.calculators import AIMNet2
from molcalc.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointMismatchError,
    MolcalcError,
    UnsafeCheckpointError,
)
from molcalc.io import checkpoint
from molcalc.io.checkpoint import Checkpoint
from molcalc.models.aimnet2 import AIMNet2Network as Network
from molcalc.pretrained.foreign.artifacts import read_weights
from molcalc.pretrained.sources import read_model
from molcalc.registry import build_members, checkpoint_of
from tests.helpers.model_files import multifidelity_state
from tests.helpers.networks import ELEMENTS, FIDELITIES, tiny_multifidelity
from tests.helpers.structures import rattled

NAMES = [level.name for level in FIDELITIES]
SAE = {
    "pbe0": {1: -13.612345678901, 6: -1029.5123456789, 7: -1484.3, 8: -2041.9123456789},
    "gfn2": {1: -10.7, 6: -48.8, 7: -71.0, 8: -102.4},
    "b3lyp": {1: -13.5, 6: -1030.1, 7: -1485.2, 8: -2042.6},
}
SAME_ENERGY = 1e-5  # eV, free atoms in single precision
SAME_FORCES = 1e-9  # eV/Å, the same weights in double precision
SHIFT = "atomic_shift.shifts.weight"

State = dict[str, Tensor]


def network() -> Network:
    """Three fidelities with small energies of free atoms, as they are learned from labels without self-atomic ones."""
    found = tiny_multifidelity(exact_charges=False).float()
    torch.manual_seed(2)
    found.shifts.data = torch.zeros(3, 9, dtype=torch.float64)
    found.shifts.data[:, list(ELEMENTS)] = torch.randn(3, len(ELEMENTS)).double()
    return found


def expected() -> Checkpoint:
    """The model of this package with self-atomic energies in it."""
    found = network()
    for f, name in enumerate(NAMES):
        for z, energy in SAE[name].items():
            found.shifts.data[f, z] += energy
    levels = tuple(replace(level, functional=None, dispersion=None, elements=ELEMENTS) for level in FIDELITIES)
    config = checkpoint.ModelConfig(
        kind="aimnet2", arguments=asdict(found.config), fidelities=levels, coulomb="simple", coulomb_range=4.6
    )
    return checkpoint_of(config, [found])


@pytest.fixture
def state() -> State:
    return multifidelity_state(network())


@pytest.fixture
def file(tmp_path: Path, state: State) -> Path:
    torch.save({"model": state}, tmp_path / "three.pt")
    return tmp_path / "three.pt"


def single_state(state: State) -> State:
    """The first fidelity alone, as a file of one fidelity has it."""
    alone = {name: value for name, value in state.items() if not name.startswith(("fidelity_", "shared_"))}
    for name in ("afv.weight", f"outputs.{SHIFT}"):
        alone[name] = alone[name][:128].clone()
    return alone | {"outputs.lrcoulomb.rc": torch.tensor(4.6)}


@pytest.mark.parametrize("fidelity", NAMES)
def test_energies_forces_and_charges_are_those_of_the_network(file: Path, fidelity: str, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "three", read_weights(file, names=NAMES, sae=SAE))
    reference = AIMNet2(expected(), fidelity=fidelity, dtype="float64", dispersion=None)
    found = AIMNet2(tmp_path / "three", fidelity=fidelity, dtype="float64", dispersion=None)
    for name in ("CH3OH", "CH3CONH2", "NH3", "CO2"):
        atoms = rattled(name, seed=1)
        reference.calculate(atoms)
        found.calculate(atoms)
        assert found.results["energy"] == pytest.approx(reference.results["energy"], abs=SAME_ENERGY)
        np.testing.assert_allclose(found.results["forces"], reference.results["forces"], atol=SAME_FORCES)
        np.testing.assert_allclose(found.results["charges"], reference.results["charges"], atol=1e-10)


def test_the_file_itself_is_a_model(file: Path) -> None:
    found = AIMNet2(file, fidelity="1", dtype="float64")
    reference = AIMNet2(expected(), fidelity="gfn2", dtype="float64", dispersion=None)
    atoms = molecule("CH3OH")
    np.testing.assert_allclose(found.get_forces(atoms), reference.get_forces(atoms), atol=SAME_FORCES)


def test_what_the_model_declares(file: Path) -> None:
    model = read_weights(file, names=NAMES, sae=SAE)
    assert [(level.name, level.elements) for level in model.config.fidelities] == [(name, ELEMENTS) for name in NAMES]
    assert (model.config.coulomb, model.config.coulomb_range) == ("simple", 4.6)
    assert model.config.arguments["exact_charges"] is False
    assert [level.name for level in read_model(file).config.fidelities] == ["0", "1", "2"]


def test_plain_weights_are_those_under_model(file: Path, state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "plain.pt")
    plain, under_model = read_model(tmp_path / "plain.pt"), read_model(file)
    assert plain.weights.keys() == under_model.weights.keys()
    assert all(torch.equal(value, under_model.weights[name]) for name, value in plain.weights.items())


def test_self_atomic_energies_are_added_in_double_precision(file: Path) -> None:
    plain, added = read_weights(file, names=NAMES), read_weights(file, names=NAMES, sae=SAE)
    difference = added.weights["members.0.shifts"] - plain.weights["members.0.shifts"]
    for f, name in enumerate(NAMES):
        assert difference[f, list(ELEMENTS)].tolist() == pytest.approx(list(SAE[name].values()), abs=1e-11)


def test_energies_without_self_atomic_ones_are_reported(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read_weights(file, names=NAMES, sae=SAE)
    assert not caplog.text
    with caplog.at_level(logging.WARNING):
        read_model(file)
    assert "fidelity '1' was trained without self-atomic energies" in caplog.text
    assert "molcalc convert --sae 1=FILE.yaml" in caplog.text


def test_one_fidelity_is_a_plain_network(state: State, tmp_path: Path) -> None:
    torch.save({"model": single_state(state)}, tmp_path / "one.pt")
    model = read_weights(tmp_path / "one.pt", names=["pbe0"], sae={"pbe0": SAE["pbe0"]})
    assert model.config.kind == "aimnet2"
    reference = AIMNet2(expected(), fidelity="pbe0", dtype="float64", dispersion=None)
    found = AIMNet2(model, dtype="float64", dispersion=None)
    atoms = molecule("CH3OH")
    assert found.get_potential_energy(atoms) == pytest.approx(reference.get_potential_energy(atoms), abs=SAME_ENERGY)
    np.testing.assert_allclose(found.get_forces(atoms), reference.get_forces(atoms), atol=SAME_FORCES)


def test_free_atoms_may_stand_in_a_table_of_every_fidelity(state: State, tmp_path: Path) -> None:
    for f in range(3):
        state[f"fidelity_readouts.{f}.{SHIFT}"] = state[f"fidelity_readouts.{f}.{SHIFT}"][200 * f :][:128].clone()
    del state[f"outputs.{SHIFT}"]
    torch.save(state, tmp_path / "own.pt")
    shifts = read_model(tmp_path / "own.pt").weights["members.0.shifts"]
    assert torch.equal(shifts[:, :9].float(), network().shifts.float())


def test_elements_are_those_with_an_energy_or_those_given(state: State, tmp_path: Path) -> None:
    for f in range(3):
        state[f"fidelity_readouts.{f}.{SHIFT}"][200 + 7] = 0.0
    state[f"outputs.{SHIFT}"][200 + 7] = 0.0
    torch.save(state, tmp_path / "x.pt")
    assert [level.elements for level in read_model(tmp_path / "x.pt").config.fidelities] == [
        ELEMENTS, (1, 6, 8), ELEMENTS
    ]  # fmt: skip
    given = read_weights(tmp_path / "x.pt", elements={"2": [8, 1]})
    assert given.config.fidelities[2].elements == (1, 8)
    assert not given.weights["members.0.embedding"][2, 6].any()


def test_random_energies_of_all_atoms_do_not_say_what_was_trained(state: State, tmp_path: Path) -> None:
    """The first fidelity's free atoms begin at random values in such trainers."""
    noise = torch.randn(129, 1)
    for name in [name for name in state if name.endswith(SHIFT)]:
        state[name][:129] = noise
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(CheckpointMismatchError, match=r"fidelity '0' was trained on is not clear.*118 of them"):
        read_model(tmp_path / "x.pt")
    model = read_weights(tmp_path / "x.pt", names=NAMES, sae=SAE)
    assert model.config.fidelities[0].elements == ELEMENTS


def test_an_embedding_that_was_never_transferred_is_reported(
    state: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Spec 4.4: loading one fidelity into several left zeros in the tables of the others."""
    state["afv.weight"][200:] = 0.0
    for name in [name for name in state if name.endswith(SHIFT)]:
        state[name][200:] = 0.0
    torch.save(state, tmp_path / "x.pt")
    with caplog.at_level(logging.WARNING):
        model = read_model(tmp_path / "x.pt")
    for name in ("1", "2"):
        assert f"the embedding of fidelity '{name}' is zero for all elements" in caplog.text
        assert f"fidelities.{name}.like" in caplog.text
    assert "fidelity '0' is zero" not in caplog.text
    assert model.config.fidelities[2].elements == ELEMENTS
    build_members(model)


WRONG: dict[str, tuple[Callable[[State], object], str]] = {
    "no head": (
        lambda s: [s.pop(k) for k in list(s) if k.startswith("fidelity_readouts.1.energy")],
        "fidelity 1 has no .* or no energy_mlp",
    ),
    "a missing layer": (
        lambda s: s.pop("fidelity_readouts.2.energy_mlp.mlp.2.bias"),
        r"fidelity '2': energy_heads\.0\.2\.bias has shape None",
    ),
    "a gap": (
        lambda s: [s.pop(k) for k in list(s) if k.startswith("fidelity_readouts.1.")],
        r"fidelity_readouts \[0, 2\] are not numbered without gaps",
    ),
    "an unknown head": (
        lambda s: s.update({"fidelity_readouts.1.charge_mlp.0.weight": torch.ones(2, 2)}),
        r"unexpected entries \['fidelity_readouts\.1\.charge_mlp",
    ),
    "an unknown entry": (lambda s: s.update(surprise=torch.ones(1)), r"unexpected entries \['surprise'\]"),
    "a copy that differs": (
        lambda s: s["outputs.energy_mlp.mlp.0.weight"].add_(1.0),
        r"outputs\.energy_mlp\.mlp\.0\.weight is no copy",
    ),
    "two ranges": (lambda s: s["shared_readout.lrcoulomb.rc"].add_(1.0), r"lrcoulomb\.rc is no copy"),
    "no range": (lambda s: [s[k].neg_() for k in s if k.endswith("lrcoulomb.rc")], "expected a length in Å"),
    "fewer rows": (
        lambda s: s.update({"afv.weight": s["afv.weight"][:329]}),
        r"afv\.weight has shape \(329, 256\); expected 529 rows \(fidelities: 3",
    ),
    "another width": (lambda s: s.update({"afv.weight": s["afv.weight"][:, :9]}), r"embedding has shape"),
    "a dispersion term": (lambda s: s.update({"outputs.d3bj.rcov": torch.ones(95)}), "belongs to a dispersion term"),
    "integers": (lambda s: s.update({"conv_a.agh": s["conv_a.agh"].long()}), "'conv_a.agh' is of type torch.int64"),
    "heads of two sizes": (
        lambda s: s.update({
            "fidelity_readouts.1.energy_mlp.mlp.0.weight": torch.ones(3, 32),
            "fidelity_readouts.1.energy_mlp.mlp.0.bias": torch.ones(3),
            "fidelity_readouts.1.energy_mlp.mlp.2.weight": torch.ones(1, 3),
        }),
        "the energy heads of its fidelities differ in size",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_files_that_do_not_fit_are_refused(state: State, tmp_path: Path, name: str) -> None:
    change, message = WRONG[name]
    change(state)
    torch.save({"model": state}, tmp_path / "x.pt")
    with pytest.raises(CheckpointMismatchError, match=message):
        read_model(tmp_path / "x.pt")


def test_weights_that_are_not_finite_are_refused(state: State, tmp_path: Path) -> None:
    state["afv.weight"][206, 0] = float("nan")
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(CheckpointCorruptError, match="fidelity '1': weights are not finite: embedding"):
        read_model(tmp_path / "x.pt")


def test_names_and_energies_must_fit_the_file(file: Path) -> None:
    with pytest.raises(CheckpointMismatchError, match=r"has 3 fidelities; 2 names are given \(a, b\)"):
        read_weights(file, names=["a", "b"])
    with pytest.raises(CheckpointMismatchError, match=r"for fidelity 'pbe' \(did you mean 'pbe0'\?\)"):
        read_weights(file, names=NAMES, sae={"pbe": SAE["pbe0"]})
    with pytest.raises(CheckpointMismatchError, match=r"'pbe0' lack Z=\[8\]"):
        read_weights(file, names=NAMES, sae={"pbe0": {1: -13.6}}, elements={"pbe0": [1, 8]})
    with pytest.raises(CheckpointMismatchError, match="elements="):
        read_weights(file, names=NAMES, elements={"pbe0": [1, 800]})


def test_nothing_in_such_a_file_is_executed(state: State, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {tmp_path / 'canary'}",)

    torch.save({"model": {**state, "evil": Evil()}}, tmp_path / "evil.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps({"model": Evil(), "afv.weight": 1}))
    for name in ("evil.pt", "bare.pt"):
        with pytest.raises(UnsafeCheckpointError):
            read_model(tmp_path / name)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "weights", [{"afv.weight": 3}, {"afv.weight": torch.ones(())}, {"afv.weight": torch.ones(2, 2)}]
)
def test_weights_of_something_else_are_refused(weights: State, tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "x.pt")
    with pytest.raises(CheckpointError):
        read_model(tmp_path / "x.pt")


CHANGES: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda v: v.flatten()[:-1],
    lambda v: v[None],
    lambda v: v.reshape(-1)[0],
    lambda v: v.reshape(-1)[:0],
    lambda v: torch.cat([v.reshape(1, -1)] * 2),
    lambda v: v * float("nan"),
    lambda v: v * 0.0,
    lambda v: v.to(torch.complex64),
    lambda v: v.to(torch.float8_e4m3fn),
    lambda v: v > 0,
    lambda v: v.to_sparse(),
)


@pytest.mark.parametrize("change", CHANGES)
def test_changed_arrays_give_own_errors_only(state: State, tmp_path: Path, change: Callable[[Tensor], Tensor]) -> None:
    head = "fidelity_readouts.1"
    names = ("afv.weight", "aev.rc_s", "conv_q.agh", "mlps.1.2.bias", f"{head}.{SHIFT}", f"outputs.{SHIFT}")
    names += (f"{head}.energy_mlp.mlp.0.weight", "shared_readouts.lrcoulomb.rc")
    for name in names:
        torch.save({**state, name: change(state[name])}, tmp_path / "x.pt")
        with contextlib.suppress(MolcalcError):
            build_members(read_model(tmp_path / "x.pt"))
