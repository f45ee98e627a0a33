"""Reading of models by whatever a user names them: a published name, a file, a folder, a hub."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Literal

from molcalc.errors import CheckpointError, MissingFileError, short, suggest
from molcalc.fidelity import Fidelity
from molcalc.io import checkpoint
from molcalc.io.checkpoint import Checkpoint
from molcalc.io.files import read_file, sha256
from molcalc.pretrained.catalog import BUNDLED, PUBLISHED, convert_published, find_published, load_named
from molcalc.pretrained.foreign.artifacts import ROUTING_KEYS, read_directory, read_pt
from molcalc.pretrained.foreign.ensemble import convert_ensemble, embedded_dispersion
from molcalc.pretrained.foreign.exported import checkpoint_of_program, read_contents
from molcalc.pretrained.foreign.torchscript import is_torchscript, read_program, read_state
from molcalc.registry import network_config

MODEL_FORMS = "a published name, a model directory, or a file ending in .jpt or .pt"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def read_model(source: str | os.PathLike[str], *, trusted: bool = False) -> Checkpoint:
    """A model that has a name or a file, as a checkpoint in memory.

    Parameters
    ----------
    source : published name ("wb97m-d3"), name of a model of the package ("small-species"), model directory, ``.jpt`` or
        ``.pt`` file, directory in Hugging Face style, or ``owner/repository`` on the Hugging Face hub.
    trusted : allow a TorchScript file that is not one of the published; reading it runs the code in it.

    Returns
    -------
    Checkpoint

    Raises
    ------
    FileNotFoundError
        When there is nothing of that name (lists the published names).
    CheckpointError, UnsafeCheckpointError, CheckpointCorruptError, CheckpointMismatchError
        When the file cannot or must not be used.
    """
    name = os.fspath(source)
    if name in PUBLISHED or name in BUNDLED:
        return load_named(name)
    path = Path(name)
    kind = _kind(path) if name else "missing"
    if kind == "directory":
        return _read_directory(path)
    if kind == "file":
        return _read_file(path, trusted)
    if _HUB_NAME.fullmatch(name) and path.suffix not in (".jpt", ".pt") and _kind(path.parent) == "missing":
        return read_directory(download(name))
    raise MissingFileError(
        f"no model {short(name)}{suggest(name[:80], (*PUBLISHED, *BUNDLED))}: expected {MODEL_FORMS}. "
        f"Published models: {', '.join(PUBLISHED)}; with the package: {', '.join(BUNDLED)}"
    )


def _kind(path: Path) -> Literal["missing", "directory", "file"]:
    """What a path leads to; one that no file system accepts leads nowhere."""
    try:
        mode = os.stat(path).st_mode
    except PermissionError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    except (OSError, ValueError):
        return "missing"
    return "directory" if stat.S_ISDIR(mode) else "file"


def _read_directory(path: Path) -> Checkpoint:
    if _is_foreign(path / checkpoint.CONFIG):
        return read_directory(path)
    loaded = checkpoint.load(path)
    network_config(loaded.config)
    return loaded


def _is_foreign(config: Path) -> bool:
    """Whether a configuration is of the Hugging Face style; damaged ones are left to whoever reads them."""
    try:
        values = json.loads(read_file(config, checkpoint.MAX_CONFIG).decode("utf-8"))
    except (CheckpointError, FileNotFoundError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and "sha256" not in values and bool(values.keys() & {"model_yaml", *ROUTING_KEYS})


def _read_file(path: Path, trusted: bool) -> Checkpoint:
    if path.suffix == ".pt2":
        raise CheckpointError(
            f"{path} is a program: run it with torch.export.load, or export a model directory (a name without ending)"
        )
    if path.suffix not in (".pt", ".jpt"):
        raise CheckpointError(f"{path} is not a model: {path.suffix or 'no suffix'}; expected {MODEL_FORMS}")
    data = read_file(path)
    if path.suffix == ".pt" and not (trusted and is_torchscript(data)):
        return read_pt(path)
    contents = read_contents(data, path)
    if contents is not None:
        return checkpoint_of_program(read_program(data, str(path), trusted), contents, str(path))
    name = find_published(sha256(data)) or (None if trusted else _published_with_file(path.name))
    if name is not None:
        return convert_published(name, data, path)
    state = read_state(data, str(path), known_sha256=None, trusted=trusted)
    fidelity = Fidelity(name=path.stem, dispersion=embedded_dispersion(state, path.name))
    return convert_ensemble(state, fidelity, {"source": path.name})


def _published_with_file(file: str) -> str | None:
    """Name of the published ensemble that a file claims to be; its checksum is compared when it is read."""
    return next((name for name, entry in PUBLISHED.items() if entry.file == file), None)


def download(repository: str) -> Path:
    """Fetch a model directory from the Hugging Face hub into its cache.

    Returns
    -------
    folder in the cache of the hub

    Raises
    ------
    CheckpointError
        When huggingface_hub is not installed or the hub cannot be reached.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise CheckpointError(
            f"{repository!r} is not a local model, and fetching it from the Hugging Face hub needs "
            "pip install 'molcalc[hub]'"
        ) from error
    try:
        return Path(snapshot_download(repository, allow_patterns=["config.json", "ensemble_*.safetensors"]))
    except Exception as error:  # the classes of its HTTP library change with the version
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"cannot fetch {repository!r} from the Hugging Face hub ({reason}); without a network, pass a local "
            f"folder. Published models that need none: {', '.join(PUBLISHED)}"
        ) from error
