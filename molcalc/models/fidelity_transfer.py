"""Networks of other fidelities that start from a given one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from molcalc.errors import ConfigError
from molcalc.models.aimnet2 import AIMNet2Config, AIMNet2Network


def with_fidelities(network: AIMNet2Network, sources: Sequence[int], **changes: Any) -> AIMNet2Network:
    """A network that predicts at each of its fidelities what a given one predicts at a source.

    Parameters
    ----------
    network : of one or several fidelities.
    sources : fidelity of ``network`` that each new one starts from.
    changes : fields of :class:`molcalc.models.aimnet2.AIMNet2Config` that turn on what ``network`` does not have:
        ``bases``, ``charge_heads``, ``charge_hidden``; and ``embeddings`` and ``readouts`` where it has a single
        fidelity.

    Returns
    -------
    A network of ``len(sources)`` fidelities; ``network`` stays as it is.

    Raises
    ------
    ConfigError
        When embeddings or readouts that are separate are to be shared (or the reverse), or a corrected fidelity is left
        out.
    """
    old, given = _given(network, changes)
    settings = {**asdict(old), "n_fidelities": len(sources), "bases": _carried(old, sources), **changes}
    config = type(old)(**settings)
    with torch.random.fork_rng(devices=[]):
        result = type(network)(config).initialize()
    tables = {"shifts", "embedding_offsets"} | ({"embedding"} if config.embeddings == "separate" else set())
    picked = torch.tensor(list(sources))
    state = result.to(network.embedding.dtype).state_dict()
    for name, fresh in state.items():
        kind, _, rest = name.partition("_heads.")
        if rest:
            fidelity, _, parameter = rest.partition(".")
            source = sources[int(fidelity)]
            begins = kind == "energy" and _begins_at_zero(config, int(fidelity), old, sources)
            head = old.readout(source) if kind == "energy" else source
            value = fresh if begins else given.get(f"{kind}_heads.{head}.{parameter}", fresh)
        else:
            value = given[name].index_select(0, picked) if name in tables else given[name]
        state[name] = value.detach().clone()
    result.load_state_dict(state, strict=True, assign=True)
    return result


def _given(network: AIMNet2Network, changes: Mapping[str, Any]) -> tuple[AIMNet2Config, dict[str, Tensor]]:
    """Configuration and weights that a new network starts from, with the kind of embeddings it is to have."""
    old, given = network.config, network.state_dict()
    readouts = changes.get("readouts", old.readouts)
    if readouts != old.readouts and old.n_fidelities > 1:
        raise ConfigError(
            f"readouts={readouts!r}: this model of {old.n_fidelities} fidelities has {old.readouts!r} ones; leave the "
            "option out"
        )
    wanted = changes.get("embeddings", old.embeddings)
    if wanted == old.embeddings:
        return old, given
    if old.n_fidelities > 1 or wanted != "shared":
        raise ConfigError(
            f"embeddings={wanted!r}: this model of {old.n_fidelities} fidelities has {old.embeddings!r} ones; leave "
            "the option out"
        )
    given["embedding"] = given["embedding"][0]
    given["embedding_offsets"] = torch.zeros_like(given["embedding"][:1])
    return replace(old, embeddings=wanted), given


def _begins_at_zero(config: AIMNet2Config, fidelity: int, old: AIMNet2Config, sources: Sequence[int]) -> bool:
    """Whether the energy head of a new fidelity starts at zero, not as that of its source."""
    source = sources[fidelity]
    base, old_base = config.base(fidelity), old.base(source)
    if base is not None and sources[base] == source:
        return True
    if old_base != (None if base is None else sources[base]):
        raise ConfigError(
            f"bases={config.bases}: fidelity {fidelity} starts from fidelity {source} of the given model, which does "
            f"not correct the one that fidelity {base} starts from"
        )
    return False


def _carried(old: AIMNet2Config, sources: Sequence[int]) -> tuple[int | None, ...]:
    """Bases of fidelities that start from given ones."""
    if not old.bases:
        return ()
    bases = [old.bases[source] for source in sources]
    lost = [source for source, base in zip(sources, bases) if base is not None and base not in sources]
    if lost:
        raise ConfigError(f"fidelity {lost[0]} corrects fidelity {old.bases[lost[0]]}, which is left out: keep both")
    return tuple(None if base is None else list(sources).index(base) for base in bases)
