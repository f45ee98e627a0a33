"""Weight files of several fidelities that share one AIMNet2: translated into one model of this package.

Such a file numbers element Z of fidelity f as Z + 200·f. Its tables hold (F − 1)·200 + 129 rows; energy heads and free
atoms stand under ``fidelity_readouts.{f}``, what all share under ``shared_readouts``, and some of it again under
``outputs`` and ``shared_readout``. A file of one fidelity has the names of the published networks. Labels are usually
learned without self-atomic energies, which then have to be added.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from molcalc.errors import CheckpointMismatchError, short, suggest
from molcalc.fidelity import Fidelity
from molcalc.io.checkpoint import Checkpoint, ModelConfig
from molcalc.models.aimnet2 import AIMNet2Config
from molcalc.pretrained.foreign.layout import ensemble_weights, network_from_state

log = logging.getLogger(__name__)

OFFSET = 200
"""Between the numbers of an element at two fidelities."""
LAST_ROWS = (129, 128)
"""Rows of the last fidelity in tables of several."""
HEAVIEST = 118
MANY = 60
"""Elements; no more are trained at once. Tables that are full have random values for those that were not."""
MAX_FIDELITIES = 64
SUBTRACTED = 5.0
"""eV. Free atoms have −13 eV and less; what is left when self-atomic energies were subtracted is smaller."""
_EMBEDDING, _SHIFTS = "afv.weight", "atomic_shift.shifts.weight"
_BACKBONE = re.compile(r"afv\.weight|conv_[aq]\.agh|mlps\..+|aev\..+")
_READOUT = re.compile(r"fidelity_readouts\.(\d{1,3})\.(.+)")
_SHARED = re.compile(r"(?:shared_readouts?|outputs)\.(.+)")
_HEAD = re.compile(r"energy_mlp\.mlp\.\d{1,3}\.(weight|bias)|atomic_shift\.shifts\.weight")
_RANGE = "lrcoulomb.rc"
_FIRST_HEAD = "energy_heads.0."


class _Parts(NamedTuple):
    """Weights by name: of the network, of the readouts of every fidelity, and of what they share."""

    backbone: dict[str, Tensor]
    readouts: list[dict[str, Tensor]]
    shared: dict[str, Tensor]


def is_weights(values: Any) -> bool:
    """Whether the content of a ``.pt`` file is weights alone, or weights under the key "model"."""
    return isinstance(values, Mapping) and "state_dict" not in values and _EMBEDDING in weights_in(values)


def weights_in(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Weights in the content of a ``.pt`` file of weights."""
    model = values.get("model")
    return model if isinstance(model, Mapping) else values


def checkpoint_of_weights(
    state: Mapping[str, Tensor],
    where: str,
    *,
    names: Sequence[str] | None = None,
    sae: Mapping[str, Mapping[int, float]] | None = None,
    elements: Mapping[str, Sequence[int]] | None = None,
) -> Checkpoint:
    """One model with all fidelities of a weight file.

    Parameters
    ----------
    state : arrays by their names in the file.
    where : named in messages.
    names : of the fidelities, in the order of the file; None calls them "0", "1", ….
    sae : self-atomic energies in eV by fidelity and atomic number, which are added to those of the file.
    elements : trained atomic numbers by fidelity; where left out, those with a self-atomic energy in ``sae``, else
        those whose own in the file is not zero.

    Returns
    -------
    model of one network with all fidelities

    Raises
    ------
    CheckpointMismatchError
        For a missing, unexpected or contradicting entry, and when it is not clear which elements were trained.
    CheckpointCorruptError
        For weights that are not finite.
    """
    parts = _sorted(state, where)
    called = _named(names, len(parts.readouts), where)
    added = _by_fidelity(sae or {}, called, "self-atomic energies", where)
    listed = _by_fidelity(elements or {}, called, "elements", where)
    blocks = _blocks(parts, where)
    trained: list[tuple[int, ...]] = []
    for name, block in zip(called, blocks):
        own = listed.get(name) or tuple(added.get(name, ())) or _trained(name, block, trained, where)
        trained.append(tuple(sorted({int(z) for z in own})))
    networks: list[tuple[AIMNet2Config, dict[str, Tensor]]] = []
    for name, block, own in zip(called, blocks, trained):
        sizes, weights = network_from_state(block, own, f"{where}: fidelity {name!r}")
        _warn(weights, own, name, not networks, name in added, where)
        _add(weights["shifts"][0], added.get(name, {}), own, name, where)
        networks.append((sizes, weights))
    levels = tuple(Fidelity(name=name, elements=own) for name, own in zip(called, trained))
    reach = parts.shared.get(_RANGE)
    sizes, joined = _joined(networks, where)
    config = ModelConfig(
        kind="aimnet2",
        arguments=sizes.to_dict(),
        fidelities=levels,
        coulomb=None if reach is None else "simple",
        coulomb_range=None if reach is None else round(_length(reach, where), 6),
        provenance={"source": where.rpartition("/")[2]},
    )
    return Checkpoint(config, ensemble_weights([joined]))


def _sorted(state: Mapping[str, Tensor], where: str) -> _Parts:
    """Weights by where they belong; what stands there twice must be equal."""
    backbone: dict[str, Tensor] = {}
    readouts: dict[int, dict[str, Tensor]] = {}
    others: dict[str, dict[str, Tensor]] = {}
    unexpected = []
    for key, stored in state.items():
        if not stored.is_floating_point():
            raise CheckpointMismatchError(f"{where}: {short(key)} is of type {stored.dtype}; expected real numbers")
        value = stored if stored.dtype == torch.float64 else stored.float()
        readout, shared = _READOUT.fullmatch(key), _SHARED.fullmatch(key)
        if _BACKBONE.fullmatch(key):
            backbone[key] = value
        elif readout and _HEAD.fullmatch(readout[2]):
            readouts.setdefault(int(readout[1]), {})[readout[2]] = value
        elif shared and (_HEAD.fullmatch(shared[1]) or shared[1] == _RANGE):
            others.setdefault(shared[1], {})[key] = value
        elif shared and shared[1].split(".")[0] in ("d3bj", "dftd3", "d3ts"):
            raise CheckpointMismatchError(
                f"{where}: {short(key)} belongs to a dispersion term inside the network, whose parameters the file "
                "does not hold; save the network without it, and name the dispersion in the calculator"
            )
        else:
            unexpected.append(key)
    if unexpected:
        raise CheckpointMismatchError(f"{where}: unexpected entries {short(sorted(unexpected)[:5])}")
    if _EMBEDDING not in backbone:
        raise CheckpointMismatchError(f"{where}: not an AIMNet2 network: missing {_EMBEDDING}")
    if not readouts:  # a file of one fidelity
        readouts[0] = {name: next(iter(found.values())) for name, found in others.items() if name != _RANGE}
    if sorted(readouts) != list(range(len(readouts))):
        raise CheckpointMismatchError(f"{where}: fidelity_readouts {sorted(readouts)} are not numbered without gaps")
    listed = [readouts[f] for f in range(len(readouts))]
    return _Parts(backbone, listed, _checked_copies(others, listed, where))


def _checked_copies(
    others: Mapping[str, Mapping[str, Tensor]], readouts: Sequence[Mapping[str, Tensor]], where: str
) -> dict[str, Tensor]:
    """What all fidelities share; weights that stand in the file several times must be equal."""
    for name, copies in others.items():
        originals = [readout[name] for readout in readouts if name in readout]
        if name == _RANGE:
            originals = list(copies.values())[:1]
        for key, copy in copies.items():
            if originals and not any(_equal(copy, value) for value in originals):
                raise CheckpointMismatchError(f"{where}: {key} is no copy of a {name} elsewhere in the file")
    return {_RANGE: next(iter(others[_RANGE].values()))} if _RANGE in others else {}


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | (one.isnan() & other.isnan())).all())


def _named(names: Sequence[str] | None, count: int, where: str) -> tuple[str, ...]:
    if count > MAX_FIDELITIES:
        raise CheckpointMismatchError(f"{where} has {count} fidelities; at most {MAX_FIDELITIES} are read")
    called = tuple(str(k) for k in range(count)) if names is None else tuple(names)
    if len(called) != count or len(set(called)) < count:
        raise CheckpointMismatchError(
            f"{where} has {count} fidelities; {len(called)} names are given ({', '.join(called)}): name each once"
        )
    return called


def _by_fidelity(values: Mapping[str, Any], names: Sequence[str], what: str, where: str) -> dict[str, Any]:
    for name in values:
        if name not in names:
            raise CheckpointMismatchError(
                f"{what} are given for fidelity {name!r}{suggest(name, names)}; {where} has {', '.join(names)}"
            )
    return dict(values)


def _blocks(parts: _Parts, where: str) -> list[dict[str, Tensor]]:
    """The weights of every fidelity, with the names of a network of one."""
    count = len(parts.readouts)
    blocks = []
    for f, readout in enumerate(parts.readouts):
        if _SHIFTS not in readout or not any(name.startswith("energy_mlp.") for name in readout):
            raise CheckpointMismatchError(f"{where}: fidelity {f} has no {_SHIFTS} or no energy_mlp")
        block = {name: value for name, value in parts.backbone.items() if name != _EMBEDDING}
        block[_EMBEDDING] = _rows(parts.backbone[_EMBEDDING], f, count, _EMBEDDING, where)
        for name, value in readout.items():
            whole = name != _SHIFTS or (value.ndim == 2 and len(value) in LAST_ROWS)  # a table of its own
            block[f"outputs.{name}"] = value if whole else _rows(value, f, count, name, where)
        block[f"outputs.{_SHIFTS}"] = block[f"outputs.{_SHIFTS}"][: len(block[_EMBEDDING])]
        blocks.append(block)
    return blocks


def _rows(table: Tensor, fidelity: int, count: int, name: str, where: str) -> Tensor:
    """Rows of the elements of one fidelity."""
    expected = [(count - 1) * OFFSET + rows for rows in LAST_ROWS]
    fits = table.ndim == 2 and (len(table) in expected or (count == 1 and len(table) <= LAST_ROWS[0]))
    if not fits:
        raise CheckpointMismatchError(
            f"{where}: {name} has shape {tuple(table.shape)}; expected {expected[0]} rows (fidelities: {count}, their "
            f"numbers {OFFSET} apart)"
        )
    first = fidelity * OFFSET
    return table[first : first + min(HEAVIEST + 1, len(table) - first)]


def _trained(name: str, block: Mapping[str, Tensor], before: Sequence[tuple[int, ...]], where: str) -> tuple[int, ...]:
    """Elements whose free atom has an energy."""
    shifts, embedding = block[f"outputs.{_SHIFTS}"].reshape(-1), block[_EMBEDDING]
    found = tuple(int(z) for z in torch.nonzero(shifts.nan_to_num(0.0))[:, 0] if z > 0)
    if not found and before and not embedding.any():
        return before[0]  # which is reported
    if not found or (len(found) == len(shifts) - 1 and len(found) > MANY):
        heard = "none" if not found else f"{len(found)} of them, up to Z={found[-1]}"
        raise CheckpointMismatchError(
            f"{where}: which elements fidelity {name!r} was trained on is not clear from its free atoms (not zero: "
            f"{heard}); give them with elements={{{name!r}: [1, 6, …]}}, or with its self-atomic energies "
            f"(molcalc convert --sae {name}=FILE.yaml)"
        )
    return found


def _warn(
    weights: Mapping[str, Tensor],
    elements: Sequence[int],
    name: str,
    first: bool,
    completed: bool,
    where: str,
) -> None:
    """Report what makes predictions at a fidelity wrong although the file can be read."""
    if not first and not weights["embedding"][0, list(elements)].any():
        log.warning(
            "%s: the embedding of fidelity %r is zero for all elements, which it cannot tell apart: its weights were "
            "transferred from a model of one fidelity without that embedding. Use the first fidelity, or train this "
            "one from it (fidelities.%s.like)", where, name, name,
        )  # fmt: skip
    if not completed and float(weights["shifts"].abs().max()) < SUBTRACTED:
        log.warning(
            "%s: fidelity %r was trained without self-atomic energies; its energies are relative to those. Add them "
            "with molcalc convert --sae %s=FILE.yaml", where, name, name,
        )  # fmt: skip


def _add(shifts: Tensor, energies: Mapping[int, float], elements: Sequence[int], name: str, where: str) -> None:
    """Add self-atomic energies, if there are any, to the energies of free atoms, in place."""
    missing = [z for z in elements if energies and z not in energies]
    if missing:
        raise CheckpointMismatchError(
            f"the self-atomic energies of fidelity {name!r} lack Z={missing}, which {where} knows; add them, or leave "
            "the elements out"
        )
    for z in elements:
        shifts[z] += energies.get(z, 0.0)


def _length(value: Tensor, where: str) -> float:
    found = float(value) if value.numel() == 1 else float("nan")
    if not 0.0 < found < float("inf"):
        raise CheckpointMismatchError(f"{where}: {_RANGE} is {short(value.tolist())}; expected a length in Å")
    return found


def _joined(
    networks: Sequence[tuple[AIMNet2Config, dict[str, Tensor]]], where: str
) -> tuple[AIMNet2Config, dict[str, Tensor]]:
    """Sizes and weights of one network with all fidelities."""
    first, weights = networks[0]
    elements = tuple(sorted({z for config, _ in networks for z in config.elements}))
    if len({replace(config, elements=elements) for config, _ in networks}) > 1:
        raise CheckpointMismatchError(f"{where}: the energy heads of its fidelities differ in size")
    joined = dict(weights)
    for name in ("embedding", "shifts"):
        joined[name] = torch.cat([each[name] for _, each in networks])
    for f, (_, each) in enumerate(networks):
        for name, value in each.items():
            if name.startswith(_FIRST_HEAD):
                joined[f"energy_heads.{f}.{name.removeprefix(_FIRST_HEAD)}"] = value
    return replace(first, elements=elements, n_fidelities=len(networks)), joined
