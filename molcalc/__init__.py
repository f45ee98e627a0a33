"""Neural-network potentials that behave like real ASE calculators.

Calculators: :class:`AIMNet2`, :class:`PhysNetDCM`, :class:`NonEquivariantDCM`, and dispersion alone, :class:`D3` and
:class:`D4`.

Functions: :func:`relax` and :func:`md` of one structure or many, :func:`fit` and :func:`evaluate` of models,
:func:`open_model` (read once, for several calculators), :func:`check_calculator` (of any ASE calculator).

Packages: ``molcalc.analysis`` (potentials and surfaces, spectra, comparisons, pictures), ``molcalc.conformers`` (ranked
and generated), ``molcalc.train``, ``molcalc.simulate``, ``molcalc.export``, ``molcalc.engines`` (OpenMM, i-PI, LAMMPS,
TorchSim), ``molcalc.testing``, ``molcalc.calculators``.

>>> from ase.build import molecule
>>> from molcalc import AIMNet2
>>> atoms = molecule("H2O")
>>> atoms.calc = AIMNet2("wb97m-d3")
>>> energy = atoms.get_potential_energy()  # eV

Everything is imported on first use, so that ``import molcalc`` is cheap: torch is loaded when something needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from molcalc._version import __version__
from molcalc.first_use import on_first_use

if TYPE_CHECKING:
    from molcalc.assembly.opening import open_model as open_model
    from molcalc.calculators.aimnet2 import AIMNet2 as AIMNet2
    from molcalc.calculators.dispersion import D3 as D3
    from molcalc.calculators.dispersion import D4 as D4
    from molcalc.calculators.physnet_dcm import NonEquivariantDCM as NonEquivariantDCM
    from molcalc.calculators.physnet_dcm import PhysNetDCM as PhysNetDCM
    from molcalc.simulate.dynamics import md as md
    from molcalc.simulate.relaxation import relax as relax
    from molcalc.testing.runner import check_calculator as check_calculator
    from molcalc.train.fitting import fit as fit
    from molcalc.train.report.evaluation import evaluate as evaluate

HOMES = {
    "AIMNet2": "molcalc.calculators.aimnet2",
    "PhysNetDCM": "molcalc.calculators.physnet_dcm",
    "NonEquivariantDCM": "molcalc.calculators.physnet_dcm",
    "D3": "molcalc.calculators.dispersion",
    "D4": "molcalc.calculators.dispersion",
    "open_model": "molcalc.assembly.opening",
    "check_calculator": "molcalc.testing.runner",
    "md": "molcalc.simulate.dynamics",
    "relax": "molcalc.simulate.relaxation",
    "fit": "molcalc.train.fitting",
    "evaluate": "molcalc.train.report.evaluation",
}
"""Module of each public name; it is imported on first use."""
ROOMS = ("analysis", "calculators", "conformers", "engines", "export", "simulate", "testing", "train")
"""Packages that have public names of their own."""
__all__ = ["__version__", *HOMES]
__getattr__, __dir__ = on_first_use(__name__, HOMES, ROOMS)
