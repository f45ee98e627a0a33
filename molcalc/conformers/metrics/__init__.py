"""What generated conformers are worth: distributions, validity, coverage, energies, minima for calls for forces."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "ConformerSets": "molcalc.conformers.metrics.conformer_sets",
    "ConformerMetrics": "molcalc.conformers.metrics.conformer_sets",
    "conformer_metrics": "molcalc.conformers.metrics.conformer_sets",
    "RelaxedEnergies": "molcalc.conformers.metrics.relaxed_sets",
    "relaxed_energies": "molcalc.conformers.metrics.relaxed_sets",
    "MinimaSearch": "molcalc.conformers.metrics.minima_search",
    "search_minima": "molcalc.conformers.metrics.minima_search",
    "Generated": "molcalc.conformers.metrics.start_sources",
    "Jittered": "molcalc.conformers.metrics.start_sources",
    "Embedded": "molcalc.conformers.metrics.start_sources",
    "Restarted": "molcalc.conformers.metrics.start_sources",
    "write_conformer_report": "molcalc.conformers.metrics.conformer_report",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
