"""Energy terms on padded arrays: the formulas of the calculators' terms, over all pairs, in plain torch.

Every term takes distances (B, N, N) in Å, positive everywhere, and whether i and j are two atoms (B, N, N), and returns
(B,) float64 energies in eV.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from molcalc.dispersion.coordination import neighbor_counts
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.dispersion.damping import rational_damping, smooth_cutoff
from molcalc.dispersion.reference import atom_data
from molcalc.electrostatics.coulomb import CoulombEnergy
from molcalc.electrostatics.pair_formulas import ScreenedCoulomb, beyond_short_range, zbl_repulsion
from molcalc.electrostatics.zbl import ZBLRepulsion
from molcalc.energy_term import EnergyTerm
from molcalc.errors import ConfigError
from molcalc.kernels.constants import WEIGHT_STEEPNESS
from molcalc.units import BOHR, COULOMB, HARTREE


def padded_terms(
    terms: Sequence[EnergyTerm], elements: Sequence[int], max_number: int
) -> tuple[nn.ModuleList, nn.ModuleList]:
    """The terms that read charges, and those that do not.

    Returns
    -------
    charged : terms that read charges.
    others : terms of the geometry alone.

    Raises
    ------
    ConfigError
        For a term that has no form on padded arrays.
    """
    charged, others = nn.ModuleList(), nn.ModuleList()
    for term in terms:
        if isinstance(term, CoulombEnergy) and isinstance(term.formula, ScreenedCoulomb) and term.formula.bare:
            charged.append(PaddedCoulomb(term.formula))
        elif isinstance(term, ZBLRepulsion):
            others.append(PaddedRepulsion(term))
        elif isinstance(term, D3Dispersion):
            others.append(PaddedD3(term, elements, max_number))
        else:
            raise ConfigError(
                f"{type(term).__name__} cannot be exported into a program: export a model directory (a name without "
                "extension), or use D3(BJ)"
            )
    return charged, others


class PaddedCoulomb(nn.Module):
    """Coulomb energy; see :class:`molcalc.electrostatics.coulomb.SimpleCoulomb`."""

    def __init__(self, formula: ScreenedCoulomb) -> None:
        super().__init__()
        self.short_range_cutoff, self.scale = formula.short_range_cutoff, 0.5 * COULOMB

    def forward(self, distances: Tensor, pairs: Tensor, charges: Tensor) -> Tensor:
        products = charges.unsqueeze(1) * charges.unsqueeze(2) / distances
        if self.short_range_cutoff > 0.0:
            products = products * beyond_short_range(distances, self.short_range_cutoff)
        return self.scale * torch.where(pairs, products, torch.zeros_like(products)).sum(dim=(1, 2))


class PaddedRepulsion(nn.Module):
    """Repulsion of nuclei; see :class:`molcalc.electrostatics.zbl.ZBLRepulsion`."""

    def __init__(self, term: ZBLRepulsion) -> None:
        super().__init__()
        self.scale = 0.5 * COULOMB
        self.starts, self.ends = nn.Buffer(term.starts.clone()), nn.Buffer(term.ends.clone())

    def forward(self, distances: Tensor, pairs: Tensor, numbers: Tensor) -> Tensor:
        z = numbers.to(distances.dtype)
        starts, ends = self.starts[numbers], self.ends[numbers]
        energies = zbl_repulsion(
            distances,
            z.unsqueeze(1),
            z.unsqueeze(2),
            starts.unsqueeze(1) + starts.unsqueeze(2),
            ends.unsqueeze(1) + ends.unsqueeze(2),
        )
        return self.scale * torch.where(pairs, energies, torch.zeros_like(energies)).sum(dim=(1, 2))


class PaddedD3(nn.Module):
    """D3(BJ) with tables for the elements of a model; see :class:`molcalc.dispersion.d3.D3Dispersion`."""

    def __init__(self, term: D3Dispersion, elements: Sequence[int], max_number: int) -> None:
        super().__init__()
        p = term.form
        if p.s9 != 0.0:
            raise ConfigError(
                f"D3 with a three-body term (s9={p.s9:g}) cannot be exported into a program: export a model directory "
                "(a name without extension), or leave s9 out"
            )
        if term.legacy:
            raise ConfigError("the legacy form of D3 cannot be exported")
        self.s6, self.s8, self.a1, self.a2 = p.s6, p.s8, p.a1, p.a2
        self.bohr, self.scale = BOHR, -0.5 * HARTREE
        self.weight_steepness = WEIGHT_STEEPNESS
        self.cutoff, self.cn_cutoff, self.width = p.cutoff, p.cn_cutoff, p.switch_width
        tables = atom_data(torch.tensor(sorted(elements)))
        self.n_species = tables.n_species
        species = torch.zeros(max_number + 1, dtype=torch.int64)
        species[sorted(elements)] = torch.arange(tables.n_species)
        self.species = nn.Buffer(species)
        self.reference_cn = nn.Buffer(tables.reference_cn)
        self.slot_mask = nn.Buffer(tables.slot_mask)
        self.c6 = nn.Buffer(tables.c6)
        self.covalent_radii = nn.Buffer(tables.covalent_radii)
        self.roots = nn.Buffer(tables.roots)

    def forward(self, distances: Tensor, pairs: Tensor, numbers: Tensor) -> Tensor:
        r = distances / self.bohr
        species = self.species[numbers]
        radii = self.covalent_radii[species]
        counts = neighbor_counts(radii.unsqueeze(1) + radii.unsqueeze(2), r)
        cn = (smooth_cutoff(counts, r, self.cn_cutoff, self.width) * pairs).sum(dim=2)
        difference = cn.unsqueeze(-1) - self.reference_cn[species]
        exponents = -self.weight_steepness * difference * difference + self.slot_mask[species]
        own = torch.arange(self.n_species, device=species.device) == species.unsqueeze(-1)
        wide = (torch.softmax(exponents, dim=-1).unsqueeze(2) * own.unsqueeze(-1)).flatten(2)
        c6 = torch.matmul(torch.matmul(wide, self.c6), wide.transpose(1, 2))
        roots = self.roots[species]
        root = roots.unsqueeze(1) * roots.unsqueeze(2)
        damped = rational_damping(r * r, root, s6=self.s6, s8=self.s8, a1=self.a1, a2=self.a2)
        return self.scale * (c6 * smooth_cutoff(damped, r, self.cutoff, self.width) * pairs).sum(dim=(1, 2))
