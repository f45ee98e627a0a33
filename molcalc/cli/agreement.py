"""How far the networks of an ensemble agree on the last energy of a calculator, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AGREE, DISAGREE = "agree", "disagree"
"""What is said of the networks of an ensemble (docs/limits.md)."""


def judged(energy_std: float, n_atoms: int) -> str:
    """One word for a standard deviation of the total energy in eV."""
    from molcalc.knowledge import too_wide

    return DISAGREE if too_wide(energy_std, n_atoms) else AGREE


def last_agreement(extras: Mapping[str, Any], n_atoms: int) -> str | None:
    """Sentence about the structure that was computed last, from its extras; None for a single network."""
    std = extras.get("energy_std")
    if std is None:
        return None
    return (
        f"the networks {judged(std, n_atoms)} on the last structure: standard deviation {std:.4f} eV, "
        f"{1000 * std / n_atoms:.1f} meV per atom"
    )
