"""AIMNet2: message passing with charge equilibration, for one or several levels of theory.

References
----------
Anstine, Zubatyuk, Isayev, Chem. Sci. 16, 10228 (2025), doi:10.1039/D4SC08572H.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, cast

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from molcalc.batch import AtomicBatch
from molcalc.io.schema import Choice, Range
from molcalc.models.aimnet2_passes import MLP, FirstPass, Neighborhood, Pass
from molcalc.models.network import NetworkConfig, Reach, ReferenceEnergies, Width, rows_of_atoms
from molcalc.nn.neighbor_sum import EdgeRows
from molcalc.nn.segments import segment_sum
from molcalc.nn.vector_basis import GaussianShells, vector_basis
from molcalc.units import LARGEST_Z

EMBEDDINGS = READOUTS = ("separate", "shared")
CHARGE_EPSILON = 1e-6
"""Keeps the charge correction finite when all weights vanish; the value of the published weights."""


@dataclass(frozen=True, kw_only=True)
class AIMNet2Config(NetworkConfig):
    """Sizes of the network, and what its fidelities share; the defaults are those of the published models.

    Attributes
    ----------
    charge_channels : 1 (closed shell) or 2 (α and β charges, from which spin charges follow).
    n_channels : A, feature channels.
    n_radial : G, radial functions.
    n_vector : H, vector combinations.
    cutoff : Å, range of the messages.
    first_center : Å, center of the first radial function.
    hidden : widths of the hidden layers of the three passes.
    aim_size : features of an atom that the energy head reads.
    energy_hidden : widths of the hidden layers of the energy head.
    exact_charges : charges add up to the total charge exactly. The published networks miss it by about 1e-6 over the
        summed weights (up to 4e-5 e).
    n_fidelities : levels of theory.
    embeddings : "separate", a row for every fidelity and element; or "shared", a row for every element and an offset
        for every fidelity, so that an element seen at one level helps at another.
    readouts : "separate", every fidelity has an energy head of its own; or "shared", one head reads all, and fidelities
        differ by embedding and free atoms alone.
    bases : for every fidelity the index of the one that it corrects (Δ-learning), or None: it then uses the embedding
        of its base, and its head predicts the difference to the base's. () corrects none.
    charge_heads : every fidelity corrects the charges of the passes with a head of its own.
    charge_hidden : widths of the hidden layers of the charge heads.
    """

    max_number: Annotated[int, Range(1, LARGEST_Z)] = 63
    charge_channels: Annotated[int, Range(1, 2)] = 1
    n_channels: Width = 16
    n_radial: Width = 16
    n_vector: Width = 12
    cutoff: Reach = 5.0
    first_center: float = 0.8
    hidden: tuple[tuple[Width, ...], ...] = ((512, 380), (512, 380), (512, 380, 380))
    aim_size: Width = 256
    energy_hidden: tuple[Width, ...] = (128, 128)
    exact_charges: bool = True
    n_fidelities: Annotated[int, Range(1, 1000)] = 1
    embeddings: Annotated[str, Choice(EMBEDDINGS)] = "separate"
    readouts: Annotated[str, Choice(READOUTS)] = "separate"
    bases: tuple[int | None, ...] = ()
    charge_heads: bool = False
    charge_hidden: tuple[Width, ...] = (64,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.first_center < self.cutoff:
            raise ValueError(f"cutoff={self.cutoff} Å, first_center={self.first_center} Å; expected 0 ≤ first < cutoff")
        if len(self.hidden) < 2:
            raise ValueError(f"hidden has {len(self.hidden)} passes; at least 2 are needed")
        if self.bases and len(self.bases) != self.n_fidelities:
            raise ValueError(f"bases={self.bases}; expected one for each of the {self.n_fidelities} fidelities")
        if self.readouts == "shared" and any(base is not None for base in self.bases):
            raise ValueError(f"bases={self.bases} with readouts='shared': what corrects needs a head of its own")
        for fidelity in range(len(self.bases)):
            self.chain(fidelity)

    def readout(self, fidelity: int) -> int:
        """Index of the energy head of a fidelity."""
        return 0 if self.readouts == "shared" else fidelity

    def base(self, fidelity: int) -> int | None:
        """The fidelity that one corrects, or None."""
        return self.bases[fidelity] if self.bases else None

    def chain(self, fidelity: int) -> tuple[int, ...]:
        """The fidelity, its base, the base of that, and so on; raises ValueError for a circle."""
        found = [fidelity]
        while (base := self.base(found[-1])) is not None:
            if base in found or not 0 <= base < self.n_fidelities:
                raise ValueError(f"bases={self.bases}; fidelity {found[-1]} cannot correct fidelity {base}")
            found.append(base)
        return tuple(found)


class AIMNet2Network(ReferenceEnergies):
    r"""One closed-shell or two-channel AIMNet2 network of F ≥ 1 levels of theory.

    The passes belong to all fidelities; embedding, energy head, free atoms and, optionally, charge head to each one.
    Every structure is of one fidelity, ``batch.fidelity``; a batch may mix them. All heads see every atom, and an index
    picks the one that counts: a head without structures in a batch gets gradients that are zero, not absent, as several
    processes need it. With ``bases`` b,

    .. math:: E_i^{(f)} = \sum_{g \in \{f,\, b(f),\, b(b(f)),\, …\}} h_g(a_i) + E^{(f)}_{Z_i}

    ``forward`` returns ``atomic_energies`` (n_atoms,) float64 in eV, ``charges`` (n_atoms,) in e, and with two charge
    channels ``spin_charges`` (n_atoms,). Arithmetic follows the dtype of the weights: the three large perceptrons run
    in theirs, everything around them in that of the embedding. With the perceptrons alone in float32 the energy has a
    noise of 2e-7 eV, with everything in float32 1e-6 eV. Displacements are formed, and atomic reference energies added,
    in float64.

    Attributes
    ----------
    embedding : (F, max_number + 1, A·G) or, shared, (max_number + 1, A·G).
    embedding_offsets : (F, A·G) of shared embeddings, else None.
    energy_heads, charge_heads : one perceptron for each fidelity, but one for all where readouts are shared; no charge
        heads where the configuration has none.
    """

    float32_parameters = ("passes.",)
    round_shifted_energies: bool = False
    """Add reference energies in float32, as the published TorchScript files do."""
    embedding_offsets: nn.Parameter | None

    config: AIMNet2Config

    def __init__(self, config: AIMNet2Config) -> None:
        super().__init__(config.max_number, config.n_fidelities)
        self.config = config
        c = config
        size = c.n_channels * c.n_radial
        self.shells = GaussianShells(c.n_radial, c.first_center, c.cutoff)
        shared = c.embeddings == "shared"
        fidelities = () if shared else (c.n_fidelities,)
        self.embedding = nn.Parameter(torch.empty(*fidelities, c.max_number + 1, size))
        self.conv_features = nn.Parameter(torch.empty(c.n_channels, c.n_radial, c.n_vector))
        self.conv_charges = nn.Parameter(torch.empty(c.charge_channels, c.n_radial, c.n_vector))
        self.embedding_offsets = nn.Parameter(torch.empty(c.n_fidelities, size)) if shared else None
        from_features = size + c.n_channels * (c.n_radial + c.n_vector)
        from_charges = c.charge_channels * (1 + c.n_radial + c.n_vector)
        from_pass, last = size + 2 * c.charge_channels, len(c.hidden) - 1
        self.passes = nn.ModuleList(
            FirstPass((from_features, *hidden, from_pass))
            if t == 0
            else Pass(
                (from_features + from_charges, *hidden, from_pass if t < last else c.aim_size), activate_last=True
            )
            for t, hidden in enumerate(c.hidden)
        )
        n_charge_heads = c.n_fidelities if c.charge_heads else 0
        charge_sizes = (c.aim_size, *c.charge_hidden, 2 * c.charge_channels)
        n_energy_heads = c.readout(c.n_fidelities - 1) + 1
        self.energy_heads = nn.ModuleList(MLP((c.aim_size, *c.energy_hidden, 1)) for _ in range(n_energy_heads))
        self.charge_heads = nn.ModuleList(MLP(charge_sizes) for _ in range(n_charge_heads))
        chains = [c.chain(fidelity) for fidelity in range(c.n_fidelities)]
        self._roots = [chain[-1] for chain in chains]
        self._added = [[float(head in chain) for head in range(c.n_fidelities)] for chain in chains]

    def initialize(self) -> AIMNet2Network:
        """Draw fresh weights (seed torch before) and set all reference energies to zero.

        All fidelities begin with one embedding and different heads; corrections begin at zero.

        Returns
        -------
        the network itself
        """
        c = self.config
        with torch.no_grad():
            self.embedding.copy_(orthogonal_embedding(c.max_number + 1, c.n_channels, c.n_radial))
            self.conv_features.copy_(farthest_curves(c.n_channels, c.n_radial, c.n_vector))
            self.conv_charges.copy_(farthest_curves(c.charge_channels, c.n_radial, c.n_vector))
            self.shifts.zero_()
            for part in (self.passes, self.energy_heads, self.charge_heads):
                for layer in part.modules():
                    if isinstance(layer, nn.Linear):
                        nn.init.xavier_normal_(layer.weight)
                        nn.init.zeros_(layer.bias)
            if self.embedding_offsets is not None:
                self.embedding_offsets.zero_()
            for fidelity, head in enumerate(cast("list[MLP]", list(self.energy_heads))):
                if c.base(fidelity) is not None:
                    head.last.weight.zero_()
                    head.last.bias.zero_()
            for head in cast("list[MLP]", list(self.charge_heads)):
                head.last.weight.zero_()
                # factors of the charge correction that are zero would stay zero
                head.last.bias.copy_(torch.arange(len(head.last.bias)) >= c.charge_channels)
        return self

    @property
    def dtype(self) -> torch.dtype:
        """Arithmetic of the large perceptrons."""
        return next(self.passes.parameters()).dtype

    @property
    def cutoff(self) -> float:
        """Range of the edges in Å."""
        return self.config.cutoff

    @property
    def extensive(self) -> bool:
        """False: charges equilibrate over molecules at any distance."""
        return False

    @property
    def predicts(self) -> tuple[str, ...]:
        """Names of the predictions beside the atomic energies."""
        return ("charges",) if self.config.charge_channels == 1 else ("charges", "spin_charges")

    def forward(self, batch: AtomicBatch) -> dict[str, Float[Tensor, "n_atoms ..."]]:
        r"""Predictions for a batch, from T + 1 passes over messages m_i of features a and charges q.

        .. math::
            (\tilde q_i, f_i, Δa_i) &= \mathrm{MLP}_t(m_i(a, q)), \qquad t = 1 … T \\
            q &← \mathrm{equilibrate}(q + \tilde q, f, Q), \qquad a ← a + Δa \\
            E_i &= h(\mathrm{MLP}_{T+1}(m_i(a, q))) + E_{Z_i}

        Returns
        -------
        "atomic_energies" (n_atoms,) float64 in eV, "charges" (n_atoms,) in e and, with two channels, "spin_charges"
        """
        c = self.config
        near, targets = self._neighborhood(batch), self.channel_charges(batch)
        features = self.embed(batch)
        charges = features.new_zeros(batch.n_atoms, c.charge_channels)
        *updates, last = cast("list[Pass]", list(self.passes))
        for update in updates:
            widths = c.charge_channels, c.charge_channels, features.shape[1]
            raw, factors, change = update.read(features, charges, near).split(widths, dim=1)
            charges = equilibrate(charges + raw, factors, targets, batch.system_idx, c.exact_charges)
            features = features + change
        aim = last.read(features, charges, near)
        energies = self.shifted(self._atomic_energies(aim, batch), batch)
        charges = self._final_charges(charges, aim, targets, batch)
        return {"atomic_energies": energies, **self.predictions(batch, charges, features)}

    def predictions(
        self, batch: AtomicBatch, charges: Float[Tensor, "n_atoms C"], features: Float[Tensor, "n_atoms A·G"]
    ) -> dict[str, Float[Tensor, "n_atoms ..."]]:
        """Everything that is predicted beside energies, from what the passes found.

        Parameters
        ----------
        charges : (n_atoms, C) e, by channel.
        features : (n_atoms, A·G), those that the last pass reads.

        Returns
        -------
        the names of ``predicts``: charges of the atoms and, with two channels α and β, spin charges; in e
        """
        predictions = {"charges": charges.sum(dim=1)}
        if charges.shape[1] == 2:
            predictions["spin_charges"] = charges[:, 0] - charges[:, 1]
        return predictions

    def _neighborhood(self, batch: AtomicBatch) -> Neighborhood:
        """Surroundings of the passes in a batch."""
        return Neighborhood(
            basis=vector_basis(batch.edge_vectors().to(self.embedding.dtype), self.shells),
            rows=EdgeRows.from_edges(batch.edge_index, batch.n_atoms),
            kinds=rows_of_atoms(batch, batch.fidelity, self.config.n_fidelities, self.config.max_number + 1),
            conv_features=self.conv_features,
            conv=torch.cat([self.conv_features, self.conv_charges]),
        )

    def embed(self, batch: AtomicBatch) -> Float[Tensor, "n_atoms A·G"]:
        """(n_atoms, A·G) features of the elements."""
        c = self.config
        fidelity = batch.fidelity
        if c.bases:
            fidelity = torch.tensor(self._roots, device=fidelity.device).index_select(0, fidelity)
        if self.embedding_offsets is None:
            rows = rows_of_atoms(batch, fidelity, c.n_fidelities, c.max_number + 1)
            return self.embedding.flatten(0, 1).index_select(0, rows)
        offsets = self.embedding_offsets.index_select(0, fidelity.index_select(0, batch.system_idx))
        return self.embedding.index_select(0, batch.numbers) + offsets

    def _atomic_energies(self, aim: Tensor, batch: AtomicBatch) -> Tensor:
        """(n_atoms,) energies in eV, without those of free atoms."""
        if len(self.energy_heads) == 1:
            return self.energy_heads[0](aim)[:, 0]
        each = torch.cat([head(aim) for head in self.energy_heads], dim=1)
        added = torch.tensor(self._added, dtype=each.dtype, device=each.device)
        return (each * added.index_select(0, batch.fidelity).index_select(0, batch.system_idx)).sum(dim=1)

    def _final_charges(self, charges: Tensor, aim: Tensor, targets: Tensor, batch: AtomicBatch) -> Tensor:
        """(n_atoms, C) charges that are returned, from those of the passes."""
        c = self.config
        if not c.charge_heads:
            return charges
        each = torch.stack([head(aim) for head in self.charge_heads], dim=1)
        index = batch.fidelity.index_select(0, batch.system_idx)[:, None, None].expand(-1, 1, each.shape[2])
        raw, factors = each.gather(1, index)[:, 0].split(c.charge_channels, dim=1)
        return equilibrate(charges + raw, factors, targets, batch.system_idx, c.exact_charges)

    def shifted(self, energies: Float[Tensor, " n_atoms"], batch: AtomicBatch) -> Float64[Tensor, " n_atoms"]:
        """Energies (n_atoms,) in eV with those of free atoms added, in float64."""
        shifts = self.reference_energies(batch)
        if self.round_shifted_energies:
            return (energies.float() + shifts.float()).double()
        return energies.double() + shifts

    def channel_charges(self, batch: AtomicBatch) -> Float[Tensor, "n_systems C"]:
        """(n_systems, C) total charge of each channel: Q, or Q_α and Q_β = ½(Q ± (multiplicity − 1))."""
        total = batch.total_charge[:, None]
        if self.config.charge_channels == 2:
            unpaired = (batch.multiplicity - 1).to(total.dtype)[:, None]
            total = 0.5 * torch.cat([total + unpaired, total - unpaired], dim=1)
        return total.to(self.embedding.dtype)


def equilibrate(
    raw: Float[Tensor, "n_atoms C"],
    factors: Float[Tensor, "n_atoms C"],
    targets: Float[Tensor, "n_systems C"],
    system_idx: Int[Tensor, " n_atoms"],
    exact: bool,
) -> Float[Tensor, "n_atoms C"]:
    r"""Shift charges so that each system carries its total charge.

    .. math:: q_i = \tilde q_i + \frac{w_i}{\sum_k w_k} (Q - \sum_k \tilde q_k), \qquad w_i = f_i^2 + \epsilon

    Without ``exact``, as in the published networks, w_i = f_i² and ε is added to the sum of weights instead: a share of
    ε/Σf² of the missing charge stays missing.

    Parameters
    ----------
    raw, factors : (n_atoms, C) charges q̃ in e and factors f.
    targets : (n_systems, C) total charges Q in e.

    Returns
    -------
    (n_atoms, C) charges q in e
    """
    weights = factors.square()
    n_systems = targets.shape[0]
    if exact:
        weights = weights + CHARGE_EPSILON
    total = segment_sum(weights, system_idx, n_systems) + (0.0 if exact else CHARGE_EPSILON)
    share = (targets - segment_sum(raw, system_idx, n_systems)) / total
    return raw + weights * share.index_select(0, system_idx)


def orthogonal_embedding(
    n_rows: int, n_channels: int, n_radial: int
) -> Float[Tensor, "{n_rows} {n_channels}*{n_radial}"]:
    """(n_rows, n_channels·n_radial) element embedding: orthogonal over rows ≥ 1, constant over radial functions.

    Row 0 is zero: it stands for no element.

    Returns
    -------
    (n_rows, n_channels·n_radial), the channels outside
    """
    rows = torch.zeros(n_rows, n_channels)
    torch.nn.init.orthogonal_(rows[1:])
    return rows[:, :, None].expand(-1, -1, n_radial).reshape(n_rows, -1).clone()


def farthest_curves(
    n_channels: int, n_radial: int, n_vector: int
) -> Float[Tensor, "{n_channels} {n_radial} {n_vector}"]:
    """(n_channels, n_radial, n_vector) smooth curves over the radial functions, as different as possible.

    Per channel, 8·n_vector random curves α₁ sin(2πα₂x/G) + α₃ cos(2πα₄x/G) are standardized and thinned by
    farthest-point selection.

    Returns
    -------
    (n_channels, n_radial, n_vector)
    """
    x = torch.arange(n_radial, dtype=torch.get_default_dtype()) * (2 * math.pi / n_radial)
    chosen = []
    for _ in range(n_channels):
        alpha = torch.randn(8 * n_vector, 4, 1)
        curves = alpha[:, 0] * torch.sin(alpha[:, 1] * x) + alpha[:, 2] * torch.cos(alpha[:, 3] * x)
        curves = (curves - curves.mean(1, keepdim=True)) / curves.std(1, keepdim=True)
        distances = torch.cdist(curves, curves)
        picked = [int(distances.sum(1).argmax())]
        nearest = distances[picked[0]].clone()
        while len(picked) < n_vector:
            picked.append(int(nearest.argmax()))
            nearest = torch.minimum(nearest, distances[picked[-1]])
        chosen.append(curves[picked].T)
    return torch.stack(chosen)
