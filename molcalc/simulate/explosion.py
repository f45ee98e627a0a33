"""Signs that molecular dynamics has left all sense: far too hot, or an energy that is not conserved."""

from __future__ import annotations

import math
from dataclasses import dataclass

from molcalc.errors import ExplosionError
from molcalc.simulate.ensembles import DynamicsSettings

FLUCTUATIONS = 8.0
"""Standard deviations, √(2/f) of the mean for f degrees of freedom, by which a temperature may differ."""
EXCESS = 5000.0
"""K above the temperature of the run that strained structures and reactions may set free; all of it in every atom would
be 1.3 eV per atom."""
DRIFT = 0.5
"""eV per atom by which the total energy of a run at constant energy may differ from that of its first frame."""


@dataclass(frozen=True)
class Sense:
    """Temperatures and energies that a run may have.

    Attributes
    ----------
    settings : of the run.
    n_freedom : degrees of freedom that carry kinetic energy.
    start : K, temperature at its first step.
    """

    settings: DynamicsSettings
    n_freedom: int
    start: float

    @property
    def hottest(self) -> float:
        """K above which a run has exploded."""
        usual = max(self.settings.temperature, self.start)
        return usual * (1.0 + FLUCTUATIONS * math.sqrt(2.0 / max(self.n_freedom, 1))) + EXCESS

    def check_temperature(self, kelvin: float) -> None:
        """Stop a run at constant temperature that is far too hot; one at constant energy may heat itself.

        Raises
        ------
        ExplosionError
        """
        if self.settings.thermostat is not None and kelvin > self.hottest:
            raise ExplosionError(
                f"the dynamics exploded: {kelvin:,.0f} K in a run at {self.settings.temperature:g} K. {self._cure()}"
            )

    def check_energy(self, change: float) -> None:
        """Stop a run at constant energy that does not conserve it.

        Parameters
        ----------
        change : eV per atom since the first frame.

        Raises
        ------
        ExplosionError
        """
        if self.settings.thermostat is None and abs(change) > DRIFT:
            raise ExplosionError(
                f"the dynamics exploded: the total energy changed by {change:+.2f} eV per atom in a run at constant "
                f"energy. {self._cure()}"
            )

    def _cure(self) -> str:
        return (
            f"Take a smaller timestep than {self.settings.timestep:g} fs (0.5 fs with hydrogen), relax the structure "
            "first, and look at the last frames for what the model does not know"
        )
