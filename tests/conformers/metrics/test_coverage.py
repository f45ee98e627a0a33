"""Coverage by hand: three references, two generated structures."""

from __future__ import annotations

import numpy as np
import pytest

from molcalc.conformers.metrics.coverage import DELTAS, Coverage


def test_both_directions_are_counted() -> None:
    found = Coverage.of(np.array([[0.1, 0.9], [0.6, 0.3], [2.0, 1.2]]))
    assert found.recall == pytest.approx(2 / 3)
    assert found.precision == 1.0
    assert found.mean_recall == pytest.approx((0.1 + 0.3 + 1.2) / 3)
    assert found.mean_precision == pytest.approx((0.1 + 0.3) / 2)
    assert found.recall_curve[DELTAS.index(0.1)] == pytest.approx(1 / 3)
    assert found.recall_curve[DELTAS.index(1.2)] == 1.0
    assert found.precision_curve[DELTAS.index(0.2)] == 0.5
