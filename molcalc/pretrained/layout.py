"""Translation of the AIMNet2 authors' weight names and sizes into this package's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from molcalc.errors import CheckpointMismatchError
from molcalc.models.aimnet2 import AIMNet2, AIMNet2Config

_RENAMES = (
    (r"^afv\.weight$", "embedding"),
    (r"^conv_a\.agh$", "conv_features"),
    (r"^conv_q\.agh$", "conv_charges"),
    (r"^mlps\.(\d+)\.(\d+)\.(weight|bias)$", r"passes.\1.\2.\3"),
    (r"^outputs\.energy_mlp\.mlp\.(\d+)\.(weight|bias)$", r"energy_head.\1.\2"),
    (r"^outputs\.atomic_shift\.shifts\.weight$", "shifts"),
)
_GEOMETRY = re.compile(r"^aev\.(rc|eta|shifts)_[sv]$")
_TERMS = re.compile(r"^outputs\.(lrcoulomb\.rc|srcoulomb\.rc|d3bj\.\w+|dftd3\.\w+)$")


def network_from_state(
    state: Mapping[str, Tensor], elements: Iterable[int] | None = None, where: str = "state_dict"
) -> tuple[AIMNet2Config, dict[str, Tensor]]:
    """Sizes and weights of one AIMNet2 network from its published state dictionary.

    Parameters
    ----------
    elements : trained atomic numbers; None takes those with a non-zero reference energy.

    Returns
    -------
    configuration, and weights under this package's names with reference energies in float64. Rows of untrained
    elements, which some files fill with NaN, are set to zero: they are never used.

    Raises
    ------
    CheckpointMismatchError
        For a missing or unexpected entry, or sizes that contradict each other.
    """
    weights: dict[str, Tensor] = {}
    unexpected = []
    for key, value in state.items():
        for pattern, replacement in _RENAMES:
            if re.match(pattern, key):
                weights[re.sub(pattern, replacement, key)] = value.detach().clone()
                break
        else:
            if not _GEOMETRY.match(key) and not _TERMS.match(key):
                unexpected.append(key)
    if unexpected:
        raise CheckpointMismatchError(f"{where}: unexpected entries {sorted(unexpected)[:5]}")
    needed = {"embedding", "conv_features", "conv_charges", "shifts", "passes.0.0.weight", "energy_head.0.weight"}
    if not needed <= weights.keys() or "aev.shifts_s" not in state or "aev.rc_s" not in state:
        raise CheckpointMismatchError(f"{where}: not an AIMNet2 network: missing {sorted(needed - weights.keys())}")
    weights["shifts"] = weights["shifts"].double().reshape(-1)
    trained = _trained(weights["shifts"]) if elements is None else tuple(sorted(int(z) for z in elements))
    config = _sizes(state, weights, trained, where)
    untrained = torch.ones(config.max_number + 1, dtype=torch.bool)
    untrained[list(trained)] = False
    weights["embedding"][untrained] = 0.0
    weights["shifts"][untrained] = 0.0
    _check_shapes(config, weights, where)
    return config, weights


def _trained(shifts: Tensor) -> tuple[int, ...]:
    return tuple(int(z) for z in torch.nonzero(shifts.nan_to_num(0.0))[:, 0] if z > 0)


def _sizes(
    state: Mapping[str, Tensor], weights: Mapping[str, Tensor], trained: tuple[int, ...], where: str
) -> AIMNet2Config:
    centers, cutoff = state["aev.shifts_s"].double(), float(state["aev.rc_s"])
    start = float(centers[0])
    spacing = (cutoff - start) / len(centers)
    expected = start + spacing * torch.arange(len(centers), dtype=torch.float64)
    eta = float(state["aev.eta_s"]) if "aev.eta_s" in state else spacing**-2
    if (centers - expected).abs().max() > 1e-5 or abs(eta * spacing**2 - 1.0) > 1e-5:
        raise CheckpointMismatchError(
            f"{where}: radial functions are not evenly spaced between {start:.3f} Å and the cutoff of {cutoff} Å"
        )
    n_channels, n_radial, n_vector = weights["conv_features"].shape
    n_passes = 1 + max(int(key.split(".")[1]) for key in weights if key.startswith("passes."))
    widths = [_widths(weights, f"passes.{t}.") for t in range(n_passes)]
    try:
        return AIMNet2Config(
            elements=trained,
            charge_channels=weights["conv_charges"].shape[0],
            n_channels=n_channels,
            n_radial=n_radial,
            n_vector=n_vector,
            cutoff=cutoff,
            first_center=round(start, 6),
            hidden=tuple(tuple(width[:-1]) for width in widths),
            aim_size=widths[-1][-1],
            energy_hidden=tuple(_widths(weights, "energy_head.")[:-1]),
            max_number=len(weights["embedding"]) - 1,
            exact_charges=False,
        )
    except ValueError as error:
        raise CheckpointMismatchError(f"{where}: {error}") from error


def _widths(weights: Mapping[str, Tensor], prefix: str) -> list[int]:
    """Output widths of the linear layers of an MLP, in order."""
    layers = [key for key in weights if key.startswith(prefix) and key.endswith(".weight")]
    layers.sort(key=lambda key: int(key.split(".")[-2]))
    return [weights[key].shape[0] for key in layers]


def _check_shapes(config: AIMNet2Config, weights: Mapping[str, Tensor], where: str) -> None:
    with torch.device("meta"):
        expected = {name: tuple(v.shape) for name, v in AIMNet2(config).state_dict().items()}
    actual = {name: tuple(value.shape) for name, value in weights.items()}
    wrong = sorted(name for name in expected.keys() | actual if expected.get(name) != actual.get(name))
    if wrong:
        name = wrong[0]
        raise CheckpointMismatchError(
            f"{where}: {name} has shape {actual.get(name)}; expected {expected.get(name)} for these sizes"
        )


def ensemble_weights(members: list[dict[str, Tensor]]) -> dict[str, Any]:
    """Weights of several networks under the names of a checkpoint."""
    return {f"members.{k}.{name}": value for k, member in enumerate(members) for name, value in member.items()}
