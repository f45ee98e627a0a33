"""Electrostatic potential of the charges that a model gives to one molecule, anywhere in space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float64

from molcalc.calculators.base import MolCalculator
from molcalc.electrostatics.sites import ChargeSites
from molcalc.errors import InputError
from molcalc.prediction.points import potential_at


@dataclass(frozen=True)
class MolecularPotential:
    """A molecule and its charges, which have a potential at any points.

    Attributes
    ----------
    atoms : the molecule.
    sites : its charges in e at positions in Å.
    """

    atoms: Atoms
    sites: ChargeSites

    @property
    def total_charge(self) -> int:
        """e; what the charges add up to, without their rounding."""
        return round(float(self.sites.charges.sum()))

    @property
    def is_distributed(self) -> bool:
        """Whether the charges are anywhere but on the atoms."""
        positions = self.sites.positions.numpy()
        return positions.shape != self.atoms.positions.shape or not np.allclose(positions, self.atoms.positions)

    @classmethod
    def of(cls, atoms: Atoms, calc: MolCalculator | None = None, source: str = "auto") -> MolecularPotential:
        """Charges of a molecule, from one evaluation of the model.

        Parameters
        ----------
        calc : None takes that of the atoms.
        source : "distributed" charges, atomic "charges", or "auto": those that the dipole is made of.

        Returns
        -------
        potential of the molecule as it is now

        Raises
        ------
        InputError
            For a periodic structure, or without a calculator of molcalc.
        MissingPropertyError
            When the model predicts no charges.
        ConfigError
            For another source.
        """
        if atoms.pbc.any():
            raise InputError(
                "the potential of point charges needs a molecule: switch off pbc, or take planar_potential, which "
                "averages that of a periodic structure in planes"
            )
        return cls(atoms.copy(), calculator_with_charges(atoms, calc).predictor.charge_sites(atoms, source))

    def at(self, points: np.ndarray) -> Float64[np.ndarray, " n_points"]:
        """Values at points.

        Parameters
        ----------
        points : (n_points, 3) Å.

        Returns
        -------
        (n_points,) float64, V

        Raises
        ------
        InputError
            For points of the wrong shape, on a charge or on a nucleus.
        """
        return potential_at(points, self.atoms, lambda: self.sites)


def calculator_with_charges(atoms: Atoms, calc: MolCalculator | None) -> MolCalculator:
    """The calculator given, or that of the atoms.

    Returns
    -------
    calculator of a model

    Raises
    ------
    InputError
        When there is none of molcalc.
    """
    found = atoms.calc if calc is None else calc
    if not isinstance(found, MolCalculator):
        given = "no calculator" if found is None else f"a calculator of another package, {type(found).__name__},"
        raise InputError(f"{given} cannot give charges: pass calc=AIMNet2(…) or another calculator of molcalc")
    return found
