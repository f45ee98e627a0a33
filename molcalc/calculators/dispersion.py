"""D3(BJ) and D4 dispersion as ASE calculators of their own, to add to any other."""

from __future__ import annotations

from molcalc.assembly.potentials import dispersion_potential
from molcalc.calculators.base import MolCalculator
from molcalc.devices import Device
from molcalc.dispersion import d4, reference
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.dispersion.parameters import (
    D3_TABLE,
    D4_TABLE,
    D3Parameters,
    D4Parameters,
    d3_parameters,
    d4_parameters,
)
from molcalc.errors import ConfigError
from molcalc.prediction.options import PredictorOptions
from molcalc.predictor import Predictor


class D3(MolCalculator):
    """D3(BJ) dispersion energy, forces and stress.

    >>> atoms.calc = SumCalculator([some_dft_calculator, D3("pbe0")])

    Parameters
    ----------
    functional : exact name, as the package dftd3 spells it ("pbe0", "b3lyp", "wb97m"), or a usual spelling of it
        ("BP86", "PBE1PBE", "pbe-d3bj"); ``todict()`` has the name that it stands for.
    backend : "auto", "torch" or "dftd3" (the compiled library of that package); same results.
    atm : add the three-body term with the functional's s9.
    parameters : instead of a functional.
    cutoff, cn_cutoff, atm_cutoff : Å, range of pair energies, coordination numbers and three-body energies; 60, 40
        and 40 Bohr unless given. The cost of the three-body term in crystals grows with the sixth power of its range.
    switch_width : Å over which all fall to zero before their range. With 0, as in simple-dftd3, energies of crystals
        jump by about 1e-7 eV when a pair crosses it; MD of crystals wants 2 Å.
    device : "auto", "cpu", "cuda", the number of a graphics card, or a device of torch.

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
        device: Device = "auto",
    ) -> None:
        if (functional is None) == (parameters is None):
            raise ConfigError("D3 needs either the name of a functional or parameters=D3Parameters(…)")
        if functional is not None:
            parameters = d3_parameters(functional, atm=atm)
            functional, _ = D3_TABLE.find(functional)
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
            Predictor(
                dispersion_potential(term, range(1, reference.D3_LAST_ELEMENT + 1)),
                PredictorOptions(device=device, dtype="float64"),
                model=f"d3bj:{functional or 'parameters'}",
                depends_on=(),
                provenance={
                    "parameters": str(parameters),
                    "backend": backend,
                    "cutoff": term.cutoff,
                    "cn_cutoff": term.cn_cutoff,
                    "atm_cutoff": term.atm_cutoff,
                    "switch_width": term.switch_width,
                },
            )
        )


class D4(MolCalculator):
    """D4 dispersion energy, forces and stress, computed by the package dftd4.

    >>> atoms.calc = SumCalculator([some_dft_calculator, D4("pbe0")])

    The total charge enters, through the method's own charges: ``charge``, else what each Atoms states (see
    :mod:`molcalc.state`). Molecules and crystals with three periodic directions.

    Parameters
    ----------
    functional : name as the package dftd4 spells it ("pbe0", "r2scan", "wb97m"), or a usual spelling of it, as in
        :class:`D3`.
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
        cutoff: float = d4.D4_PAIR_CUTOFF,
        atm_cutoff: float = d4.D4_ATM_CUTOFF,
        cn_cutoff: float = d4.D4_CN_CUTOFF,
        switch_width: float = 0.0,
        device: Device = "auto",
    ) -> None:
        if (functional is None) == (parameters is None):
            raise ConfigError("D4 needs either the name of a functional or parameters=D4Parameters(…)")
        if functional is not None:
            parameters = d4_parameters(functional, atm=atm)
            functional, _ = D4_TABLE.find(functional)
        elif not atm:
            raise ConfigError("atm=False with parameters: give s9=0 in D4Parameters")
        assert parameters is not None
        term = d4.D4Dispersion(
            parameters, cutoff=cutoff, atm_cutoff=atm_cutoff, cn_cutoff=cn_cutoff, switch_width=switch_width
        )
        super().__init__(
            Predictor(
                dispersion_potential(term, range(1, d4.D4_LAST_ELEMENT + 1)),
                PredictorOptions(charge=charge, device=device, dtype="float64"),
                model=f"d4:{functional or 'parameters'}",
                depends_on=("charge",),
                provenance={
                    "parameters": str(parameters),
                    "cutoff": float(cutoff),
                    "atm_cutoff": float(atm_cutoff),
                    "cn_cutoff": float(cn_cutoff),
                    "switch_width": float(switch_width),
                },
            )
        )
