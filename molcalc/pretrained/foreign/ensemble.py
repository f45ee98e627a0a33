"""TorchScript files in the style of the published ensembles: one network, or several under ``models``."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from torch import Tensor

from molcalc.errors import CheckpointMismatchError
from molcalc.fidelity import Fidelity
from molcalc.io.checkpoint import Checkpoint, ModelConfig
from molcalc.pretrained.foreign.layout import ensemble_weights, network_from_state
from molcalc.pretrained.foreign.torchscript import D3_PARAMETERS

log = logging.getLogger(__name__)

_RANGE = "outputs.lrcoulomb.rc"


def convert_ensemble(state: Mapping[str, Tensor], fidelity: Fidelity, provenance: Mapping[str, str]) -> Checkpoint:
    """Model in the state dictionary of a TorchScript file in the style of the published ensembles.

    Parameters
    ----------
    fidelity : of the model, which the file does not name; its dispersion completes the energy.
    provenance : of the model; "source" is named in messages.

    Returns
    -------
    model of one fidelity with all members

    Raises
    ------
    CheckpointMismatchError
        When the networks differ, or it is none of this style.
    CheckpointCorruptError
        For weights that are not finite.
    """
    source = provenance["source"]
    members = _members(state)
    networks = [network_from_state(member, where=f"{source} {prefix}".strip()) for prefix, member in members.items()]
    configs = {config for config, _ in networks}
    if len(configs) != 1:
        raise CheckpointMismatchError(f"{source}: the networks of the ensemble differ in size or elements")
    ranges = {float(member[_RANGE]) for member in members.values() if _RANGE in member}
    if len(ranges) != 1 or any(_RANGE not in member for member in members.values()):
        raise CheckpointMismatchError(f"{source}: not one range of long-range Coulomb ({_RANGE})")
    config = ModelConfig(
        kind="aimnet2",
        arguments=configs.pop().to_dict(),
        n_members=len(networks),
        fidelities=(fidelity,),
        coulomb="simple",
        coulomb_range=round(ranges.pop(), 6),
        provenance=dict(provenance),
    )
    return Checkpoint(config, ensemble_weights([weights for _, weights in networks]))


def embedded_dispersion(state: Mapping[str, Tensor], source: str) -> str | None:
    """Dispersion with the parameters that a program holds, as a model declares it; None without, or unreadable."""
    first = next(iter(_members(state).values()))
    terms = {key.split(".")[1] for key in first if key.startswith(("outputs.d3bj.", "outputs.dftd3."))}
    for term in terms:
        values = {key: first.get(f"outputs.{term}.{key}") for key in D3_PARAMETERS}
        if all(value is not None for value in values.values()):
            return "d3bj:" + ",".join(f"{key}={float(value)!r}" for key, value in values.items() if value is not None)
        log.warning("%s: the parameters of its D3 term cannot be read; give them as dispersion=D3Parameters(…)", source)
    return None


def _members(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Weights of each network by the beginning of their names."""
    members: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        parts = key.split(".")
        ensemble = parts[0] == "models" and len(parts) > 3
        prefix = ".".join(parts[:3]) + "." if ensemble else ""
        members.setdefault(prefix, {})[key[len(prefix) :]] = value
    return members
