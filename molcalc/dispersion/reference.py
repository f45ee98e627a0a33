"""Reference data of D3 and the interpolation of C6 coefficients between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from molcalc.errors import UnsupportedElementError
from molcalc.kernels.constants import WEIGHT_STEEPNESS

D3_LAST_ELEMENT = 94
LEGACY_SLOTS = 5
EMPTY_SLOT_CN = -1.0
MATRIX_WORTH = 4
"""Elements of the matrix of all C6 that cost less than one pair alone."""

_DATA = Path(__file__).resolve().parent / "data"


@dataclass(frozen=True)
class ReferenceTables:
    """Reference systems of all elements, one after another; element Z owns first[Z]:first[Z+1].

    Attributes
    ----------
    first : (96,) int64.
    cn : (R,) coordination numbers of the reference systems.
    c6 : (R, R) Hartree·Bohr⁶.
    covalent_radii, r4r2 : (95,) Bohr (already scaled by 4/3), Bohr; index is Z.
    vdw_radii : (95, 95) Bohr; None in the legacy tables.
    cn_max : (95,) largest coordination number; legacy tables only.
    """

    first: np.ndarray
    cn: np.ndarray
    c6: np.ndarray
    covalent_radii: np.ndarray
    r4r2: np.ndarray
    vdw_radii: np.ndarray | None
    cn_max: np.ndarray | None


@lru_cache(maxsize=2)
def reference_tables(legacy: bool = False) -> ReferenceTables:
    """Load the tables: those of simple-dftd3, or those inside the published AIMNet2 files."""
    with np.load(_DATA / ("d3_legacy.npz" if legacy else "d3.npz")) as stored:
        data = {name: stored[name] for name in stored.files}
    floats = {k: v.astype(np.float64) for k, v in data.items() if v.dtype.kind == "f"}
    n_references = data["n_references"].astype(np.int64)
    return ReferenceTables(
        first=np.concatenate([[0], np.cumsum(n_references)]),
        cn=floats["reference_cn"],
        c6=_symmetric(floats["reference_c6"], int(n_references.sum())),
        covalent_radii=floats["covalent_radii"],
        r4r2=floats["r4r2"],
        vdw_radii=None if legacy else _symmetric(floats["vdw_radii"], D3_LAST_ELEMENT + 1),
        cn_max=floats["cn_max"] if legacy else None,
    )


def _symmetric(upper: np.ndarray, n: int) -> np.ndarray:
    matrix = np.zeros((n, n))
    matrix[np.triu_indices(n)] = upper
    return matrix + np.triu(matrix, k=1).T


@dataclass(frozen=True)
class AtomArrays:
    """Arrays of :class:`AtomData` as compiled kernels read them."""

    species: np.ndarray
    reference_cn: np.ndarray
    slot_mask: np.ndarray
    c6: np.ndarray
    covalent_radii: np.ndarray
    roots: np.ndarray
    cn_max: np.ndarray
    vdw_radii: np.ndarray | None


@dataclass(frozen=True)
class AtomData:
    """Reference data of a list of atoms, out of the tables, for the K slots of its S species.

    Attributes
    ----------
    species : (n_atoms,) int64, index among the species present.
    reference_cn : (n_atoms, K).
    slot_mask : (n_atoms, K) 0 where the slot takes part in the weights, −inf elsewhere.
    c6 : (S·K, S·K) Hartree·Bohr⁶, 0 in empty slots.
    covalent_radii : (n_atoms,) Bohr.
    roots : (n_atoms,) Bohr^½, (3 r4r2²)^¼: the product for two atoms is (C8/C6)^½.
    vdw_radii : (S, S) Bohr, or None.
    cn_max : (n_atoms,), or None.
    legacy : whether these are the tables of the published AIMNet2 files.
    """

    species: Int[Tensor, " n_atoms"]
    reference_cn: Float[Tensor, "n_atoms K"]
    slot_mask: Float[Tensor, "n_atoms K"]
    c6: Float[Tensor, "S·K S·K"]
    covalent_radii: Float[Tensor, " n_atoms"]
    roots: Float[Tensor, " n_atoms"]
    vdw_radii: Float[Tensor, "S S"] | None
    cn_max: Float[Tensor, " n_atoms"] | None
    legacy: bool

    @property
    def n_atoms(self) -> int:
        return int(self.species.shape[0])

    @property
    def n_slots(self) -> int:
        return int(self.reference_cn.shape[1])

    @property
    def n_species(self) -> int:
        return int(self.c6.shape[0]) // self.n_slots

    @cached_property
    def arrays(self) -> AtomArrays:
        """The same on the CPU, for compiled kernels."""
        no_limit = torch.full_like(self.roots, math.inf)
        return AtomArrays(
            species=self.species.numpy(),
            reference_cn=self.reference_cn.numpy(),
            slot_mask=self.slot_mask.numpy(),
            c6=self.c6.numpy(),
            covalent_radii=self.covalent_radii.numpy(),
            roots=self.roots.numpy(),
            cn_max=(no_limit if self.cn_max is None else self.cn_max).numpy(),
            vdw_radii=None if self.vdw_radii is None else self.vdw_radii.numpy(),
        )


def atom_data(numbers: Int[Tensor, " n_atoms"], *, legacy: bool = False) -> AtomData:
    """Collect the tables for atoms with atomic ``numbers``; recent answers are kept.

    Returns
    -------
    tables on the device of ``numbers``

    Raises
    ------
    UnsupportedElementError : an element outside 1 to 94.
    """
    return _atom_data(numbers.cpu().numpy().tobytes(), legacy, numbers.device)


@lru_cache(maxsize=64)
def _atom_data(numbers_bytes: bytes, legacy: bool, device: torch.device) -> AtomData:
    numbers = np.frombuffer(numbers_bytes, dtype=np.int64)
    check_elements(numbers)
    tables = reference_tables(legacy)
    present, species = np.unique(numbers, return_inverse=True)
    counts = tables.first[present + 1] - tables.first[present]
    n_slots = LEGACY_SLOTS if legacy else int(counts.max(initial=1))
    slots = np.arange(n_slots)
    occupied = slots < counts[:, None]
    rows = np.where(occupied, tables.first[present][:, None] + slots, 0)
    mask = occupied.reshape(-1)
    c6 = tables.c6[rows.reshape(-1, 1), rows.reshape(1, -1)] * (mask[:, None] & mask[None])
    reference_cn = np.where(occupied, tables.cn[rows], EMPTY_SLOT_CN)
    slot_mask = np.where(occupied | legacy, 0.0, -np.inf)
    vdw = None if tables.vdw_radii is None else tables.vdw_radii[np.ix_(present, present)]
    return AtomData(
        species=torch.as_tensor(species, device=device),
        reference_cn=torch.as_tensor(reference_cn[species], device=device),
        slot_mask=torch.as_tensor(slot_mask[species], device=device),
        c6=torch.as_tensor(c6, device=device),
        covalent_radii=torch.as_tensor(tables.covalent_radii[numbers], device=device),
        roots=torch.as_tensor((3.0 * tables.r4r2[numbers] ** 2) ** 0.25, device=device),
        vdw_radii=None if vdw is None else torch.as_tensor(vdw, device=device),
        cn_max=None if tables.cn_max is None else torch.as_tensor(tables.cn_max[numbers], device=device),
        legacy=legacy,
    )


def check_elements(numbers: Int[np.ndarray, " n_atoms"]) -> None:
    """Raise UnsupportedElementError for an element without D3 data."""
    bad = (numbers < 1) | (numbers > D3_LAST_ELEMENT)
    if bad.any():
        first = int(numbers[bad][0])
        atoms = np.nonzero(numbers == first)[0].tolist()
        raise UnsupportedElementError(
            f"D3 has no data for Z={first} (atoms {atoms[:10]}); supported: Z=1 to {D3_LAST_ELEMENT} (H to Pu). "
            "Remove these atoms or switch dispersion off"
        )


def reference_weights(
    coordination_number: Float[Tensor, " n_atoms"], atoms: AtomData
) -> tuple[Float[Tensor, "n_atoms K"], Float[Tensor, " n_atoms"]]:
    r"""Weights of the reference systems of each atom.

    .. math:: w_{ia} = e^{-4 (CN_i - CN_a)^2} / \sum_b e^{-4 (CN_i - CN_b)^2}

    The largest exponent is subtracted first, so that the weights stay defined far from every reference,
    where the nearest one takes all.

    Parameters
    ----------
    coordination_number : (n_atoms,).

    Returns
    -------
    weights : (n_atoms, K), rows sum to 1.
    log_norm : (n_atoms,) logarithm of the denominator.

    References
    ----------
    Grimme, Antony, Ehrlich, Krieg, J. Chem. Phys. 132, 154104 (2010), eq. 16.
    """
    difference = coordination_number[:, None] - atoms.reference_cn
    exponents = -WEIGHT_STEEPNESS * difference * difference + atoms.slot_mask
    return torch.softmax(exponents, dim=1), torch.logsumexp(exponents, dim=1)


class InterpolatedC6:
    r"""C6 between any two atoms, interpolated between the reference systems of both.

    .. math:: C_{6,ij} = \sum_{ab} w_{ia} C_6^{ab} w_{jb}

    The sum over b is done once per atom and species, so that a pair costs one short dot product; or none,
    where pairs are so many that the matrix of all atoms is cheaper.

    Parameters
    ----------
    weights : (n_atoms, K) from :func:`reference_weights`.
    dense : whether the matrix may be used; it lets NaN pass between structures through gradients.
    """

    def __init__(self, weights: Float[Tensor, "n_atoms K"], atoms: AtomData, *, dense: bool) -> None:
        self.weights, self.atoms, self.dense = weights, atoms, dense
        slots = torch.arange(atoms.n_slots, device=weights.device) + atoms.species[:, None] * atoms.n_slots
        self.wide = weights.new_zeros(atoms.n_atoms, atoms.c6.shape[0]).scatter(1, slots, weights)
        self.projected = self.wide @ atoms.c6

    @cached_property
    def matrix(self) -> Float[Tensor, "n_atoms n_atoms"]:
        """(n_atoms, n_atoms) Hartree·Bohr⁶."""
        return self.wide @ self.projected.T

    def between(self, i: Int[Tensor, " n"], j: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """(n,) Hartree·Bohr⁶ for atoms i (n,) with atoms j (n,)."""
        n_atoms, n_slots = self.weights.shape
        if self.dense and n_atoms * n_atoms <= MATRIX_WORTH * len(i):
            return self.matrix.reshape(-1).index_select(0, i * n_atoms + j)
        rows = j * self.atoms.n_species + self.atoms.species.index_select(0, i)
        projected = self.projected.reshape(-1, n_slots).index_select(0, rows)
        return (self.weights.index_select(0, i) * projected).sum(1)
