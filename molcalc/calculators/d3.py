"""D3(BJ) dispersion as an ASE calculator of its own, to add to any other."""

from __future__ import annotations

import torch
from ase import Atoms
from torch import Tensor, nn

from molcalc.batch import AtomicBatch
from molcalc.calculators.base import MolCalculator
from molcalc.calculators.inputs import State
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.dispersion.parameters import D3Parameters, d3_parameters
from molcalc.errors import ConfigError
from molcalc.potential import Potential

HEAVIEST = 94
"""Atomic number of the last element with D3 reference data."""


class D3(MolCalculator):
    """D3(BJ) dispersion energy, forces and stress.

    >>> atoms.calc = SumCalculator([some_dft_calculator, D3("pbe0")])

    Parameters
    ----------
    functional : exact name, as the package dftd3 spells it ("pbe0", "b3lyp", "wb97m").
    backend : "auto", "torch" or "dftd3" (the compiled library of that package); same results.
    atm : add the three-body term with the functional's s9.
    parameters : instead of a functional.
    cutoff, cn_cutoff : Å, range of pair energies and of coordination numbers; 60 and 40 Bohr unless given.
    switch_width : Å over which both fall to zero before their range. With 0, as in simple-dftd3, energies of crystals
        jump by about 1e-7 eV when a pair crosses it; MD of crystals wants 2 Å.
    device : "auto", "cpu" or "cuda".

    Raises
    ------
    ConfigError
        For an unknown functional (near matches are listed), or both or neither of functional and parameters.

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
        term = D3Dispersion(parameters, cutoff=cutoff, cn_cutoff=cn_cutoff, switch_width=switch_width, backend=backend)
        super().__init__(
            Potential([_NoNetwork()], [term]),
            model=f"d3bj:{functional or 'parameters'}",
            model_hash="",
            device=device,
            dtype="float64",
            provenance={"parameters": str(parameters), "backend": backend},
        )

    def resolve(self, atoms: Atoms) -> State:
        """D3 depends on neither charge nor spin."""
        return State(0, 1)


class _NoNetwork(nn.Module):
    """Stands where a potential has its network, and contributes nothing."""

    float32_parameters: tuple[str, ...] = ()
    cutoff = 3.0  # Å; edges are used to find atoms that are too close
    predicts: tuple[str, ...] = ()
    elements = tuple(range(1, HEAVIEST + 1))

    def __init__(self) -> None:
        super().__init__()
        self.zero = nn.Parameter(torch.zeros((), dtype=torch.float64), requires_grad=False)

    def forward(self, batch: AtomicBatch) -> dict[str, Tensor]:
        return {"atomic_energies": self.zero.expand(batch.n_atoms)}
