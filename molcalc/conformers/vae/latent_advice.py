"""Advice where the latents of a trained generator are of no use: collapsed to one point, or far from the prior."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from molcalc.conformers.vae.losses import ObjectiveConfig, divergence
from molcalc.conformers.vae.training import ACTIVE

DIVERGED = 10.0
"""Nat in each dimension: posteriors are then so narrow or so far out that draws from the prior hit none of them."""


def advice_on_latents(
    means: Float[Tensor, "n_structures n_latent"],
    log_variances: Float[Tensor, "n_structures n_latent"],
    objective: ObjectiveConfig,
) -> str:
    """What to do about the latents of training structures.

    Parameters
    ----------
    objective : that was learned.

    Returns
    -------
    a sentence or two; empty where the latents are in order
    """
    if not bool((means.var(0) > ACTIVE).any()):
        return (
            "No latent dimension tells one structure from another: all samples are one mean structure. Where the "
            f"training structures differ, lower sigma (now {objective.sigma:g} Å) or beta (now {objective.beta:g}), or "
            "train longer."
        )
    mean = float(divergence(means, log_variances).mean())
    if mean > DIVERGED:
        return (
            f"Latents diverge from the prior by {mean:.3g} nat in each dimension: samples with prior='normal' have "
            "nothing to do with the training structures. Sample with prior='gmm', or train anew with a higher beta "
            f"(now {objective.beta:g}) or sigma (now {objective.sigma:g} Å)."
        )
    return ""
