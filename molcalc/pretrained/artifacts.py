"""AIMNet2 files of the second generation: ``.pt`` artifacts and Hugging Face style directories.

Both carry a YAML text that names Python classes. It is never used to build anything: the classes are compared with an
allow-list, the sizes are read from the weights, and only this package's own network is built.
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from molcalc.checkpoint import Checkpoint, Fidelity, ModelConfig, unpack_weights
from molcalc.errors import (
    CheckpointCorruptError,
    CheckpointMismatchError,
    UnsafeCheckpointError,
)
from molcalc.pretrained.layout import ensemble_weights, network_from_state

MODEL_CLASSES = {"aimnet.models.AIMNet2", "aimnet.models.aimnet2.AIMNet2"}
OUTPUT_CLASSES = {
    f"aimnet.modules.{module}{name}"
    for module in ("", "core.", "lr.")
    for name in ("Output", "AtomicShift", "AtomicSum", "LRCoulomb", "SRCoulomb", "DFTD3", "D3BJ")
}
OTHER_CLASSES = {"torch.nn.GELU"}
FORBIDDEN_KEYS = {"ptfile", "fn", "trainer", "evaluator"}
MAX_YAML = 100_000
MAX_NODES = 10_000


def read_pt(path: Path) -> Checkpoint:
    """A single network from a ``.pt`` artifact.

    Raises
    ------
    UnsafeCheckpointError
        When the file holds more than tensors and plain values, is TorchScript, or names a class that is not allowed.
    CheckpointCorruptError
        When it is truncated or damaged.
    CheckpointMismatchError
        When it describes something this package does not have.
    """
    data = path.read_bytes()
    values = _read_plain(data, path)
    if not isinstance(values, dict) or not isinstance(values.get("state_dict"), dict):
        raise CheckpointMismatchError(f"{path}: not a model artifact: expected a mapping with 'state_dict'")
    state = values["state_dict"]
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise CheckpointMismatchError(f"{path}: 'state_dict' holds something else than named tensors")
    metadata = {key: value for key, value in values.items() if key != "state_dict"}
    return _checkpoint(metadata, [state], path)


def read_directory(path: Path) -> Checkpoint:
    """An ensemble from ``config.json`` and ``ensemble_{k}.safetensors``."""
    config_path = path / "config.json"
    try:
        metadata = json.loads(config_path.read_bytes())
    except ValueError as error:
        raise CheckpointCorruptError(f"{config_path} is not valid JSON: {error}") from error
    if not isinstance(metadata, dict) or "model_yaml" not in metadata:
        raise CheckpointMismatchError(
            f"{config_path} has no 'model_yaml': directories that only name an entry of a registry are not supported; "
            "use the .pt file of the model"
        )
    routing = {"config_schema_version", "family_name", "member_names", "ensemble_size"}
    metadata = {key: value for key, value in metadata.items() if key not in routing}
    _validate(metadata, config_path)
    files = sorted(path.glob("ensemble_*.safetensors"), key=lambda file: int(file.stem.split("_")[1]))
    if not files:
        raise FileNotFoundError(f"{path} has no ensemble_0.safetensors")
    return _checkpoint(metadata, [unpack_weights(file.read_bytes(), str(file), allow_nan=True) for file in files], path)


def _read_plain(data: bytes, path: Path) -> Any:
    if not data:
        raise CheckpointCorruptError(f"{path} is empty")
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if any("/code/" in name for name in archive.namelist()):
                raise UnsafeCheckpointError(f"{path} is a TorchScript program, not a weights file; see trusted=True")
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error) or "Unsupported" in str(error) or "GLOBAL" in str(error):
            raise UnsafeCheckpointError(
                f"{path} holds Python objects that would run code when read; only tensors and plain values are allowed"
            ) from error
        raise CheckpointCorruptError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointCorruptError(f"{path} is truncated or damaged: {str(error).splitlines()[0:1]}") from error


def _checkpoint(metadata: Mapping[str, Any], states: list[dict[str, Tensor]], path: Path) -> Checkpoint:
    _validate(metadata, path)
    networks = [
        network_from_state(state, metadata["implemented_species"], f"{path} member {k}")
        for k, state in enumerate(states)
    ]
    if len({config for config, _ in networks}) != 1:
        raise CheckpointMismatchError(f"{path}: the networks of the ensemble differ in size")
    coulomb = metadata.get("coulomb_mode", "none") == "sr_embedded"
    dispersion = None
    if metadata.get("needs_dispersion"):
        parameters = metadata["d3_params"]
        dispersion = "d3bj:" + ",".join(
            f"{key}={float(parameters.get(key, 1.0))!r}" for key in ("s6", "s8", "a1", "a2")
        )
    config = ModelConfig(
        kind="aimnet2",
        arguments=networks[0][0].to_dict(),
        n_members=len(networks),
        fidelities=(Fidelity(name=str(metadata.get("family") or path.stem), dispersion=dispersion),),
        coulomb="simple" if coulomb else None,
        coulomb_range=float(metadata["coulomb_sr_rc"]) if coulomb else None,
        neutral_only=metadata.get("supports_charged_systems") is False,
        provenance={"source": path.name},
    )
    return Checkpoint(config, ensemble_weights([weights for _, weights in networks]))


def _validate(metadata: Mapping[str, Any], path: Path) -> None:
    """Check an artifact's metadata before any weight is used."""

    def need(condition: bool, message: str) -> None:
        if not condition:
            raise CheckpointMismatchError(f"{path}: {message}")

    need(metadata.get("format_version", 2) == 2, f"format_version={metadata.get('format_version')!r}; expected 2")
    species = metadata.get("implemented_species")
    need(
        isinstance(species, (list, tuple)) and len(species) > 0 and all(type(z) is int for z in species),
        f"implemented_species={species!r}; expected a list of atomic numbers",
    )
    mode = metadata.get("coulomb_mode", "none")
    need(mode in ("none", "sr_embedded"), f"coulomb_mode={mode!r}; 'none' and 'sr_embedded' are supported")
    need(
        bool(metadata.get("needs_coulomb", False)) == (mode == "sr_embedded"), "needs_coulomb contradicts coulomb_mode"
    )
    if mode == "sr_embedded":
        reach = metadata.get("coulomb_sr_rc")
        need(isinstance(reach, (int, float)) and reach > 0, f"coulomb_sr_rc={reach!r}; expected a positive length")
        envelope = metadata.get("coulomb_sr_envelope")
        need(envelope == "exp", f"coulomb_sr_envelope={envelope!r}; 'exp' is supported")
    need(not metadata.get("has_embedded_d3ts", False), "an embedded D3TS dispersion is not supported")
    if metadata.get("needs_dispersion"):
        parameters = metadata.get("d3_params")
        need(
            isinstance(parameters, Mapping) and {"s8", "a1", "a2"} <= parameters.keys(),
            f"d3_params={parameters!r}; s8, a1 and a2 are needed",
        )
    _check_yaml(metadata.get("model_yaml"), path)


def _check_yaml(text: Any, path: Path) -> None:
    """Compare every class that a model description names with the allow-list."""
    if not isinstance(text, str) or len(text) > MAX_YAML:
        raise CheckpointMismatchError(f"{path}: model_yaml is missing or longer than {MAX_YAML} characters")
    try:
        tokens = list(yaml.scan(text, Loader=yaml.SafeLoader))
        if any(isinstance(token, yaml.AliasToken) for token in tokens) or len(tokens) > MAX_NODES:
            raise UnsafeCheckpointError(f"{path}: model_yaml uses aliases or is too large")
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise UnsafeCheckpointError(f"{path}: model_yaml cannot be read safely: {error}") from error
    if not isinstance(tree, dict) or tree.get("class") not in MODEL_CLASSES:
        found = tree.get("class") if isinstance(tree, dict) else type(tree).__name__
        raise UnsafeCheckpointError(f"{path}: unknown architecture {found!r}; known: {sorted(MODEL_CLASSES)}")
    allowed = MODEL_CLASSES | OUTPUT_CLASSES | OTHER_CLASSES
    pending: list[Any] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if FORBIDDEN_KEYS & node.keys():
                raise UnsafeCheckpointError(f"{path}: model_yaml has {sorted(FORBIDDEN_KEYS & node.keys())}")
            pending += list(node.values())
            named = [node[key] for key in ("class", "activation_fn") if key in node]
            unknown = [name for name in named if name not in allowed]
            if unknown:
                raise UnsafeCheckpointError(f"{path}: unknown architecture {unknown[0]!r} in model_yaml")
        elif isinstance(node, list):
            pending += node
        elif isinstance(node, str) and (node.endswith((".yml", ".yaml")) or "{{" in node):
            raise UnsafeCheckpointError(f"{path}: model_yaml refers to another file or template: {node!r}")
