"""Latents of no use are told from those in order."""

from __future__ import annotations

import re

import pytest
import torch

from molcalc.conformers.vae.latent_advice import advice_on_latents
from molcalc.conformers.vae.losses import ObjectiveConfig


@pytest.mark.parametrize(
    ("means", "log_variance", "advice"),
    [
        (torch.tensor([[0.0, 1.0], [0.05, 1.0]]), 0.0, "all samples are one mean structure.*lower sigma \\(now 0.2 Å"),
        (torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), -3.0, "^$"),
        (torch.tensor([[-9.0, 0.0], [9.0, 0.0]]), -3.0, "diverge from the prior by 21.3 nat.*higher beta \\(now 1"),
    ],
    ids=["collapsed", "in order", "far"],
)
def test_latents_that_collapse_or_leave_the_prior_are_advised_on(
    means: torch.Tensor, log_variance: float, advice: str
) -> None:
    found = advice_on_latents(means, torch.full_like(means, log_variance), ObjectiveConfig(sigma=0.2))
    assert re.search(advice, found)
