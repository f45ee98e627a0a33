"""Conformers of molecules: made from their bonds or given, relaxed together, without duplicates, in order of energy."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "ConformerVAE": "molcalc.conformers.vae.vae",
    "rank_conformers": "molcalc.conformers.ranking",
    "RankingSettings": "molcalc.conformers.settings",
    "RankedConformers": "molcalc.conformers.ranked",
    "RankedMolecule": "molcalc.conformers.ranked",
    "Conformer": "molcalc.conformers.ranked",
    "Dropped": "molcalc.conformers.ranked",
    "write_sdf": "molcalc.conformers.sdf",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
