"""D4 dispersion as an ASE calculator of its own, to add to any other."""

from __future__ import annotations

from ase import Atoms

from molcalc.calculators.base import MolCalculator
from molcalc.calculators.inputs import initial_charge
from molcalc.dispersion.d4 import ATM_CUTOFF, CN_CUTOFF, PAIR_CUTOFF, D4Dispersion
from molcalc.dispersion.d4_library import LAST_ELEMENT
from molcalc.dispersion.parameters import D4Parameters, d4_parameters
from molcalc.errors import ConfigError
from molcalc.models.no_network import NoNetwork
from molcalc.potential import Potential
from molcalc.state import State, resolve_charge


class D4(MolCalculator):
    """D4 dispersion energy, forces and stress, computed by the package dftd4.

    >>> atoms.calc = SumCalculator([some_dft_calculator, D4("pbe0")])

    The total charge enters, through the method's own charges: ``charge``, else what each Atoms states (see
    :mod:`molcalc.state`). Molecules and crystals with three periodic directions.

    Parameters
    ----------
    functional : exact name, as the package dftd4 spells it ("pbe0", "r2scan", "wb97m").
    atm : with the three-body term, with which the parameters were fitted.
    parameters : instead of a functional.
    charge : total charge of every structure.
    cutoff, atm_cutoff, cn_cutoff : Å, range of pair energies, three-body energies and coordination numbers; 60, 40 and
        30 Bohr unless given, as in dftd4. Crystals want a shorter ``atm_cutoff`` (10 Å), which is much faster.
    switch_width : Å over which energies fall to zero before their range; crystals that change their cell want 2 Å.
    device : "auto", "cpu" or "cuda"; D4 itself runs on the CPU.

    Raises
    ------
    ConfigError
        When dftd4 is not installed; for an unknown functional (near matches are listed), or both or neither of
        functional and parameters.

    References
    ----------
    Caldeweyher, Ehlert, Hansen, Neugebauer, Spicher, Bannwarth, Grimme, J. Chem. Phys. 150, 154122 (2019).
    """

    name = "d4"

    def __init__(
        self,
        functional: str | None = None,
        *,
        atm: bool = True,
        parameters: D4Parameters | None = None,
        charge: int | None = None,
        cutoff: float = PAIR_CUTOFF,
        atm_cutoff: float = ATM_CUTOFF,
        cn_cutoff: float = CN_CUTOFF,
        switch_width: float = 0.0,
        device: str = "auto",
    ) -> None:
        if (functional is None) == (parameters is None):
            raise ConfigError("D4 needs either the name of a functional or parameters=D4Parameters(…)")
        if functional is not None:
            parameters = d4_parameters(functional, atm=atm)
        elif not atm:
            raise ConfigError("atm=False with parameters: give s9=0 in D4Parameters")
        assert parameters is not None
        term = D4Dispersion(
            parameters, cutoff=cutoff, atm_cutoff=atm_cutoff, cn_cutoff=cn_cutoff, switch_width=switch_width
        )
        super().__init__(
            Potential([NoNetwork(range(1, LAST_ELEMENT + 1))], [term]),
            model=f"d4:{functional or 'parameters'}",
            model_hash="",
            charge=charge,
            device=device,
            dtype="float64",
            provenance={"parameters": str(parameters)},
        )

    def resolve(self, atoms: Atoms) -> State:
        """D4 depends on the charge, but not on spin."""
        charge = resolve_charge(
            atoms.info,
            n_atoms=len(atoms),
            protons=int(atoms.numbers.sum()),
            initial_charge=initial_charge(atoms),
            argument=self._charge,
        )
        return State(charge or 0, 1)
