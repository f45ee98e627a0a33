"""Translation of the AIMNet2 authors' weight names and sizes into this package's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from molcalc.errors import CheckpointCorruptError, CheckpointMismatchError
from molcalc.models.aimnet2 import AIMNet2Config, AIMNet2Network

_RENAMES = (
    (r"afv\.weight", "embedding"),
    (r"conv_a\.agh", "conv_features"),
    (r"conv_q\.agh", "conv_charges"),
    (r"mlps\.(\d{1,3})\.(\d{1,3})\.(weight|bias)", r"passes.\1.\2.\3"),
    (r"outputs\.energy_mlp\.mlp\.(\d{1,3})\.(weight|bias)", r"energy_heads.0.\1.\2"),
    (r"outputs\.atomic_shift\.shifts\.weight", "shifts"),
)
_GEOMETRY = re.compile(r"aev\.(rc|eta|shifts)_[sv]")
_TERMS = re.compile(r"outputs\.(lrcoulomb\.rc|srcoulomb\.rc|d3bj\.\w+|dftd3\.\w+)")
_RADIAL_TOLERANCE = 1e-5
"""Relative; the files hold single precision."""
_DIMENSIONS = {"embedding": 2, "conv_features": 3, "conv_charges": 3, "weight": 2, "bias": 1}


def network_from_state(
    state: Mapping[str, Tensor], elements: Iterable[int] | None = None, where: str = "state_dict"
) -> tuple[AIMNet2Config, dict[str, Tensor]]:
    """Sizes and weights of one AIMNet2 network from its published state dictionary.

    Parameters
    ----------
    elements : trained atomic numbers; None takes those with a non-zero reference energy.

    Returns
    -------
    configuration, and weights of one fidelity under this package's names with reference energies in float64. Rows of
    untrained elements, which some files fill with NaN, are set to zero: they are never used.

    Raises
    ------
    CheckpointMismatchError
        For a missing or unexpected entry, or sizes that contradict each other.
    CheckpointCorruptError
        For weights that are not finite.
    """
    weights = _renamed(state, where)
    needed = {"embedding", "conv_features", "conv_charges", "shifts", "passes.0.0.weight", "energy_heads.0.0.weight"}
    missing = sorted(needed - weights.keys()) + [name for name in ("aev.rc_s", "aev.shifts_s") if name not in state]
    if missing:
        raise CheckpointMismatchError(f"{where}: not an AIMNet2 network: missing {missing}")
    for name, value in weights.items():
        dimensions = _DIMENSIONS.get(name.rsplit(".", 1)[-1], value.ndim)
        if value.ndim != dimensions or value.numel() == 0:
            raise CheckpointMismatchError(
                f"{where}: {name} has shape {tuple(value.shape)}; expected {dimensions} dimensions"
            )
    weights["embedding"], weights["shifts"] = weights["embedding"][None], weights["shifts"].double().reshape(1, -1)
    trained = _trained(weights["shifts"][0]) if elements is None else tuple(sorted({int(z) for z in elements}))
    config = _sizes(state, weights, trained, where)
    _check_shapes(config, weights, where)
    untrained = torch.ones(config.max_number + 1, dtype=torch.bool)
    untrained[list(trained)] = False
    weights["embedding"][0, untrained] = 0.0
    weights["shifts"][0, untrained] = 0.0
    bad = sorted(name for name, value in weights.items() if not torch.isfinite(value).all())
    if bad:
        raise CheckpointCorruptError(f"{where}: weights are not finite: {', '.join(bad[:5])}")
    return config, weights


def _renamed(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Copies of the learned arrays, at least in float32, under this package's names."""
    weights: dict[str, Tensor] = {}
    unexpected = []
    for key, value in state.items():
        if value.is_complex():
            raise CheckpointMismatchError(f"{where}: {key} holds complex numbers")
        for pattern, replacement in _RENAMES:
            if re.fullmatch(pattern, key):
                if not value.is_floating_point():
                    raise CheckpointMismatchError(f"{where}: {key} is of type {value.dtype}; expected real numbers")
                copy = value.detach().clone()
                weights[re.sub(pattern, replacement, key)] = copy if copy.dtype == torch.float64 else copy.float()
                break
        else:
            if not _GEOMETRY.fullmatch(key) and not _TERMS.fullmatch(key):
                unexpected.append(key)
    if unexpected:
        raise CheckpointMismatchError(f"{where}: unexpected entries {sorted(unexpected)[:5]}")
    return weights


def _trained(shifts: Tensor) -> tuple[int, ...]:
    return tuple(int(z) for z in torch.nonzero(shifts.nan_to_num(0.0))[:, 0] if z > 0)


def _sizes(
    state: Mapping[str, Tensor], weights: Mapping[str, Tensor], trained: tuple[int, ...], where: str
) -> AIMNet2Config:
    n_channels, n_radial, n_vector = weights["conv_features"].shape
    start, cutoff = _radial_range(state, n_radial, where)
    passes = {int(key.split(".")[1]) for key in weights if key.startswith("passes.")}
    if passes != set(range(len(passes))):
        raise CheckpointMismatchError(f"{where}: passes {sorted(passes)} are not numbered without gaps")
    widths = [_widths(weights, f"passes.{t}.") for t in range(len(passes))]
    if not all(widths):
        raise CheckpointMismatchError(f"{where}: a pass has biases but no weights")
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
            energy_hidden=tuple(_widths(weights, "energy_heads.0.")[:-1]),
            max_number=weights["embedding"].shape[1] - 1,
            exact_charges=False,
        )
    except ValueError as error:
        raise CheckpointMismatchError(f"{where}: {error}") from error


def _radial_range(state: Mapping[str, Tensor], n_radial: int, where: str) -> tuple[float, float]:
    """Center of the first radial function and cutoff in Å, when all are as this package computes them."""
    if state["aev.rc_s"].numel() != 1 or state["aev.shifts_s"].shape != (n_radial,):
        raise CheckpointMismatchError(
            f"{where}: aev.shifts_s has shape {tuple(state['aev.shifts_s'].shape)}; expected ({n_radial},) and one "
            "cutoff aev.rc_s"
        )
    centers, cutoff = state["aev.shifts_s"].double(), float(state["aev.rc_s"])
    start = float(centers[0])
    spacing = (cutoff - start) / n_radial
    if not (0.0 < spacing < float("inf") and start >= 0.0):
        raise CheckpointMismatchError(f"{where}: no room for radial functions between {start} Å and {cutoff} Å")
    expected = {
        "aev.rc": torch.tensor(cutoff, dtype=torch.float64),
        "aev.eta": torch.tensor(spacing**-2, dtype=torch.float64),
        "aev.shifts": start + spacing * torch.arange(n_radial, dtype=torch.float64),
    }
    for name, values in expected.items():
        for key in (f"{name}_s", f"{name}_v"):
            if key in state and not _agree(state[key], values):
                raise CheckpointMismatchError(
                    f"{where}: {key} is not that of radial functions evenly spaced between {start:.3f} Å and the "
                    f"cutoff of {cutoff} Å"
                )
    return start, cutoff


def _agree(found: Tensor, expected: Tensor) -> bool:
    if found.numel() != expected.numel():
        return False
    return torch.allclose(found.double().reshape(expected.shape), expected, rtol=_RADIAL_TOLERANCE)


def _widths(weights: Mapping[str, Tensor], prefix: str) -> list[int]:
    """Output widths of the linear layers of an MLP, in order."""
    layers = [key for key in weights if key.startswith(prefix) and key.endswith(".weight")]
    layers.sort(key=lambda key: int(key.split(".")[-2]))
    return [weights[key].shape[0] for key in layers]


def _check_shapes(config: AIMNet2Config, weights: Mapping[str, Tensor], where: str) -> None:
    with torch.device("meta"):
        expected = {name: tuple(v.shape) for name, v in AIMNet2Network(config).state_dict().items()}
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
