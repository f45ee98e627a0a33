"""Damping and cutoff functions of the dispersion energy."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from molcalc.nn.switch import smooth_step


def rational_damping(squared: Tensor, roots: Tensor, *, s6: float, s8: float, a1: float, a2: float) -> Tensor:
    r"""Distance dependence of the pair energy with rational (Becke-Johnson) damping.

    .. math::

        f(r) = \frac{s_6}{r^6 + R^6} + \frac{s_8 q}{r^8 + R^8}, \qquad R = a_1 \sqrt{q} + a_2, \quad
        q = C_8 / C_6

    Parameters
    ----------
    squared : r² in Bohr², of any shape.
    roots : √q in Bohr.

    Returns
    -------
    Bohr⁻⁶, of the shape of ``squared``; the energy of a pair is −C6 f.

    References
    ----------
    Grimme, Ehrlich, Goerigk, J. Comput. Chem. 32, 1456 (2011), eq. 5-6.
    """
    radius2 = (a1 * roots + a2).square()
    radius6, r6 = radius2 * radius2 * radius2, squared * squared * squared
    return s6 / (r6 + radius6) + (s8 * roots * roots) / (r6 * squared + radius6 * radius2)


THREE_BODY_RADII = 4.0 / 3.0
"""Scaling of van der Waals radii in the three-body damping."""


def three_body_damping(ratio: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Zero damping of the three-body energy.

    .. math:: f = \frac{1}{1 + 6 x^{16/3}}, \qquad
        x = \prod_{sides} \frac{4}{3} \frac{R_{vdW}}{r}

    Parameters
    ----------
    ratio : product of R_vdW / r over the three sides.

    Returns
    -------
    factor f on the undamped energy, in the shape of ``ratio``

    References
    ----------
    Grimme, Antony, Ehrlich, Krieg, J. Chem. Phys. 132, 154104 (2010), eq. 14.
    """
    return 1.0 / (1.0 + 6.0 * (THREE_BODY_RADII**3 * ratio) ** (16.0 / 3.0))


def smooth_cutoff(values: Tensor, distances: Tensor, cutoff: float, width: float) -> Tensor:
    r"""Cut a pair quantity off at ``cutoff``; with ``width`` > 0 it falls to zero smoothly before.

    .. math:: 1 - P(t), \qquad t = (r - r_c + w) / w \in [0, 1]

    with the polynomial P of :func:`molcalc.nn.switch.smooth_step`.

    First and second derivatives vanish at both ends. simple-dftd3 uses the same polynomial. A distance that
    is not a number is not beyond the cutoff: it shows in the result.

    Returns
    -------
    ``values`` times the factor, 0 beyond the cutoff
    """
    if math.isinf(cutoff):
        return values
    if width == 0.0:
        return torch.where(distances > cutoff, 0.0, values)
    return values * (1.0 - smooth_step(((distances - (cutoff - width)) / width).clamp(0.0, 1.0)))
