"""The mixture that samples are drawn from."""

from __future__ import annotations

import numpy as np
import pytest

from molcalc.conformers.vae import prior
from molcalc.conformers.vae.prior import GaussianMixture, in_strata


def posteriors(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Three quarters about one point, then one quarter about another."""
    rng = np.random.default_rng(0)
    of = np.arange(n) >= 0.75 * n
    means = np.where(of[:, None], [3.0, 0.0], [-1.0, 1.0]) + 0.2 * rng.standard_normal((n, 2))
    return means, np.log(rng.uniform(0.05, 0.15, (n, 2)) ** 2)


def test_the_mixture_has_the_mean_and_the_covariance_of_the_posteriors() -> None:
    means, log_variances = posteriors()
    points = GaussianMixture.of_posteriors(means, log_variances, seed=0).sample(100_000, np.random.default_rng(1))
    assert points.mean(0) == pytest.approx(means.mean(0), abs=0.01)
    whole = np.cov(means.T) + np.diag(np.exp(log_variances).mean(0))
    assert np.cov(points.T) == pytest.approx(whole, rel=0.02)


@pytest.mark.parametrize("n", [40, 1000])
def test_groups_of_structures_keep_their_shares(n: int) -> None:
    """Drawn independently, 14 of 1000 samples too many or too few would be usual."""
    mixture = GaussianMixture.of_posteriors(*posteriors(), seed=0)
    for seed in range(5):
        second = mixture.sample(n, np.random.default_rng(seed))[:, 0] > 1.0
        assert abs(second.sum() - 0.25 * n) <= 1 + 0.003 * n
        assert second[: n // 2].any(), "samples are in no order"


def test_items_that_alternate_are_drawn_as_often_as_their_weights_say() -> None:
    drawn = in_strata(np.tile([3.0, 0.0, 1.0], 1000), 500, np.random.default_rng(0))
    assert (np.diff(drawn) >= 0).all()
    assert not (drawn % 3 == 1).any()
    assert (drawn % 3 == 2).mean() == pytest.approx(0.25, abs=0.06)


def test_few_items_are_drawn_as_often_as_their_weights_say() -> None:
    drawn = in_strata(np.array([5.0, 3.0, 0.0, 2.0]), 1000, np.random.default_rng(0))
    assert np.bincount(drawn).tolist() == [500, 300, 0, 200]


@pytest.mark.parametrize("own", [True, False], ids=["each its own", "one for all"])
def test_samples_of_a_component_have_its_covariance(own: bool) -> None:
    covariance = np.array([[1.0, 0.8], [0.8, 2.0]])
    mixture = GaussianMixture(np.ones(2), np.zeros((2, 2)), np.array([covariance] * (2 if own else 1)))
    assert np.cov(mixture.sample(40_000, np.random.default_rng(2)).T) == pytest.approx(covariance, abs=0.05)


def test_two_structures_are_enough_and_of_many_some_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    few = GaussianMixture.of_posteriors(np.zeros((2, 3)), np.full((2, 3), -80.0), seed=0)
    assert np.isfinite(few.sample(3, np.random.default_rng(0))).all()
    monkeypatch.setattr(prior, "MOST_COMPONENTS", 100)
    some = GaussianMixture.of_posteriors(*posteriors(), seed=0)
    assert len(some.weights) == 100
    assert (some.sample(400, np.random.default_rng(0))[:, 0] > 1.0).mean() == pytest.approx(0.25, abs=0.011)
