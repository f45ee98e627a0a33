"""Warning about periodic cells that carry a charge, which every way to sum their Coulomb energy neutralises somehow."""

from __future__ import annotations

from molcalc.errors import warn_user

NEUTRAL = 1e-3
"""e, largest total charge taken for rounding of predicted charges."""


class ChargedCellWarning(UserWarning):
    """A periodic cell carries a charge, which the sum of the Coulomb energy neutralises."""


class ChargedCells:
    """Memory of one sum, which warns of charged cells once.

    Parameters
    ----------
    neutralised : how the sum does it, in words that follow "e: ".
    """

    def __init__(self, neutralised: str) -> None:
        self._neutralised = neutralised
        self._warned = False

    def look_at(self, total_charge: float) -> None:
        """Warn of a periodic cell with this charge in e, unless it is none or was done before."""
        if abs(total_charge) > NEUTRAL and not self._warned:
            self._warned = True
            warn_user(
                f"the periodic cell has charge {total_charge:.4g} e: {self._neutralised}, and energies of cells of "
                "different size or charge cannot be compared directly",
                ChargedCellWarning,
            )
