"""Compiled twin of AIMNet2 for one step: energies and charges, and then their gradient, by loops and products in a row.

The equations are those of :class:`molcalc.models.aimnet2.AIMNet2Network`, which is the reference, and so is the
arithmetic: the large perceptrons in the dtype of their weights, everything else in double precision. Nothing is
recorded on the way forward but what the way back reads, in arrays that the next step uses again. Import only where
numba is available.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from molcalc.batch import AtomicBatch
from molcalc.kernels import few_rows
from molcalc.kernels.aimnet2 import equilibrate, equilibrate_gradient
from molcalc.kernels.edges import spread_by_edges
from molcalc.kernels.few_rows import MOST_ROWS
from molcalc.kernels.gelu import value_and_slope
from molcalc.kernels.message import Layout, pull, push
from molcalc.kernels.runtime import WIDTH, array, flat, share_range, shared_flat, slots_for
from molcalc.kernels.vector_basis import basis_gradient, basis_values
from molcalc.models.aimnet2 import CHARGE_EPSILON, AIMNet2Config, AIMNet2Network
from molcalc.models.aimnet2_passes import MLP
from molcalc.nn.vector_basis import SMALLEST_EXPONENT, GaussianShells

KEPT_BYTES = 200_000_000
"""Arrays of a step are kept for the next up to this size."""
STORED_EDGES = 100_000
"""Edges up to which their basis is stored (51 MB); it is computed again where it is read, in shares, of more."""
SHARE_OF_EDGES = 16_384
"""Edges of a share: their basis (8 MB) stays near the processor."""
ACTIVATION_WORK, BASIS_WORK = 20.0, 400.0
"""Multiply-adds of a number of GELU and of an edge, to decide on threads."""


@dataclass(frozen=True)
class Surroundings:
    """Near atoms of a batch: what all networks of an ensemble have in common.

    Attributes
    ----------
    index : (2, n_edges) int64, receiver and source, sorted by receiver.
    first : (n_atoms + 1,) where the edges of each atom begin.
    bounds : (n_systems + 1,) where the atoms of each system begin.
    vectors : (n_edges, 3) float64, Å.
    basis : (n_edges, 4, 16) float64; of many edges none is stored.
    shells : numbers of the Gaussians, as the loops of the basis read them.
    """

    index: np.ndarray
    first: np.ndarray
    bounds: np.ndarray
    vectors: np.ndarray
    basis: np.ndarray | None
    shells: tuple[float, float, float, float]

    @classmethod
    def of(cls, batch: AtomicBatch, shells: GaussianShells) -> Surroundings:
        """Surroundings of the atoms of a batch on the processor."""
        index, vectors = array(batch.edge_index), array(batch.edge_vectors())
        numbers = shells.start, shells.spacing, shells.cutoff, math.exp(SMALLEST_EXPONENT)
        basis = _basis(vectors, numbers) if len(vectors) <= STORED_EDGES else None
        first = np.searchsorted(index[0], np.arange(batch.n_atoms + 1))
        bounds = np.array([0, batch.n_atoms])
        if batch.n_systems > 1:
            bounds = np.searchsorted(array(batch.system_idx), np.arange(batch.n_systems + 1))
        return cls(index, first, bounds, vectors, basis, numbers)

    def shares(self) -> Iterator[EdgeShare]:
        """Atoms with their edges and the basis of these: all at once where the basis is stored."""
        if self.basis is not None:
            yield EdgeShare(slice(0, len(self.first) - 1), slice(0, len(self.vectors)), self.first, self.basis)
            return
        start, n_atoms = 0, len(self.first) - 1
        while start < n_atoms:
            begin = int(self.first[start])
            stop = max(start + 1, int(np.searchsorted(self.first, begin + SHARE_OF_EDGES, side="right")) - 1)
            edges = slice(begin, int(self.first[stop]))
            yield EdgeShare(
                slice(start, stop),
                edges,
                self.first[start : stop + 1] - begin,
                _basis(self.vectors[edges], self.shells),
            )
            start = stop

    def by_vectors(self, edges: slice, by_basis: np.ndarray) -> Float64[np.ndarray, "n_edges 3"]:
        """Derivatives by the vectors of some edges in eV/Å, from those by their basis."""
        vectors = self.vectors[edges]
        found = np.empty_like(vectors)
        work = 1.5 * BASIS_WORK * len(vectors)
        share_range(basis_gradient, len(vectors), work, vectors, by_basis, *self.shells, found)
        return found

    def by_atoms(
        self, batch: AtomicBatch, by_vectors: np.ndarray
    ) -> tuple[Float64[Tensor, "n_atoms 3"], Float64[Tensor, "n_systems 3 3"]]:
        """Derivatives by positions and cells in eV/Å, from those by the vectors of the edges."""
        by_positions, by_cell = np.zeros((batch.n_atoms, 3)), np.zeros((batch.n_systems, 3, 3))
        shifts, system_idx = array(batch.unit_shifts), array(batch.system_idx)
        spread_by_edges(self.index, shifts, system_idx, batch.periodic, by_vectors, by_positions, by_cell)
        return torch.from_numpy(by_positions), torch.from_numpy(by_cell)


@dataclass(frozen=True)
class EdgeShare:
    """Some consecutive atoms, and what the loops read of their edges.

    Attributes
    ----------
    atoms, edges : places of both among all.
    first : where the edges of each atom begin, among those of the share.
    basis : (edges of the share, 4, 16) float64.
    """

    atoms: slice
    edges: slice
    first: np.ndarray
    basis: np.ndarray


def _basis(vectors: np.ndarray, shells: tuple[float, float, float, float]) -> np.ndarray:
    basis = np.empty((len(vectors), 4, WIDTH))
    share_range(basis_values, len(vectors), BASIS_WORK * len(vectors), vectors, *shells, basis)
    return basis


class Line:
    """Perceptron in arrays that stay: linear layers with GELU between them, forward and back.

    ``before[k]`` holds what goes into the activation of layer k, or the result without one, and on the way back the
    gradient by it.

    Parameters
    ----------
    sizes : numbers before the first layer and after each.
    activated : layers with an activation, from the first on.
    other : perceptron that is never on its way at the same time. What both only need meanwhile is in the same arrays:
        of hidden layers of equal size everything but the slopes.
    """

    def __init__(
        self, sizes: Sequence[int], activated: int, n_rows: int, dtype: torch.dtype, other: Line | None = None
    ) -> None:
        common = [] if other is None else list(zip(other.before[:-1], other.values))[: len(sizes) - 2]
        self.before: list[Tensor] = []
        self.values: list[Tensor] = []
        for k, size in enumerate(sizes[1:]):
            if k < min(len(common), activated) and common[k][0].shape == (n_rows, size):
                before, value = common[k]
            else:
                before, value = torch.empty(n_rows, size, dtype=dtype), torch.empty(n_rows, size, dtype=dtype)
            self.before.append(before)
            self.values += [value] * (k < activated)
        self._sizes = [(n_rows, n_in, n_out) for n_in, n_out in zip(sizes[:-1], sizes[1:])]
        self.slopes = [torch.empty_like(x) for x in self.before[:activated]]
        empty = torch.empty(0, dtype=dtype)
        each = zip_longest(self.before, self.values, self.slopes, fillvalue=empty)
        self._flat = [tuple(flat(x) for x in arrays) for arrays in each]

    @property
    def result(self) -> Float[Tensor, "n_rows n_out"]:
        """(n_rows, n_out), what :meth:`forward` found."""
        return self.values[-1] if len(self.values) == len(self.before) else self.before[-1]

    def forward(self, layers: Sequence[nn.Linear], x: Float[Tensor, "n_rows n_in"]) -> Float[Tensor, "n_rows n_out"]:
        """Result (n_rows, n_out) for (n_rows, n_in)."""
        for k, linear in enumerate(layers):
            if len(x) <= MOST_ROWS:
                weights = shared_flat(linear.weight), shared_flat(linear.bias)
                few_rows.layer(self._flat[k - 1][1] if k else flat(x), *weights, *self._sizes[k], self._flat[k][0])
            else:
                torch.addmm(linear.bias, x, linear.weight.t(), out=self.before[k])
            x = self.before[k]
            if k < len(self.values):
                share_range(value_and_slope, x.numel(), ACTIVATION_WORK * x.numel(), *self._flat[k])
                x = self.values[k]
        return x

    def backward(self, layers: Sequence[nn.Linear], by_x: Float[Tensor, "n_rows _"]) -> None:
        """Write the gradient by the last columns of x to ``by_x``, from that by the result in the last ``before``."""
        for k in range(len(layers) - 1, -1, -1):
            if k < len(self.values):
                before, _, slope = self._flat[k]
                np.multiply(before, slope, out=before)
            weight, gradient = layers[k].weight, self.before[k - 1] if k else by_x
            start = weight.shape[1] - gradient.shape[1]
            if len(by_x) <= MOST_ROWS:
                target = self._flat[k - 1][0] if k else flat(by_x)
                few_rows.layer_gradient(self._flat[k][0], shared_flat(weight), *self._sizes[k], start, target)
            else:
                torch.mm(self.before[k], weight[:, start:], out=gradient)


class Workspace:
    """Arrays of one step of a network with a number of atoms.

    Attributes
    ----------
    features : (n_passes, n_atoms, A·G) float64, those that each pass reads.
    charges : (n_passes, n_atoms, C) float64, e.
    by_features : (n_parts, n_atoms, A·G) float64, gradients from parts of the atoms.
    messages, inputs : what the first pass and all others read, in double precision and in that of the perceptron.
    by_messages, by_inputs : gradients by the same; of the first pass without the features that atoms begin with.
    n_bytes : size of the large arrays.
    """

    def __init__(self, config: AIMNet2Config, dtype: torch.dtype, n_atoms: int, n_parts: int) -> None:
        c, n = config, n_atoms
        size, n_passes = c.n_channels * c.n_radial, len(c.hidden)
        self.layouts = [
            Layout(c.n_channels, 0 if t == 0 else c.charge_channels, c.n_vector, False, 1) for t in range(n_passes)
        ]
        self.features = np.empty((n_passes, n, size))
        self.charges = np.empty((n_passes, n, c.charge_channels))
        self.by_features = np.empty((n_parts, n, size))
        self.by_charges = np.empty((n_parts, n, c.charge_channels, WIDTH))
        widths = [self.layouts[0].width, self.layouts[-1].width]
        self.messages = [np.empty((n, width)) for width in widths]
        self.inputs = [torch.empty(n, width, dtype=dtype) for width in widths]
        self.by_inputs = [torch.empty(n, widths[0] - size, dtype=dtype), self.inputs[1]]
        self.by_messages = [np.empty((n, widths[0] - size)), self.messages[1]]
        last = n_passes - 1
        self.lines: list[Line] = []
        for t, hidden in enumerate(c.hidden):
            n_out = c.aim_size if t == last else size + 2 * c.charge_channels
            before = self.lines[-1] if self.lines else None
            self.lines.append(Line((widths[t > 0], *hidden, n_out), len(hidden) + (t > 0), n, dtype, before))
        self.head = Line((c.aim_size, *c.energy_hidden, 1), len(c.energy_hidden), n, torch.float64)
        self.aim = torch.empty(n, c.aim_size, dtype=torch.float64)
        self._key = config, dtype, n_atoms, n_parts
        lines = {x.data_ptr(): x for line in self.lines for x in (*line.before, *line.values, *line.slopes)}
        arrays = (self.features, self.by_features, *self.messages)
        self.n_bytes = sum(x.nbytes for x in arrays) + sum(x.nbytes for x in (*self.inputs, *lines.values()))

    def fits(self, network: AIMNet2Network, n_atoms: int, n_parts: int) -> bool:
        """Whether a step of this network may use them."""
        config, dtype, *sizes = self._key
        return config is network.config and dtype == network.dtype and sizes == [n_atoms, n_parts]


class Workspaces:
    """Arrays that steps used, ready for the next one of the same size; each belongs to one step at a time."""

    def __init__(self) -> None:
        self._free: list[Workspace] = []

    def __getstate__(self) -> dict[str, Any]:
        return {"_free": []}

    @contextmanager
    def borrow(self, network: AIMNet2Network, n_atoms: int) -> Iterator[Workspace]:
        """Arrays for a step with this network."""
        n_parts = torch.get_num_threads()
        try:
            workspace = self._free.pop()
        except IndexError:
            workspace = None
        if workspace is None or not workspace.fits(network, n_atoms, n_parts):
            workspace = Workspace(network.config, network.dtype, n_atoms, n_parts)
        yield workspace
        if workspace.n_bytes <= KEPT_BYTES:
            self._free.append(workspace)


class AIMNet2Step:
    """Energies and charges of a network for one batch, and what their gradient needs.

    Attributes
    ----------
    energies : (n_atoms,) float64, eV, without those of free atoms.
    charges : (n_atoms, C) float64, e.
    features : (n_atoms, A·G) float64, those that the last pass reads; they stay until the workspace is used again.
    """

    def __init__(self, network: AIMNet2Network, near: Surroundings, batch: AtomicBatch, workspace: Workspace) -> None:
        self.network, self.near, self.arrays = network, near, workspace
        c = network.config
        self._smallest, self._once = (CHARGE_EPSILON, 0.0) if c.exact_charges else (0.0, CHARGE_EPSILON)
        n_systems = len(near.bounds) - 1
        self._shares = np.empty((len(c.hidden), 2, n_systems, c.charge_channels))
        self._conv = _rows_of_lanes(network)
        self._layers = [linear_layers(perceptron) for perceptron in network.passes]
        self._head = linear_layers(network.energy_heads[c.readout(int(batch.fidelity[0]))])
        self._forward(batch)

    def _forward(self, batch: AtomicBatch) -> None:
        w, near, size = self.arrays, self.near, self.arrays.features.shape[2]
        n_channels = w.charges.shape[2]
        targets = array(self.network.channel_charges(batch))
        w.features[0] = self.network.embed(batch).detach().numpy()
        for t, layers in enumerate(self._layers):
            out = w.lines[t].forward(layers, self._message(t))
            if t + 1 < len(self._layers):
                output = out.numpy()
                w.charges[t + 1] = w.charges[t] if t else 0.0
                equilibrate(
                    near.bounds, targets, self._smallest, self._once, output, w.charges[t + 1], *self._shares[t]
                )
                np.add(w.features[t], output[:, 2 * n_channels : 2 * n_channels + size], out=w.features[t + 1])
        w.aim.copy_(out)
        self.energies = w.head.forward(self._head, w.aim)[:, 0].clone()
        self.charges = torch.from_numpy(w.charges[-1].copy())
        self.features = torch.from_numpy(w.features[-1])

    def _message(self, t: int) -> Tensor:
        """Message of pass t in the arithmetic of its perceptron."""
        w, near, which = self.arrays, self.near, int(t > 0)
        layout, message = w.layouts[t], w.messages[which]
        n_features = w.features.shape[2]
        message[:, :n_features] = w.features[t]
        message[:, layout.charges_at : layout.charges_at + layout.n_charges] = w.charges[t, :, : layout.n_charges]
        for share in near.shares():
            rows = message[share.atoms]
            share_range(
                push, len(rows), layout.work(len(share.basis), len(rows)), share.first, near.index[1, share.edges],
                w.features[t].reshape(-1), w.charges[t].reshape(-1), share.basis.reshape(-1), self._conv[0],
                *layout.arguments(), rows.reshape(-1),
            )  # fmt: skip
        inputs = w.inputs[which]
        np.copyto(inputs.numpy(), message, casting="same_kind")
        return inputs

    def gradient(self, by_charges: Float64[np.ndarray, " n_atoms"] | None) -> Float64[np.ndarray, "n_edges 3"]:
        """Gradient of the sum of all energies by the vectors of the edges.

        Parameters
        ----------
        by_charges : (n_atoms,) eV/e, derivatives of what energy terms add, by the charges; None if they read none.

        Returns
        -------
        (n_edges, 3) float64, eV/Å
        """
        w, near, last = self.arrays, self.near, len(self._layers) - 1
        n_channels = w.charges.shape[2]
        by_basis = None if near.basis is None else np.empty_like(near.basis)
        by_vectors = np.zeros_like(near.vectors)
        by_q = np.zeros((w.charges.shape[1], n_channels))
        if by_charges is not None:
            by_q += by_charges[:, None]
        w.head.before[-1].fill_(1.0)
        w.head.backward(self._head, w.aim)
        w.lines[last].before[-1].copy_(w.aim)
        w.by_features[0] = 0.0
        for t in range(last, -1, -1):
            if t < last:
                output, by_output = w.lines[t].result.numpy(), w.lines[t].before[-1].numpy()
                equilibrate_gradient(near.bounds, self._smallest, output, *self._shares[t], by_q, by_output)
                by_output[:, 2 * n_channels :] = w.by_features[0]
            w.lines[t].backward(self._layers[t], w.by_inputs[int(t > 0)])
            self._pull(t, by_q, by_basis, by_vectors, add_to_basis=t < last)
        return by_vectors

    def _pull(
        self, t: int, by_q: np.ndarray, by_basis: np.ndarray | None, by_vectors: np.ndarray, *, add_to_basis: bool
    ) -> None:
        """Way back from the message of pass t to features, charges and vectors.

        Where the basis is stored, so is the gradient by it, and the last pass goes on from there to the vectors.
        """
        w, near, layout = self.arrays, self.near, self.arrays.layouts[t]
        n_atoms, n_features = w.features.shape[1:]
        grad = w.by_messages[int(t > 0)]
        np.copyto(grad, w.by_inputs[int(t > 0)].numpy())
        n_own, n_charges, scalars_at, norms_at, n_norms, width = layout.arguments()
        if t == 0:  # no gradient by the features that atoms begin with
            scalars_at, norms_at, width = scalars_at - n_features, norms_at - n_features, width - n_features
        n_parts = min(len(w.by_features), n_atoms, slots_for(3.0 * layout.work(len(near.vectors), n_atoms)))
        if t:
            w.by_features[0] += grad[:, :n_features]
            w.by_features[1:n_parts] = 0.0
            w.by_charges[:n_parts] = 0.0
        no_weights = w.by_features.reshape(-1)[:0]
        for share in near.shares():
            rows, by_share = grad[share.atoms], np.empty_like(share.basis) if by_basis is None else by_basis
            share_range(
                pull, n_parts, 3.0 * layout.work(len(share.basis), len(rows)), n_parts, n_atoms, share.first,
                near.index[1, share.edges], w.features[t].reshape(-1), w.charges[t].reshape(-1),
                share.basis.reshape(-1), rows.reshape(-1), *self._conv, n_own, n_charges, scalars_at, norms_at,
                n_norms, width, w.by_features.reshape(-1), w.by_charges.reshape(-1), True, by_share.reshape(-1), False,
                no_weights, t > 0, add_to_basis and by_basis is not None,
            )  # fmt: skip
            if by_basis is None or t == 0:
                by_vectors[share.edges] += near.by_vectors(share.edges, by_share)
        if t:
            for part in range(1, n_parts):
                w.by_features[0] += w.by_features[part]
            by_q += w.by_charges[:n_parts].sum(axis=(0, 3))
            by_q += grad[:, layout.charges_at : layout.charges_at + n_charges]


def linear_layers(perceptron: nn.Module) -> list[nn.Linear]:
    """Linear layers of a perceptron in their order."""
    return [layer for layer in cast(MLP, perceptron) if isinstance(layer, nn.Linear)]


def _rows_of_lanes(network: AIMNet2Network) -> tuple[np.ndarray, np.ndarray]:
    """Combinations of the vector sums of all channels with rows of sixteen lanes, by k and by h."""
    features, charges = network.conv_features.detach().numpy(), network.conv_charges.detach().numpy()
    n_own, _, n_vector = features.shape
    rows, turned = np.zeros((2, n_own + len(charges), WIDTH, WIDTH))
    rows[:n_own, :, :n_vector], rows[n_own:, :, :n_vector] = features, charges
    turned[:, :n_vector] = rows[:, :, :n_vector].swapaxes(1, 2)
    return rows.reshape(-1), turned.reshape(-1)
