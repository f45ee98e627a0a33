"""Predictions for a batch of everything that labels are compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.derivatives import evaluate
from molcalc.electrostatics.multipoles import center_of_mass
from molcalc.electrostatics.sites import ChargeSites
from molcalc.potential import Potential
from molcalc.units import ATOMIC_MASSES


def predict(
    potential: Potential,
    batch: AtomicBatch,
    properties: Sequence[str],
    *,
    dipole_source: str = "auto",
    create_graph: bool = False,
) -> dict[str, Float[Tensor, " ..."]]:
    """Predictions of a potential, with what training compares beside them.

    Parameters
    ----------
    properties : names from :data:`molcalc.properties.LABELS`.
    dipole_source : charges that make the dipole: "distributed", "charges" (on the atoms), or "auto" as calculators
        do: distributed where those turn with the molecule.

    Returns
    -------
    predictions by name, in the shapes of the labels; and whatever else the network predicts.
    """
    results = evaluate(potential, batch, properties, create_graph=create_graph)
    chosen = {"distributed": "dcm_dipole", "charges": "charge_dipole"}.get(dipole_source, "dipole")
    if chosen in results:  # a model without distributed charges has one dipole only
        results["dipole"] = results[chosen]
    results.update({name: DERIVED[name](batch, results) for name in properties if name in DERIVED})
    return results


def _quadrupole(batch: AtomicBatch, results: Mapping[str, Tensor]) -> Tensor:
    """(n_systems, 6) e·Å² about the center of mass, of the distributed charges where there are any."""
    masses = torch.as_tensor(ATOMIC_MASSES, device=batch.numbers.device)[batch.numbers]
    center = center_of_mass(batch.positions, masses, batch.system_idx, batch.n_systems)
    return ChargeSites.of(batch, results).quadrupole(center)


DERIVED: dict[str, Callable[[AtomicBatch, Mapping[str, Tensor]], Tensor]] = {"quadrupole": _quadrupole}
"""What only training needs of a model's results, by property."""
