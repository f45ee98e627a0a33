"""Where the latents of the training structures are: a mixture of normal distributions, to sample from.

Every training structure has a component of the same weight, drawn a little to the common mean and as much wider, so
that the mixture has the mean and the covariance of all posteriors together: a kernel density with shrinkage (West,
J. R. Stat. Soc. B 55, 409 (1993)). Nothing is fitted, and no component lies between groups of structures: each group
keeps its share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

KERNEL_WIDTH = 0.2
"""Of components, beside the spread of the training structures. Wider ones fill the space between groups of structures:
at 0.3 twice as many samples of Aib9 overlap. Narrower ones repeat what was seen."""
MOST_COMPONENTS = 10_000
"""Of more training structures as many are taken, from all parts of a trajectory alike."""
FLOOR = 1e-4
"""Added to variances: dimensions in which all structures are alike have none."""


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """Mixture of normal distributions.

    Attributes
    ----------
    weights : (n_components,).
    means : (n_components, n_latent).
    covariances : (n_components, n_latent, n_latent), or (1, n_latent, n_latent) where all components have the same.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @classmethod
    def of_posteriors(cls, means: np.ndarray, log_variances: np.ndarray, seed: int) -> GaussianMixture:
        """Mixture of a component for each training structure.

        Parameters
        ----------
        means, log_variances : (n_structures, n_latent) posteriors, in the order of time.
        seed : for the choice of structures where there are more than :data:`MOST_COMPONENTS`.

        Returns
        -------
        mixture with the mean and the covariance of the posteriors
        """
        some = np.arange(len(means))
        if len(means) > MOST_COMPONENTS:
            some = in_strata(np.full(len(means), 1.0), MOST_COMPONENTS, np.random.default_rng(seed))
        centers, variances = means[some], np.exp(log_variances[some]).mean(0)
        middle = centers.mean(0)
        away = centers - middle
        spread = away.T @ away / len(centers)
        return cls(
            weights=np.full(len(centers), 1.0 / len(centers)),
            means=middle + math.sqrt(1.0 - KERNEL_WIDTH**2) * away,
            covariances=(KERNEL_WIDTH**2 * spread + np.diag(variances + FLOOR))[None],
        )

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Points in random order, of components that are drawn in strata.

        Returns
        -------
        (n, n_latent)
        """
        chosen = rng.permutation(in_strata(self.weights, n, rng))
        normal = rng.standard_normal((n, self.means.shape[1]))
        roots = np.linalg.cholesky(self.covariances)
        if len(roots) == 1:
            return self.means[chosen] + normal @ roots[0].T
        return self.means[chosen] + np.einsum("kij,kj->ki", roots[chosen], normal)


def in_strata(weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Items drawn by their weights, one from each of n parts of equal weight that follow each other.

    Of neighboring items as many are drawn as their weight says, to about one; drawn independently, it would be to about
    the square root of their number. Items that alternate are drawn no worse than independently.

    Parameters
    ----------
    weights : (n_items,), not negative.

    Returns
    -------
    (n,) items in their order
    """
    ends = np.cumsum(weights / weights.sum())
    return np.searchsorted(ends[:-1], (np.arange(n) + rng.random(n)) / n, side="right")
