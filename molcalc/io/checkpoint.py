"""Model directories: ``config.json`` and ``weights.safetensors``.

The configuration names everything that is needed to rebuild the model and holds the SHA-256 of the weights. Several
files are replaced as one: all new ones are staged beside the old (``NAME.new``), the configuration last, and renamed
after that. Whenever the process dies, either the old or the new set is complete, and :func:`load` picks it.

Loading reads JSON and raw arrays; it executes nothing and imports nothing that a file names. What an older version of
the format wrote is brought up to date, step by step (:data:`UPGRADES`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from molcalc._version import __version__
from molcalc.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointMismatchError,
    ConfigError,
    MissingFileError,
    ResourceError,
    short,
)
from molcalc.fidelity import Fidelity
from molcalc.io.arrays import digest, pack_weights, unpack_weights
from molcalc.io.files import (
    FOLDER_LOCK,
    exclusive,
    is_temporary,
    read_file,
    remove_temporaries,
    sha256,
    sync_directory,
    write_atomic,
)
from molcalc.io.schema import from_dict
from molcalc.io.seals import canonical_json, sealed, unsealed

log = logging.getLogger(__name__)

FORMAT_VERSION = 2
CONFIG = "config.json"
WEIGHTS = "weights.safetensors"
CONFIG_SEAL = "config_sha256"
"""Name of the configuration's own checksum in it."""
STAGED = ".new"
UNITS = {"energy": "eV", "length": "Å", "charge": "e"}
MAX_CONFIG = 1 << 18
"""Bytes; a larger configuration is an attack or damage."""
MAX_MEMBERS = 64
LATER_ENTRIES = frozenset({"coulomb_sum", "coulomb_options"})
"""What the present format gained while models of it existed: the hash counts these where they say something."""
READ_ATTEMPTS = 20
"""Reading starts again when another process replaces the files meanwhile."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Configuration of a model: everything except its weights.

    Attributes
    ----------
    kind : key of :data:`molcalc.registry.MODELS`.
    arguments : fields of the network's configuration.
    n_members : networks in the ensemble.
    fidelities : levels of theory, in the order of their index.
    coulomb : Coulomb energy the model was trained with: "simple" or "physnet" of the atomic charges, "distributed" of
        the distributed ones; or None.
    coulomb_range : Å, distance below which the network holds the Coulomb energy.
    coulomb_sum : how it was summed in training where that is not over all pairs ("dsf", "ewald", …), or None.
    coulomb_options : of that sum, by name.
    repulsion : repulsion of nuclei the model was trained with ("zbl"), or None.
    neutral_only : the model knows neutral molecules only.
    provenance : where the weights come from (strings only).
    """

    kind: str
    arguments: dict[str, Any]
    n_members: int = 1
    fidelities: tuple[Fidelity, ...] = (Fidelity(name="default"),)
    coulomb: str | None = None
    coulomb_range: float | None = None
    coulomb_sum: str | None = None
    coulomb_options: dict[str, float] = field(default_factory=dict)
    repulsion: str | None = None
    neutral_only: bool = False
    provenance: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.n_members <= MAX_MEMBERS:
            raise ConfigError(f"n_members={short(self.n_members)}; allowed are 1…{MAX_MEMBERS}")
        names = [fidelity.name for fidelity in self.fidelities]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"fidelities={short(names)}; at least one is needed, with different names")
        if self.coulomb_range is not None and not self.coulomb_range > 0:
            raise ConfigError(f"coulomb_range={self.coulomb_range} Å; expected a positive length")


@dataclass(frozen=True)
class Checkpoint:
    """A model in memory: its configuration and arrays by name."""

    config: ModelConfig
    weights: dict[str, Tensor]

    @property
    def hash(self) -> str:
        """First twelve digits of the SHA-256 of configuration and weights.

        Both are those of the present format: a model of an older one has the hash that it has when saved again. What
        the training data covered changes no result and does not count, and neither does an entry of
        :data:`LATER_ENTRIES` that is empty.
        """
        fidelities = tuple(replace(fidelity, knowledge=None) for fidelity in self.config.fidelities)
        values = asdict(replace(self.config, fidelities=fidelities))
        values = {name: value for name, value in values.items() if value or name not in LATER_ENTRIES}
        for fidelity in values["fidelities"]:
            del fidelity["knowledge"]
        return sha256(canonical_json(values) + digest(self.weights).encode())[:12]


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
        When the disk is full or not writable: the last good files stay.
    """
    bad = sorted(name for name, value in checkpoint.weights.items() if not bool(torch.isfinite(value).all()))
    if bad:
        raise CheckpointError(f"refusing to save: not finite: {', '.join(bad[:5])}; the last good file is kept")
    extra = extra or {}
    reserved = [name for name in extra if name in (CONFIG, WEIGHTS) or not _is_plain(name)]
    if reserved:
        raise ValueError(f"an extra file cannot be named {reserved[0]!r}")
    files = {WEIGHTS: pack_weights(checkpoint.weights), **extra}
    config = _config_bytes(checkpoint.config, {name: sha256(data) for name, data in files.items()})
    folder = Path(path)
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder):
            _tidy(folder)
            _stage(folder, {**files, CONFIG: config})
            _commit(folder, files)
    except OSError as error:
        raise ResourceError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()  # only goes when nothing is in it, which is after an error


def tidy(path: str | os.PathLike[str]) -> None:
    """Finish or drop what a save that was killed left in a folder, and remove its temporary files.

    Raises
    ------
    InUseError
        When another process saves there.
    ResourceError
        When the folder cannot be written.
    """
    folder = Path(path)
    try:
        with exclusive(folder):
            _tidy(folder)
    except OSError as error:
        raise ResourceError(f"cannot write {folder}: {error.strerror or error}") from error


def belongs(name: str) -> bool:
    """Whether a file of this name is part of a model directory, or what a save that was killed left in it."""
    return name.removesuffix(STAGED) in (CONFIG, WEIGHTS) or is_unfinished(name)


def is_unfinished(name: str) -> bool:
    """Whether a file of this name is what a save that was killed left."""
    return name.endswith(STAGED) or name == FOLDER_LOCK or is_temporary(name)


def _tidy(folder: Path) -> None:
    remove_temporaries(folder)
    _settle(folder)


def _settle(folder: Path) -> None:
    """Finish a save that was killed between its renames, or drop it when it was not complete."""
    staged = folder / (CONFIG + STAGED)
    try:
        checksums = _parse(staged, read_file(staged, MAX_CONFIG)).checksums
        for name, checksum in checksums.items():
            _read_checked(folder, name, checksum)
    except FileNotFoundError:
        return
    except CheckpointError:
        staged.unlink(missing_ok=True)
        return
    _commit(folder, checksums)


def _stage(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write all files beside the old ones; when that fails, leave none of them."""
    try:
        for name, data in files.items():
            write_atomic(folder / (name + STAGED), data)
    except ResourceError:
        for name in files:
            (folder / (name + STAGED)).unlink(missing_ok=True)
        raise


def _commit(folder: Path, names: Iterable[str]) -> None:
    """Rename the staged files, the configuration last."""
    for name in (*names, CONFIG):
        staged = folder / (name + STAGED)
        if staged.exists():
            os.replace(staged, folder / name)
    sync_directory(folder)


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a model directory.

    Returns
    -------
    the model in memory

    Raises
    ------
    FileNotFoundError
        When the directory or its configuration is missing.
    CheckpointCorruptError
        When a file is truncated, damaged, or does not match its checksum.
    CheckpointMismatchError
        When the format is newer than this version of the package.
    """
    return load_with(path, ())[0]


def load_with(path: str | os.PathLike[str], names: tuple[str, ...]) -> tuple[Checkpoint, dict[str, bytes]]:
    """Read a model directory and further files of it that were saved with the model.

    Parameters
    ----------
    names : of the further files.

    Returns
    -------
    The model, and the content of the files by name.

    Raises
    ------
    FileNotFoundError, CheckpointCorruptError, CheckpointMismatchError
        As :func:`load`.
    """
    header, files = _read_files(path, (WEIGHTS, *names))
    weights = unpack_weights(files.pop(WEIGHTS), f"{path}/{WEIGHTS}")
    values = header.values
    for version in range(header.version, FORMAT_VERSION):
        values, weights = UPGRADES[version](values, weights)
    try:
        return Checkpoint(from_dict(ModelConfig, values, f"{path}/{CONFIG}"), weights), files
    except ConfigError as error:
        raise CheckpointMismatchError(str(error)) from error


class _Header(NamedTuple):
    """Content of a configuration file.

    Attributes
    ----------
    version : of the format.
    values : fields of :class:`ModelConfig` in that version.
    checksums : SHA-256 by file name.
    """

    version: int
    values: dict[str, Any]
    checksums: dict[str, str]


def _read_files(path: str | os.PathLike[str], names: tuple[str, ...]) -> tuple[_Header, dict[str, bytes]]:
    """Read the configuration and files of a model directory, verified against the checksums.

    A directory that another process is writing gives its old or its new content.
    """
    folder = Path(path)
    try:
        found = folder.is_dir()
    except PermissionError as error:  # of a folder above it
        raise CheckpointError(f"cannot read {folder}: {error.strerror}") from error
    if not found:
        raise MissingFileError(f"no model directory at {folder}")
    for _ in range(READ_ATTEMPTS):
        configs = _read_configs(folder)
        try:
            return _read_newest(configs, names)
        except CheckpointCorruptError as error:
            problem = error
            if _read_configs(folder) == configs:
                break
    raise problem


def _read_configs(folder: Path) -> dict[Path, bytes]:
    """Configurations of a directory by path, the staged one first."""
    configs = {}
    for path in (folder / (CONFIG + STAGED), folder / CONFIG):
        with contextlib.suppress(FileNotFoundError):
            configs[path] = read_file(path, MAX_CONFIG)
    if not configs:
        raise MissingFileError(f"{folder} is not a model directory: {CONFIG} is missing")
    return configs


def _read_newest(configs: Mapping[Path, bytes], names: tuple[str, ...]) -> tuple[_Header, dict[str, bytes]]:
    """Read the files that the first usable configuration lists."""
    problem: CheckpointCorruptError | None = None
    for path, data in configs.items():
        try:
            header = _parse(path, data)
            files = {name: _read_checked(path.parent, name, header.checksums.get(name)) for name in names}
        except CheckpointCorruptError as error:
            problem = problem or error
            continue
        if problem is not None:
            log.warning("an unfinished save is damaged (%s): using the previous model of %s", problem, path)
        return header, files
    assert problem is not None
    raise problem


def _parse(path: Path, data: bytes) -> _Header:
    """Read the content of a configuration file, whose fields are not looked at yet."""
    try:
        values = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
        if not isinstance(values, dict) or not isinstance(values.get("sha256"), dict):
            raise CheckpointCorruptError(f"{path} has no checksum list 'sha256'")
        version = values.get("format_version")
        if type(version) is int and version > FORMAT_VERSION:
            raise CheckpointMismatchError(
                f"{path} has format version {version}; this molcalc {__version__} reads up to {FORMAT_VERSION}: "
                "install a newer molcalc"
            )
        if type(version) is not int or version < 1:
            raise CheckpointCorruptError(f"{path} has format version {short(version)}; expected 1…{FORMAT_VERSION}")
    except (ValueError, RecursionError) as error:
        raise CheckpointCorruptError(f"{path} is not valid JSON: {error}") from error
    try:
        values = unsealed(values, CONFIG_SEAL)
    except ValueError as error:
        raise CheckpointCorruptError(f"{path}: {error}") from error
    checksums = values.pop("sha256")
    del values["format_version"]
    values.pop("molcalc", None)
    units = values.pop("units", UNITS)
    if units != UNITS:
        raise CheckpointMismatchError(f"{path} has units {short(units)}; expected {UNITS}")
    return _Header(version, values, checksums)


Upgrade = Callable[[dict[str, Any], dict[str, Tensor]], tuple[dict[str, Any], dict[str, Tensor]]]


def upgrade_1_to_2(
    config: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A model of format version 1 in version 2, where every network has tables and heads by fidelity.

    Version 1 had kinds of its own for one fidelity, whose arrays lack the first axis, and for several.

    Parameters
    ----------
    config : fields of :class:`ModelConfig`; what does not fit them is passed on, for others to refuse.
    weights : arrays by name.

    Returns
    -------
    The same in version 2; what was given stays as it is.
    """
    several = config.get("kind") == "aimnet2-multi"
    upgraded = dict(config)
    if several:
        upgraded["kind"] = "aimnet2"
    if upgraded.get("kind") == "aimnet2" and isinstance(config.get("arguments"), Mapping):
        added = {"n_fidelities": 2 if several else 1, **_ADDED_IN_2}
        upgraded["arguments"] = {**added, **config["arguments"]}
    if several:
        return upgraded, dict(weights)
    return upgraded, {
        _HEAD_IN_1.sub(r"\1energy_heads.0.", name): value[None] if _TABLE_IN_1.fullmatch(name) else value
        for name, value in weights.items()
    }


_ADDED_IN_2 = {"embeddings": "separate", "bases": [], "charge_heads": False, "charge_hidden": [64]}
"""Arguments of AIMNet2 that version 1 wrote for several fidelities only, with their defaults."""
_HEAD_IN_1 = re.compile(r"^(members\.\d+\.)energy_head\.")
_TABLE_IN_1 = re.compile(r"members\.\d+\.(shifts|embedding)")
UPGRADES: dict[int, Upgrade] = {1: upgrade_1_to_2}
"""By the version that they start from."""


def _read_checked(folder: Path, name: str, checksum: Any) -> bytes:
    """Content of the staged or present version of ``name``, whichever has the checksum."""
    if checksum is None or not _is_plain(name):
        raise CheckpointCorruptError(f"{folder / CONFIG} lists no {name}")
    found = False
    # A writer renames the staged file to the final one: in this order it cannot slip through.
    for path in (folder / (name + STAGED), folder / name):
        with contextlib.suppress(FileNotFoundError):
            data = read_file(path)
            found = True
            if sha256(data) == checksum:
                return data
    if not found:
        raise CheckpointCorruptError(f"{folder / name} is missing")
    raise CheckpointCorruptError(
        f"{folder / name}: sha256 does not match {CONFIG}: the file was truncated, damaged or exchanged; "
        "restore it from a copy"
    )


def _is_plain(name: str) -> bool:
    """Whether a file name stays inside its folder."""
    return name not in ("", ".", "..") and not any(character in name for character in "/\\\0")


def _config_bytes(config: ModelConfig, checksums: Mapping[str, str]) -> bytes:
    values: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "molcalc": __version__,
        "units": UNITS,
        **asdict(config),
        "sha256": dict(checksums),
    }
    try:
        return json.dumps(sealed(values, CONFIG_SEAL), indent=1, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise CheckpointError(
            f"refusing to save: the configuration holds a number that is not finite: {error}"
        ) from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")
