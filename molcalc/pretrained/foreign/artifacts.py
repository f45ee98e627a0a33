"""AIMNet2 files of the second generation: ``.pt`` artifacts and Hugging Face style directories.

Both carry a YAML text that names Python classes. It is never used to build anything: the sizes are read from the
weights, only this package's own network is built, and :mod:`molcalc.pretrained.foreign.metadata` checks that the
text describes nothing else.
"""

from __future__ import annotations

import io
import json
import os
import pickletools
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from molcalc.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointMismatchError,
    MissingFileError,
    UnsafeCheckpointError,
    short,
)
from molcalc.fidelity import Fidelity
from molcalc.io.archives import check_archive
from molcalc.io.arrays import unpack_weights
from molcalc.io.checkpoint import CONFIG, MAX_CONFIG, MAX_MEMBERS, Checkpoint, ModelConfig
from molcalc.io.files import read_file
from molcalc.pretrained.foreign.layout import ensemble_weights, network_from_state
from molcalc.pretrained.foreign.metadata import validate
from molcalc.pretrained.foreign.multifidelity import checkpoint_of_weights, is_weights, weights_in
from molcalc.pretrained.foreign.torchscript import is_torchscript

MIN_TORCH = (2, 10)
"""Older versions can be made to overwrite memory while they read a weights file (CVE-2025-32434, CVE-2026-24747)."""
PICKLE_START = 1 << 16
"""Bytes that are looked at to tell a bare pickle from other files."""
MAX_PICKLE = 1 << 22
"""Bytes; names and sizes of some dozens of arrays take a few thousand."""
ROUTING_KEYS = {"config_schema_version", "family_name", "member_names", "ensemble_size"}
_MEMBER_FILE = re.compile(r"ensemble_(0|[1-9]\d{0,2})\.safetensors")
_RUNS_CODE = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD", "EXT1", "EXT2", "EXT4"}


def read_pt(path: Path) -> Checkpoint:
    """A single network from a ``.pt`` artifact, or all fidelities of a file of weights.

    Returns
    -------
    the model in memory

    Raises
    ------
    UnsafeCheckpointError
        When the file holds more than tensors and plain values, is TorchScript, or names a class that is not allowed.
    CheckpointCorruptError
        When it is truncated or damaged.
    CheckpointMismatchError
        When it describes something this package does not have.
    """
    data = read_file(path)
    values = _read_plain(data, path)
    if is_weights(values):
        return _of_weights(values, data, path)
    if not isinstance(values, dict) or not isinstance(values.get("state_dict"), dict):
        raise CheckpointMismatchError(f"{path}: not a model artifact: expected a mapping with 'state_dict'")
    state = values["state_dict"]
    metadata = {key: value for key, value in values.items() if key != "state_dict"}
    validate(metadata, path)
    _check_arrays(state, len(data), path)
    return _checkpoint(metadata, [state], path)


def read_weights(
    path: str | os.PathLike[str],
    *,
    names: Sequence[str] | None = None,
    sae: Mapping[str, Mapping[int, float]] | None = None,
    elements: Mapping[str, Sequence[int]] | None = None,
) -> Checkpoint:
    """All fidelities of a ``.pt`` file that holds nothing but weights.

    >>> model = read_weights("two.pt", names=["pbe0", "gfn2"], sae={"pbe0": {1: -13.6, 8: -2041.8}})

    Parameters
    ----------
    names, sae, elements : see :func:`molcalc.pretrained.foreign.multifidelity.checkpoint_of_weights`.

    Returns
    -------
    model of one network with all fidelities

    Raises
    ------
    FileNotFoundError, CheckpointCorruptError, CheckpointMismatchError, UnsafeCheckpointError
        As in :func:`read_pt`.
    """
    file = Path(path)
    data = read_file(file)
    values = _read_plain(data, file)
    if not is_weights(values):
        raise CheckpointMismatchError(f"{file} is no file of weights (or of 'model': weights) with 'afv.weight'")
    return _of_weights(values, data, file, names=names, sae=sae, elements=elements)


def _of_weights(values: Mapping[str, Any], data: bytes, path: Path, **given: Any) -> Checkpoint:
    state = weights_in(values)
    _check_arrays(state, len(data), path)
    return checkpoint_of_weights(state, str(path), **given)


def read_directory(path: Path) -> Checkpoint:
    """An ensemble from ``config.json`` and ``ensemble_{k}.safetensors``.

    Returns
    -------
    model of one fidelity with all members

    Raises
    ------
    FileNotFoundError
        When the configuration or a member is missing.
    CheckpointCorruptError, CheckpointMismatchError, UnsafeCheckpointError
        As in :func:`read_pt`.
    """
    config_path = path / CONFIG
    try:
        values = json.loads(read_file(config_path, MAX_CONFIG).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointCorruptError(f"{config_path} is not valid JSON: {error}") from error
    if not isinstance(values, dict) or "model_yaml" not in values:
        raise CheckpointMismatchError(
            f"{config_path} has no 'model_yaml': directories that only name an entry of a registry are not supported; "
            "use the .pt file of the model"
        )
    metadata = {key: value for key, value in values.items() if key not in ROUTING_KEYS}
    if "family_name" in values:
        metadata.setdefault("family", values["family_name"])
    validate(metadata, config_path)
    files = _member_files(path, values.get("ensemble_size"))
    return _checkpoint(metadata, [unpack_weights(read_file(file), str(file), allow_nan=True) for file in files], path)


def _member_files(path: Path, size: Any) -> list[Path]:
    """Weights of all members in order; ``size`` is how many the configuration promises, if it does."""
    found = sorted(int(match[1]) for file in path.iterdir() if (match := _MEMBER_FILE.fullmatch(file.name)))
    expected = len(found) if size is None else size
    if type(expected) is not int or not 0 <= expected <= MAX_MEMBERS:
        raise CheckpointMismatchError(f"{path}: ensemble_size={short(size)}; allowed are 1…{MAX_MEMBERS}")
    missing = sorted(set(range(max(expected, 1))) - set(found))
    if missing:
        raise MissingFileError(f"{path} has no ensemble_{missing[0]}.safetensors")
    if len(found) > expected:
        raise CheckpointMismatchError(f"{path} has {len(found)} members; its configuration says {expected}")
    return [path / f"ensemble_{k}.safetensors" for k in found]


def _read_plain(data: bytes, path: Path) -> Any:
    """Tensors and plain values of a ``torch.save`` file."""
    # torch takes anything that does not begin like an archive for a sequence of pickles.
    if not data.startswith(b"PK\x03\x04") or not zipfile.is_zipfile(io.BytesIO(data)):
        if _is_pickle(data[:PICKLE_START]):
            raise UnsafeCheckpointError(f"{path} is a bare Python pickle, which would run code when read")
        raise CheckpointCorruptError(f"{path} is truncated, damaged or no PyTorch file ({len(data)} bytes)")
    if is_torchscript(data):
        raise UnsafeCheckpointError(
            f"{path} is a TorchScript program, not a weights file: opening it runs the code in it. If you made it or "
            "know who did, pass trusted=True (--trusted on the command line)"
        )
    _check_archive(data, path)
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < MIN_TORCH:
        raise CheckpointError(
            f"{path}: reading .pt files is not safe with torch {torch.__version__}; install torch ≥ 2.10, or pass a "
            "model directory"
        )
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many classes for contents it cannot or must not read
        if "weights_only" in str(error):
            raise _unsafe(path) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointCorruptError(f"{path} is damaged: {reason}") from error


def _unsafe(path: Path) -> UnsafeCheckpointError:
    return UnsafeCheckpointError(
        f"{path} holds Python objects that would run code when read; only tensors and plain values are allowed"
    )


def _is_pickle(data: bytes) -> bool:
    """Whether bytes begin with a Python pickle that builds more than plain values."""
    stream, calls = io.BytesIO(data), False
    try:
        while stream.tell() < len(data):
            names = {operation.name for operation, _, _ in pickletools.genops(stream)}
            calls = calls or bool(names & _RUNS_CODE)
    except Exception:  # no pickle, or cut off: pickletools raises whatever its parsers meet
        return calls or data.startswith(b"\x80")
    return calls


def _check_archive(data: bytes, path: Path) -> None:
    """Refuse records that are damaged, then those that torch.save does not write."""
    check_archive(data, str(path))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = archive.infolist()
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise CheckpointCorruptError(f"{path} has compressed records, which torch.save does not write")
    if any(record.filename.endswith("data.pkl") and record.file_size > MAX_PICKLE for record in records):
        raise CheckpointMismatchError(f"{path} describes its contents in more than {MAX_PICKLE} bytes")


def _check_arrays(state: Mapping[Any, Any], size: int, path: Path) -> None:
    """Refuse anything but ordinary arrays that together fit into the file of ``size`` bytes."""
    total = 0
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointMismatchError(f"{path}: the weights hold something else than named tensors")
        if value.layout != torch.strided or value.is_nested or value.is_quantized or value.device.type != "cpu":
            raise CheckpointMismatchError(f"{path}: {short(name)} is not an ordinary array")
        total += value.numel() * value.element_size()
    if total > 2 * size:  # arrays may share their memory
        raise CheckpointCorruptError(f"{path}: the arrays claim {total} bytes in a file of {size}")


def _checkpoint(metadata: Mapping[str, Any], states: list[dict[str, Tensor]], path: Path) -> Checkpoint:
    coulomb = metadata.get("coulomb_mode", "none") == "sr_embedded"
    networks = []
    for k, state in enumerate(states):
        where = f"{path} member {k}"
        _check_terms(metadata, state, where)
        networks.append(network_from_state(state, metadata["implemented_species"], where))
    if len({config for config, _ in networks}) != 1:
        raise CheckpointMismatchError(f"{path}: the networks of the ensemble differ in size")
    dispersion = None
    if metadata.get("needs_dispersion"):
        parameters = {"s6": 1.0, **metadata["d3_params"]}
        dispersion = "d3bj:" + ",".join(f"{key}={float(parameters[key])!r}" for key in ("s6", "s8", "a1", "a2"))
    config = ModelConfig(
        kind="aimnet2",
        arguments=networks[0][0].to_dict(),
        n_members=len(networks),
        fidelities=(Fidelity(name=metadata.get("family") or path.stem, dispersion=dispersion),),
        coulomb="simple" if coulomb else None,
        coulomb_range=float(metadata["coulomb_sr_rc"]) if coulomb else None,
        neutral_only=metadata.get("supports_charged_systems") is False,
        provenance={"source": path.name},
    )
    return Checkpoint(config, ensemble_weights([weights for _, weights in networks]))


def _check_terms(metadata: Mapping[str, Any], state: Mapping[str, Tensor], where: str) -> None:
    """Compare what the weights say about cutoffs and energy terms with the metadata."""
    embedded = sorted(
        name for name in state if name.startswith(("outputs.lrcoulomb.", "outputs.d3bj.", "outputs.dftd3."))
    )
    if embedded:
        raise CheckpointMismatchError(
            f"{where}: {short(embedded[0])} is an embedded energy term, which is not supported"
        )
    for name, key in (("aev.rc_s", "cutoff"), ("outputs.srcoulomb.rc", "coulomb_sr_rc")):
        value = state.get(name)
        if value is None or metadata.get(key) is None:
            continue
        if value.numel() != 1 or not abs(value.item() - metadata[key]) < 1e-5:
            raise CheckpointMismatchError(f"{where}: {name} contradicts {key}={metadata[key]}")
