"""Electrostatic potential of a periodic structure, averaged in planes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float64

from molcalc.analysis.molecular_potential import calculator_with_charges
from molcalc.calculators.base import MolCalculator
from molcalc.errors import ConfigError, InputError
from molcalc.units import COULOMB

AXES = ("a", "b", "c")
N_PLANES = 400
NEUTRAL_WITHIN = 1e-4
"""e by which charges may miss a sum of zero, from rounding."""


@dataclass(frozen=True)
class PlanarPotential:
    """Average of the potential in planes, along their normal.

    Attributes
    ----------
    distance : (n_planes,) Å from the origin along the normal.
    potential : (n_planes,) V.
    periodic : whether the structure repeats along the normal; else it is a slab between two vacua.
    """

    distance: Float64[np.ndarray, " n_planes"]
    potential: Float64[np.ndarray, " n_planes"]
    periodic: bool

    @property
    def vacuum(self) -> tuple[float, float] | None:
        """V below and above a slab; None for a structure that is periodic along the normal."""
        return None if self.periodic else (float(self.potential[0]), float(self.potential[-1]))

    @property
    def step(self) -> float | None:
        """V above minus below a slab, 4πkₑ times its dipole density: the difference of its two work functions."""
        return None if self.vacuum is None else self.vacuum[1] - self.vacuum[0]


def planar_potential(
    atoms: Atoms, calc: MolCalculator | None = None, axis: str = "c", n_planes: int = N_PLANES
) -> PlanarPotential:
    r"""Electrostatic potential of a crystal or a slab, averaged in the planes of two lattice vectors.

    The average over a plane of the Ewald sum of point charges is a sum over sheets of charge, with u the distance from
    a sheet, A the area and h the height of the cell:

    .. math:: \bar V(z) = \frac{2π k_e}{A} \sum_i q_i \left(-|u_i| + \frac{u_i^2}{h} + \frac{h}{6}\right)

    for a structure that is periodic along the normal (average zero; u between −h/2 and h/2), and the first term alone
    for a slab (average of the two vacua zero).

    Parameters
    ----------
    calc : any calculator of molcalc whose model has charges; None takes that of the atoms.
    axis : "a", "b" or "c": the lattice vector that leaves the planes, which the other two span.
    n_planes : at which the average is given.

    Returns
    -------
    distances in Å and averages in V

    Raises
    ------
    InputError
        For a structure that is not periodic in the planes, whose charges do not add up to zero, or without a calculator
        of molcalc.
    MissingPropertyError
        When the model predicts no charges.
    ConfigError
        For another axis, or no planes.

    References
    ----------
    The one-dimensional solution of Poisson's equation; compare Peressi, Binggeli, Baldereschi, J. Phys. D 31, 1273
    (1998), doi:10.1088/0022-3727/31/11/002.
    """
    if axis not in AXES:
        raise ConfigError(f"axis={axis!r}: choose one of {list(AXES)}, the lattice vector that leaves the planes")
    if not isinstance(n_planes, (int, np.integer)) or n_planes < 2:
        raise ConfigError(f"n_planes={n_planes!r} is not a whole number of at least 2")
    along = AXES.index(axis)
    across = [(along + 1) % 3, (along + 2) % 3]
    if not atoms.pbc[across].all():
        raise InputError(
            f"pbc={atoms.pbc.tolist()}: averages in planes need a structure that is periodic along "
            f"{' and '.join(AXES[k] for k in sorted(across))}"
        )
    charges = np.asarray(calculator_with_charges(atoms, calc).get_property("charges", atoms))
    total = float(charges.sum())
    if abs(total) > NEUTRAL_WITHIN * max(1.0, len(atoms) ** 0.5):
        raise InputError(f"the charges of the cell add up to {total:+.4f} e: only a neutral one has a potential")
    charges = charges - total / len(charges)
    first, second = atoms.cell[across[0]], atoms.cell[across[1]]
    normal = np.cross(first, second)
    area = float(np.linalg.norm(normal))
    normal *= (-1.0 if normal @ atoms.cell[along] < 0 else 1.0) / area  # up is where the third vector leads
    heights = atoms.positions @ normal
    prefactor = 2.0 * np.pi * COULOMB / area
    periodic = bool(atoms.pbc[along])
    if periodic:
        period = float(atoms.cell[along] @ normal)
        distance = np.arange(n_planes) * period / n_planes
        u = distance[:, None] - heights
        u -= period * np.round(u / period)
        sheets = -np.abs(u) + u**2 / period + period / 6.0
    else:
        room = max(5.0, 0.1 * float(np.ptp(heights)))
        distance = np.linspace(heights.min() - room, heights.max() + room, n_planes)
        sheets = -np.abs(distance[:, None] - heights)
    return PlanarPotential(distance, prefactor * (sheets @ charges), periodic)
