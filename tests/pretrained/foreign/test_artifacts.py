"""Files of the second generation: sound ones give their energies, others are refused."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from safetensors.torch import save_file

from molcalc.calculators import AIMNet2
from molcalc.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointMismatchError,
    MolcalcError,
    UnsafeCheckpointError,
    UnsupportedElementError,
)
from molcalc.io.checkpoint import Checkpoint, save
from molcalc.pretrained.catalog import PUBLISHED, find_file
from molcalc.pretrained.foreign import artifacts
from molcalc.pretrained.foreign.artifacts import read_directory, read_pt
from molcalc.pretrained.sources import read_model
from tests.helpers.model_files import Touch, first_network, v2_metadata, v2_state, write_hub_directory, write_v2
from tests.helpers.networks import small_checkpoint
from tests.helpers.peers import write_v2_file

SAME_ENERGY = 1e-9  # eV, the same weights in double precision
SAME_FORCES = 1e-9  # eV/Å
IDENTITY_ENERGY = 1e-6  # eV: (E_network − E_short) + E_full = E_network + E_simple
IDENTITY_FORCES = 1e-6  # eV/Å
CHARGE_SUM = 1e-3  # e; random weights may miss it by up to 4e-4
MEMORY = 100 * 2**20  # bytes


@pytest.fixture
def artifact(tmp_path: Path, model: Checkpoint) -> Path:
    return write_v2(tmp_path / "small.pt", model)


def results(model: Any, atoms: Atoms, **options: Any) -> dict[str, Any]:
    calc = model if isinstance(model, AIMNet2) else AIMNet2(model, dtype="float64", **options)
    calc.calculate(atoms)
    return calc.results


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found["energy"] == pytest.approx(expected["energy"], abs=SAME_ENERGY)
    np.testing.assert_allclose(found["forces"], expected["forces"], atol=SAME_FORCES)
    np.testing.assert_allclose(found["charges"], expected["charges"], atol=1e-10)


# -- sound files


def test_a_v2_file_gives_energy_forces_and_charges_of_its_network(artifact: Path, model: Checkpoint) -> None:
    atoms = molecule("CH3OH")
    assert_same(results(artifact, atoms), results(model, atoms))


def test_a_v2_file_says_what_completes_its_network(artifact: Path, model: Checkpoint) -> None:
    config = read_model(artifact).config
    assert (config.coulomb, config.coulomb_range, config.n_members) == ("simple", 4.6, 1)
    assert config.fidelities[0].dispersion == model.config.fidelities[0].dispersion
    assert config.fidelities[0].name == "small"
    assert config.provenance == {"source": "small.pt"}
    assert not config.neutral_only


def test_a_v2_file_without_terms_gives_the_bare_network(tmp_path: Path, model: Checkpoint) -> None:
    description = v2_metadata()["model_yaml"].replace("srcoulomb:", "sum_again:").replace("SRCoulomb", "AtomicSum")
    path = write_v2(
        tmp_path / "bare.pt",
        model,
        model_yaml=description,
        needs_coulomb=False,
        coulomb_mode="none",
        has_embedded_lr=False,
        needs_dispersion=False,
        d3_params=None,
        coulomb_sr_rc=None,
    )
    config = read_model(path).config
    assert (config.coulomb, config.coulomb_range, config.fidelities[0].dispersion) == (None, None, None)
    bare = results(path, molecule("H2O"))["energy"]
    assert abs(bare - results(model, molecule("H2O"))["energy"]) > 1e-3


def test_a_model_for_neutral_molecules_refuses_charges(tmp_path: Path, model: Checkpoint) -> None:
    path = write_v2(tmp_path / "rxn.pt", model, supports_charged_systems=False, family="rxn")
    assert read_model(path).config.fidelities[0].name == "rxn"
    with pytest.raises(ValueError, match="neutral molecules only"):
        AIMNet2(path, charge=1).get_potential_energy(molecule("H2O"))


def test_rows_of_untrained_elements_never_leak(artifact: Path) -> None:
    loaded = read_model(artifact)
    assert all(torch.isfinite(value).all() for value in loaded.weights.values())
    with pytest.raises(UnsupportedElementError, match="N "):
        AIMNet2(artifact).get_potential_energy(molecule("NH3"))


def test_an_imported_model_can_be_saved_and_holds_no_trace_of_the_machine(artifact: Path, tmp_path: Path) -> None:
    save(tmp_path / "m", read_model(artifact))
    assert read_model(tmp_path / "m").hash == read_model(artifact).hash
    assert all(str(tmp_path).encode() not in path.read_bytes() for path in (tmp_path / "m").iterdir())


def test_a_hub_directory_gives_the_mean_of_its_members(tmp_path: Path, ensemble: Checkpoint) -> None:
    folder = write_hub_directory(tmp_path / "hub", ensemble)
    atoms = molecule("CH3OH")
    assert_same(results(folder, atoms), results(ensemble, atoms))
    assert_same(results(folder, atoms, member=1), results(ensemble, atoms, member=1))
    assert read_model(folder).config.fidelities[0].name == "small"


def test_members_of_a_hub_directory_are_ordered_by_number(tmp_path: Path) -> None:
    many = small_checkpoint(n_members=11, exact_charges=False)
    loaded = read_directory(write_hub_directory(tmp_path / "hub", many))
    for k in (2, 10):
        name = f"members.{k}.energy_heads.0.0.weight"
        assert torch.equal(loaded.weights[name], many.weights[name])


@pytest.mark.parametrize(
    ("formula", "charge", "multiplicity"), [("OH", 0, 2), ("O2", 0, 3), ("H2O", 1, 2), ("H2O", 0, 1)]
)
def test_an_open_shell_file_predicts_spin_charges(tmp_path: Path, formula: str, charge: int, multiplicity: int) -> None:
    model = small_checkpoint(charge_channels=2, exact_charges=False)
    path = write_v2(tmp_path / "nse.pt", model)
    found = results(path, molecule(formula), charge=charge, multiplicity=multiplicity)
    assert found["charges"].sum() == pytest.approx(charge, abs=CHARGE_SUM)
    assert found["magmoms"].sum() == pytest.approx(multiplicity - 1, abs=CHARGE_SUM)
    expected = results(model, molecule(formula), charge=charge, multiplicity=multiplicity)
    assert_same(found, expected)
    np.testing.assert_allclose(found["magmoms"], expected["magmoms"], atol=1e-10)


@pytest.mark.usefixtures("published")
def test_a_v2_file_of_the_published_weights_gives_their_energies(tmp_path_factory: pytest.TempPathFactory) -> None:
    """E_network − E_short is what a v2 file holds, and the full Coulomb energy is added outside."""
    file = find_file(PUBLISHED["wb97m-d3"].file)
    v2 = AIMNet2(write_v2_file(file, 2, tmp_path_factory.mktemp("v2") / "wb97m_2.pt"), dtype="float64")
    published = AIMNet2("wb97m-d3", member=2, dtype="float64")
    for formula, charge in (("CH3COOH", 0), ("CH3Cl", 0), ("CH3O", -1), ("NO", 1)):
        atoms = molecule(formula)
        atoms.info["charge"] = charge
        found, expected = results(v2, atoms), results(published, atoms)
        assert found["energy"] == pytest.approx(expected["energy"], abs=IDENTITY_ENERGY)
        np.testing.assert_allclose(found["forces"], expected["forces"], atol=IDENTITY_FORCES)


# -- files that run code


PICKLES: dict[str, Callable[[Path, Touch], object]] = {
    "object beside the weights": lambda path, touch: torch.save({"state_dict": {}, "x": touch}, path),
    "object as weight": lambda path, touch: torch.save({"state_dict": {"w": touch}}, path),
    "object alone": lambda path, touch: torch.save(touch, path),
    "old torch format": lambda path, touch: torch.save([touch], path, _use_new_zipfile_serialization=False),
    **{
        f"bare pickle, protocol {k}": lambda path, touch, k=k: path.write_bytes(pickle.dumps({"x": touch}, protocol=k))
        for k in range(6)
    },
    "pickle that ends early": lambda path, touch: path.write_bytes(pickle.dumps([touch, "x" * 100])[:-20]),
}


@pytest.mark.filterwarnings("ignore:Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD detected")
@pytest.mark.parametrize("force", [None, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"], ids=["", "forced"])
@pytest.mark.parametrize("kind", PICKLES)
def test_pickles_that_run_code_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, force: str | None
) -> None:
    canary = tmp_path / "canary"
    PICKLES[kind](tmp_path / "evil.pt", Touch(canary))
    if force:
        monkeypatch.setenv(force, "1")
    for reader in (read_model, AIMNet2, lambda path: read_model(path, trusted=True)):
        with pytest.raises(UnsafeCheckpointError, match=r"evil\.pt .*would run code when read"):
            reader(tmp_path / "evil.pt")
    assert not canary.exists()


def test_the_canary_of_these_tests_does_sing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    torch.save({"x": Touch(canary)}, tmp_path / "evil.pt")
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert canary.exists()


def test_old_versions_of_torch_are_refused(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(CheckpointError, match=r"not safe with torch 2\.9\.1\+cpu; install torch ≥ 2\.10"):
        read_pt(artifact)
    monkeypatch.setattr(torch, "__version__", "3.0.0")
    read_pt(artifact)


# -- damaged files


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999], ids="{:.1%}".format)
def test_truncated_files_are_refused(artifact: Path, kept: float) -> None:
    os.truncate(artifact, int(kept * artifact.stat().st_size))
    with pytest.raises(CheckpointCorruptError, match=r"small\.pt is (truncated|damaged|empty)"):
        read_model(artifact)


def test_a_name_of_a_record_that_is_no_text_is_refused(artifact: Path) -> None:
    data = artifact.read_bytes()
    with zipfile.ZipFile(artifact) as archive:
        start, name = archive.start_dir, archive.infolist()[0].filename.encode()
    place = data.index(name, start)
    artifact.write_bytes(
        data[: start + 9] + bytes([data[start + 9] | 0x08]) + data[start + 10 : place] + b"\xff" + data[place + 1 :]
    )
    with pytest.raises(CheckpointCorruptError, match=r"small\.pt is truncated or damaged"):
        read_model(artifact)


def test_a_flipped_bit_is_found_or_without_effect(artifact: Path) -> None:
    """torch itself does not look at the checksums in the file. Padding between the records is covered by none."""
    original, expected = artifact.read_bytes(), read_model(artifact).hash
    refused = 0
    for position in range(0, len(original), len(original) // 60):
        data = bytearray(original)
        data[position] ^= 1 << position % 8
        artifact.write_bytes(data)
        try:
            assert read_model(artifact).hash == expected, position
        except CheckpointError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"I am no model.", b"\0" * 1000, b"PK\x03\x04", b"PK\x05\x06" + b"\0" * 18, b"\x89PNG\r\n", b"{}"],
    ids=["nothing", "word", "sentence", "zeros", "start of an archive", "empty archive", "picture", "JSON"],
)
def test_files_that_are_no_model_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(CheckpointCorruptError, match=r"x\.pt"):
        read_model(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "values",
    [3, [], {}, {"state_dict": 3}, {"state_dict": []}, torch.ones(2), {"model_yaml": "x"}, "text", None],
    ids=lambda value: repr(value)[:30],
)
def test_tensors_that_are_no_model_are_refused(tmp_path: Path, values: Any) -> None:
    torch.save(values, tmp_path / "x.pt")
    with pytest.raises(CheckpointMismatchError, match="not a model artifact: expected a mapping with 'state_dict'"):
        read_model(tmp_path / "x.pt")


def expanded(*shape: int) -> torch.Tensor:
    """A tensor of any size that takes four bytes."""
    return torch.zeros(1).expand(*shape)


def shared(count: int) -> dict[str, torch.Tensor]:
    table = torch.zeros(100_000)
    return {f"w{k}": table for k in range(count)}


ODD_ARRAYS: dict[str, tuple[Callable[[], dict[Any, Any]], str]] = {
    "4 TB in four bytes": (lambda: {"afv.weight": expanded(10**12)}, "the arrays claim 4000"),
    "4 PB in four bytes": (lambda: {"afv.weight": expanded(10**9, 10**6)}, "the arrays claim 4000"),
    "one table, 10 000 names": (lambda: shared(10_000), "the arrays claim 4000"),
    "no memory": (lambda: {"afv.weight": torch.empty(10**6, 10**6, device="meta")}, "is not an ordinary array"),
    "sparse": (lambda: {"afv.weight": torch.eye(3).to_sparse()}, "is not an ordinary array"),
    "quantized": (
        lambda: {"afv.weight": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)},
        "is not an ordinary array",
    ),
    "complex": (lambda: {"afv.weight": torch.ones(3, dtype=torch.complex64)}, "complex"),
    "number": (lambda: {"afv.weight": 1.0}, "something else than named tensors"),
    "nested": (lambda: {"afv": {"weight": torch.ones(3)}}, "something else than named tensors"),
    "numbered": (lambda: {1: torch.ones(3)}, "something else than named tensors"),
}


@pytest.mark.filterwarnings("ignore:.*quantiz", "ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("kind", ODD_ARRAYS)
def test_arrays_that_are_none_or_larger_than_the_file_are_refused(tmp_path: Path, kind: str) -> None:
    make, message = ODD_ARRAYS[kind]
    torch.save({**v2_metadata(), "state_dict": make()}, tmp_path / "x.pt")
    before = psutil.Process().memory_info().rss
    with pytest.raises(CheckpointError, match=message):
        read_model(tmp_path / "x.pt")
    assert psutil.Process().memory_info().rss - before < MEMORY


def rewrite(path: Path, compression: int, extra: dict[str, bytes] | None = None) -> None:
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in {**records, **(extra or {})}.items():
            archive.writestr(name, data)


def test_compressed_records_are_refused(artifact: Path) -> None:
    """A bomb of 1 GB takes a megabyte."""
    rewrite(artifact, zipfile.ZIP_DEFLATED, {"small/data/999": b"\0" * 10**7})
    with pytest.raises(CheckpointCorruptError, match="compressed records"):
        read_model(artifact)


def test_records_that_claim_more_than_the_file_are_refused(artifact: Path) -> None:
    data = bytearray(artifact.read_bytes())
    place = data.index(b"PK\x01\x02")
    data[place + 20 : place + 28] = struct.pack("<II", 2**30, 2**30)
    artifact.write_bytes(data)
    with pytest.raises(CheckpointCorruptError, match="claims .* bytes in a file of"):
        read_model(artifact)


def test_an_endless_list_of_contents_is_refused(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "MAX_PICKLE", 1000)
    with pytest.raises(CheckpointMismatchError, match="describes its contents in more than 1000 bytes"):
        read_model(artifact)


def test_names_of_records_do_not_lead_outside(artifact: Path, tmp_path: Path) -> None:
    """Nothing is ever unpacked to disk."""
    before, absolute = set(tmp_path.rglob("*")), str(tmp_path / "absolute")
    rewrite(artifact, zipfile.ZIP_STORED, {"../../outside": b"x", absolute: b"x", "small/../../y": b"x"})
    with contextlib.suppress(MolcalcError):
        read_model(artifact)
    assert set(tmp_path.rglob("*")) == before


# -- contents that contradict each other


@pytest.mark.parametrize(
    ("state", "changes", "message"),
    [
        ({"outputs.lrcoulomb.rc": torch.tensor(4.6)}, {}, r"outputs\.lrcoulomb\.rc' is an embedded energy term"),
        ({"outputs.dftd3.c6ab": torch.ones(2)}, {}, r"outputs\.dftd3\.c6ab' is an embedded energy term"),
        ({"outputs.srcoulomb.rc": torch.tensor(4.0)}, {}, r"outputs\.srcoulomb\.rc contradicts coulomb_sr_rc=4\.6"),
        ({"outputs.srcoulomb.rc": torch.ones(2)}, {}, r"outputs\.srcoulomb\.rc contradicts coulomb_sr_rc"),
        ({}, {"cutoff": 4.9}, r"aev\.rc_s contradicts cutoff=4\.9"),
        ({}, {"implemented_species": [1, 6, 7, 8]}, "weights are not finite: embedding, shifts"),
        ({}, {"implemented_species": [1, 6, 8, 99]}, r"elements=\(1, 6, 8, 99\); allowed are 1…8"),
        ({"afv.weight": None}, {}, r"missing \['embedding'\]"),
        ({"surprise": torch.ones(1)}, {}, r"unexpected entries \['surprise'\]"),
        ({}, {"format_version": 3}, "format_version=3; expected 2"),
        ({}, {"model_yaml": "class: os.system"}, "unknown architecture 'os.system'"),
    ],
    ids=["range", "dispersion", "short range", "two short ranges", "cutoff", "untrained element", "element", "missing"]
    + ["extra", "version", "class"],
)
def test_contents_that_contradict_the_metadata_are_refused(
    tmp_path: Path, model: Checkpoint, state: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    path = write_v2(tmp_path / "x.pt", model, state, **changes)
    with pytest.raises(CheckpointError, match=rf"x\.pt.*{message}"):
        read_model(path)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model_yaml": None}, CheckpointMismatchError, r"config\.json has no 'model_yaml': .*registry.*use the \.pt"),
        ({"model_yaml": "class: os.system"}, UnsafeCheckpointError, "unknown architecture 'os.system'"),
        ({"ensemble_size": 3}, FileNotFoundError, r"has no ensemble_2\.safetensors"),
        ({"ensemble_size": 1}, CheckpointMismatchError, "has 2 members; its configuration says 1"),
        ({"ensemble_size": 10**9}, CheckpointMismatchError, "ensemble_size=1000000000; allowed are 1…64"),
        ({"ensemble_size": "2"}, CheckpointMismatchError, "ensemble_size='2'"),
        ({"ensemble_size": True}, CheckpointMismatchError, "ensemble_size=True"),
        ({"implemented_species": [1, 7]}, CheckpointCorruptError, "weights are not finite"),
        ({"family_name": "a/b"}, CheckpointMismatchError, "family='a/b'"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else None,
)
def test_hub_directories_that_do_not_fit_are_refused(
    tmp_path: Path, ensemble: Checkpoint, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    folder = write_hub_directory(tmp_path / "hub", ensemble, **changes)
    with pytest.raises(error, match=message):
        read_model(folder)


def test_a_directory_that_only_names_a_registry_entry_is_explained(tmp_path: Path) -> None:
    values = {"config_schema_version": 1, "family_name": "aimnet2", "member_names": ["a"], "ensemble_size": 1}
    (tmp_path / "config.json").write_text(json.dumps(values))
    save_file({"a": torch.ones(1)}, tmp_path / "ensemble_0.safetensors")
    with pytest.raises(CheckpointMismatchError, match="only name an entry of a registry are not supported"):
        read_model(tmp_path)


def test_members_of_different_sizes_are_refused(tmp_path: Path, ensemble: Checkpoint) -> None:
    folder = write_hub_directory(tmp_path / "hub", ensemble)
    other = first_network(small_checkpoint(charge_channels=2))
    save_file({name: v.contiguous() for name, v in v2_state(other).items()}, folder / "ensemble_1.safetensors")
    with pytest.raises(CheckpointMismatchError, match="the networks of the ensemble differ in size"):
        read_model(folder)


def test_a_hub_directory_without_weights_is_reported(tmp_path: Path, ensemble: Checkpoint) -> None:
    folder = write_hub_directory(tmp_path / "hub", ensemble, ensemble_size=None)
    for path in folder.glob("*.safetensors"):
        path.rename(folder / f"x{path.name}")
    with pytest.raises(FileNotFoundError, match=r"has no ensemble_0\.safetensors"):
        read_model(folder)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.999], ids="{:.1%}".format)
@pytest.mark.parametrize("name", ["config.json", "ensemble_1.safetensors"])
def test_truncated_hub_directories_are_refused(tmp_path: Path, ensemble: Checkpoint, name: str, kept: float) -> None:
    path = write_hub_directory(tmp_path / "hub", ensemble) / name
    os.truncate(path, int(kept * path.stat().st_size))
    with pytest.raises(CheckpointCorruptError, match=name):
        read_model(tmp_path / "hub")


def test_a_hub_configuration_of_100_mb_is_not_read(tmp_path: Path, ensemble: Checkpoint) -> None:
    folder = write_hub_directory(tmp_path / "hub", ensemble)
    os.truncate(folder / "config.json", 10**8)
    with pytest.raises(CheckpointCorruptError, match=r"config\.json has 100000000 bytes; at most"):
        read_model(folder)
