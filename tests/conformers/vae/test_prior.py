"""The mixture that samples are drawn from."""

from __future__ import annotations

import numpy as np
import pytest

from molcalc.conformers.vae.prior import GaussianMixture


def posteriors(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Three quarters about one point, one quarter about another."""
    rng = np.random.default_rng(0)
    of = rng.random(n) < 0.25
    means = np.where(of[:, None], [3.0, 0.0], [-1.0, 1.0]) + 0.2 * rng.standard_normal((n, 2))
    return means, np.full((n, 2), np.log(0.1**2))


def test_two_groups_of_structures_make_two_components() -> None:
    means, log_variances = posteriors()
    mixture = GaussianMixture.of_posteriors(means, log_variances, seed=0)
    order = np.argsort(mixture.weights)
    assert len(mixture.weights) == 2
    assert mixture.weights[order] == pytest.approx([0.25, 0.75], abs=0.05)
    assert mixture.means[order] == pytest.approx(np.array([[3.0, 0.0], [-1.0, 1.0]]), abs=0.05)
    assert mixture.covariances[order[1]] == pytest.approx(np.eye(2) * (0.2**2 + 0.1**2), abs=0.015)


def test_samples_have_the_moments_of_the_mixture() -> None:
    mixture = GaussianMixture.of_posteriors(*posteriors(), seed=0)
    points = mixture.sample(20_000, np.random.default_rng(1))
    assert points.mean(0) == pytest.approx(mixture.weights @ mixture.means, abs=0.05)
    assert (points[:, 0] > 1.0).mean() == pytest.approx(0.25, abs=0.04)


def test_samples_of_a_component_have_its_covariance() -> None:
    covariance = np.array([[1.0, 0.8], [0.8, 2.0]])
    mixture = GaussianMixture(np.ones(1), np.zeros((1, 2)), covariance[None])
    assert np.cov(mixture.sample(40_000, np.random.default_rng(2)).T) == pytest.approx(covariance, abs=0.05)


def test_few_structures_make_one_component() -> None:
    means, log_variances = posteriors(5)
    mixture = GaussianMixture.of_posteriors(means, log_variances, seed=0)
    assert len(mixture.weights) == 1
    assert np.isfinite(mixture.sample(3, np.random.default_rng(0))).all()
