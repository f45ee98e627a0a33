"""From whatever a user names as a model to a checkpoint in memory."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from molcalc import checkpoint
from molcalc.checkpoint import Checkpoint
from molcalc.errors import CheckpointCorruptError, CheckpointError
from molcalc.files import sha256
from molcalc.pretrained.artifacts import read_directory, read_pt
from molcalc.pretrained.published import PUBLISHED, convert_ensemble, find_published, load_published
from molcalc.pretrained.torchscript import read_state
from molcalc.schema import suggest

FORMS = "a published name, a model directory, or a file ending in .jpt or .pt"
_HUB_NAME = re.compile(r"^[\w.-]+/[\w.-]+$")


def open_model(source: str | os.PathLike[str], *, trusted: bool = False) -> Checkpoint:
    """Read a model.

    Parameters
    ----------
    source : published name ("wb97m-d3"), model directory, ``.jpt`` or ``.pt`` file, directory in Hugging Face style, or
        ``owner/repository`` on the Hugging Face hub.
    trusted : allow a TorchScript file that is not one of the published; reading it runs the code in it.

    Raises
    ------
    FileNotFoundError
        When there is nothing of that name (lists the published names).
    CheckpointError, UnsafeCheckpointError, CheckpointCorruptError, CheckpointMismatchError
        When the file cannot or must not be used.
    """
    name = os.fspath(source)
    if name in PUBLISHED:
        return load_published(name)
    path = Path(name)
    if path.is_dir():
        return _read_directory(path)
    if path.is_file():
        return _read_file(path, trusted)
    if _HUB_NAME.match(name) and path.suffix not in (".jpt", ".pt"):
        return read_directory(download(name))
    raise FileNotFoundError(
        f"no model {name!r}{suggest(name, PUBLISHED)}: expected {FORMS}. Published models: {', '.join(PUBLISHED)}"
    )


def _read_directory(path: Path) -> Checkpoint:
    config = path / checkpoint.CONFIG
    if config.is_file() and not (path / checkpoint.WEIGHTS).is_file():
        try:
            foreign = "model_yaml" in json.loads(config.read_bytes())
        except ValueError as error:
            raise CheckpointCorruptError(f"{config} is not valid JSON: {error}") from error
        if foreign:
            return read_directory(path)
    return checkpoint.load(path)


def _read_file(path: Path, trusted: bool) -> Checkpoint:
    if path.suffix == ".pt":
        return read_pt(path)
    if path.suffix == ".jpt":
        data = path.read_bytes()
        name = find_published(sha256(data))
        entry = PUBLISHED[name] if name else None
        state = read_state(data, str(path), known_sha256=entry.sha256 if entry else None, trusted=trusted)
        return convert_ensemble(state, name or path.stem, entry, path.name)
    raise CheckpointError(f"{path} is not a model: {path.suffix or 'no suffix'}; expected {FORMS}")


def download(repository: str) -> Path:
    """Fetch a model directory from the Hugging Face hub into its cache.

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
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"cannot fetch {repository!r} from the Hugging Face hub ({reason}); without a network, pass a local "
            f"folder. Published models that need none: {', '.join(PUBLISHED)}"
        ) from error
