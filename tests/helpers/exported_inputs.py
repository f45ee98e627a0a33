"""Structures as an exported program takes them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from ase import Atoms
from torch import Tensor


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
