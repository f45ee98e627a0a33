r"""Second derivatives of AIMNet2 for one structure, from the derivatives of all its numbers by all coordinates.

A gradient that is differentiated again goes forward and back for every coordinate. Here nothing goes back: with nested
functions f of numbers u, v, …, second derivatives of the energy by coordinates x are

.. math:: \frac{∂^2 E}{∂x_a ∂x_b} = \sum_f \frac{∂E}{∂f} \sum_{u v}
    \frac{∂^2 f}{∂u ∂v} \frac{∂u}{∂x_a} \frac{∂v}{∂x_b}

over the functions that are not linear: activations, norms of vector sums, products of basis and features,
equilibration, and the basis itself. ∂E/∂f comes from one gradient. ∂u/∂x goes through the network once, for all
coordinates together, as rows of matrix products that are half as many as those of a gradient for each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float64, Int64
from torch import Tensor, nn
from torch.nn import functional

from molcalc.batch import AtomicBatch
from molcalc.models.aimnet2 import CHARGE_EPSILON, AIMNet2Network, equilibrate
from molcalc.models.aimnet2_passes import MLP
from molcalc.nn.neighbor_sum import EdgeRows, neighbor_sum
from molcalc.nn.vector_basis import vector_basis_derivatives, vector_basis_formula
from molcalc.progress import SECONDS_BEFORE, progress_bar

ROWS_AT_ONCE = 512
"""Rows, of a coordinate and an atom each, that go through a perceptron together: they stay near the processor."""
FEWEST_TOGETHER = 8
"""Atoms that go together in any case: sums over neighbors read the derivatives of all atoms for each block."""


@dataclass(frozen=True)
class Displaced:
    """What displacements of atoms change.

    Attributes
    ----------
    hessian : (3n, 3n) eV/Å², of the energies of the network, and of what charges add to first order.
    charges : (3n, n, C) e/Å, derivatives of the charges of the atoms by channel.
    features : (3n, n, A·G) 1/Å, of the features that the last pass reads.
    """

    hessian: Float64[Tensor, "n_coordinates n_coordinates"]
    charges: Float64[Tensor, "n_coordinates n_atoms C"]
    features: Float64[Tensor, "n_coordinates n_atoms n_features"]


class Perceptron:
    """Numbers of a perceptron for the atoms of a structure.

    Attributes
    ----------
    before, values : numbers before and after each activation; the last layer may have none.
    result : (n_atoms, n_out)
    """

    def __init__(self, module: MLP, x: Float64[Tensor, "n_atoms n_in"]) -> None:
        self._layers = [layer for layer in module if isinstance(layer, nn.Linear)]
        self.before: list[Tensor] = []
        self.values: list[Tensor] = []
        n_activated = len(module) - len(self._layers)
        for k, layer in enumerate(self._layers):
            x = layer(x)
            if k < n_activated:
                self.before.append(x)
                x = functional.gelu(x)
                self.values.append(x)
        self.result = x

    def differentiate(self, by_values: Sequence[Float64[Tensor, "n_atoms _"]]) -> None:
        """Learn the gradient of the energy by the values."""
        self._slopes, self._curvatures = [], []
        for x, upstream in zip(self.before, by_values):
            x = x.detach()
            density = torch.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
            self._slopes.append(0.5 * torch.erfc(-x * math.sqrt(0.5)) + x * density)
            self._curvatures.append(upstream * density * (2.0 - x * x))

    def push(
        self,
        rows: Float64[Tensor, "n_coordinates atoms n_columns"],
        atoms: slice,
        hessian: Float64[Tensor, "n_coordinates n_coordinates"],
    ) -> Float64[Tensor, "n_coordinates atoms n_out"]:
        """Derivatives of the results by coordinates, from those of the last columns of the inputs.

        Parameters
        ----------
        rows : (n_coordinates, atoms, n_columns).
        hessian : what activations add is added to it.

        Returns
        -------
        (n_coordinates, atoms, n_out)
        """
        for k, layer in enumerate(self._layers):
            weight = layer.weight.detach()
            rows = rows @ weight[:, weight.shape[1] - rows.shape[2] :].T
            if k < len(self.values):
                add_squares(rows, self._curvatures[k][atoms], hessian)
                rows *= self._slopes[k][atoms]
        return rows


def add_squares(
    rows: Float64[Tensor, "n_coordinates ..."],
    factors: Float64[Tensor, " ..."],
    hessian: Float64[Tensor, "n_coordinates n_coordinates"],
) -> None:
    """H_ab += Σ_n w_n u_an u_bn."""
    flat = rows.flatten(1)
    hessian.addmm_(flat * factors.reshape(-1), flat.T)


class MessageNumbers:
    """Message of a pass for the atoms of a structure (:mod:`molcalc.nn.message`).

    Parameters
    ----------
    channels : (n_atoms, A + C, G) features, and charges that are there.
    """

    def __init__(
        self,
        channels: Float64[Tensor, "n_atoms n_channels G"],
        n_charges: int,
        basis: Float64[Tensor, "n_edges 4 G"],
        weights: Float64[Tensor, "n_channels G H"],
        rows: EdgeRows,
    ) -> None:
        self.channels, self.weights = channels.detach(), weights.detach()
        self._n_own = channels.shape[1] - n_charges
        sums = neighbor_sum(channels, basis, rows)
        combined = torch.einsum("ixck,ckh->ixch", sums[:, 1:], weights)
        self._combined = combined.detach()
        self.result = self._side_by_side(channels, sums[:, 0], combined.square().sum(dim=1))

    def _side_by_side(self, channels: Tensor, scalars: Tensor, norms: Tensor, own: bool = True) -> Tensor:
        """Numbers of the message in their order, from (…, channels, G or H)."""
        a, q = slice(0, self._n_own), slice(self._n_own, None)
        parts = [channels[..., a, :], scalars[..., a, :], norms[..., a, :]][0 if own else 1 :]
        parts += [channels[..., q, :1], scalars[..., q, :], norms[..., q, :]]
        return torch.cat([part.flatten(-2) for part in parts], dim=-1)

    def differentiate(self, by_message: Float64[Tensor, "n_atoms width"]) -> None:
        """Learn the gradient of the energy by the message."""
        c, n_own, (_, n_radial, n_vector) = self.channels.shape[1], self._n_own, self.weights.shape
        sizes = [n_own * n_radial, n_own * n_radial, n_own * n_vector]
        sizes += [c - n_own, (c - n_own) * n_radial, (c - n_own) * n_vector]
        _, scalar_a, norm_a, _, scalar_q, norm_q = by_message.split(sizes, dim=1)
        n = len(by_message)
        scalars = torch.cat([scalar_a, scalar_q], dim=1).view(n, 1, c, n_radial)
        self._by_norms = torch.cat([norm_a, norm_q], dim=1).view(n, 1, c, n_vector)
        vectors = torch.einsum("ixch,ckh->ixck", 2.0 * self._by_norms * self._combined, self.weights)
        self.by_sums = torch.cat([scalars, vectors], dim=1)

    def push(
        self,
        sums: Float64[Tensor, "n_coordinates atoms 4 n_channels G"],
        channels: Float64[Tensor, "n_coordinates atoms n_channels G"] | None,
        atoms: slice,
        hessian: Float64[Tensor, "n_coordinates n_coordinates"],
    ) -> Float64[Tensor, "n_coordinates atoms width"]:
        """Derivatives of the message by coordinates, from those of the neighbor sums and of the channels.

        Parameters
        ----------
        sums : (n_coordinates, atoms, 4, A + C, G).
        channels : (n_coordinates, atoms, A + C, G); None where they depend on nothing: they are left out of the
            result then.

        Returns
        -------
        (n_coordinates, atoms, width)
        """
        combined = torch.einsum("aixck,ckh->aixch", sums[:, :, 1:], self.weights)
        add_squares(combined, (2.0 * self._by_norms[atoms]).expand(-1, 3, -1, -1), hessian)
        norms = 2.0 * (combined * self._combined[atoms]).sum(dim=2)
        own = sums[:, :, 0] if channels is None else channels
        return self._side_by_side(own, sums[:, :, 0], norms, own=channels is not None)


class Equilibration:
    """Charges that equilibration shifts to the total charge (:func:`molcalc.models.aimnet2.equilibrate`)."""

    def __init__(
        self,
        raw: Float64[Tensor, "n_atoms C"],
        factors: Float64[Tensor, "n_atoms C"],
        targets: Float64[Tensor, "1 C"],
        system_idx: Int64[Tensor, " n_atoms"],
        exact: bool,
    ) -> None:
        self.result = equilibrate(raw, factors, targets, system_idx, exact)
        self._factors = factors.detach()
        weights = self._factors.square()
        self._weights = weights + CHARGE_EPSILON if exact else weights
        self._total = self._weights.sum(dim=0) + (0.0 if exact else CHARGE_EPSILON)
        self._share = (targets[0] - raw.detach().sum(dim=0)) / self._total

    def differentiate(self, by_charges: Float64[Tensor, "n_atoms C"]) -> None:
        """Learn the gradient of the energy by the charges."""
        self._excess = by_charges - (by_charges * self._weights).sum(dim=0) / self._total

    def push(
        self,
        raw: Float64[Tensor, "n_coordinates n_atoms C"],
        factors: Float64[Tensor, "n_coordinates n_atoms C"],
        hessian: Float64[Tensor, "n_coordinates n_coordinates"],
    ) -> Float64[Tensor, "n_coordinates n_atoms C"]:
        r"""Derivatives of the charges by coordinates, from those of charges before and factors.

        The energy depends on them by u A / W with the missing charge u, the sum W of weights w = f² and A = Σ w ∂E/∂q.

        Parameters
        ----------
        raw, factors : (n_coordinates, n_atoms, C).

        Returns
        -------
        (n_coordinates, n_atoms, C)
        """
        weights = 2.0 * self._factors * factors
        missing, total = -raw.sum(dim=1), weights.sum(dim=1)
        by_ratio = (weights * self._excess).sum(dim=1) / self._total  # of A / W
        for c in range(raw.shape[2]):
            mixed = torch.outer(missing[:, c] - self._share[c] * total[:, c], by_ratio[:, c])
            hessian += mixed + mixed.T
            add_squares(factors[:, :, c], 2.0 * self._share[c] * self._excess[:, c], hessian)
        share = (missing - self._share * total) / self._total
        return raw + weights * self._share + self._weights * share[:, None]


class DisplacedAIMNet2:
    """One molecule, and what happens in a network when its atoms are displaced.

    All atoms together may move without a change: derivatives by the coordinates of the last are minus the sums of
    those of the others.

    Parameters
    ----------
    network : in double precision; without charge heads.
    batch : one structure of several atoms that is not periodic.

    Attributes
    ----------
    charges : (n_atoms, C) e, by channel.
    features : (n_atoms, A·G), those that the last pass reads.
    """

    @torch.enable_grad()
    def __init__(self, network: AIMNet2Network, batch: AtomicBatch) -> None:
        c, n = network.config, batch.n_atoms
        self._n_atoms, self._n_moved, self._n_channels = n, 3 * (n - 1), c.n_channels
        vectors = batch.edge_vectors()
        self._edges = EdgeRows.from_edges(batch.edge_index, n)
        self._basis = vector_basis_formula(vectors, network.shells).requires_grad_()
        self._basis_slopes, self._basis_curvatures = vector_basis_derivatives(vectors, network.shells)
        charge_targets = network.channel_charges(batch)
        weights = torch.cat([network.conv_features, network.conv_charges]).detach()
        features = network.embed(batch).detach()
        charges = features.new_zeros(n, c.charge_channels)
        self._messages: list[MessageNumbers] = []
        self._perceptrons: list[Perceptron] = []
        self._equilibrations: list[Equilibration] = []
        for t, module in enumerate(cast("list[MLP]", list(network.passes))):
            channels = features.view(n, c.n_channels, c.n_radial)
            if t:
                channels = torch.cat([channels, charges[:, :, None].expand(-1, -1, c.n_radial)], dim=1)
            n_charges = channels.shape[1] - c.n_channels
            message = MessageNumbers(channels, n_charges, self._basis, weights[: channels.shape[1]], self._edges)
            perceptron = Perceptron(module, message.result)
            self._messages.append(message)
            self._perceptrons.append(perceptron)
            if t + 1 < len(network.passes):
                widths = c.charge_channels, c.charge_channels, features.shape[1]
                raw, factors, change = perceptron.result.split(widths, dim=1)
                shifted = Equilibration(charges + raw, factors, charge_targets, batch.system_idx, c.exact_charges)
                self._equilibrations.append(shifted)
                charges, features = shifted.result, features + change
        chain = c.chain(int(batch.fidelity[0]))
        heads = [cast(MLP, network.energy_heads[c.readout(fidelity)]) for fidelity in chain]
        self._heads = [Perceptron(head, self._perceptrons[-1].result) for head in heads]
        self._charges = charges
        self.charges, self.features = charges.detach(), features.detach()

    def derivatives(self, by_charges: Float64[Tensor, " n_atoms"]) -> Displaced:
        """All derivatives by coordinates.

        Parameters
        ----------
        by_charges : (n_atoms,) eV/e, derivatives of what energy terms add to the energy, by the charges.

        Returns
        -------
        Displaced
        """
        by_basis = self._differentiate(by_charges)
        with torch.no_grad():
            return self._push(by_basis)

    def _differentiate(self, by_charges: Tensor) -> Tensor:
        """Give every function the gradient of the energy by its results, and return that by the basis."""
        perceptrons = [*self._perceptrons, *self._heads]
        energy = torch.stack([head.result.sum() for head in self._heads]).sum()
        energy = energy + (self._charges.sum(dim=1) * by_charges).sum()
        nodes = [self._basis, *(message.result for message in self._messages)]
        nodes += [shifted.result for shifted in self._equilibrations]
        nodes += [value for perceptron in perceptrons for value in perceptron.values]
        by_basis, *gradients = torch.autograd.grad(energy, nodes, materialize_grads=True)
        found = iter(gradients)
        for message in self._messages:
            message.differentiate(next(found))
        for shifted in self._equilibrations:
            shifted.differentiate(next(found))
        for perceptron in perceptrons:
            perceptron.differentiate([next(found) for _ in perceptron.values])
        return by_basis

    def _push(self, by_basis: Tensor) -> Displaced:
        """Everything, from the gradient of the energy by the basis."""
        n_moved = self._n_moved
        hessian = by_basis.new_zeros(n_moved, n_moved)
        self._add_basis(by_basis, hessian)
        features = by_basis.new_zeros(n_moved, *self.features.shape)
        charges = by_basis.new_zeros(n_moved, *self.charges.shape)
        n_charges = self.charges.shape[1]
        for t, (message, perceptron) in enumerate(zip(self._messages, self._perceptrons)):
            by_radial = None if t == 0 else self._by_radial(features, charges)
            shifts = by_basis.new_empty(n_moved, self._n_atoms, 2 * n_charges)
            last = t + 1 == len(self._messages)
            blocks = progress_bar(
                iterable=list(self._blocks()), desc=f"second derivatives, pass {t + 1} of {len(self._messages)}",
                unit="block", leave=False, delay=SECONDS_BEFORE,
            )  # fmt: skip
            for atoms in blocks:
                own = None
                if by_radial is not None:
                    own = by_radial[:, atoms].permute(2, 1, 3, 0)
                    self._add_products(message, own, atoms, hessian)
                sums = self._sums(message, by_radial, atoms)
                rows = perceptron.push(message.push(sums, own, atoms, hessian), atoms, hessian)
                if last:
                    for head in self._heads:
                        head.push(rows, atoms, hessian)
                else:
                    shifts[:, atoms] = rows[:, :, : 2 * n_charges]
                    features[:, atoms] += rows[:, :, 2 * n_charges :]
            if not last:
                raw, factors = charges + shifts[:, :, :n_charges], shifts[:, :, n_charges:]
                charges = self._equilibrations[t].push(raw, factors, hessian)
        whole = _with_last_atom(_with_last_atom(hessian).T)
        return Displaced(whole, _with_last_atom(charges), _with_last_atom(features))

    def _blocks(self) -> Iterator[slice]:
        """Atoms that go through a perceptron together."""
        size = max(FEWEST_TOGETHER, ROWS_AT_ONCE // self._n_moved)
        for start in range(0, self._n_atoms, size):
            yield slice(start, min(start + size, self._n_atoms))

    def _by_radial(self, features: Tensor, charges: Tensor) -> Tensor:
        """(G, n_atoms, n_coordinates, A + C) derivatives of the channels, for products with the basis."""
        n_moved, n, n_features = features.shape
        n_radial = self._basis.shape[2]
        n_own = n_features // n_radial
        found = features.new_empty(n_radial, n, n_moved, n_own + charges.shape[2])
        found[..., :n_own] = features.view(n_moved, n, n_own, n_radial).permute(3, 1, 0, 2)
        found[..., n_own:] = charges.transpose(0, 1)
        return found

    def _sums(self, message: MessageNumbers, by_radial: Tensor | None, atoms: slice) -> Tensor:
        """(n_coordinates, atoms, 4, channels, G) derivatives of the neighbor sums of some atoms."""
        n, n_block, shape = self._n_atoms, atoms.stop - atoms.start, message.channels.shape[1:]
        edges = slice(int(self._edges.first[atoms.start]), int(self._edges.first[atoms.stop]))
        receiver, source = self._edges.receiver[edges] - atoms.start, self._edges.source[edges]
        moved = self._basis_slopes[edges, :, :, None] * message.channels[source][:, None, None]
        by_ends = moved.new_zeros(n * n_block, 3, 4, *shape)
        by_ends[source * n_block + receiver] = moved
        by_ends.index_add_(0, (receiver + atoms.start) * n_block + receiver, moved, alpha=-1.0)
        sums = (
            by_ends.view(n, n_block, 3, 4, *shape)[: n - 1].transpose(1, 2).reshape(self._n_moved, n_block, 4, *shape)
        )
        if by_radial is not None:
            n_radial = shape[1]
            basis = moved.new_zeros(n_radial, n_block, 4, n)
            basis[:, receiver, :, source] = self._basis.detach()[edges].transpose(1, 2)
            products = basis.view(n_radial, 4 * n_block, n) @ by_radial.flatten(2)
            sums += products.view(n_radial, n_block, 4, self._n_moved, shape[0]).permute(3, 1, 2, 4, 0)
        return sums

    def _add_products(self, message: MessageNumbers, own: Tensor, atoms: slice, hessian: Tensor) -> None:
        """Add what the products of basis and channels in the neighbor sums make, of which both change.

        Parameters
        ----------
        own : (n_coordinates, atoms, A + C, G) derivatives of the channels of some atoms.
        """
        n, n_block = self._n_atoms, atoms.stop - atoms.start
        (edges,) = torch.nonzero((self._edges.source >= atoms.start) & (self._edges.source < atoms.stop), as_tuple=True)
        receiver, source = self._edges.receiver[edges], self._edges.source[edges] - atoms.start
        by_edges = torch.einsum("eyxk,exck->eyck", self._basis_slopes[edges], message.by_sums[receiver])
        by_pairs = by_edges.new_zeros(n_block, n, *by_edges.shape[1:])  # of source j, by displacement of i
        by_pairs[source, receiver] = -by_edges
        each = torch.arange(n_block)
        by_pairs[each, each + atoms.start] = -by_pairs.sum(dim=1)
        flat = by_pairs[:, : n - 1].permute(0, 3, 4, 1, 2).reshape(-1, self._n_moved)
        mixed = own.flatten(1) @ flat
        hessian += mixed + mixed.T

    def _add_basis(self, by_basis: Tensor, hessian: Tensor) -> None:
        """Add what the curvature of the basis makes."""
        n = self._n_atoms
        of_edges = torch.einsum("eyzxk,exk->eyz", self._basis_curvatures, by_basis)
        whole = of_edges.new_zeros(n * n, 3, 3)
        i, j = self._edges.receiver, self._edges.source
        for first, second, sign in ((i, i, 1.0), (j, j, 1.0), (i, j, -1.0), (j, i, -1.0)):
            whole.index_add_(0, first * n + second, of_edges, alpha=sign)
        flat = whole.view(n, n, 3, 3).transpose(1, 2).reshape(3 * n, 3 * n)
        hessian += flat[: self._n_moved, : self._n_moved]


def _with_last_atom(rows: Tensor) -> Tensor:
    """Derivatives by all coordinates from those by the coordinates of all atoms but the last: together they vanish."""
    last = -rows.reshape(len(rows) // 3, 3, *rows.shape[1:]).sum(dim=0)
    return torch.cat([rows, last])
