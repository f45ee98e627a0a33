"""What generated conformers are worth: distributions, validity, coverage, energies, minima for calls for forces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molcalc.first_use import on_first_use

if TYPE_CHECKING:
    from molcalc.conformers.metrics.conformer_report import write_conformer_report as write_conformer_report
    from molcalc.conformers.metrics.conformer_sets import ConformerMetrics as ConformerMetrics
    from molcalc.conformers.metrics.conformer_sets import ConformerSets as ConformerSets
    from molcalc.conformers.metrics.conformer_sets import conformer_metrics as conformer_metrics
    from molcalc.conformers.metrics.minima_search import MinimaSearch as MinimaSearch
    from molcalc.conformers.metrics.minima_search import search_minima as search_minima
    from molcalc.conformers.metrics.relaxed_sets import RelaxedEnergies as RelaxedEnergies
    from molcalc.conformers.metrics.relaxed_sets import relaxed_energies as relaxed_energies
    from molcalc.conformers.metrics.start_sources import Embedded as Embedded
    from molcalc.conformers.metrics.start_sources import FarApart as FarApart
    from molcalc.conformers.metrics.start_sources import Generated as Generated
    from molcalc.conformers.metrics.start_sources import Jittered as Jittered
    from molcalc.conformers.metrics.start_sources import Restarted as Restarted

_HOMES = {
    "ConformerSets": "molcalc.conformers.metrics.conformer_sets",
    "ConformerMetrics": "molcalc.conformers.metrics.conformer_sets",
    "conformer_metrics": "molcalc.conformers.metrics.conformer_sets",
    "RelaxedEnergies": "molcalc.conformers.metrics.relaxed_sets",
    "relaxed_energies": "molcalc.conformers.metrics.relaxed_sets",
    "MinimaSearch": "molcalc.conformers.metrics.minima_search",
    "search_minima": "molcalc.conformers.metrics.minima_search",
    "Generated": "molcalc.conformers.metrics.start_sources",
    "FarApart": "molcalc.conformers.metrics.start_sources",
    "Jittered": "molcalc.conformers.metrics.start_sources",
    "Embedded": "molcalc.conformers.metrics.start_sources",
    "Restarted": "molcalc.conformers.metrics.start_sources",
    "write_conformer_report": "molcalc.conformers.metrics.conformer_report",
}
__all__ = [*_HOMES]
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
