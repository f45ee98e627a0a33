"""D4 dispersion: the energy term, its derivatives in torch, and the calls of the compiled library of dftd4."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.dispersion.lattice import check_cells, derivative_by_cell
from molcalc.dispersion.parameters import D4Parameters, d4_parameters, missing_package
from molcalc.energy_term import EnergyTerm
from molcalc.errors import CellError, ConfigError, UnsupportedElementError, checked_positive, is_number, short
from molcalc.kernels.differentiation import CompiledFunction, Gradients, Tensors, Wanted, differentiable
from molcalc.kernels.runtime import one_thread_after_fork
from molcalc.nn.segments import segment_sum
from molcalc.units import BOHR, HARTREE

D4_PAIR_CUTOFF = 60.0 * BOHR
D4_ATM_CUTOFF = 40.0 * BOHR
D4_CN_CUTOFF = 30.0 * BOHR
"""Å, cutoffs of dftd4 (its ``realspace_cutoff``)."""
D4_LAST_ELEMENT = 103
GRADIENT_STEP = 1e-3
"""Å, largest shift of an atom in the differences. The error of the formula, which grows as the fourth power of the
step, and rounding, which grows as its inverse, are then both below 1e-8 of the largest second derivative."""
STENCIL = ((1, 8 / 12), (-1, -8 / 12), (2, -1 / 12), (-2, 1 / 12))
"""Points and weights of f'(0) ≈ [8 f(h) − 8 f(−h) − f(2h) + f(−2h)] / 12h, with an error of h⁴ f⁽⁵⁾/30."""


class D4Dispersion(EnergyTerm):
    r"""Dispersion energy of the D4 method with Becke-Johnson damping and a three-body term.

    .. math:: E = -\sum_{i<j} \sum_{n=6,8} s_n \frac{C_{n,ij}}{r^n + R^n} + s_9 \sum_{i<j<k} E^{ATM}_{ijk}

    where C6 depends on coordination numbers and on atomic charges. The charges come from the method's own
    electronegativity equilibration (EEQ) with ``batch.total_charge``, not from a network. The package dftd4 computes
    energies and first derivatives; second derivatives are fourth-order differences of them, exact to about 1e-8
    of their size. Third derivatives, and derivatives of single atomic energies, do not exist.

    Structures are periodic in three directions or none: the library's charges treat slabs and chains as crystals.
    Charged cells get a neutralizing background.

    Parameters
    ----------
    parameters : D4Parameters, or the name of a functional ("pbe0").
    cutoff, atm_cutoff, cn_cutoff : Å, range of pair energy, three-body energy and coordination number; 60, 40 and 30
        Bohr unless given, as in dftd4. In crystals the three-body term takes nearly all the time, which grows
        with the sixth power of its range: for urea, 20 Bohr change 0.1 meV per atom and take a 35th of the time.
    switch_width : Å over which energies fall to zero before their cutoff (crystals in MD or under strain); 0 cuts
        them off.

    Raises
    ------
    ConfigError : dftd4 is not installed, the functional is unknown, or a cutoff is not positive.

    References
    ----------
    Caldeweyher, Ehlert, Hansen, Neugebauer, Spicher, Bannwarth, Grimme, J. Chem. Phys. 150, 154122 (2019).
    Caldeweyher, Mewes, Ehlert, Grimme, Phys. Chem. Chem. Phys. 22, 8499 (2020) (crystals).
    """

    pair_cutoff = 0.0

    def __init__(
        self,
        parameters: D4Parameters | str,
        *,
        cutoff: float = D4_PAIR_CUTOFF,
        atm_cutoff: float = D4_ATM_CUTOFF,
        cn_cutoff: float = D4_CN_CUTOFF,
        switch_width: float = 0.0,
    ) -> None:
        super().__init__()
        dftd4_interface()
        p = d4_parameters(parameters) if isinstance(parameters, str) else parameters
        if not isinstance(p, D4Parameters):
            raise ConfigError(f"D4 needs D4Parameters or the name of a functional, got {parameters!r}")
        lengths = {"cutoff": cutoff, "atm_cutoff": atm_cutoff, "cn_cutoff": cn_cutoff}
        for name, value in lengths.items():
            checked_positive(name, value)
        shortest = min(cutoff, atm_cutoff)
        if not is_number(switch_width) or not 0.0 <= switch_width < shortest:
            raise ConfigError(
                f"switch_width={short(switch_width)} Å must be at least 0 and less than the shorter cutoff, "
                f"{shortest:g} Å"
            )
        self.damping = p
        self.form = D4Form(p, *(x / BOHR for x in (*lengths.values(), switch_width)))

    def forward(
        self, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
    ) -> Float64[Tensor, " n_atoms"]:
        """Return the (n_atoms,) float64 energies in eV.

        Pairs, and triples of a molecule, are shared evenly by their atoms; triples of a crystal by all its atoms.

        Returns
        -------
        (n_atoms,) float64, eV

        Raises
        ------
        CellError
            For a structure with one or two periodic directions, or whose cell has no volume.
        """
        partly = batch.pbc.any(1) & ~batch.pbc.all(1)
        if partly.any():
            s = int(torch.nonzero(partly)[0])
            raise CellError(
                f"D4 is for molecules and for crystals with three periodic directions; structure {s} has "
                f"pbc={batch.pbc[s].tolist()}: set pbc=True with enough vacuum in the cell, or use D3"
            )
        if batch.periodic:
            check_cells(batch)
        return d4_energies(batch.positions, batch.cell, batch.system_idx, D4Structures(batch, self.form))


class D4Form(NamedTuple):
    """Parameters, and ranges in Bohr: of pair and three-body energies, of coordination numbers, of the switch."""

    parameters: D4Parameters
    cutoff: float
    atm_cutoff: float
    cn_cutoff: float
    switch_width: float


def d4_energies(
    positions: Float[Tensor, "n_atoms 3"],
    cell: Float[Tensor, "n_systems 3 3"],
    system_idx: Int[Tensor, " n_atoms"],
    structures: D4Structures,
) -> Float64[Tensor, " n_atoms"]:
    """Energies (n_atoms,) in eV at positions (n_atoms, 3) and cells (n_systems, 3, 3) in Å.

    The library differentiates sums over a structure, hence only such sums have derivatives.

    Returns
    -------
    (n_atoms,) eV.

    Raises
    ------
    ConfigError
        While differentiating, when energies of one structure enter a result with different weights, or for a third
        derivative.
    """
    return differentiable(_Energies(system_idx, structures), positions.double(), cell.double())[0]


@dataclass(frozen=True)
class _Energies(CompiledFunction):
    """Energies with gradients by the library, and theirs by differences along the one direction that is asked for."""

    system_idx: Tensor
    structures: D4Structures
    twice = (0, 1)

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        positions, cell = inputs
        gradients = any(x.requires_grad for x in inputs)
        results = self.structures.evaluate(_array(positions), _array(cell), gradients=gradients)
        energies, *kept = (torch.as_tensor(x, device=positions.device) for x in results)
        return (energies,), tuple(kept)

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients:
        by_positions, by_cell = kept
        weights = _weight_of_structures(upstream[0], self.system_idx, len(by_cell))
        return weights[self.system_idx, None] * by_positions, weights[:, None, None] * by_cell

    def second(self, inputs: Tensors, kept: Tensors, upstream: Tensors, tangents: Tensors, wanted: Wanted) -> Gradients:
        positions, cell = inputs
        system_idx, n_systems = self.system_idx, len(cell)
        by_positions, by_cell = kept
        weights = _weight_of_structures(upstream[0], system_idx, n_systems)
        moved, deformed = tangents
        size = deformed.abs().amax((1, 2)).scatter_reduce(0, system_idx, moved.abs().amax(1), "amax")
        size = torch.where(size == 0.0, 1.0, size)
        step_positions, step_cell = moved / size[system_idx, None], deformed / size[:, None, None]
        slopes = [torch.zeros_like(positions), torch.zeros_like(cell)]
        for point, factor in STENCIL:
            x, h = positions + point * GRADIENT_STEP * step_positions, cell + point * GRADIENT_STEP * step_cell
            results = self.structures.evaluate(_array(x), _array(h))[1:]
            for slope, gradient in zip(slopes, results):
                slope += factor / GRADIENT_STEP * torch.as_tensor(gradient, device=slope.device)
        scale = weights * size
        by_weights = segment_sum((moved * by_positions).sum(1), system_idx, n_systems)
        by_weights = by_weights + (deformed * by_cell).sum((1, 2))
        by_upstream = (by_weights / _sizes(system_idx, n_systems)).index_select(0, system_idx)
        return scale[system_idx, None] * slopes[0], scale[:, None, None] * slopes[1], by_upstream

    def formula(self, *inputs: Tensor) -> Tensors:
        raise ConfigError("D4 has no third derivatives (the package dftd4 gives first ones): use D3")


def _weight_of_structures(weights: Tensor, system_idx: Tensor, n_systems: int) -> Tensor:
    """(n_systems,) the weight that all atoms of a structure share."""
    mean = segment_sum(weights, system_idx, n_systems) / _sizes(system_idx, n_systems)
    deviation = (weights - mean[system_idx]).detach().abs()
    if (deviation > 1e-12 * mean.detach().abs()[system_idx]).any():
        raise ConfigError(
            "D4 energies of single atoms have no derivatives (the package dftd4 gives those of whole structures): "
            "differentiate sums over structures, or use D3"
        )
    return mean


def _sizes(system_idx: Tensor, n_systems: int) -> Tensor:
    """(n_systems,) number of atoms."""
    return torch.bincount(system_idx, minlength=n_systems)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


class D4Results(NamedTuple):
    """Energies (n_atoms,), and derivatives of the sum of each structure by positions and cell; eV and Å."""

    energies: np.ndarray
    by_positions: np.ndarray
    by_cell: np.ndarray


class D4Structures:
    """The structures of a batch as the library needs them; all but positions and cells stays.

    Raises
    ------
    ConfigError : dftd4 is not installed.
    UnsupportedElementError : an element outside 1 to 103.
    """

    def __init__(self, batch: AtomicBatch, form: D4Form) -> None:
        self.form = form
        self.numbers = batch.numbers.cpu().numpy()
        self.pbc = batch.pbc.cpu().numpy()
        self.charges = batch.total_charge.detach().cpu().double().numpy()
        self.bounds = np.searchsorted(batch.system_idx.cpu().numpy(), np.arange(batch.n_systems + 1))
        _check_elements(self.numbers)
        p = form.parameters
        self._interface = dftd4_interface()
        self._damping = self._interface.DampingParam(s6=p.s6, s8=p.s8, s9=p.s9, a1=p.a1, a2=p.a2)
        self._damping_of_pairs = self._interface.DampingParam(s6=p.s6, s8=p.s8, s9=0.0, a1=p.a1, a2=p.a2)

    def evaluate(self, positions: np.ndarray, cell: np.ndarray, *, gradients: bool = True) -> D4Results:
        """Results at positions (n_atoms, 3) and cells (n_systems, 3, 3) in Å; NaN where positions are not finite."""
        results = D4Results(np.zeros(len(positions)), np.zeros_like(positions), np.zeros_like(cell))
        for s in range(len(cell)):
            atoms = slice(self.bounds[s], self.bounds[s + 1])
            here, lattice = positions[atoms] / BOHR, cell[s] / BOHR
            if np.isfinite(here).all() and np.isfinite(lattice).all():
                values = self._one_structure(s, here, lattice, gradients)
            else:  # the library's equations for the charges would fail
                values = tuple(np.full_like(x, np.nan) for x in (here[:, 0], here, lattice))
            results.energies[atoms], results.by_positions[atoms], results.by_cell[s] = values
        gradient_unit = HARTREE / BOHR
        return D4Results(
            HARTREE * results.energies, gradient_unit * results.by_positions, gradient_unit * results.by_cell
        )

    def _one_structure(
        self, s: int, positions: np.ndarray, cell: np.ndarray, gradients: bool
    ) -> tuple[np.ndarray, ...]:
        """Results for one structure in atomic units."""
        p, form = self.form.parameters, self.form
        periodic = self.pbc[s].any()
        lattice = (cell, self.pbc[s]) if periodic else (None, None)
        numbers = self.numbers[self.bounds[s] : self.bounds[s + 1]]
        model = self._interface.DispersionModel(numbers, positions, float(self.charges[s]), *lattice, ga=p.ga, gc=p.gc)
        width = form.switch_width
        model.set_realspace_cutoff(form.cutoff, form.atm_cutoff, form.cn_cutoff, width, width)
        # The triples of a lattice take nearly all the time: they are summed once, for the total.
        shares = model.get_pairwise_dispersion(self._damping_of_pairs if periodic else self._damping)
        energies = sum(part.sum(1) for part in shares.values())
        results = model.get_dispersion(self._damping, grad=gradients) if periodic or gradients else {}
        if periodic:
            energies += (results["energy"] - energies.sum()) / len(energies)
        if not gradients:
            return energies, np.zeros_like(positions), np.zeros((3, 3))
        gradient = results["gradient"]
        return energies, gradient, derivative_by_cell(results["virial"], gradient, positions, cell, self.pbc[s])


def dftd4_interface() -> ModuleType:
    """The module ``dftd4.interface``; ConfigError where the package is missing."""
    try:
        interface = importlib.import_module("dftd4.interface")
        library = importlib.import_module("dftd4._libdftd4").__file__
    except ImportError as error:
        raise missing_package("D4", "dftd4") from error
    if library is not None:
        one_thread_after_fork(library)
    return interface


def _check_elements(numbers: np.ndarray) -> None:
    bad = (numbers < 1) | (numbers > D4_LAST_ELEMENT)
    if bad.any():
        first = int(numbers[bad][0])
        atoms = np.nonzero(numbers == first)[0].tolist()
        raise UnsupportedElementError(
            f"D4 has no data for Z={first} (atoms {atoms[:10]}); supported: Z=1 to {D4_LAST_ELEMENT} (H to Lr). "
            "Remove these atoms or switch dispersion off"
        )
