"""Coverage: how many shapes of the reference are generated, and how many generated shapes the reference has.

O.-E. Ganea et al., NeurIPS 34, 13757 (2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DELTA = 0.5
"""Å within which two structures have one shape, unless a curve is looked at."""
DELTAS = tuple(round(0.1 * k, 1) for k in range(1, 16))
"""Å, of the curve."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Coverage in both directions, and mean distances to the nearest structure of the other set.

    Attributes
    ----------
    recall : share of reference structures with a generated one within :data:`DELTA`.
    precision : share of generated structures with one of the reference within :data:`DELTA`.
    mean_recall : Å, mean distance of reference structures to the nearest generated one (MAT-R).
    mean_precision : Å, mean distance of generated structures to the nearest one of the reference (MAT-P).
    recall_curve, precision_curve : shares within each of :data:`DELTAS`.
    """

    recall: float
    precision: float
    mean_recall: float
    mean_precision: float
    recall_curve: tuple[float, ...]
    precision_curve: tuple[float, ...]

    @classmethod
    def of(cls, distances: np.ndarray) -> Coverage:
        """Coverage by distances (n_reference, n_generated) in Å."""
        of_reference, of_generated = distances.min(axis=1), distances.min(axis=0)
        return cls(
            recall=_share(of_reference, DELTA),
            precision=_share(of_generated, DELTA),
            mean_recall=float(of_reference.mean()),
            mean_precision=float(of_generated.mean()),
            recall_curve=tuple(_share(of_reference, delta) for delta in DELTAS),
            precision_curve=tuple(_share(of_generated, delta) for delta in DELTAS),
        )


def _share(distances: np.ndarray, limit: float) -> float:
    return float(np.mean(distances <= limit))
