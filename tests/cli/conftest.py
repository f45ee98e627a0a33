"""Model directories, structure files, and the command line as a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from ase.io import write

from molcalc.cli import main
from molcalc.io import checkpoint
from tests.helpers.networks import FIDELITIES, tiny_checkpoint, tiny_multifidelity_checkpoint
from tests.helpers.structures import rattled


class Outcome(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> Outcome:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return Outcome(status, *capsys.readouterr())

    return command


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of small model directories: single, ensemble, open, periodic, several, another, no-oxygen.

    The last three have several fidelities; one of "no-oxygen" does not know oxygen.
    """
    folder = tmp_path_factory.mktemp("models")
    checkpoint.save(folder / "single", tiny_checkpoint())
    checkpoint.save(folder / "ensemble", tiny_checkpoint(n_members=2))
    checkpoint.save(folder / "open", tiny_checkpoint(charge_channels=2))
    plain = tiny_checkpoint()
    config = replace(plain.config, coulomb=None, coulomb_range=None, fidelities=(checkpoint.Fidelity(name="bare"),))
    checkpoint.save(folder / "periodic", replace(plain, config=config))
    checkpoint.save(folder / "several", tiny_multifidelity_checkpoint())
    checkpoint.save(folder / "another", tiny_multifidelity_checkpoint(seed=7))
    levels = (FIDELITIES[0], replace(FIDELITIES[1], elements=(1, 6, 7)), FIDELITIES[2])
    checkpoint.save(folder / "no-oxygen", tiny_multifidelity_checkpoint(fidelities=levels))
    return folder


@pytest.fixture
def model(models: Path) -> Path:
    """One closed-shell network for molecules."""
    return models / "single"


@pytest.fixture
def water(tmp_path: Path) -> Path:
    """Water, slightly distorted."""
    atoms = rattled("H2O", seed=1)
    write(tmp_path / "water.xyz", atoms)
    return tmp_path / "water.xyz"
