"""Conformers of molecules: made from their bonds or given, relaxed together, without duplicates, in order of energy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molcalc.first_use import on_first_use

if TYPE_CHECKING:
    from molcalc.conformers.ranked import Conformer as Conformer
    from molcalc.conformers.ranked import Dropped as Dropped
    from molcalc.conformers.ranked import RankedConformers as RankedConformers
    from molcalc.conformers.ranked import RankedMolecule as RankedMolecule
    from molcalc.conformers.ranking import rank_conformers as rank_conformers
    from molcalc.conformers.sdf import write_sdf as write_sdf
    from molcalc.conformers.settings import RankingSettings as RankingSettings
    from molcalc.conformers.vae.vae import ConformerVAE as ConformerVAE

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
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
