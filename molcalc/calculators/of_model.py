"""What all calculators of a trained model have in common."""

from __future__ import annotations

from collections.abc import Sequence

from molcalc.assembly.ensembles import Source
from molcalc.assembly.terms import Wish, completions
from molcalc.calculators.base import MolCalculator
from molcalc.calculators.sources import Model, check_kind, chosen_members, open_source
from molcalc.fidelity import find_fidelity
from molcalc.potential import Potential


class ModelCalculator(MolCalculator):
    """Calculator of a model, or of several runs of it, at one of its fidelities.

    Parameters
    ----------
    model : as :func:`molcalc.calculators.sources.open_source` takes it.
    fidelity, dispersion, member, coulomb, legacy : as in :class:`molcalc.calculators.aimnet2.AIMNet2`.
    provenance : more for ``todict``.
    """

    def __init__(
        self,
        model: Model | Sequence[Model] | Source,
        *,
        fidelity: str | None,
        dispersion: Wish,
        charge: int | None,
        multiplicity: int | None,
        member: int | None,
        device: str,
        dtype: str,
        coulomb: str,
        min_distance: float | None,
        legacy: bool = False,
        provenance: dict[str, str | bool] | None = None,
    ) -> None:
        source = open_source(model)
        config, label = source.config, source.label
        check_kind(config, self, label)
        chosen = find_fidelity([each.name for each in config.fidelities], fidelity, label)
        members = chosen_members(source.members, member, label)
        terms, described = completions(config, chosen, coulomb=coulomb, dispersion=dispersion, legacy=legacy)
        super().__init__(
            Potential(members, terms),
            model=label,
            model_hash=source.hash,
            charge=charge,
            multiplicity=multiplicity,
            neutral_only=config.neutral_only,
            device=device,
            dtype=dtype,
            min_distance=min_distance,
            fidelities=config.fidelities,
            fidelity=chosen,
            completed_by=described,
            provenance={
                **({} if member is None else {"member": str(member)}),
                **({"legacy": True} if legacy else {}),
                **(provenance or {}),
            },
        )
