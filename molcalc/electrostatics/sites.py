"""Charges that a model predicts, on atoms or distributed around them: their moments, potential and field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.electrostatics.multipoles import electric_field, electrostatic_potential, quadrupole
from molcalc.electrostatics.point_potential import moment_potential, pairs_in_chunks
from molcalc.errors import ConfigError, suggest
from molcalc.nn.segments import segment_sum
from molcalc.properties import CYCLIC, to_voigt
from molcalc.units import COULOMB

CHARGE_SOURCES = ("distributed", "charges")
ATOMIC_MOMENTS = ("atomic_dipoles", "atomic_quadrupoles")
"""Predictions of moments on the atoms, which belong to the distributed charges."""


@dataclass(frozen=True, kw_only=True)
class ChargeSites:
    """Point charges of all systems of a batch, and dipoles and quadrupoles on the atoms if there are any.

    Attributes
    ----------
    positions : (n_sites, 3) float64, Å.
    charges : (n_sites,) float64, e.
    system_idx : (n_sites,) int64, sorted.
    centers : (n_atoms, 3) float64, Å, where the moments of atoms are; or None.
    center_idx : (n_atoms,) int64, systems of these moments; or None.
    dipoles : (n_atoms, 3) float64, e·Å; or None.
    quadrupoles : (n_atoms, 3, 3) float64, e·Å², symmetric and without trace: ∫ρ(rr − r²/3); or None.
    """

    positions: Float64[Tensor, "n_sites 3"]
    charges: Float64[Tensor, " n_sites"]
    system_idx: Int[Tensor, " n_sites"]
    centers: Float64[Tensor, "n_atoms 3"] | None = None
    center_idx: Int[Tensor, " n_atoms"] | None = None
    dipoles: Float64[Tensor, "n_atoms 3"] | None = None
    quadrupoles: Float64[Tensor, "n_atoms 3 3"] | None = None

    @classmethod
    def of(
        cls, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, " ..."]], source: str = "distributed"
    ) -> ChargeSites:
        """Charges of a batch.

        Parameters
        ----------
        source : "distributed" takes the distributed charges (and moments of atoms) where a model predicts them;
            "charges" the atomic charges in any case.

        Returns
        -------
        sites of all systems; positions in Å and charges in e, both in float64

        Raises
        ------
        ConfigError
            For another source.
        """
        if source not in CHARGE_SOURCES:
            raise ConfigError(
                f"source={source!r}{suggest(str(source), CHARGE_SOURCES)}; choose one of {list(CHARGE_SOURCES)}"
            )
        if source == "charges" or "dcm_charges" not in predictions:
            return cls(positions=batch.positions, charges=predictions["charges"].double(), system_idx=batch.system_idx)
        charges = predictions["dcm_charges"].double()
        dipoles, quadrupoles = (predictions.get(name) for name in ATOMIC_MOMENTS)
        return cls(
            positions=predictions["dcm_positions"].double().flatten(0, 1),
            charges=charges.flatten(),
            system_idx=batch.system_idx.repeat_interleave(charges.shape[1]),
            centers=batch.positions,
            center_idx=batch.system_idx,
            dipoles=None if dipoles is None else dipoles.double(),
            quadrupoles=None if quadrupoles is None else quadrupoles.double(),
        )

    def dipole(self, origins: Float[Tensor, "n_atoms 3"], n_systems: int) -> Float[Tensor, "{n_systems} 3"]:
        """Dipole of each system.

        Parameters
        ----------
        origins : (n_atoms, 3) Å, points about which the charges of each atom count.

        Returns
        -------
        (n_systems, 3) float64, e·Å
        """
        n_sites, n_atoms = self.charges.shape[0], origins.shape[0]
        of_sites = origins if n_sites == n_atoms else origins.repeat_interleave(n_sites // n_atoms, dim=0)
        moment = segment_sum(self.charges[:, None] * (self.positions - of_sites), self.system_idx, n_systems)
        if self.dipoles is None or self.center_idx is None:
            return moment
        return moment + segment_sum(self.dipoles, self.center_idx, n_systems)

    def quadrupole(self, center: Float[Tensor, "n_systems 3"]) -> Float[Tensor, "n_systems 6"]:
        """(n_systems, 6) e·Å² about (n_systems, 3) points in Å: xx, yy, zz, xy, yz, zx, without trace."""
        moment = quadrupole(center, self.positions, self.charges, self.system_idx)
        if self.centers is None or self.center_idx is None:
            return moment
        if self.quadrupoles is not None:
            moment = moment + segment_sum(to_voigt(self.quadrupoles, CYCLIC), self.center_idx, len(center))
        if self.dipoles is not None:
            arms = self.centers - center.index_select(0, self.center_idx)
            product = arms[:, :, None] * self.dipoles[:, None]
            product = product + product.mT
            trace = product.diagonal(dim1=1, dim2=2).mean(dim=1)
            product = product - trace[:, None, None] * torch.eye(3, dtype=product.dtype, device=product.device)
            moment = moment + segment_sum(to_voigt(product, CYCLIC), self.center_idx, len(center))
        return moment

    def potential(
        self, points: Float[Tensor, "n_points 3"], point_system_idx: Int[Tensor, " n_points"]
    ) -> Float64[Tensor, " n_points"]:
        r"""(n_points,) float64, V, at (n_points, 3) Å; see :func:`~molcalc.electrostatics.multipoles`.

        With dipoles p and quadrupoles Θ on atoms, V = k_e Σ (q / r + p·u / r² + 3/2 u·Θ·u / r³), u = r / |r|.

        Returns
        -------
        (n_points,) float64, V
        """
        value = electrostatic_potential(points, self.positions, self.charges, point_system_idx, self.system_idx)
        if self.centers is None or self.center_idx is None or (self.dipoles is None and self.quadrupoles is None):
            return value
        dipoles = torch.zeros_like(self.centers) if self.dipoles is None else self.dipoles
        quadrupoles = self.centers.new_zeros(len(self.centers), 3, 3) if self.quadrupoles is None else self.quadrupoles
        points = points.to(torch.float64)
        return value + COULOMB * moment_potential(
            points, self.centers, dipoles, quadrupoles, point_system_idx, self.center_idx
        )

    def field(
        self, points: Float[Tensor, "n_points 3"], point_system_idx: Int[Tensor, " n_points"]
    ) -> Float64[Tensor, "n_points 3"]:
        """(n_points, 3) float64, V/Å: minus the gradient of the potential."""
        value = electric_field(points, self.positions, self.charges, point_system_idx, self.system_idx)
        for chunk, point, atom, arms in self._moment_pairs(points, point_system_idx):
            distances = arms.norm(dim=1, keepdim=True)
            added = torch.zeros_like(arms)
            if self.dipoles is not None:
                dipoles = self.dipoles.index_select(0, atom)
                along = (arms * dipoles).sum(dim=1, keepdim=True)
                added = added + 3.0 * along * arms / distances**5 - dipoles / distances**3
            if self.quadrupoles is not None:
                lines = torch.einsum("pxy,py->px", self.quadrupoles.index_select(0, atom), arms)
                radial = 7.5 * (arms * lines).sum(dim=1, keepdim=True) / distances**7
                added = added + radial * arms - 3.0 * lines / distances**5
            part = segment_sum(COULOMB * added, point, len(points[chunk]))
            value = value + _placed(part, chunk, value)
        return value

    def _moment_pairs(self, points: Tensor, index: Tensor) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
        """Slices of the points, each with the point, atom and arm of every pair; none without moments of atoms."""
        if self.centers is None or self.center_idx is None or (self.dipoles is None and self.quadrupoles is None):
            return
        for chunk, point, atom in pairs_in_chunks(index, self.center_idx):
            yield (
                chunk,
                point,
                atom,
                points[chunk].index_select(0, point).to(torch.float64) - self.centers.index_select(0, atom),
            )


def _placed(part: Tensor, chunk: slice, whole: Tensor) -> Tensor:
    """Values of a slice among zeros for all points."""
    if len(part) == len(whole):
        return part
    rows = torch.arange(chunk.start, chunk.start + len(part), device=part.device)
    return torch.zeros_like(whole).index_add(0, rows, part)
