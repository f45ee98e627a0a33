"""Model directories: ``config.json`` and ``weights.safetensors``.

The configuration names everything that is needed to rebuild the model and holds the SHA-256 of the weights. Several
files are replaced as one: all new ones are staged beside the old (``NAME.new``), the configuration last, and renamed
after that. Whenever the process dies, either the old or the new set is complete, and :func:`load` picks it.

Loading reads JSON and raw arrays; it executes nothing and imports nothing that a file names.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from molcalc._version import __version__
from molcalc.errors import CheckpointCorruptError, CheckpointError, CheckpointMismatchError, ConfigError
from molcalc.files import sha256, sync_directory, write_atomic
from molcalc.schema import from_dict

FORMAT_VERSION = 1
CONFIG = "config.json"
WEIGHTS = "weights.safetensors"
STAGED = ".new"
MAX_HEADER = 1 << 20
"""Bytes; a larger safetensors header is an attack or damage."""


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """One level of theory.

    Attributes
    ----------
    name : what users call it.
    functional : density functional of the labels, in the spelling of the D3 parameter sets; or None.
    dispersion : term that completes the labels ("d3bj:wb97m"), or None.
    dispersion_in_labels : whether the labels already contain dispersion.
    """

    name: str
    functional: str | None = None
    dispersion: str | None = None
    dispersion_in_labels: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything about a model except its weights.

    Attributes
    ----------
    kind : key of :data:`molcalc.registry.MODELS`.
    arguments : fields of the network's configuration.
    n_members : networks in the ensemble.
    fidelities : levels of theory, in the order of their index.
    coulomb : long-range Coulomb the energy was trained with ("simple"), or None.
    coulomb_range : Å, distance below which the network holds the Coulomb energy.
    neutral_only : the model knows neutral molecules only.
    provenance : where the weights come from (strings only).
    """

    kind: str
    arguments: dict[str, Any]
    n_members: int = 1
    fidelities: tuple[Fidelity, ...] = (Fidelity(name="default"),)
    coulomb: str | None = None
    coulomb_range: float | None = None
    neutral_only: bool = False
    provenance: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A model in memory: its configuration and arrays by name."""

    config: ModelConfig
    weights: dict[str, Tensor]

    @property
    def hash(self) -> str:
        """First twelve digits of the SHA-256 of configuration and weights."""
        return sha256(_canonical(asdict(self.config)) + _pack(self.weights))[:12]


def save(path: str | os.PathLike[str], checkpoint: Checkpoint, extra: Mapping[str, bytes] | None = None) -> None:
    """Write a model directory, replacing an old one in one step.

    Parameters
    ----------
    extra : further files by name (training state), covered by the same checksum list.

    Raises
    ------
    CheckpointError
        When a weight is not finite: the last good files stay.
    ResourceError
        When the disk is full or not writable.
    """
    bad = sorted(name for name, value in checkpoint.weights.items() if not bool(torch.isfinite(value).all()))
    if bad:
        raise CheckpointError(f"refusing to save: not finite: {', '.join(bad[:5])}; the last good file is kept")
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    files = {WEIGHTS: _pack(checkpoint.weights), **(extra or {})}
    config = _config_bytes(checkpoint.config, {name: sha256(data) for name, data in files.items()})
    for name, data in files.items():
        write_atomic(folder / (name + STAGED), data)
    write_atomic(folder / (CONFIG + STAGED), config)
    for name in (*files, CONFIG):
        os.replace(folder / (name + STAGED), folder / name)
    sync_directory(folder)


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a model directory.

    Raises
    ------
    FileNotFoundError
        When the directory or its configuration is missing.
    CheckpointCorruptError
        When a file is truncated, damaged, or does not match its checksum.
    CheckpointMismatchError
        When the format is newer than this version of the package.
    """
    config, files = read_files(path, (WEIGHTS,))
    return Checkpoint(config, unpack_weights(files[WEIGHTS], f"{path}/{WEIGHTS}"))


def read_files(path: str | os.PathLike[str], names: tuple[str, ...]) -> tuple[ModelConfig, dict[str, bytes]]:
    """Read the configuration and files of a model directory, verified against the checksums."""
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"no model directory at {folder}")
    candidates = [folder / (CONFIG + STAGED), folder / CONFIG]
    if not any(candidate.is_file() for candidate in candidates):
        raise FileNotFoundError(f"{folder} is not a model directory: {CONFIG} is missing")
    problem: CheckpointCorruptError | None = None
    for candidate in candidates:
        if candidate.is_file():
            try:
                return _read_set(candidate, names)
            except CheckpointCorruptError as error:
                problem = error
    assert problem is not None
    raise problem


def _read_set(config_path: Path, names: tuple[str, ...]) -> tuple[ModelConfig, dict[str, bytes]]:
    """Read the files that one configuration lists, staged or in place, whichever has the right checksum."""
    try:
        values = json.loads(config_path.read_bytes())
    except ValueError as error:
        raise CheckpointCorruptError(f"{config_path} is not valid JSON: {error}") from error
    if not isinstance(values, dict) or not isinstance(values.get("sha256"), dict):
        raise CheckpointCorruptError(f"{config_path} has no checksum list 'sha256'")
    checksums, own = values.pop("sha256"), values.pop("config_sha256", None)
    version = values.pop("format_version", None)
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise CheckpointMismatchError(
            f"{config_path} has format version {version!r}; this molcalc {__version__} reads 1…{FORMAT_VERSION}: "
            "install a newer molcalc"
        )
    if own != sha256(_canonical({**values, "sha256": checksums, "format_version": version})):
        raise CheckpointCorruptError(f"{config_path}: sha256 does not match: the file was damaged or edited")
    values.pop("units", None)
    values.pop("molcalc", None)
    try:
        config = from_dict(ModelConfig, values, str(config_path))
    except ConfigError as error:
        raise CheckpointMismatchError(str(error)) from error
    return config, {name: _read_checked(config_path.parent, name, checksums.get(name)) for name in names}


def _read_checked(folder: Path, name: str, checksum: Any) -> bytes:
    """Content of ``name`` or its staged version, whichever has the checksum."""
    if checksum is None:
        raise CheckpointCorruptError(f"{folder / CONFIG} lists no {name}")
    found = [path for path in (folder / name, folder / (name + STAGED)) if path.is_file()]
    if not found:
        raise CheckpointCorruptError(f"{folder / name} is missing")
    for path in found:
        data = path.read_bytes()
        if sha256(data) == checksum:
            return data
    raise CheckpointCorruptError(
        f"{folder / name}: sha256 does not match {CONFIG}: the file was truncated, damaged or exchanged; "
        "restore it from a copy"
    )


def _config_bytes(config: ModelConfig, checksums: Mapping[str, str]) -> bytes:
    values: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "molcalc": __version__,
        "units": {"energy": "eV", "length": "Å", "charge": "e"},
        **asdict(config),
        "sha256": dict(checksums),
    }
    values["config_sha256"] = sha256(_canonical(values))
    return json.dumps(values, indent=1, ensure_ascii=False).encode()


def _canonical(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, ensure_ascii=False).encode()


def _pack(weights: Mapping[str, Tensor]) -> bytes:
    from safetensors.torch import save as pack

    return pack({name: value.detach().cpu().contiguous() for name, value in sorted(weights.items())})


def unpack_weights(data: bytes, where: str, allow_nan: bool = False) -> dict[str, Tensor]:
    """Read arrays from safetensors bytes after checking the header.

    The library accepts duplicate names and headers of any length; both are refused here, and weights that are not
    finite unless ``allow_nan`` is set.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as unpack

    if len(data) < 8:
        raise CheckpointCorruptError(f"{where} is truncated: {len(data)} bytes")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(MAX_HEADER, len(data) - 8):
        raise CheckpointCorruptError(f"{where}: header of {length} bytes in a file of {len(data)} bytes")
    try:
        json.loads(data[8 : 8 + length], object_pairs_hook=_no_duplicates)
        weights = unpack(data)
    except (ValueError, SafetensorError) as error:
        raise CheckpointCorruptError(f"{where} cannot be read: {error}") from error
    bad = sorted(name for name, v in weights.items() if v.is_floating_point() and not torch.isfinite(v).all())
    if bad and not allow_nan:
        raise CheckpointCorruptError(f"{where}: weights are not finite: {', '.join(bad[:5])}")
    return weights


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a name appears twice")
    return dict(pairs)
