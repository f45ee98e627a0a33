"""D3(BJ) dispersion as an ASE calculator of its own, to add to any other."""

from __future__ import annotations

from ase import Atoms

from molcalc.calculators.base import MolCalculator
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.dispersion.parameters import D3Parameters, d3_parameters
from molcalc.dispersion.reference import LAST_ELEMENT
from molcalc.errors import ConfigError
from molcalc.models.no_network import NoNetwork
from molcalc.potential import Potential
from molcalc.state import State


class D3(MolCalculator):
    """D3(BJ) dispersion energy, forces and stress.

    >>> atoms.calc = SumCalculator([some_dft_calculator, D3("pbe0")])

    Parameters
    ----------
    functional : exact name, as the package dftd3 spells it ("pbe0", "b3lyp", "wb97m").
    backend : "auto", "torch" or "dftd3" (the compiled library of that package); same results.
    atm : add the three-body term with the functional's s9.
    parameters : instead of a functional.
    cutoff, cn_cutoff, atm_cutoff : Å, range of pair energies, coordination numbers and three-body energies; 60, 40
        and 40 Bohr unless given. The cost of the three-body term in crystals grows with the sixth power of its range.
    switch_width : Å over which all fall to zero before their range. With 0, as in simple-dftd3, energies of crystals
        jump by about 1e-7 eV when a pair crosses it; MD of crystals wants 2 Å.
    device : "auto", "cpu" or "cuda".

    Raises
    ------
    ConfigError
        For an unknown functional (near matches are listed), both or neither of functional and parameters, or an
        ``atm_cutoff`` without three-body term.

    References
    ----------
    Grimme, Ehrlich, Goerigk, J. Comput. Chem. 32, 1456 (2011).
    """

    name = "d3"

    def __init__(
        self,
        functional: str | None = None,
        *,
        backend: str = "auto",
        atm: bool = False,
        parameters: D3Parameters | None = None,
        cutoff: float | None = None,
        cn_cutoff: float | None = None,
        atm_cutoff: float | None = None,
        switch_width: float = 0.0,
        device: str = "auto",
    ) -> None:
        if (functional is None) == (parameters is None):
            raise ConfigError("D3 needs either the name of a functional or parameters=D3Parameters(…)")
        if functional is not None:
            parameters = d3_parameters(functional, atm=atm)
        elif atm and parameters is not None and parameters.s9 == 0.0:
            raise ConfigError("atm=True with parameters of s9=0: give s9 in D3Parameters")
        assert parameters is not None
        if atm_cutoff is not None and parameters.s9 == 0.0:
            raise ConfigError(f"atm_cutoff={atm_cutoff} without three-body term: add atm=True")
        term = D3Dispersion(
            parameters,
            cutoff=cutoff,
            cn_cutoff=cn_cutoff,
            atm_cutoff=atm_cutoff,
            switch_width=switch_width,
            backend=backend,
        )
        super().__init__(
            Potential([NoNetwork(range(1, LAST_ELEMENT + 1))], [term]),
            model=f"d3bj:{functional or 'parameters'}",
            model_hash="",
            device=device,
            dtype="float64",
            provenance={"parameters": str(parameters), "backend": backend},
        )

    def resolve(self, atoms: Atoms) -> State:
        """D3 depends on neither charge nor spin."""
        return State(0, 1)
