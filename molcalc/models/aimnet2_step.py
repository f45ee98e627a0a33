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
from molcalc.kernels.aimnet2 import (
    begin_pull,
    end_pull,
    read,
    rows_of_lanes,
    surroundings,
    update,
    update_gradient,
)
from molcalc.kernels.edges import spread_by_edges
from molcalc.kernels.few_rows import MOST_ROWS, MOST_ROWS_BESIDE_THREADS
from molcalc.kernels.gelu import value_and_slope
from molcalc.kernels.message import Layout, pull
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
    whole : all atoms with all edges and their basis; None of many edges, whose basis is not stored.
    shells : numbers of the Gaussians, as the loops of the basis read them.
    """

    index: np.ndarray
    first: np.ndarray
    bounds: np.ndarray
    vectors: np.ndarray
    whole: EdgeShare | None
    shells: tuple[float, float, float, float]

    @classmethod
    def of(cls, batch: AtomicBatch, shells: GaussianShells) -> Surroundings:
        """Surroundings of the atoms of a batch on the processor."""
        index, system_idx = array(batch.edge_index), array(batch.system_idx)
        vectors, first = np.empty((index.shape[1], 3)), np.empty(batch.n_atoms + 1, dtype=np.int64)
        places = array(batch.positions), array(batch.cell), system_idx, index, array(batch.unit_shifts)
        surroundings(*places, batch.periodic, vectors, first)
        numbers = shells.start, shells.spacing, shells.cutoff, math.exp(SMALLEST_EXPONENT)
        whole = None
        if len(vectors) <= STORED_EDGES:
            basis = _basis(vectors, numbers).reshape(-1)
            whole = EdgeShare(slice(0, batch.n_atoms), slice(0, len(vectors)), first, index[1], basis)
        bounds = np.array([0, batch.n_atoms])
        if batch.n_systems > 1:
            bounds = np.searchsorted(system_idx, np.arange(batch.n_systems + 1))
        return cls(index, first, bounds, vectors, whole, numbers)

    def shares(self) -> Iterator[EdgeShare]:
        """Atoms with their edges and the basis of these: all at once where the basis is stored."""
        if self.whole is not None:
            yield self.whole
            return
        start, n_atoms = 0, len(self.first) - 1
        while start < n_atoms:
            begin = int(self.first[start])
            stop = max(start + 1, int(np.searchsorted(self.first, begin + SHARE_OF_EDGES, side="right")) - 1)
            edges = slice(begin, int(self.first[stop]))
            first, basis = self.first[start : stop + 1] - begin, _basis(self.vectors[edges], self.shells)
            yield EdgeShare(slice(start, stop), edges, first, self.index[1, edges], basis.reshape(-1))
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
    source : the neighbor of each edge.
    basis : (edges of the share, 4, 16) float64, flat.
    """

    atoms: slice
    edges: slice
    first: np.ndarray
    source: np.ndarray
    basis: np.ndarray

    @property
    def n_atoms(self) -> int:
        return self.atoms.stop - self.atoms.start

    @property
    def n_edges(self) -> int:
        return self.edges.stop - self.edges.start


def _basis(vectors: np.ndarray, shells: tuple[float, float, float, float]) -> np.ndarray:
    basis = np.empty((len(vectors), 4, WIDTH))
    share_range(basis_values, len(vectors), BASIS_WORK * len(vectors), vectors, *shells, basis)
    return basis


class Line:
    """Perceptron in arrays that stay: linear layers with GELU between them, forward and back.

    ``before[k]`` holds what goes into the activation of layer k, or the result without one, and on the way back the
    gradient by it.

    Attributes
    ----------
    x, by_x : inputs, and the gradient by their last columns, as arrays.
    output, by_output : (n_rows, n_out), the results, and the gradient by them, as arrays.

    Parameters
    ----------
    inputs : (n_rows, n_in) what it reads.
    sizes : numbers after each layer.
    activated : layers with an activation, from the first on.
    by_inputs : (n_rows, _) for the gradient by the last columns of the inputs; may be the same array.
    other : perceptron that is never on its way at the same time. What both only need meanwhile is in the same arrays:
        of hidden layers of equal size everything but the slopes.
    """

    def __init__(
        self,
        inputs: Float[Tensor, "n_rows n_in"],
        sizes: Sequence[int],
        activated: int,
        by_inputs: Float[Tensor, "n_rows n_by"],
        other: Line | None = None,
    ) -> None:
        n_rows, n_in = inputs.shape
        common = [] if other is None else list(zip(other.before[:-1], other.values))[: len(sizes) - 1]
        self.inputs, self.by_inputs = inputs, by_inputs
        self.before: list[Tensor] = []
        self.values: list[Tensor] = []
        for k, size in enumerate(sizes):
            if k < min(len(common), activated) and common[k][0].shape == (n_rows, size):
                before, value = common[k]
            else:
                before, value = inputs.new_empty(n_rows, size), inputs.new_empty(n_rows, size)
            self.before.append(before)
            self.values += [value] * (k < activated)
        self.slopes = [torch.empty_like(x) for x in self.before[:activated]]
        self.x, self.by_x = inputs.numpy(), by_inputs.numpy()
        self.output = (self.values[-1] if activated == len(sizes) else self.before[-1]).numpy()
        self.by_output = self.before[-1].numpy()
        self._sizes = [(n_rows, before, after) for before, after in zip([n_in, *sizes], sizes)]
        self._few = n_rows <= (MOST_ROWS if torch.get_num_threads() == 1 else MOST_ROWS_BESIDE_THREADS)
        self.flat_x, self._flat_by_x, empty = flat(inputs), flat(by_inputs), inputs.new_empty(0)
        each = zip_longest(self.before, self.values, self.slopes, fillvalue=empty)
        self._flat = [tuple(flat(x) for x in arrays) for arrays in each]

    def forward(self, layers: LinearLayers) -> None:
        """Make the output from the inputs."""
        for k, (weight, bias) in enumerate(layers):
            before, value, slope = self._flat[k]
            if self._few:
                x = self._flat[k - 1][1] if k else self.flat_x
                few_rows.layer(x, shared_flat(weight), shared_flat(bias), *self._sizes[k], before, value, slope)
                continue
            torch.addmm(bias, self.values[k - 1] if k else self.inputs, weight.t(), out=self.before[k])
            if value.size:
                share_range(value_and_slope, value.size, ACTIVATION_WORK * value.size, before, value, slope)

    def backward(self, layers: LinearLayers) -> None:
        """Make the gradient by the inputs from that by the output."""
        last = len(layers) - 1
        if self._flat[last][2].size:
            np.multiply(self._flat[last][0], self._flat[last][2], out=self._flat[last][0])
        for k in range(last, -1, -1):
            weight, start = layers[k][0], 0 if k else self.inputs.shape[1] - self.by_inputs.shape[1]
            target, _, slope = self._flat[k - 1] if k else (self._flat_by_x, None, self._flat_by_x[:0])
            if self._few:
                few_rows.layer_gradient(self._flat[k][0], shared_flat(weight), *self._sizes[k], start, slope, target)
                continue
            torch.mm(self.before[k], weight[:, start:], out=self.before[k - 1] if k else self.by_inputs)
            if k:
                np.multiply(target, slope, out=target)


class Workspace:
    """Arrays of one step of a network with a number of atoms.

    Attributes
    ----------
    layouts : places in the messages of each pass.
    arguments, arguments_back : the same for loops, which leave out the gradient by the features that atoms begin with.
    features : (n_passes, n_atoms, A·G) float64, those that each pass reads.
    charges : (n_passes, n_atoms, C) float64, e; none before the first pass.
    by_features : (n_parts, n_atoms, A·G) float64, gradients from parts of the atoms.
    by_charges : (n_parts, n_atoms, C, 16) float64, the same.
    messages : flat, what the first pass and all others read, in double precision.
    by_messages : (n_atoms, _) float64, gradients by the same.
    lines : perceptrons of the passes.
    head : perceptron of the energy.
    n_bytes : size of the large arrays.
    """

    def __init__(self, config: AIMNet2Config, dtype: torch.dtype, n_atoms: int, n_parts: int) -> None:
        c, n = config, n_atoms
        size, n_passes = c.n_channels * c.n_radial, len(c.hidden)
        self.layouts = [
            Layout(c.n_channels, 0 if t == 0 else c.charge_channels, c.n_vector, False, 1) for t in range(n_passes)
        ]
        self.arguments = [layout.arguments() for layout in self.layouts]
        n_own, n_charges, scalars_at, norms_at, n_norms, width = self.arguments[0]
        first_back = n_own, n_charges, scalars_at - size, norms_at - size, n_norms, width - size
        self.arguments_back = [first_back, *self.arguments[1:]]
        self.features = np.empty((n_passes, n, size))
        self.charges = np.zeros((n_passes, n, c.charge_channels))
        self.by_features = np.empty((n_parts, n, size))
        self.by_charges = np.empty((n_parts, n, c.charge_channels, WIDTH))
        widths = [self.layouts[0].width, self.layouts[-1].width]
        self.messages = [np.empty(n * width) for width in widths]
        self.by_messages = [np.empty((n, widths[0] - size)), self.messages[1].reshape(n, -1)]
        inputs = [torch.empty(n, width, dtype=dtype) for width in widths]
        by_inputs = [torch.empty(n, widths[0] - size, dtype=dtype), inputs[1]]
        self.lines: list[Line] = []
        for t, hidden in enumerate(c.hidden):
            n_out = c.aim_size if t == n_passes - 1 else size + 2 * c.charge_channels
            before, later = self.lines[-1] if self.lines else None, int(t > 0)
            self.lines.append(Line(inputs[later], (*hidden, n_out), len(hidden) + later, by_inputs[later], before))
        aim = torch.empty(n, c.aim_size, dtype=torch.float64)
        self.head = Line(aim, (*c.energy_hidden, 1), len(c.energy_hidden), aim)
        self._key = config, dtype, n_atoms, n_parts
        lines = {x.data_ptr(): x for line in self.lines for x in (*line.before, *line.values, *line.slopes)}
        arrays = (self.features, self.by_features, *self.messages)
        self.n_bytes = sum(x.nbytes for x in arrays) + sum(x.nbytes for x in (*inputs, *lines.values()))

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
        self.near, self.arrays = near, workspace
        c = network.config
        self._smallest, self._once = (CHARGE_EPSILON, 0.0) if c.exact_charges else (0.0, CHARGE_EPSILON)
        self._shares = np.empty((len(c.hidden), 2, len(near.bounds) - 1, c.charge_channels))
        self._conv = _rows_of_lanes(network)
        self._layers = [linear_layers_of(perceptron) for perceptron in network.passes]
        self._head = linear_layers_of(network.energy_heads[c.readout(int(batch.fidelity[0]))])
        workspace.features[0] = array(network.embed(batch))
        self._forward(array(network.channel_charges(batch)))

    def _forward(self, targets: np.ndarray) -> None:
        w = self.arrays
        for t, layers in enumerate(self._layers):
            self._read(t)
            w.lines[t].forward(layers)
            if t + 1 < len(self._layers):
                update(
                    self.near.bounds, targets, self._smallest, self._once, w.lines[t].output, w.charges[t],
                    w.features[t], w.charges[t + 1], w.features[t + 1], *self._shares[t],
                )  # fmt: skip
        np.copyto(w.head.x, w.lines[-1].output)
        w.head.forward(self._head)
        self.energies = torch.from_numpy(w.head.output[:, 0].copy())
        self.charges = torch.from_numpy(w.charges[-1].copy())
        self.features = torch.from_numpy(w.features[-1])

    def _read(self, t: int) -> None:
        """Message of pass t, as its perceptron reads it."""
        w, layout = self.arrays, self.arrays.layouts[t]
        features, charges, message, x = w.features[t], w.charges[t], w.messages[int(t > 0)], w.lines[t].flat_x
        for share in self.near.shares():
            rows = slice(layout.width * share.atoms.start, layout.width * share.atoms.stop)
            share_range(
                read, share.n_atoms, layout.work(share.n_edges, share.n_atoms), share.first, share.source,
                features[share.atoms].reshape(-1), charges[share.atoms].reshape(-1), features.reshape(-1),
                charges.reshape(-1), share.basis, self._conv[0], *w.arguments[t], message[rows], x[rows],
            )  # fmt: skip

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
        by_basis = None if near.whole is None else np.empty(near.whole.basis.size)
        by_vectors = np.zeros_like(near.vectors)
        by_q = np.zeros(w.charges.shape[1:])
        if by_charges is not None:
            by_q += by_charges[:, None]
        w.head.by_output[:] = 1.0
        w.head.backward(self._head)
        np.copyto(w.lines[last].by_output, w.head.by_x, casting="same_kind")
        w.by_features[0] = 0.0
        for t in range(last, -1, -1):
            line = w.lines[t]
            if t < last:
                kept = self._smallest, line.output, *self._shares[t]
                update_gradient(near.bounds, *kept, by_q, w.by_features[0], line.by_output)
            line.backward(self._layers[t])
            self._pull(t, by_q, by_basis, by_vectors, add_to_basis=t < last)
        return by_vectors

    def _pull(
        self, t: int, by_q: np.ndarray, by_basis: np.ndarray | None, by_vectors: np.ndarray, *, add_to_basis: bool
    ) -> None:
        """Way back from the message of pass t to features, charges and vectors.

        Where the basis is stored, so is the gradient by it, and the last pass goes on from there to the vectors.
        """
        w, near, layout = self.arrays, self.near, self.arrays.layouts[t]
        features, charges, grad = w.features[t].reshape(-1), w.charges[t].reshape(-1), w.by_messages[int(t > 0)]
        n_atoms, n_features = w.features.shape[1:]
        n_parts = min(len(w.by_features), n_atoms, slots_for(3.0 * layout.work(len(near.vectors), n_atoms)))
        begin_pull(w.lines[t].by_x, grad, n_parts, w.by_features[:, :, : n_features * (t > 0)], w.by_charges)
        by_features, by_source_charges = w.by_features.reshape(-1), w.by_charges.reshape(-1)
        for share in near.shares():
            by_share = np.empty_like(share.basis) if by_basis is None else by_basis
            share_range(
                pull, n_parts, 3.0 * layout.work(share.n_edges, share.n_atoms), n_parts, n_atoms, share.first,
                share.source, features, charges, share.basis, grad[share.atoms].reshape(-1), *self._conv,
                *w.arguments_back[t], by_features, by_source_charges, True, by_share, False, by_features[:0], t > 0,
                add_to_basis and by_basis is not None,
            )  # fmt: skip
            if by_basis is None or t == 0:
                by_vectors[share.edges] += near.by_vectors(share.edges, by_share.reshape(-1, 4, WIDTH))
        if t:
            end_pull(grad, layout.charges_at, n_parts, w.by_features, w.by_charges, by_q)


LinearLayers = list[tuple[Tensor, Tensor]]
"""Weight and bias of the linear layers of a perceptron, in their order."""


def linear_layers_of(perceptron: nn.Module) -> LinearLayers:
    """Linear layers of a perceptron."""
    return [(layer.weight, layer.bias) for layer in cast(MLP, perceptron) if isinstance(layer, nn.Linear)]


def _rows_of_lanes(network: AIMNet2Network) -> tuple[np.ndarray, np.ndarray]:
    """Combinations of the vector sums of all channels with rows of sixteen lanes, by k and by h; flat."""
    features, charges = array(network.conv_features), array(network.conv_charges)
    rows, turned = np.empty((2, len(features) + len(charges), WIDTH, WIDTH))
    rows_of_lanes(features, charges, rows, turned)
    return rows.reshape(-1), turned.reshape(-1)
