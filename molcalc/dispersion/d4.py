"""D4 dispersion as an energy term."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.dispersion.d3 import NO_PAIRS
from molcalc.dispersion.d4_differentiation import d4_energies
from molcalc.dispersion.d4_library import D4Form, D4Structures, dftd4_interface
from molcalc.dispersion.lattice import check_cells
from molcalc.dispersion.parameters import D4Parameters, d4_parameters
from molcalc.energy_term import EnergyTerm
from molcalc.errors import CellError, ConfigError
from molcalc.units import BOHR

D4_PAIR_CUTOFF = 60.0 * BOHR
D4_ATM_CUTOFF = 40.0 * BOHR
D4_CN_CUTOFF = 30.0 * BOHR
"""Å, cutoffs of dftd4 (its ``realspace_cutoff``)."""


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

    pair_cutoff = NO_PAIRS

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
            if not 0.0 < value < math.inf:
                raise ConfigError(f"{name}={value} Å must be positive and finite")
        shortest = min(cutoff, atm_cutoff)
        if not 0.0 <= switch_width < shortest:
            raise ConfigError(
                f"switch_width={switch_width} Å must be at least 0 and less than the shorter cutoff, {shortest:g} Å"
            )
        self.damping = p
        self.form = D4Form(p, *(x / BOHR for x in (*lengths.values(), switch_width)))

    def forward(
        self, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
    ) -> Float64[Tensor, " n_atoms"]:
        """Return the (n_atoms,) float64 energies in eV; pairs and triples are shared evenly by their atoms.

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
