"""From a potential and a batch to everything that labels are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.derivatives import evaluate
from molcalc.electrostatics.multipoles import center_of_mass, electrostatic_potential, moment_about, quadrupole
from molcalc.potential import Potential
from molcalc.units import ATOMIC_MASSES


def predict(
    potential: Potential,
    batch: AtomicBatch,
    properties: Sequence[str],
    *,
    dipole_source: str = "distributed",
    create_graph: bool = False,
) -> dict[str, Tensor]:
    """Evaluate a potential and derive the multipoles and potentials of its charges.

    Parameters
    ----------
    properties : names from :data:`molcalc.train.losses.LABELS`.
    dipole_source : "distributed" (point charges around the atoms where the model has them) or "charges" (on the atoms).

    Returns
    -------
    predictions by name, in the shapes of the labels; and whatever else the network predicts.
    """
    results = evaluate(potential, batch, [p for p in properties if p == "forces"], create_graph=create_graph)
    wanted = {"dipole", "quadrupole", "esp"}.intersection(properties)
    if not wanted:
        return results
    masses = torch.as_tensor(ATOMIC_MASSES, device=batch.numbers.device)[batch.numbers]
    center = center_of_mass(batch.positions.detach(), masses, batch.system_idx, batch.n_systems)
    positions, charges, system_idx = sites(results, batch)
    if "dipole" in wanted:
        results["dipole"] = _dipole(results, batch, center, dipole_source)
    if "quadrupole" in wanted:
        results["quadrupole"] = quadrupole(center, positions, charges, system_idx)
    if "esp" in wanted:
        assert batch.esp_points is not None
        assert batch.esp_system_idx is not None
        results["esp"] = electrostatic_potential(batch.esp_points, positions, charges, batch.esp_system_idx, system_idx)
    return results


def sites(results: dict[str, Tensor], batch: AtomicBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Point charges that make the potential: positions (n, 3) Å, charges (n,) e, and their systems.

    Those distributed around the atoms where the model has them, otherwise those on the atoms. Positions of atoms are
    constants here: labels of multipoles train charges, not geometries.
    """
    if "dcm_charges" not in results:
        return batch.positions.detach(), results["charges"].double(), batch.system_idx
    n_dcm = results["dcm_charges"].shape[1]
    return (
        results["dcm_positions"].flatten(0, 1).double(),
        results["dcm_charges"].flatten().double(),
        batch.system_idx.repeat_interleave(n_dcm),
    )


def _dipole(results: dict[str, Tensor], batch: AtomicBatch, center: Tensor, source: str) -> Tensor:
    if source == "charges":
        return moment_about(center, batch.positions.detach(), results["charges"].double(), batch.system_idx)
    return moment_about(center, *sites(results, batch))
