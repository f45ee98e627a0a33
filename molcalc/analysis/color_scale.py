"""Colors of values in pictures: white in the middle, blue below it, red above it, as far to either side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from molcalc.analysis.molecular_potential import MolecularPotential
from molcalc.errors import checked_positive

RAMP = np.array([
    [0.07, 0.22, 0.45], [0.13, 0.43, 0.69], [0.42, 0.68, 0.84], [0.76, 0.87, 0.94], [0.97, 0.97, 0.97],
    [0.99, 0.85, 0.77], [0.95, 0.60, 0.47], [0.80, 0.26, 0.24], [0.46, 0.05, 0.13],
])  # fmt: skip
"""Red, green and blue at equal distances from the lowest to the highest value."""
N_TICKS = 5


@dataclass(frozen=True)
class ColorScale:
    """Colors of values, and the words beside their bar.

    Attributes
    ----------
    quantity : what is shown, with its unit, such as "charge (e)".
    center : value that is white.
    reach : distance from there to the ends of the scale.
    """

    quantity: str
    center: float
    reach: float

    @classmethod
    def of(
        cls, values: Float64[np.ndarray, " n"], quantity: str, center: float = 0.0, reach: float | None = None
    ) -> ColorScale:
        """Scale that values fit into.

        Parameters
        ----------
        reach : None takes the largest distance of a value from the center.

        Returns
        -------
        scale

        Raises
        ------
        ConfigError
            For a reach that is not a positive number.
        """
        if reach is not None:
            checked_positive("reach", reach)
        largest = float(np.abs(np.asarray(values) - center).max(initial=0.0))
        return cls(quantity, center, reach or largest or 1.0)

    @property
    def title(self) -> str:
        """What stands beside the bar; of a scale that is not about zero it says so."""
        return f"{self.quantity}, white: {self.center:+.2f}" if self.center else self.quantity

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest value that have a color of their own."""
        return self.center - self.reach, self.center + self.reach

    @property
    def ticks(self) -> list[str]:
        """Five values at equal distances, the lowest first, as they are written beside the bar."""
        digits = max(0, 2 - int(np.floor(np.log10(self.reach))))
        values = np.linspace(*self.ends, N_TICKS).tolist()
        return [f"{value:+.{digits}f}" if value else "0" for value in values]

    def rgb(self, values: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 3"]:
        """Red, green and blue from 0 to 1; beyond the ends the colors of the ends."""
        places = np.clip((np.asarray(values) - self.center) / self.reach, -1.0, 1.0)
        steps = np.linspace(-1.0, 1.0, len(RAMP))
        return np.stack([np.interp(places, steps, channel) for channel in RAMP.T], axis=-1)


def potential_scale(
    potential: MolecularPotential, values: Float64[np.ndarray, " n_points"], reach: float | None = None
) -> ColorScale:
    """Colors of the potential of a molecule, about zero; of an ion about the mean, which is mostly that of its charge.

    Parameters
    ----------
    values : (n_points,) V, all over the surface.
    reach : V from the middle to the ends; None takes what the values need.

    Returns
    -------
    scale
    """
    center = float(np.mean(values)) if potential.total_charge else 0.0
    return ColorScale.of(values, "electrostatic potential (V)", center, reach)


def charge_scale(charges: Float64[np.ndarray, " n"], of: str = "") -> ColorScale:
    """Colors of charges in e, about zero.

    Parameters
    ----------
    of : what has them, for the words beside the bar.

    Returns
    -------
    scale
    """
    return ColorScale.of(charges, f"charge{of} (e)")
