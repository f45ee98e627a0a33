"""Pictures of the latent space."""

from __future__ import annotations

import re

import numpy as np
import pytest

from molcalc.conformers.metrics import conformer_plots

pytest.importorskip("matplotlib")


def drawn(latents: np.ndarray, torsions: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Places in the map, and the percentages that its axes say."""
    axis = conformer_plots.draw_latent(latents, torsions, "φ").axes[0]
    percent = [
        int(found) for label in (axis.get_xlabel(), axis.get_ylabel()) for found in re.findall(r"(\d+) %", label)
    ]
    return np.asarray(axis.collections[0].get_offsets()), percent


def test_the_latent_map_shows_a_torsion_that_is_no_main_direction() -> None:
    rng = np.random.default_rng(0)
    torsions = rng.uniform(-180, 180, 300)
    radians = np.radians(torsions)
    latents = rng.standard_normal((300, 8)) * 3.0
    latents[:, 4:6] = np.column_stack([np.cos(radians), np.sin(radians)]) + 0.05 * rng.standard_normal((300, 2))
    latents = latents @ np.linalg.qr(rng.standard_normal((8, 8)))[0]
    places, percent = drawn(latents, torsions)
    away = np.degrees(np.arctan2(places[:, 1], places[:, 0])) - torsions
    assert np.abs((away + 180.0) % 360.0 - 180.0).mean() < 5.0
    assert min(percent) >= 98


@pytest.mark.parametrize("n", [1, 10, 300])
def test_a_torsion_that_the_latents_do_not_know_is_not_explained(n: int) -> None:
    rng = np.random.default_rng(0)
    _, percent = drawn(rng.standard_normal((n, 16)), rng.uniform(-180, 180, n))
    assert max(percent) <= 3
