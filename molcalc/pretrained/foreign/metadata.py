"""Checks of the metadata that AIMNet2 files of the second generation carry.

Nothing in them is ever built or opened. A file is accepted when it describes what this package's network and energy
terms compute, and refused otherwise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from molcalc.errors import CheckpointMismatchError, UnsafeCheckpointError, short

MODEL_CLASSES = {"aimnet.models.AIMNet2", "aimnet.models.aimnet2.AIMNet2"}
_MODULES = ("aimnet.modules.", "aimnet.modules.core.", "aimnet.modules.lr.")
PART_CLASSES = {module + name for module in _MODULES for name in ("Output", "AtomicShift", "AtomicSum", "SRCoulomb")}
EMBEDDED_CLASSES = {module + name for module in _MODULES for name in ("LRCoulomb", "DFTD3", "D3BJ", "D3TS")}
OTHER_CLASSES = {"torch.nn.GELU"}
FORBIDDEN_KEYS = {"ptfile", "fn", "trainer", "evaluator"}
MAX_YAML = 100_000
MAX_NODES = 10_000
MAX_METADATA_DEPTH = 30
_PLAIN = re.compile(r"[\w.+ -]*")
"""Names, class paths and numbers: no file paths, templates or markup."""
_NAME = re.compile(r"[\w.+() -]{1,100}")


def validate(metadata: Mapping[str, Any], path: Path) -> None:
    """Check an artifact's metadata before any weight is used.

    Raises
    ------
    CheckpointMismatchError
        When a value is missing, of the wrong type, contradicts another one, or asks for what is not supported.
    UnsafeCheckpointError
        When the model description names a class that is not allowed, a file or a template.
    """

    def need(condition: bool, message: str) -> None:
        if not condition:
            raise CheckpointMismatchError(f"{path}: {message}")

    def show(key: str) -> str:
        return f"{key}={short(metadata.get(key))}"

    for key in (
        "needs_coulomb",
        "needs_dispersion",
        "has_embedded_lr",
        "has_embedded_d3ts",
        "supports_charged_systems",
    ):
        need(isinstance(metadata.get(key, False), bool), f"{show(key)}; expected true or false")
    version = metadata.get("format_version", 2)
    need(type(version) is int and version == 2, f"{show('format_version')}; expected 2")
    family = metadata.get("family")
    need(family is None or _is_name(family), f"{show('family')}; expected a short name")
    species = metadata.get("implemented_species")
    need(
        isinstance(species, (list, tuple)) and 0 < len(species) <= 118 and all(type(z) is int for z in species),
        f"{show('implemented_species')}; expected a list of atomic numbers",
    )
    cutoff = metadata.get("cutoff")
    need(cutoff is None or _is_number(cutoff), f"{show('cutoff')}; expected a positive length in Å")
    mode = metadata.get("coulomb_mode", "none")
    need(mode in ("none", "sr_embedded"), f"{show('coulomb_mode')}; 'none' and 'sr_embedded' are supported")
    embedded = mode == "sr_embedded"
    need(
        metadata.get("needs_coulomb", False) == embedded, f"{show('needs_coulomb')} contradicts {show('coulomb_mode')}"
    )
    need(
        metadata.get("has_embedded_lr", embedded) == embedded,
        f"{show('has_embedded_lr')} contradicts {show('coulomb_mode')}",
    )
    if embedded:
        reach = metadata.get("coulomb_sr_rc")
        need(_is_number(reach), f"{show('coulomb_sr_rc')}; expected a positive length in Å")
        need(cutoff is None or reach <= cutoff, f"{show('coulomb_sr_rc')} is beyond {show('cutoff')}")
        need(metadata.get("coulomb_sr_envelope") == "exp", f"{show('coulomb_sr_envelope')}; 'exp' is supported")
    need(not metadata.get("has_embedded_d3ts", False), "an embedded D3TS dispersion is not supported")
    if metadata.get("needs_dispersion"):
        parameters = metadata.get("d3_params")
        need(
            isinstance(parameters, Mapping)
            and {"s8", "a1", "a2"} <= parameters.keys()
            and all(_is_number(parameters.get(key, 1.0), positive=False) for key in ("s6", "s8", "a1", "a2")),
            f"{show('d3_params')}; s8, a1 and a2 are needed as numbers",
        )
    classes = _read_classes(metadata.get("model_yaml"), path)
    need(
        not classes & EMBEDDED_CLASSES,
        f"model_yaml embeds {sorted(classes & EMBEDDED_CLASSES)}, which is not supported",
    )
    has_short_range = any(name.endswith(".SRCoulomb") for name in classes)
    need(has_short_range == embedded, f"{show('coulomb_mode')} contradicts the SRCoulomb part in model_yaml")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_number(value: Any, positive: bool = True) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or abs(value) > 1e6:
        return False
    return math.isfinite(value) and (value > 0 or not positive)


def _read_classes(text: Any, path: Path) -> set[str]:
    """Names of all classes in a model description, each found on the list of those allowed."""
    if not isinstance(text, str) or len(text) > MAX_YAML:
        raise CheckpointMismatchError(f"{path}: model_yaml is missing or longer than {MAX_YAML} characters")
    _check_tokens(text, path)
    try:
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, KeyError) as error:
        raise CheckpointMismatchError(f"{path}: model_yaml cannot be read: {str(error)[:200]}") from error
    if not isinstance(tree, dict) or not _is_in(tree.get("class"), MODEL_CLASSES):
        found = tree.get("class") if isinstance(tree, dict) else tree
        raise UnsafeCheckpointError(f"{path}: unknown architecture {short(found)}; known: {sorted(MODEL_CLASSES)}")
    allowed = MODEL_CLASSES | PART_CLASSES | EMBEDDED_CLASSES | OTHER_CLASSES
    classes: set[str] = set()
    pending: list[Any] = [tree]
    visited = 0
    while pending:
        node = pending.pop()
        visited += 1
        if visited > MAX_NODES:  # aliases make a short text a large tree
            raise UnsafeCheckpointError(f"{path}: model_yaml is too large")
        if isinstance(node, dict):
            forbidden = sorted(FORBIDDEN_KEYS & {str(key) for key in node})
            if forbidden:
                raise UnsafeCheckpointError(f"{path}: model_yaml has {forbidden}")
            pending += [*node.keys(), *node.values()]
            for name in [node[key] for key in ("class", "activation_fn") if key in node]:
                if not _is_in(name, allowed):
                    raise UnsafeCheckpointError(f"{path}: unknown architecture {short(name)} in model_yaml")
                classes.add(name)
        elif isinstance(node, list):
            pending += node
        elif isinstance(node, str) and (not _PLAIN.fullmatch(node) or node.endswith((".yml", ".yaml"))):
            raise UnsafeCheckpointError(f"{path}: model_yaml refers to another file or template: {short(node)}")
    return classes


def _is_in(name: Any, allowed: set[str]) -> bool:
    return isinstance(name, str) and name in allowed


def _check_tokens(text: str, path: Path) -> None:
    """Refuse tags, merged mappings, deep nesting and sheer size before anything is constructed."""
    depth = 0
    opening = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken, yaml.BlockSequenceStartToken)
    closing = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
    try:
        for count, token in enumerate(yaml.scan(text, Loader=yaml.SafeLoader)):
            depth += isinstance(token, (*opening, yaml.BlockMappingStartToken)) - isinstance(token, closing)
            if isinstance(token, yaml.TagToken) or (isinstance(token, yaml.ScalarToken) and token.value == "<<"):
                raise UnsafeCheckpointError(f"{path}: model_yaml uses tags or merged mappings")
            if count > MAX_NODES or depth > MAX_METADATA_DEPTH:
                raise UnsafeCheckpointError(f"{path}: model_yaml is too large or nested too deeply")
    except (yaml.YAMLError, ValueError) as error:
        raise CheckpointMismatchError(f"{path}: model_yaml cannot be read: {str(error)[:200]}") from error
