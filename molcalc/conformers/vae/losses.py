r"""What a reconstruction costs, in nats of each structure.

.. math:: L = \tfrac{n}{2} \frac{\sum_p w_p (\hat d_p - d_p)^2}{σ^2 \sum_p w_p} + L_\mathrm{hand} + L_\mathrm{clash}

over pairs p of one structure, never of two; n is the number of independent ones. A mirror image has the same distances:
the term of the hand tells. Nothing is clamped, so that what is far off is pulled back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from molcalc.io.schema import Choice, NotNegative, Positive, Range, check_fields
from molcalc.nn.dense_graph import lengths

DISTANCE_LOSSES = ("bond", "pairwise")
HAND_LOSSES = ("torsion", "kabsch", "none")
TORSION_STIFFNESS = 14.6
"""κ of 1 − cos: a width of 15°."""
CLASH_MARGIN = 0.1
"""Å, by which atoms may be nearer than they ever were in training."""
STIFF_APART = 2
"""Bonds apart of pairs whose distance hardly changes: bonds and angles."""
LEAST_VOLUME, VOLUME_WEIGHT = 0.5, 50.0
"""Of the volume of unit vectors about a center with four ligands, 3.1 in a tetrahedron; below the first it costs."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What a reconstruction is measured by.

    Attributes
    ----------
    loss : "pairwise", distances of all pairs; "bond", of those at most ``bond_order`` bonds apart, with a repulsion of
        the others.
    bond_order : 1 is bonds alone, which leaves angles and torsions to chance.
    hand : "torsion" compares torsions and keeps the sign of centers; "kabsch" compares positions; "none" lets mirror
        images pass.
    sigma : Å, resolution: what is below it is not worth a place in the latent space.
    stiff_weight : of distances of bonds and angles, relative to those of other pairs.
    beta : weight of the divergence from the prior at the end.
    free_bits : nat of it that cost nothing in each latent dimension.
    beta_rise : share of the run in which the weight rises from 0.
    """

    loss: Annotated[str, Choice(DISTANCE_LOSSES)] = "pairwise"
    bond_order: Annotated[int, Range(1, 1000)] = 3
    hand: Annotated[str, Choice(HAND_LOSSES)] = "torsion"
    sigma: Positive = 0.1
    stiff_weight: Positive = 4.0
    beta: NotNegative = 1.0
    free_bits: NotNegative = 0.05
    beta_rise: Annotated[float, Range(0, 1)] = 0.3

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def further_terms(self) -> tuple[str, ...]:
        """Names of what a reconstruction costs beside its distances."""
        clashes = ("clashes",) if self.loss == "bond" else ()
        return clashes if self.hand == "none" else ("hand", *clashes)


@dataclass(frozen=True, eq=False)
class TopologyTensors:
    """Arrays of :class:`~molcalc.conformers.vae.topology.Topology` on a device, and what was nearest in training.

    Attributes
    ----------
    least : (n_pairs,) Å, smallest distance in the training structures.
    """

    pairs: Int64[Tensor, "2 n_pairs"]
    bonds_apart: Int64[Tensor, " n_pairs"]
    torsions: Int64[Tensor, "4 n_torsions"]
    torsion_shares: Float[Tensor, " n_torsions"]
    centers: Int64[Tensor, "5 n_centers"]
    least: Float[Tensor, " n_pairs"]


def reconstruction_terms(
    made: Float[Tensor, "n_structures n_atoms 3"],
    true: Float[Tensor, "n_structures n_atoms 3"],
    topology: TopologyTensors,
    config: ObjectiveConfig,
) -> dict[str, Float[Tensor, " n_structures"]]:
    """Cost of each structure by its parts: ``distances``, ``hand``, ``clashes``.

    Parameters
    ----------
    made, true : Å.

    Returns
    -------
    nats, (n_structures,) each
    """
    n_free = max(1, 3 * true.shape[1] - 6)
    of_made, of_true = pair_distances(made, topology.pairs), pair_distances(true, topology.pairs)
    counted = torch.ones_like(topology.bonds_apart, dtype=torch.bool)
    if config.loss == "bond":
        counted = topology.bonds_apart <= config.bond_order
    weights = torch.where(topology.bonds_apart <= STIFF_APART, config.stiff_weight, 1.0).to(made) * counted
    n_independent = min(int(counted.sum()), n_free)
    squares = ((of_made - of_true).square() * weights).sum(1) / weights.sum()
    terms = {"distances": 0.5 * n_independent * squares / config.sigma**2}
    if config.loss == "bond":
        too_near = torch.relu(topology.least - CLASH_MARGIN - of_made) * ~counted
        terms["clashes"] = too_near.square().sum(1) / config.sigma**2
    if config.hand == "torsion":
        terms["hand"] = torsion_cost(made, true, topology) + center_cost(made, true, topology)
    elif config.hand == "kabsch":
        moved = aligned(made, true)
        terms["hand"] = 0.5 * n_free * (moved - true).square().mean((1, 2)) / config.sigma**2
    return terms


def pair_distances(
    positions: Float[Tensor, "n_structures n_atoms 3"], pairs: Int64[Tensor, "2 n_pairs"]
) -> Float[Tensor, "n_structures n_pairs"]:
    """Å, between the atoms of each pair."""
    return lengths(positions[:, pairs[0]] - positions[:, pairs[1]])


def torsion_cost(
    made: Float[Tensor, "n_structures n_atoms 3"],
    true: Float[Tensor, "n_structures n_atoms 3"],
    topology: TopologyTensors,
) -> Float[Tensor, " n_structures"]:
    """Σ κ (1 − cos(φ̂ − φ)): every bond counts once, however many torsions it has."""
    (sine, cosine), (true_sine, true_cosine) = (torsion_vectors(x, topology.torsions) for x in (made, true))
    cost = true_sine.square() + true_cosine.square() - sine * true_sine - cosine * true_cosine
    return TORSION_STIFFNESS * (cost * topology.torsion_shares).sum(1)


def torsion_vectors(
    positions: Float[Tensor, "n_structures n_atoms 3"], torsions: Int64[Tensor, "4 n_torsions"]
) -> tuple[Tensor, Tensor]:
    """Sine and cosine of torsions; both go to 0 where three of the four atoms are in a line, and no torsion exists."""
    a, b, c, d = (positions[:, index] for index in torsions)
    one, axis, two = b - a, c - b, d - c
    normals = torch.linalg.cross(one, axis), torch.linalg.cross(axis, two)
    cosine = (normals[0] * normals[1]).sum(-1)
    sine = (lengths(axis)[..., None] * one * normals[1]).sum(-1)
    size = lengths(normals[0]) * lengths(normals[1])
    # |b × c| = |b| |c| sin(angle): below about 10° the pair of sine and cosine shrinks to nothing, smoothly.
    softened = (size.square() + (0.03 * lengths(axis).square() * lengths(one) * lengths(two)).square()).sqrt()
    return sine / softened, cosine / softened


def center_cost(
    made: Float[Tensor, "n_structures n_atoms 3"],
    true: Float[Tensor, "n_structures n_atoms 3"],
    topology: TopologyTensors,
) -> Float[Tensor, " n_structures"]:
    """Cost of centers with four ligands that are flat or of the other hand."""
    signs = center_volumes(true, topology.centers).sign()
    return VOLUME_WEIGHT * torch.relu(LEAST_VOLUME - signs * center_volumes(made, topology.centers)).square().sum(1)


def center_volumes(
    positions: Float[Tensor, "n_structures n_atoms 3"], centers: Int64[Tensor, "5 n_centers"]
) -> Float[Tensor, "n_structures n_centers"]:
    """Signed volume that unit vectors to four ligands span."""
    vectors = positions[:, centers[1:]] - positions[:, centers[:1]]
    units = vectors / lengths(vectors)[..., None]
    a, b, c = (units[:, k] - units[:, 3] for k in range(3))
    return (a * torch.linalg.cross(b, c)).sum(-1)


def aligned(
    made: Float[Tensor, "n_structures n_atoms 3"], true: Float[Tensor, "n_structures n_atoms 3"]
) -> Float[Tensor, "n_structures n_atoms 3"]:
    """Structures turned and moved onto others (Kabsch); the rotation, never a mirror, has no derivative."""
    centered, target = made - made.mean(1, keepdim=True), true.mean(1, keepdim=True)
    with torch.no_grad():
        u, _, vh = torch.linalg.svd(centered.mT @ (true - target))
        flip = torch.ones(len(made), 3, dtype=made.dtype, device=made.device)
        flip[:, 2] = torch.linalg.det(u @ vh)
        rotation = (u * flip[:, None]) @ vh
    return centered @ rotation + target


def divergence(
    means: Float[Tensor, "n_structures n_latent"], log_variances: Float[Tensor, "n_structures n_latent"]
) -> Float[Tensor, "n_structures n_latent"]:
    """Kullback-Leibler divergence of posteriors from the standard normal, nat, by dimension."""
    return 0.5 * (means.square() + log_variances.exp() - log_variances - 1.0)
