"""How well two rows of numbers agree."""

from __future__ import annotations

import numpy as np


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's coefficient; 0 if one of the rows is constant."""
    if not np.ptp(x) or not np.ptp(y):
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])
