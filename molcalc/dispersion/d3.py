"""D3(BJ) dispersion: the energy term, its derivatives in torch, and the calls of the compiled library of dftd3."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.dispersion.compiled import compiled_energies
from molcalc.dispersion.energies import DispersionForm, dispersion_energies
from molcalc.dispersion.lattice import check_cells, complete_pairs, completed_cell, derivative_by_cell
from molcalc.dispersion.parameters import D3Parameters, d3_parameters
from molcalc.dispersion.reference import AtomData, atom_data
from molcalc.energy_term import EnergyTerm, FirstDerivatives
from molcalc.errors import CellError, ConfigError, is_number, short
from molcalc.kernels.differentiation import CompiledFunction, Gradients, Tensors, Wanted, common_value, differentiable
from molcalc.kernels.runtime import available, usable
from molcalc.units import BOHR, HARTREE

D3_PAIR_CUTOFF = 60.0 * BOHR
D3_CN_CUTOFF = 40.0 * BOHR
D3_ATM_CUTOFF = 40.0 * BOHR
"""Å, cutoffs of simple-dftd3 (its ``realspace_cutoff``)."""
BACKENDS = ("auto", "torch", "dftd3")
Engine = Callable[
    [Float64[Tensor, " n_atoms"] | None],
    tuple[Float64[Tensor, " n_atoms"], Float64[Tensor, "n_atoms 3"], Float64[Tensor, "n_systems 3 3"]],
]
"""weights w → energies e, derivatives of Σ_i w_i e_i at given positions and cell; no weights are ones."""
Formula = Callable[[Float64[Tensor, "n_atoms 3"], Float64[Tensor, "n_systems 3 3"]], Float64[Tensor, " n_atoms"]]
"""(positions, cell) → energies, in torch operations."""


class D3Dispersion(EnergyTerm):
    r"""Dispersion energy of Grimme's D3 method with Becke-Johnson damping.

    .. math:: E = -\sum_{i<j} C_{6,ij} \left[ \frac{s_6}{r^6 + R^6} + \frac{s_8 q}{r^8 + R^8} \right]
        + s_9 \sum_{i<j<k} E^{ATM}_{ijk}

    with C6 interpolated in the coordination numbers of both atoms, q = C8/C6 and R = a1 √q + a2. Sums
    include periodic images. Cutoffs and switch are applied alike to molecules and crystals.

    Parameters
    ----------
    parameters : D3Parameters, or the name of a functional ("pbe0").
    cutoff, cn_cutoff, atm_cutoff : Å, range of pair energy, coordination number and three-body energy;
        60, 40 and 40 Bohr unless given, as in simple-dftd3.
    switch_width : Å over which energies and counts fall to zero before their cutoff (MD with a short
        cutoff); 0 cuts them off as simple-dftd3 does.
    legacy : the form inside the published AIMNet2 files: their float32 tables, coordination numbers clamped
        to a maximum per element, empty reference slots counted, C6 = 0 where the weights sum to less than
        1e-5, no three-body term, and no cutoffs unless given, which leaves it to molecules.
    backend : "torch" computes here, by compiled loops on the CPU if numba is installed; "dftd3" calls the library of
        that package, which knows neither the legacy form nor a switch; "auto" is "torch", or "dftd3" on the
        CPU without numba. Second derivatives always go through torch. Results agree to 1e-11 Hartree.

    Attributes
    ----------
    range : Å, the longest cutoff. Pairs of a batch are used if they reach so far, else found as needed.

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
        atm_cutoff: float | None = None,
        switch_width: float = 0.0,
        legacy: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        p = d3_parameters(parameters) if isinstance(parameters, str) else parameters
        if not isinstance(p, D3Parameters):
            raise ConfigError(f"D3 needs D3Parameters or the name of a functional, got {parameters!r}")
        if legacy and p.s9 != 0.0:
            raise ConfigError(f"legacy D3 has no three-body term; got s9={p.s9:g}, expected 0")
        self.damping, self.legacy, self.backend = p, bool(legacy), backend
        self.cutoff = _length("cutoff", cutoff, math.inf if legacy else D3_PAIR_CUTOFF)
        self.cn_cutoff = _length("cn_cutoff", cn_cutoff, math.inf if legacy else D3_CN_CUTOFF)
        self.atm_cutoff = _length("atm_cutoff", atm_cutoff, D3_ATM_CUTOFF)
        ranges = [self.cutoff, self.cn_cutoff] + [self.atm_cutoff] * (p.s9 != 0.0)
        self.switch_width = _switch_width(switch_width, min(ranges))
        self._check_backend()
        cutoff, cn_cutoff, width = self.cutoff / BOHR, self.cn_cutoff / BOHR, self.switch_width / BOHR
        self.form = DispersionForm(
            p.s6, p.s8, p.a1, p.a2, cutoff, cn_cutoff, width, s9=p.s9, atm_cutoff=self.atm_cutoff / BOHR
        )
        self.range = max(ranges)
        self.pair_cutoff = 0.0 if available() else self.range  # compiled loops find pairs themselves
        self.supports_periodic = math.isfinite(self.range)

    def forward(
        self, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
    ) -> Float64[Tensor, " n_atoms"]:
        """Return the (n_atoms,) float64 energies in eV; pairs and triples are shared evenly by their atoms."""
        batch = self._checked(batch)
        positions, cell = batch.positions, batch.cell
        atoms = atom_data(batch.numbers, legacy=self.legacy)
        if self._way(positions) == "torch":
            return self._formula(batch, atoms)(positions, cell)
        make_formula = partial(self._formula, batch, atoms)
        return d3_energies(
            positions, cell, self._engine(batch, atoms), make_formula, weighted=self._way(positions) == "compiled"
        )

    def first_derivatives(
        self, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
    ) -> FirstDerivatives | None:
        """Energies and derivatives by compiled loops or the library; None where the formula is all there is."""
        batch = self._checked(batch)
        if self._way(batch.positions) == "torch":
            return None
        return FirstDerivatives(*self._engine(batch, atom_data(batch.numbers, legacy=self.legacy))(None))

    def _engine(self, batch: AtomicBatch, atoms: AtomData) -> Engine:
        if self._way(batch.positions) == "dftd3":
            return partial(library_energies, batch, self.form)
        return partial(compiled_energies, batch, atoms, self.form)

    def _way(self, positions: Tensor) -> str:
        """Engine of the energies at these positions: "compiled", "dftd3" or "torch"."""
        if self.backend == "dftd3":
            return "dftd3"
        if usable(positions):
            return "compiled"
        library = self.backend == "auto" and positions.device.type == "cpu" and self._library_can()
        return "dftd3" if library else "torch"

    def _formula(self, batch: AtomicBatch, atoms: AtomData) -> Formula:
        """Energies as a function of positions and cell, in torch operations."""
        listed = complete_pairs(batch, self.range)

        def formula(positions: Tensor, cell: Tensor) -> Tensor:
            in_bohr = replace(listed, positions=positions / BOHR, cell=cell / BOHR)
            return HARTREE * dispersion_energies(in_bohr, atoms, self.form)

        return formula

    def _library_can(self) -> bool:
        return not self.legacy and self.switch_width == 0.0

    def _check_backend(self) -> None:
        if self.backend not in BACKENDS:
            raise ConfigError(f"backend={self.backend!r} is unknown: choose one of {', '.join(BACKENDS)}")
        if self.backend == "dftd3" and not self._library_can():
            raise ConfigError("backend='dftd3' knows neither legacy=True nor switch_width > 0: use backend='torch'")

    def _checked(self, batch: AtomicBatch) -> AtomicBatch:
        """The batch in double precision, if D3 is defined for it."""
        if self.backend == "dftd3" and batch.positions.device.type != "cpu":
            raise ConfigError(
                f"backend='dftd3' needs tensors on the CPU, not on {batch.positions.device}: use backend='torch'"
            )
        if batch.periodic:
            if not self.supports_periodic:
                raise CellError(
                    "D3 without cutoffs (legacy=True) is for molecules only: give cutoff and cn_cutoff, or legacy=False"
                )
            check_cells(batch)
        if batch.positions.dtype == torch.float64 and batch.cell.dtype == torch.float64:
            return batch
        return replace(batch, positions=batch.positions.double(), cell=batch.cell.double())


def _length(name: str, value: float | None, default: float) -> float:
    """Check a cutoff in Å."""
    if value is None:
        return default
    if not is_number(value) or not value > 0:
        raise ConfigError(f"{name}={short(value)} Å must be a positive number")
    return float(value)


def _switch_width(value: float, shortest: float) -> float:
    if not is_number(value) or not 0.0 <= value < shortest:
        raise ConfigError(
            f"switch_width={short(value)} Å must be at least 0 and less than the shortest cutoff, {shortest:g} Å"
        )
    return float(value)


def d3_energies(
    positions: Float64[Tensor, "n_atoms 3"],
    cell: Float64[Tensor, "n_systems 3 3"],
    engine: Engine,
    make_formula: Callable[[], Formula],
    *,
    weighted: bool,
) -> Float64[Tensor, " n_atoms"]:
    """Energies of an engine on the CPU, with first derivatives by it and higher ones by the formula.

    Parameters
    ----------
    positions, cell : float64; those the engine works at.
    make_formula : returns the formula; called only when it is needed.
    weighted : whether the engine takes weights other than ones; where not, the formula does their work.

    Returns
    -------
    (n_atoms,)
    """
    return differentiable(_Energies(engine, make_formula, weighted), positions, cell)[0]


@dataclass(frozen=True)
class _Energies(CompiledFunction):
    """The derivatives of the plain sum come with the energies; only other weights need a second pass."""

    engine: Engine
    make_formula: Callable[[], Formula]
    weighted: bool

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        energies, *of_plain_sum = self.engine(None)
        return (energies,), tuple(of_plain_sum)

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients | None:
        factor = common_value(upstream[0])
        if factor is not None:
            return tuple(gradient * factor for gradient in kept)
        return self.engine(upstream[0])[1:] if self.weighted else None

    def formula(self, *inputs: Tensor) -> Tensors:
        return (self.make_formula()(*inputs),)


def library_energies(
    batch: AtomicBatch, form: DispersionForm, weights: Float64[Tensor, " n_atoms"] | None
) -> tuple[Float64[Tensor, " n_atoms"], Float64[Tensor, "n_atoms 3"], Float64[Tensor, "n_systems 3 3"]]:
    """Energies (n_atoms,), and derivatives of their sum by positions and cell; in eV and Å.

    The library is called for one structure after another. It knows no ``weights`` in the sum but ones, and cuts
    coordination numbers off without a switch: ``form.switch_width`` must be 0.

    Returns
    -------
    energies : (n_atoms,) eV.
    by_positions : (n_atoms, 3) eV/Å.
    by_cell : (n_systems, 3, 3) eV/Å.
    """
    assert weights is None
    positions, cell = batch.positions.detach().numpy() / BOHR, batch.cell.detach().numpy() / BOHR
    pbc, numbers = batch.pbc.numpy(), batch.numbers.numpy()
    energies, by_positions, by_cell = np.zeros(len(numbers)), np.zeros_like(positions), np.zeros_like(cell)
    bounds = np.searchsorted(batch.system_idx.numpy(), np.arange(batch.n_systems + 1))
    for s, (first, last) in enumerate(zip(bounds[:-1], bounds[1:])):
        atoms = slice(first, last)
        energies[atoms], by_positions[atoms], by_cell[s] = _one_structure(
            numbers[atoms], positions[atoms], cell[s], pbc[s], form
        )
    gradient_unit = HARTREE / BOHR
    return (
        torch.from_numpy(energies * HARTREE),
        torch.from_numpy(by_positions * gradient_unit),
        torch.from_numpy(by_cell * gradient_unit),
    )


def _one_structure(
    numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, form: DispersionForm
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Results for one structure in atomic units."""
    from dftd3.interface import DispersionModel, RationalDampingParam

    lattice, periodic = None, None
    if pbc.any():
        # In version 1.7, slabs depend on their orientation, and images of a chain count on one side only. Both are
        # given as crystals of far slabs or chains.
        lattice = completed_cell(cell, pbc, positions, vacuum=max(form.cutoff, form.cn_cutoff, form.atm_cutoff))
        periodic = np.ones_like(pbc)
    model = DispersionModel(numbers, positions, lattice, periodic)
    model.set_realspace_cutoff(form.cutoff, form.atm_cutoff or form.cutoff, form.cn_cutoff)
    damping = RationalDampingParam(s6=form.s6, s8=form.s8, s9=form.s9, a1=form.a1, a2=form.a2)
    results = model.get_dispersion(damping, grad=True)
    by_pair = model.get_pairwise_dispersion(damping)
    energies = sum(part.sum(1) for part in by_pair.values())
    gradient = results["gradient"]
    return energies, gradient, derivative_by_cell(results["virial"], gradient, positions, cell, pbc)
