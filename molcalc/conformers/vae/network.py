"""Encoder and decoder of conformers of one molecule.

The encoder sees positions, and says where in the latent space a structure is: numbers that stay when it is moved or
turned, and change when it is mirrored. It sums how far the structure, superposed on the mean of the training
structures, lies along their main directions of motion, and what ViSNet sees in it. The decoder begins with that mean,
moves it along these directions, as far as the latent says, then atoms by messages between them (EGNN), and brings bonds
and angles to lengths that it predicts. Before anything is learned, latents are principal components.

Messages alone move atoms along lines between them, and keep the hand of what they begin with: the directions lead from
one hand to the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molcalc.conformers.vae.losses import STIFF_APART, TopologyTensors, aligned, pair_distances
from molcalc.conformers.vae.topology import Topology
from molcalc.io.schema import Count, Range, check_fields
from molcalc.nn.dense_graph import DenseGraph
from molcalc.nn.distance_restraints import restrained
from molcalc.nn.egnn import EGNNLayer
from molcalc.nn.visnet import Pseudoscalars, ViSNet

ALL_PAIRS = 64
"""Atoms up to which everything sees everything."""
SIGHT_OF_LARGE = 6.0
"""Å, cutoff of the encoder for larger molecules."""
SIGHT_FACTOR = 1.2
"""Cutoff of smaller ones, by their largest distance in training."""
N_NEAREST = 16
"""Neighbors of the decoder in larger molecules, beside atoms up to :data:`BONDED_APART` bonds away."""
BONDED_APART = 3
SUPERPOSITIONS, MOST_SUPERPOSED = 20, 4000
"""Rounds in which training structures are superposed on their mean; structures of them that are used, evenly chosen."""
LEAST_MOTION = 1e-6
"""Å², of a direction along which structures differ."""
N_ELEMENTS = 119
LOG_VARIANCE = -3.0
"""Log-variances of posteriors at first: narrow, so that the latent is used from the first step."""
LATENT_GAIN = 0.1
"""Of what ViSNet adds to log-variances, and to principal components, at first."""


@dataclass(frozen=True, kw_only=True)
class VAENetworkConfig:
    """Sizes of encoder and decoder.

    Attributes
    ----------
    latent_dim : numbers that describe a structure.
    n_features : of atoms and pairs.
    n_encoder_layers, n_decoder_layers : rounds of messages.
    n_heads : of attention in the encoder; a divisor of ``n_features``.
    n_radial : radial functions of the encoder.
    degree : highest degree of its harmonics, 1 or 2.
    n_pseudoscalars : numbers of each atom that tell mirror images apart; 0 makes the encoder blind for them, and takes
        the directions of motion from it.
    n_modes : main directions of motion that encoder and decoder begin with, at most.
    gain : of the moves of the decoder at first.
    n_restraint_steps : by which bonds and angles are brought to the lengths that the decoder predicts; 0 is none.
    """

    latent_dim: Annotated[int, Range(1, 1024)] = 16
    n_features: Annotated[int, Range(2, 1024)] = 48
    n_encoder_layers: Annotated[int, Range(1, 32)] = 3
    n_decoder_layers: Annotated[int, Range(1, 32)] = 3
    n_heads: Count = 8
    n_radial: Annotated[int, Range(2, 1024)] = 32
    degree: Annotated[int, Range(1, 2)] = 1
    n_pseudoscalars: Annotated[int, Range(0, 1024)] = 16
    n_modes: Annotated[int, Range(1, 1024)] = 32
    gain: Annotated[float, Range(0, 10)] = 0.01
    n_restraint_steps: Annotated[int, Range(0, 1000)] = 12

    def modes_of(self, n_atoms: int) -> int:
        """Directions of motion of a molecule, of which it has no more than ways to change its shape."""
        return min(self.n_modes, max(1, 3 * n_atoms - 6))

    def __post_init__(self) -> None:
        check_fields(self)
        if self.n_features % self.n_heads:
            raise ValueError(f"n_features={self.n_features} is not a multiple of n_heads={self.n_heads}")


class Atomic(nn.Module):
    """What atoms are before anything is known of positions: their element and their place in the molecule."""

    def __init__(self, numbers: Tensor, n_features: int) -> None:
        super().__init__()
        self.register_buffer("numbers", numbers, persistent=False)
        self.numbers: Tensor
        self.element_embedding = nn.Embedding(N_ELEMENTS, n_features)
        self.place_embedding = nn.Embedding(len(numbers), n_features)

    def forward(self) -> Float[Tensor, "n_atoms n_features"]:
        """Sum of both."""
        return self.element_embedding(self.numbers) + self.place_embedding.weight


class Encoder(nn.Module):
    """Posterior of structures in the latent space."""

    def __init__(self, numbers: Tensor, config: VAENetworkConfig) -> None:
        super().__init__()
        n = config.n_features
        self.own, self.as_neighbor = Atomic(numbers, n), Atomic(numbers, n)
        self.visnet = ViSNet(n, config.n_encoder_layers, config.n_heads, config.n_radial, config.degree)
        self.pseudoscalars = Pseudoscalars(n, config.n_pseudoscalars) if config.n_pseudoscalars else None
        self.atoms = nn.Sequential(nn.Linear(2 * n + config.n_pseudoscalars, n), nn.SiLU(), nn.Linear(n, n), nn.SiLU())
        self.latent = nn.Linear(n, 2 * config.latent_dim)
        n_modes = config.modes_of(len(numbers))
        self.along = nn.Linear(n_modes, config.latent_dim, bias=False) if config.n_pseudoscalars else None
        if self.along is not None:
            nn.init.eye_(self.along.weight)
        self.register_buffer("directions", torch.zeros(n_modes, len(numbers), 3))
        self.directions: Tensor
        with torch.no_grad():
            self.latent.weight[config.latent_dim if self.along is None else 0 :] *= LATENT_GAIN
            self.latent.bias[: config.latent_dim] = 0.0
            self.latent.bias[config.latent_dim :] = LOG_VARIANCE

    def forward(
        self, positions: Float[Tensor, "n_structures n_atoms 3"], mean: Float[Tensor, "n_atoms 3"], cutoff: float
    ) -> tuple[Float[Tensor, "n_structures n_latent"], Float[Tensor, "n_structures n_latent"]]:
        """Means and log-variances of structures, whose moves are seen from the mean of the training structures."""
        small = positions.shape[1] <= ALL_PAIRS
        graph = DenseGraph.all_pairs(positions) if small else DenseGraph.within(positions, cutoff)
        x, vectors = self.visnet(self.own(), self.as_neighbor(), positions, graph, cutoff)
        features = [x, (vectors.square().sum(2) + 1e-8).sqrt()]
        if self.pseudoscalars is not None:
            features.append(self.pseudoscalars(vectors))
        means, log_variances = self.latent(self.atoms(torch.cat(features, dim=-1)).mean(1)).chunk(2, dim=-1)
        if self.along is not None:
            away = aligned(positions, mean.expand_as(positions)) - mean
            means = means + self.along(torch.einsum("bic,mic->bm", away, self.directions))
        return means, log_variances


class Decoder(nn.Module):
    """Structure of a point in the latent space."""

    def __init__(self, numbers: Tensor, topology: Topology, config: VAENetworkConfig) -> None:
        super().__init__()
        n = config.n_features
        self.n_restraint_steps = config.n_restraint_steps
        self.atomic = Atomic(numbers, n)
        self.read = nn.Sequential(nn.Linear(config.latent_dim, 2 * n), nn.SiLU(), nn.Linear(2 * n, n))
        n_modes = config.modes_of(len(numbers))
        self.along = nn.Linear(config.latent_dim, n_modes, bias=False)
        nn.init.eye_(self.along.weight)
        self.bend = nn.Sequential(nn.Linear(config.latent_dim, 2 * n), nn.SiLU(), _silent(2 * n, n_modes))
        self.modes = nn.Parameter(torch.zeros(n_modes, len(numbers), 3))
        self.layers = nn.ModuleList(EGNNLayer(n, config.gain) for _ in range(config.n_decoder_layers))
        stiff = topology.bonds_apart <= STIFF_APART
        self.register_buffer("stiff", torch.from_numpy(topology.pairs[:, stiff]), persistent=False)
        near = torch.zeros(len(numbers), len(numbers))
        i, j = topology.pairs[:, topology.bonds_apart <= BONDED_APART]
        near[i, j] = near[j, i] = 1.0
        self.register_buffer("bonded", near, persistent=False)
        self.register_buffer("usual_lengths", torch.ones(int(stiff.sum())))
        self.stiff: Tensor
        self.bonded: Tensor
        self.usual_lengths: Tensor
        self.stretch = nn.Sequential(nn.Linear(n, n), nn.SiLU(), _silent(n, 1))
        self.pair_embedding = nn.Embedding(int(stiff.sum()), n)

    def forward(
        self, latent: Float[Tensor, "n_structures n_latent"], mean: Float[Tensor, "n_atoms 3"]
    ) -> Float[Tensor, "n_structures n_atoms 3"]:
        """Positions, Å, about their center: the mean of the training structures, moved."""
        h = self.atomic() + self.read(latent)[:, None]
        x = mean + torch.einsum("bm,mic->bic", self.along(latent) + self.bend(latent), self.modes)
        for layer in self.layers:
            small = x.shape[1] <= ALL_PAIRS
            graph = DenseGraph.all_pairs(x) if small else DenseGraph.bonded_and_nearest(x, self.bonded, N_NEAREST)
            h, x = layer(h, x, graph)
        if self.n_restraint_steps:
            of_pairs = h[:, self.stiff[0]] + h[:, self.stiff[1]] + self.pair_embedding.weight
            targets = self.usual_lengths + self.stretch(of_pairs).squeeze(-1)
            x = restrained(x, self.stiff, targets, self.n_restraint_steps)
        return x - x.mean(1, keepdim=True)


def _silent(n_in: int, n_out: int) -> nn.Linear:
    """A layer that gives nothing before it has learned something."""
    layer = nn.Linear(n_in, n_out)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


@torch.no_grad()
def motion(
    reference: Float[Tensor, "n_atoms 3"], structures: Float[Tensor, "n_structures n_atoms 3"], n_modes: int
) -> tuple[Float[Tensor, "n_atoms 3"], Float[Tensor, "n_modes n_atoms 3"]]:
    """Mean of superposed structures, and their principal components, each as long as structures spread along it.

    Parameters
    ----------
    reference : Å, that structures are superposed on at first, and then on their mean.
    structures : Å.
    n_modes : components; those beyond the number of structures are 0.

    Returns
    -------
    mean : (n_atoms, 3) Å.
    modes : (n_modes, n_atoms, 3) Å.
    """
    some = structures[:: -(-len(structures) // MOST_SUPERPOSED)].double()
    mean = (reference - reference.mean(0)).double()
    for _ in range(SUPERPOSITIONS):
        superposed = aligned(some, mean.expand_as(some))
        mean = superposed.mean(0)
    _, sizes, directions = torch.linalg.svd((superposed - mean).flatten(1), full_matrices=False)
    found = directions * (sizes / len(some) ** 0.5)[:, None]
    modes = torch.zeros(n_modes, *mean.shape, dtype=mean.dtype, device=mean.device)
    n = min(n_modes, len(found))
    modes[:n] = found[:n].unflatten(1, mean.shape)
    return mean.to(structures), modes.to(structures)


class VAENetwork(nn.Module):
    """Encoder, decoder and what both have to know of the molecule and of the training structures.

    Parameters
    ----------
    numbers : (n_atoms,) atomic numbers.
    """

    def __init__(self, numbers: Tensor, topology: Topology, config: VAENetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(numbers, config)
        self.decoder = Decoder(numbers, topology, config)
        n_pairs = topology.pairs.shape[1]
        self.register_buffer("cutoff", torch.tensor(SIGHT_OF_LARGE))
        self.register_buffer("mean", torch.zeros(len(numbers), 3))
        self.register_buffer("least", torch.zeros(n_pairs))
        for name in ("pairs", "bonds_apart", "torsions", "centers"):
            self.register_buffer(name, torch.from_numpy(getattr(topology, name)), persistent=False)
        self.register_buffer("torsion_shares", torch.from_numpy(topology.torsion_shares).float(), persistent=False)
        self.cutoff: Tensor
        self.mean: Tensor
        self.least: Tensor
        self.pairs: Tensor
        self.bonds_apart: Tensor
        self.torsions: Tensor
        self.torsion_shares: Tensor
        self.centers: Tensor

    @property
    def topology(self) -> TopologyTensors:
        """What the loss compares."""
        return TopologyTensors(
            self.pairs, self.bonds_apart, self.torsions, self.torsion_shares, self.centers, self.least
        )

    @torch.no_grad()
    def learn_extent(
        self, reference: Float[Tensor, "n_atoms 3"], structures: Float[Tensor, "n_structures n_atoms 3"]
    ) -> None:
        """Take over what training structures say without a gradient: lengths, extent, mean, directions of motion."""
        distances = pair_distances(structures, self.pairs)
        self.least.copy_(distances.min(0).values)
        self.decoder.usual_lengths.copy_(distances[:, self.bonds_apart <= STIFF_APART].mean(0))
        mean, modes = motion(reference, structures, len(self.decoder.modes))
        self.mean.copy_(mean)
        self.decoder.modes.copy_(modes)
        squares = modes.square().sum((1, 2), keepdim=True)
        directions = torch.where(squares > LEAST_MOTION, modes / squares, 0.0)
        self.encoder.directions.copy_(directions)
        if structures.shape[1] <= ALL_PAIRS:
            self.cutoff.fill_(SIGHT_FACTOR * float(distances.max()))

    def encode(
        self, positions: Float[Tensor, "n_structures n_atoms 3"]
    ) -> tuple[Float[Tensor, "n_structures n_latent"], Float[Tensor, "n_structures n_latent"]]:
        """Means and log-variances of structures."""
        return self.encoder(positions, self.mean, float(self.cutoff))

    def decode(self, latent: Float[Tensor, "n_structures n_latent"]) -> Float[Tensor, "n_structures n_atoms 3"]:
        """Positions of latents, Å."""
        return self.decoder(latent, self.mean)
