"""AIMNet2 on padded arrays: the same formulas as :mod:`molcalc.models.aimnet2`, over all pairs, in plain torch.

Everything in here can be read by the compilers of torch: no autograd functions of our own, no lists of pairs, no Python
objects beside tensors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from molcalc.models.aimnet2 import CHARGE_EPSILON, AIMNet2Network


class PaddedAIMNet2(nn.Module):
    """One network of one fidelity, as :func:`molcalc.export.reduction.single_fidelity` makes it.

    Parameters
    ----------
    network : its weights are used, and keep their dtypes: the large perceptrons compute in theirs, all else in float64.
    """

    def __init__(self, network: AIMNet2Network) -> None:
        super().__init__()
        c = network.config
        self.n_radial, self.n_channels, self.n_charges = c.n_radial, c.n_channels, c.charge_channels
        self.exact_charges, self.epsilon = c.exact_charges, CHARGE_EPSILON
        self.cutoff, self.eta = c.cutoff, network.shells.eta
        centers = c.first_center + network.shells.spacing * torch.arange(c.n_radial, dtype=torch.float64)
        self.centers = nn.Buffer(centers[:, None, None], persistent=False)
        self.embedding, self.shifts = nn.Parameter(network.embedding.data[0]), nn.Parameter(network.shifts.data[0])
        self.conv_features = nn.Parameter(network.conv_features.data)
        self.conv_charges = nn.Parameter(network.conv_charges.data)
        self.passes = nn.ModuleList(nn.Sequential(*mlp.children()) for mlp in network.passes)
        self.single_or_double = network.dtype
        self.last = len(self.passes) - 1
        self.energy_head = nn.Sequential(*network.energy_heads[0].children())
        self.has_charge_head = c.charge_heads
        self.charge_head = nn.Sequential(*(layer for head in network.charge_heads for layer in head.children()))
        self.requires_grad_(False)

    def forward(
        self, vectors: Tensor, distances: Tensor, pairs: Tensor, numbers: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Energies and charges.

        Parameters
        ----------
        vectors, distances : (B, N, 3, N) r_ij and (B, N, N) in Å, float64; distances positive everywhere.
        pairs : (B, N, N) whether i and j are two atoms.
        numbers : (B, N), 0 where there is no atom.
        targets : (B, C) total charges of the channels.

        Returns
        -------
        (B,) float64 eV, and (B, N, C) float64 e.
        """
        basis = self.basis(vectors, distances, pairs)
        real = (numbers > 0).unsqueeze(-1)
        features = self.embedding[numbers]
        charges = torch.zeros_like(features[:, :, : self.n_charges])
        energies = charges[:, :, 0]
        for t, mlp in enumerate(self.passes):
            message = self.message(features, charges, basis, t > 0)
            update = mlp(message.to(self.single_or_double)).to(features.dtype)
            if t < self.last:
                raw, factors = update[:, :, : self.n_charges], update[:, :, self.n_charges : 2 * self.n_charges]
                charges = self.equilibrated(charges + raw, factors, targets, real)
                features = features + update[:, :, 2 * self.n_charges :]
            else:
                energies = self.energy_head(update)[:, :, 0] + self.shifts[numbers]
                if self.has_charge_head:
                    correction = self.charge_head(update)
                    raw, factors = correction[:, :, : self.n_charges], correction[:, :, self.n_charges :]
                    charges = self.equilibrated(charges + raw, factors, targets, real)
        return torch.where(real[:, :, 0], energies, torch.zeros_like(energies)).sum(dim=1), charges

    def basis(self, vectors: Tensor, distances: Tensor, pairs: Tensor) -> Tensor:
        """(B, G, N·4, N) radial functions, and their products with the components of the direction.

        In this order sums over neighbors are products of matrices without copies, and the tracer of torch.export can
        tell the strides of merged dimensions apart for any N.

        Returns
        -------
        (B, G, N·4, N) in the dtype of the vectors
        """
        near = distances.clamp(max=self.cutoff)
        ends = (0.5 + 0.5 * torch.cos((math.pi / self.cutoff) * near)) * pairs
        radial = torch.exp(-self.eta * (near.unsqueeze(1) - self.centers) ** 2) * ends.unsqueeze(1)
        directions = vectors / distances.unsqueeze(2)
        weights = torch.cat([torch.ones_like(directions[:, :, :1]), directions], dim=2)
        return (radial.unsqueeze(3) * weights.unsqueeze(1)).flatten(2, 3)

    def message(self, features: Tensor, charges: Tensor, basis: Tensor, charged: bool) -> Tensor:
        """(B, N, …) [a, S_a, R_a] and, from the second pass on, [q, S_q, R_q]."""
        channels = features.unflatten(2, (self.n_channels, self.n_radial))
        mixing: Tensor = self.conv_features
        if charged:
            copies = charges.unsqueeze(-1).expand(-1, -1, -1, self.n_radial)
            channels, mixing = torch.cat([channels, copies], dim=2), torch.cat([mixing, self.conv_charges])
        sums = torch.matmul(basis, channels.permute(0, 3, 1, 2)).unflatten(2, (features.shape[1], 4))
        vectors = torch.einsum("bkixc,ckh->bixch", sums[:, :, :, 1:], mixing)
        scalars, norms = sums[:, :, :, 0].permute(0, 2, 3, 1), (vectors * vectors).sum(dim=2)
        n = self.n_channels
        parts = [features, scalars[:, :, :n].flatten(2), norms[:, :, :n].flatten(2)]
        if charged:
            parts += [charges, scalars[:, :, n:].flatten(2), norms[:, :, n:].flatten(2)]
        return torch.cat(parts, dim=2)

    def equilibrated(self, raw: Tensor, factors: Tensor, targets: Tensor, real: Tensor) -> Tensor:
        """Charges that add up to the total; see :func:`molcalc.models.aimnet2.equilibrate`."""
        raw = torch.where(real, raw, torch.zeros_like(raw))
        weights = factors * factors
        if self.exact_charges:
            weights = weights + self.epsilon
        weights = torch.where(real, weights, torch.zeros_like(weights))
        total = weights.sum(dim=1, keepdim=True)
        if not self.exact_charges:
            total = total + self.epsilon
        return raw + weights * (targets.unsqueeze(1) - raw.sum(dim=1, keepdim=True)) / total
