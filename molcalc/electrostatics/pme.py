"""Particle-mesh Ewald summation of the charges of large crystals, with the package nvalchemi-toolkit-ops."""

from __future__ import annotations

import importlib
import math
from types import ModuleType

from torch import Tensor

from molcalc.electrostatics.ewald import EwaldSum, Splitting
from molcalc.errors import ConfigError

SPLINE_ORDER = 6
BEST_ACCURACY = 1e-7
"""Where finer meshes stop to help: energies keep a relative error of 5e-8."""
ERROR_AT_FULL_WIDTH, ERROR_POWER = 3e-3, 5.5
"""Relative error of forces and stress when the mesh spacing is the Gaussian's width σ = 1/(√2 α), and how it falls with
the spacing; measured against exact sums."""


class MeshEwaldSum(EwaldSum):
    """The sum of :class:`molcalc.electrostatics.ewald.EwaldSum`, with its smooth part on a mesh.

    The cost grows as n log n. The package nvalchemi-toolkit-ops (extra ``pme``) does the mesh part; it differentiates
    twice and runs on CPU and GPU.

    Parameters
    ----------
    accuracy : relative error of forces and stress, about.
    background : as in the plain Ewald sum.
    real_cutoff : Å.

    Raises
    ------
    ConfigError
        When nvalchemi-toolkit-ops is not installed, or the accuracy is below 1e-7.

    References
    ----------
    Essmann, Perera, Berkowitz, Darden, Lee, Pedersen, J. Chem. Phys. 103, 8577 (1995).
    """

    def __init__(
        self,
        accuracy: float = 1e-6,
        background: bool = True,
        *,
        real_cutoff: float = 9.0,
    ) -> None:
        super().__init__(accuracy, background, real_cutoff=real_cutoff)
        if accuracy < BEST_ACCURACY:
            raise ConfigError(
                f'accuracy={accuracy} is beyond the {BEST_ACCURACY} of particle-mesh Ewald: use Coulomb method "ewald"'
            )
        self.relative_spacing = (self.accuracy / ERROR_AT_FULL_WIDTH) ** (1.0 / ERROR_POWER)
        _package()

    def _smooth_energies(
        self, positions: Tensor, charges: Tensor, cell: Tensor, volume: Tensor, split: Splitting
    ) -> Tensor:
        from scipy.fft import next_fast_len  # an import that most users never need

        spacing = self.relative_spacing / (math.sqrt(2.0) * split.alpha)
        lengths = cell.detach().norm(dim=1).tolist()
        mesh = tuple(next_fast_len(max(2 * SPLINE_ORDER, math.ceil(n / spacing)), real=True) for n in lengths)
        energies: Tensor = _package().pme_reciprocal_space(
            positions, charges, cell, split.alpha, mesh_dimensions=mesh, spline_order=SPLINE_ORDER
        )
        return energies


def _package() -> ModuleType:
    try:
        return importlib.import_module("nvalchemiops.torch.interactions.electrostatics")
    except ImportError as error:
        raise ConfigError(
            "particle-mesh Ewald needs the package nvalchemi-toolkit-ops, which is not installed: "
            "pip install 'molcalc[pme]', or use Coulomb method \"ewald\""
        ) from error
