"""Files made to do harm: all checksums are right, the content is not."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save as pack

from molcalc.calculators import AIMNet2
from molcalc.errors import CheckpointCorruptError, CheckpointError, CheckpointMismatchError, UnsafeCheckpointError
from molcalc.io.checkpoint import CONFIG, STAGED, WEIGHTS, load, save
from molcalc.io.files import sha256
from molcalc.pretrained.sources import read_model
from molcalc.registry import build_members
from tests.helpers.model_files import UNKNOWN_ARCHITECTURES, edit_config, replace_weights, sealed
from tests.helpers.networks import small_checkpoint

REFUSAL_TIME = 1.0  # s, within which a hostile file is refused


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Folder of a small valid model."""
    save(tmp_path / "model", small_checkpoint())
    return tmp_path / "model"


def header(entries: dict[str, Any] | str, payload: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file made by hand."""
    text = (entries if isinstance(entries, str) else json.dumps(entries)).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + payload


def entry(start: int, stop: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


HEADER_ATTACKS: dict[str, Callable[[], bytes]] = {
    "length of 2^63": lambda: header({}, length=2**63),
    "length of 200 MB": lambda: header({}, length=200_000_000),
    "length beyond the end": lambda: header({"a": entry(0, 4, [1])}, b"\0" * 4, length=1000),
    "four bytes": lambda: b"\0" * 4,
    "nothing": lambda: b"",
    "short payload": lambda: header({"a": entry(0, 400, [100])}, b"\0" * 8),
    "trailing bytes": lambda: header({"a": entry(0, 4, [1])}, b"\0" * 8),
    "overlapping arrays": lambda: header({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, b"\0" * 12),
    "gap between arrays": lambda: header({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, b"\0" * 12),
    "overflowing shape": lambda: header({"a": entry(0, 4, [2**62, 2**62])}, b"\0" * 4),
    "claimed 8 TB": lambda: header({"a": entry(0, 8 * 10**12, [2 * 10**12])}, b"\0" * 4),
    "negative size": lambda: header('{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', b"\0" * 4),
    "no JSON": lambda: header("{'a': 1}"),
    "not UTF-8": lambda: struct.pack("<Q", 4) + b"\xff\xfe{}",
    "UTF-16": lambda: struct.pack("<Q", 4) + "{}".encode("utf-16-le"),
    "deep JSON": lambda: header("[" * 500_000),
    "duplicate name": lambda: header('{"a": %s, "a": %s}' % ((json.dumps(entry(0, 4, [1])),) * 2), b"\0" * 4),
    "duplicate field": lambda: header(
        '{"a": {"dtype": "F32", "dtype": "I32", "shape": [1], "data_offsets": [0, 4]}}', b"\0" * 4
    ),
    "200 000 empty arrays": lambda: header(
        "{" + ",".join(f'"a{k}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for k in range(200_000)) + "}"
    ),
    "unknown type": lambda: header({"a": entry(0, 4, [1], "F33")}, b"\0" * 4),
    "wrong size": lambda: header({"a": entry(0, 4, [2])}, b"\0" * 4),
}


@pytest.mark.parametrize("name", HEADER_ATTACKS)
def test_broken_headers_are_refused_at_once(saved: Path, name: str) -> None:
    replace_weights(saved, HEADER_ATTACKS[name]())
    start = time.process_time()
    with pytest.raises(CheckpointCorruptError, match=WEIGHTS):
        load(saved)
    assert time.process_time() - start < REFUSAL_TIME


@pytest.mark.parametrize("kind", ["BOOL", "U8", "F8_E4M3", "F8_E5M2", "C64"])
def test_numbers_of_a_type_that_no_model_uses_are_refused(saved: Path, kind: str) -> None:
    replace_weights(saved, header({"a": entry(0, 8, [1 if kind == "C64" else 8], kind)}, b"\1" * 8))
    with pytest.raises(CheckpointError, match=f"{WEIGHTS}.*(type|cannot be read)"):
        load(saved)


@pytest.mark.parametrize("kind", UNKNOWN_ARCHITECTURES, ids=lambda kind: repr(kind[:40]))
def test_names_outside_the_table_are_refused(saved: Path, kind: str) -> None:
    edit_config(saved, lambda values: values.update(kind=kind))
    for reader in (read_model, AIMNet2, lambda path: build_members(load(path))):
        with pytest.raises(UnsafeCheckpointError, match="unknown architecture .*known: aimnet2") as caught:
            reader(saved)
        assert len(str(caught.value)) < 300


def test_loading_opens_and_imports_nothing_outside_the_folder(saved: Path) -> None:
    build_members(read_model(saved))  # imports what reading needs
    with audited() as events:
        build_members(read_model(saved))
    opened = {Path(arguments[0]) for name, arguments in events if name == "open"}
    assert {saved / CONFIG, saved / WEIGHTS} <= opened
    assert {path.parent for path in opened} == {saved}
    forbidden = ("import", "exec", "compile", "os.system", "subprocess.Popen", "socket.connect", "pickle.find_class")
    assert not [event for event in events if event[0] in forbidden]


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "..", "a/../../outside"])
def test_checksum_lists_cannot_move_files_of_other_folders(tmp_path: Path, saved: Path, name: str) -> None:
    for path in (tmp_path / "outside.new", tmp_path / "outside"):
        path.write_text(path.name)
    config = json.loads((saved / CONFIG).read_text())
    config["sha256"][name] = sha256(b"outside.new")
    (saved / (CONFIG + STAGED)).write_text(json.dumps(sealed(config)))
    save(saved, small_checkpoint(seed=9))
    assert (tmp_path / "outside").read_text() == "outside"
    assert (tmp_path / "outside.new").read_text() == "outside.new"
    assert load(saved).hash == small_checkpoint(seed=9).hash


def test_files_hold_no_trace_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home-of-somebody"
    home.mkdir()
    for variable, value in {"HOME": str(home), "USER": "somebody", "LOGNAME": "somebody", "SECRET": "s3cr3t"}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(home)
    save("model", small_checkpoint())
    save(home / "copy", read_model("model"))
    for path in home.glob("*/*"):
        content = path.read_bytes()
        for trace in ("somebody", "s3cr3t", str(tmp_path), os.uname().nodename, sys.prefix):
            assert trace.encode() not in content, path


CLAIMS: dict[str, dict[str, Any]] = {
    "terabytes of channels": {"n_channels": 10**6, "n_radial": 10**6},
    "more than an address": {"n_channels": 2**40, "n_radial": 2**40},
    "more than a word": {"n_channels": 10**30},
    "more digits than Python prints": {"n_channels": 10**4000},
    "huge table": {"max_number": 10**12},
    "wide layers": {"hidden": [[10**9, 10**9]] * 3},
    "gigabytes that could be had": {"hidden": [[20_000, 20_000]] * 3},
    "many layers": {"hidden": [[1] * 2000] * 3},
    "many passes": {"hidden": [[1]] * 20_000},
    "many elements": {"elements": list(range(1, 20_000))},
    "negative": {"n_vector": -4},
    "nothing": {"n_radial": 0},
    "no room": {"cutoff": 0.8, "n_radial": 8},
    "huge cutoff": {"cutoff": 10**400},
    "text for a number": {"n_channels": "4"},
    "true for a number": {"n_channels": True},
    "unknown option": {"ptfile": "/etc/passwd"},
    "path for a list": {"hidden": "/etc/passwd"},
    "template": {"aim_size": "{{ size }}"},
    "no elements": {"elements": []},
    "three channels": {"charge_channels": 3},
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_claimed_sizes_are_refused_before_memory_is_taken(saved: Path, claim: str) -> None:
    def change(values: dict[str, Any]) -> None:
        values["arguments"].update(CLAIMS[claim])
        values["n_members"] = 64

    edit_config(saved, change)
    start = time.process_time()
    with audited() as events, pytest.raises(CheckpointMismatchError) as caught:
        build_members(load(saved))
    assert time.process_time() - start < REFUSAL_TIME
    assert len(str(caught.value)) < 600
    assert {Path(arguments[0]).parent for name, arguments in events if name == "open"} == {saved}


def with_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> bytes:
    weights = small_checkpoint().weights
    change(weights)
    return pack({name: value.contiguous() for name, value in weights.items()})


SHIFTS = "members.0.shifts"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop(SHIFTS), rf"missing \['{SHIFTS}'\], unexpected none"),
        (
            lambda w: w.update({"members.1.shifts": w[SHIFTS].clone()}),
            r"missing none, unexpected \['members\.1\.shifts'\]",
        ),
        (lambda w: w.update({"members.0.shift": w.pop(SHIFTS)}), rf"missing \['{SHIFTS}'\], unexpected \['members"),
        (lambda w: w.update({SHIFTS: w[SHIFTS][:, :-1]}), r"shifts has shape \(1, 8\); expected \(1, 9\)"),
        (lambda w: w.update({SHIFTS: w[SHIFTS][..., None]}), r"shifts has shape \(1, 9, 1\); expected \(1, 9\)"),
        (lambda w: w.update({SHIFTS: w[SHIFTS].long()}), r"shifts is of type torch\.int64; expected floating"),
        (lambda w: w.clear(), r"missing \['members\.0\."),
    ],
    ids=["missing", "extra", "renamed", "too short", "one more dimension", "integers", "none"],
)
def test_weights_that_do_not_fit_are_named(
    saved: Path, change: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    replace_weights(saved, with_weights(change))
    with pytest.raises(CheckpointMismatchError, match=message):
        build_members(load(saved))
    with pytest.raises(CheckpointMismatchError, match=message):
        AIMNet2(saved)


_RECORDER: list[list[tuple[str, tuple[Any, ...]]]] = []


@contextlib.contextmanager
def audited() -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """Events of the interpreter while the block runs. Audit hooks cannot be removed: one serves all tests."""
    if not _RECORDER:
        _RECORDER.append([])

        def record(name: str, arguments: tuple[Any, ...]) -> None:
            if _RECORDER[-1] is not _RECORDER[0]:
                _RECORDER[-1].append((name, arguments))

        sys.addaudithook(record)
    _RECORDER.append([])
    try:
        yield _RECORDER[-1]
    finally:
        _RECORDER.pop()
