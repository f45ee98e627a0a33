"""Small models of one and of several fidelities, molecules, and what a calculator's potential says of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from ase import Atoms
from ase.build import molecule
from ase.collections import g2
from torch import Tensor

from molcalc.fidelity import Fidelity
from molcalc.io.checkpoint import Checkpoint
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.models.fidelity_transfer import with_fidelities
from molcalc.registry import build_members, checkpoint_of
from tests.helpers.tiny import ELEMENTS, tiny_checkpoint

FIDELITIES = (
    Fidelity(name="gfn2", elements=ELEMENTS),
    Fidelity(name="wb97m", functional="wb97m", dispersion_in_labels=True, elements=(1, 6, 8)),
    Fidelity(name="pbe0", functional="pbe0", dispersion="d3bj:pbe0", elements=ELEMENTS),
)


def several(charge_channels: int = 1, n_members: int = 1, **changes: Any) -> Checkpoint:
    """Random networks of three fidelities that all differ: gfn2, wb97m, pbe0."""
    single = tiny_checkpoint(charge_channels, n_members)
    networks = []
    for seed, network in enumerate(build_members(single)):
        assert isinstance(network, AIMNet2Network)
        more = with_fidelities(network.double(), [0, 0, 0], **changes)
        torch.manual_seed(seed)
        for parameter in more.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
        networks.append(more)
    return declared(single, networks)


def declared(single: Checkpoint, networks: list[AIMNet2Network], **changes: Any) -> Checkpoint:
    """Networks of three fidelities as a model."""
    config = replace(
        single.config,
        arguments=networks[0].config.to_dict(),
        fidelities=FIDELITIES,
        **changes,
    )
    return checkpoint_of(config, list(networks))


def molecules(charge_channels: int = 1) -> list[Atoms]:
    """Molecules of H, C, N and O with charges −1, 0, 1 and, for open shells, several multiplicities."""
    found = []
    for name in g2.names:
        atoms = molecule(name)
        if not set(atoms.numbers) <= set(ELEMENTS):
            continue
        k = len(found)
        atoms.rattle(0.03, seed=k)
        electrons = int(atoms.numbers.sum())
        charge = k % 3 - 1 if electrons > 1 else 0
        if charge_channels == 1 and (electrons - charge) % 2:
            charge += 1 if charge < 1 else -1
        lowest = 1 + (electrons - charge) % 2
        higher = charge_channels == 2 and k % 4 == 0 and lowest + 1 < electrons - charge
        atoms.info = {"charge": charge, "spin": lowest + 2 * higher}
        found.append(atoms)
    return found


def inputs(atoms: Atoms) -> dict[str, Tensor]:
    """One structure as an exported program takes it."""
    return {
        "coord": torch.tensor(atoms.positions),
        "numbers": torch.tensor(atoms.numbers),
        "charge": torch.tensor(atoms.info.get("charge", 0)),
        "mult": torch.tensor(atoms.info.get("spin", 1)),
    }


def padded(images: Iterable[Atoms], extra: int = 2) -> dict[str, Tensor]:
    """Structures as one batch; places without an atom hold coordinates that must not matter."""
    rows = [inputs(atoms) for atoms in images]
    width = max(len(row["numbers"]) for row in rows) + extra
    coord = torch.full((len(rows), width, 3), 0.5, dtype=torch.float64)
    numbers = torch.zeros(len(rows), width, dtype=torch.int64)
    for k, row in enumerate(rows):
        coord[k, : len(row["numbers"])], numbers[k, : len(row["numbers"])] = row["coord"], row["numbers"]
    charge, mult = (torch.stack([row[name] for row in rows]) for name in ("charge", "mult"))
    return {"coord": coord, "numbers": numbers, "charge": charge, "mult": mult}
