"""D3(BJ) dispersion as an energy term."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.dispersion.coordination import coordination_numbers, scatter_pairs
from molcalc.dispersion.damping import rational_damping, smooth_cutoff
from molcalc.dispersion.parameters import D3Parameters, d3_parameters
from molcalc.dispersion.reference import (
    LEGACY_MIN_NORM,
    AtomData,
    atom_data,
    pair_c6,
    project_c6,
    reference_weights,
)
from molcalc.energy_term import EnergyTerm
from molcalc.errors import CellError, ConfigError
from molcalc.units import BOHR, HARTREE

PAIR_CUTOFF = 60.0 * BOHR
CN_CUTOFF = 40.0 * BOHR
"""Å, cutoffs of simple-dftd3 (its ``realspace_cutoff``)."""


class D3Dispersion(EnergyTerm):
    r"""Dispersion energy of Grimme's D3 method with Becke-Johnson damping.

    .. math:: E = -\sum_{i<j} C_{6,ij} \left[ \frac{s_6}{r^6 + R^6} + \frac{s_8 q}{r^8 + R^8} \right]

    with C6 interpolated in the coordination numbers of both atoms, q = C8/C6 and R = a1 √q + a2. Pairs
    include periodic images. Cutoffs and switch are applied alike to molecules and crystals.

    Parameters
    ----------
    parameters : D3Parameters, or the name of a functional.
    cutoff : Å, range of the pair energy; 60 Bohr as in simple-dftd3.
    cn_cutoff : Å, range of the coordination number; 40 Bohr as in simple-dftd3.
    switch_width : Å over which energies and counts fall to zero before their cutoff (MD with a short
        cutoff); 0 cuts them off as simple-dftd3 does.
    legacy : the form inside the published AIMNet2 files: their float32 tables, coordination numbers clamped
        to a maximum per element, empty reference slots counted, C6 = 0 where the weights sum to less than
        1e-5, and no cutoffs unless given, which leaves it to molecules.

    References
    ----------
    Grimme, Antony, Ehrlich, Krieg, J. Chem. Phys. 132, 154104 (2010).
    Grimme, Ehrlich, Goerigk, J. Comput. Chem. 32, 1456 (2011).
    """

    def __init__(
        self,
        parameters: D3Parameters | str,
        *,
        cutoff: float | None = None,
        cn_cutoff: float | None = None,
        switch_width: float = 0.0,
        legacy: bool = False,
    ) -> None:
        super().__init__()
        self.damping = d3_parameters(parameters) if isinstance(parameters, str) else parameters
        if not isinstance(self.damping, D3Parameters):
            raise ConfigError(f"D3 needs D3Parameters or the name of a functional, got {parameters!r}")
        self.legacy = legacy
        self.cutoff = _positive("cutoff", math.inf if legacy else PAIR_CUTOFF, cutoff)
        self.cn_cutoff = _positive("cn_cutoff", math.inf if legacy else CN_CUTOFF, cn_cutoff)
        self.switch_width = float(switch_width)
        if not 0.0 <= self.switch_width < min(self.cutoff, self.cn_cutoff):
            raise ConfigError(f"switch_width={switch_width} Å must be in [0, {self.cutoff:g}) Å")
        self.pair_cutoff = max(self.cutoff, self.cn_cutoff)
        self.supports_periodic = math.isfinite(self.pair_cutoff)

    def forward(self, batch: AtomicBatch, predictions: Mapping[str, Tensor]) -> Tensor:
        """Return the (n_atoms,) float64 energies in eV; half of each pair energy goes to either atom."""
        self._check_range(batch)
        atoms = atom_data(batch.numbers, legacy=self.legacy)
        vectors = batch.pair_vectors().to(torch.float64) / BOHR
        return HARTREE * self.pair_energies(vectors, batch.pair_index, atoms)

    def _check_range(self, batch: AtomicBatch) -> None:
        if batch.periodic and not self.supports_periodic:
            raise CellError(
                "legacy D3 without cutoffs is for molecules only: give cutoff and cn_cutoff, or legacy=False"
            )
        if batch.pair_cutoff < self.pair_cutoff:
            raise ConfigError(
                f"D3 needs pairs up to {self.pair_cutoff:.3f} Å; the batch holds {batch.pair_cutoff:.3f} Å: "
                "build it with pair_cutoff=term.pair_cutoff"
            )

    def pair_energies(self, vectors: Tensor, pair_index: Tensor, atoms: AtomData) -> Tensor:
        """(n_atoms,) two-body energies in Hartree from pair vectors (n_pairs, 3) in Bohr."""
        n_atoms = atoms.species.shape[0]
        distances = torch.linalg.vector_norm(vectors, dim=1)
        width = self.switch_width / BOHR
        cn = coordination_numbers(pair_index, distances, atoms.covalent_radii, self.cn_cutoff / BOHR, width)
        if atoms.cn_max is not None:
            cn = torch.minimum(cn, atoms.cn_max)
        weights, log_norm = reference_weights(cn, atoms)
        c6 = pair_c6(weights, project_c6(weights, atoms), pair_index, atoms)
        i, j = pair_index[0], pair_index[1]
        if self.legacy:
            norm = log_norm.detach().exp()
            c6 = torch.where(norm.index_select(0, i) * norm.index_select(0, j) < LEGACY_MIN_NORM, 0.0, c6)
        ratio = 3.0 * atoms.r4r2.index_select(0, i) * atoms.r4r2.index_select(0, j)
        p = self.damping
        energies = -c6 * rational_damping(distances, ratio, s6=p.s6, s8=p.s8, a1=p.a1, a2=p.a2)
        energies = smooth_cutoff(energies, distances, self.cutoff / BOHR, width)
        return scatter_pairs(0.5 * energies, pair_index, n_atoms)


def _positive(name: str, default: float, value: float | None) -> float:
    """Check a length in Å."""
    if value is None:
        return default
    if not value > 0:
        raise ConfigError(f"{name}={value} Å must be positive")
    return float(value)
