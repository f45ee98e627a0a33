"""Work of forces beside differences of energies."""

from __future__ import annotations

import numpy as np
import pytest

from molcalc.train.data.work import WorkAndDifference


def test_pairs_that_cannot_tell_two_factors_apart_do_not_decide_between_them() -> None:
    """Of forces that are twice too large, three quarters of the pairs have an error that hides it."""
    work = np.linspace(-2.0, 2.0, 40)
    error = np.abs(work) * np.where(np.arange(40) % 4 == 0, 0.05, 0.3)
    assert WorkAndDifference(work, 0.5 * work, error).other_factor == pytest.approx(0.5)
    assert WorkAndDifference(work, work, error).other_factor is None
    assert WorkAndDifference(work, 0.5 * work, np.abs(work) * 0.3).other_factor is None
