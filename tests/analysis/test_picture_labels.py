"""Texts on pictures move apart and stay near their atoms."""

from __future__ import annotations

import numpy as np

from molcalc.analysis.picture_labels import boxes_apart


def touching(centers: np.ndarray, sizes: np.ndarray) -> int:
    apart, needed = np.abs(centers[:, None] - centers[None]), 0.5 * (sizes[:, None] + sizes[None])
    return int(np.triu((needed - apart > 1e-9).all(axis=2), 1).sum())


def test_boxes_that_touch_move_apart_and_stay_near() -> None:
    rng = np.random.default_rng(0)
    anchors = np.concatenate([rng.uniform(0.0, 8.0, (30, 2)), [[1.0, 1.0], [1.0, 1.0]]])
    sizes = np.tile([0.8, 0.5], (32, 1))
    assert touching(anchors, sizes) > 5
    centers = boxes_apart(anchors, sizes)
    assert touching(centers, sizes) == 0
    assert np.abs(centers - anchors).max() < 1.5


def test_boxes_that_do_not_touch_stay() -> None:
    anchors = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert np.array_equal(boxes_apart(anchors, np.full((3, 2), 0.9)), anchors)
