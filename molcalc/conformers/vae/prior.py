"""Where the latents of the training structures are: a mixture of normal distributions, to sample from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

MOST_COMPONENTS = 8
EM_ROUNDS, EM_STARTS = 100, 2
"""Of expectation and maximization, which ends before when nothing changes; and how often it begins anew."""
CHANGE = 1e-3
"""Nat for each structure, of likelihood from one round to the next."""
FLOOR = 1e-4
"""Added to variances: a component of one structure has none."""
MOST_POINTS = 4000
"""Points of posteriors that the mixture is fitted to: their spread belongs to the distribution."""
WAITED_COMPONENTS = 2
"""Numbers of components without a better criterion after which no more are tried."""


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """Mixture of normal distributions with full covariances.

    Attributes
    ----------
    weights : (n_components,).
    means : (n_components, n_latent).
    covariances : (n_components, n_latent, n_latent).
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @classmethod
    def of_posteriors(cls, means: np.ndarray, log_variances: np.ndarray, seed: int) -> GaussianMixture:
        """Mixture of as many components as the Bayesian information criterion allows.

        Parameters
        ----------
        means, log_variances : (n_structures, n_latent) posteriors.

        Returns
        -------
        the mixture with the smallest criterion, of at most eight components
        """
        rng = np.random.default_rng(seed)
        n, n_latent = means.shape
        spread = np.exp(0.5 * log_variances)
        of = (
            rng.permutation(np.arange(MOST_POINTS) % n)
            if n < MOST_POINTS
            else rng.choice(n, MOST_POINTS, replace=False)
        )
        points = means[of] + spread[of] * rng.standard_normal((len(of), n_latent))
        parameters = 1 + n_latent + n_latent * (n_latent + 1) // 2
        best: tuple[float, GaussianMixture] | None = None
        waited = 0
        for k in range(1, min(MOST_COMPONENTS, max(1, n // (2 * n_latent))) + 1):
            likelihood, found = max(
                (_fitted(points, k, rng) for _ in range(EM_STARTS if k > 1 else 1)), key=lambda pair: pair[0]
            )
            criterion = -2.0 * n * likelihood + (k * parameters - 1) * math.log(n)
            if best is None or criterion < best[0]:
                best, waited = (criterion, found), 0
            elif (waited := waited + 1) == WAITED_COMPONENTS:
                break
        assert best is not None
        return best[1]

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, n_latent) points."""
        of = rng.choice(len(self.weights), size=n, p=self.weights / self.weights.sum())
        roots = np.linalg.cholesky(self.covariances)
        normal = rng.standard_normal((n, self.means.shape[1]))
        return self.means[of] + np.einsum("kij,kj->ki", roots[of], normal)


def _fitted(points: np.ndarray, n_components: int, rng: np.random.Generator) -> tuple[float, GaussianMixture]:
    """Mean log-likelihood and mixture after expectation and maximization, begun at points far from each other."""
    n, n_latent = points.shape
    centers = points[[int(rng.integers(n))]]
    while len(centers) < n_components:
        nearest = ((points[:, None] - centers[None]) ** 2).sum(2).min(1)
        centers = np.concatenate([centers, points[[int(rng.choice(n, p=nearest / nearest.sum()))]]])
    nearest_center = ((points[:, None] - centers[None]) ** 2).sum(2).argmin(1)
    shares = np.eye(n_components)[nearest_center]
    before = -math.inf
    for _ in range(EM_ROUNDS):
        mixture = _maximized(points, shares)
        log_joint = _log_densities(points, mixture) + np.log(mixture.weights)
        top = log_joint.max(1, keepdims=True)
        total = top + np.log(np.exp(log_joint - top).sum(1, keepdims=True))
        shares = np.exp(log_joint - total)
        likelihood = float(total.mean())
        if likelihood - before < CHANGE:
            break
        before = likelihood
    return likelihood, mixture


def _maximized(points: np.ndarray, shares: np.ndarray) -> GaussianMixture:
    counts = shares.sum(0) + 1e-10
    means = shares.T @ points / counts[:, None]
    covariances = np.empty((len(counts), points.shape[1], points.shape[1]))
    for k in range(len(counts)):
        away = points - means[k]
        covariances[k] = (shares[:, k, None] * away).T @ away / counts[k] + FLOOR * np.eye(points.shape[1])
    return GaussianMixture(counts / counts.sum(), means, covariances)


def _log_densities(points: np.ndarray, mixture: GaussianMixture) -> np.ndarray:
    """(n_points, n_components)."""
    columns = []
    for mean, covariance in zip(mixture.means, mixture.covariances):
        root = np.linalg.cholesky(covariance)
        scaled = np.linalg.solve(root, (points - mean).T)
        log_determinant = 2.0 * np.log(np.diag(root)).sum()
        columns.append(-0.5 * ((scaled**2).sum(0) + log_determinant + points.shape[1] * math.log(2.0 * math.pi)))
    return np.stack(columns, axis=1)
