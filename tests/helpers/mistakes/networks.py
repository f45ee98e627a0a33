"""A network that is right, and one for each mistake that the kit for potentials is meant to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.models.network import NetworkConfig, ReferenceEnergies
from molcalc.models.physnet import conserve_charge
from molcalc.potential import Potential

CUTOFF = 4.0
ELEMENTS = (1, 6, 7, 8)
MAX_NUMBER = 8


class PairNetwork(ReferenceEnergies):
    """Sum over pairs and triples, with charges, spin charges and two fidelities: everything a network can have."""

    config: NetworkConfig
    float32_parameters = ("strength",)

    def __init__(self) -> None:
        super().__init__(MAX_NUMBER, 2)
        self.config = NetworkConfig(elements=ELEMENTS, max_number=MAX_NUMBER)
        self.strength = torch.nn.Parameter(torch.empty(MAX_NUMBER + 1))
        self.initialize()

    cutoff = CUTOFF
    predicts = ("charges", "spin_charges")
    n_fidelities = 2

    @property
    def dtype(self) -> torch.dtype:
        return self.strength.dtype

    def initialize(self) -> PairNetwork:
        with torch.no_grad():
            self.strength.normal_()
            self.shifts.zero_()
        return self

    def envelope(self, distances: Tensor) -> Tensor:
        return (1.0 - (distances / CUTOFF).clamp(max=1.0) ** 2) ** 3

    def density(self, batch: AtomicBatch) -> Tensor:
        """(n_atoms, 4) neighbors of each atom: their number, and their direction."""
        i, j = batch.edge_index
        vectors = batch.edge_vectors()
        distances = vectors.norm(dim=1)
        weights = self.strength.double()[batch.numbers[j]] * self.envelope(distances)
        each = torch.cat([weights[:, None], (weights / distances)[:, None] * vectors], dim=1)
        return torch.zeros(batch.n_atoms, 4, dtype=torch.float64).index_add(0, i, each)

    def energies(self, density: Tensor, batch: AtomicBatch) -> Tensor:
        own = self.strength.double()[batch.numbers]
        scale = (1.0 + 0.3 * batch.fidelity.double())[batch.system_idx]
        charge = batch.total_charge[batch.system_idx]
        return scale * (own * density[:, 0] + density.square().sum(1) + 0.1 * charge * density[:, 0])

    def charges(self, density: Tensor, batch: AtomicBatch) -> Tensor:
        return conserve_charge(0.1 * density[:, 0], batch)

    def spins(self, density: Tensor, batch: AtomicBatch) -> Tensor:
        unpaired = replace(batch, total_charge=(batch.multiplicity - 1).double())
        return conserve_charge(0.2 * density[:, 0], unpaired)

    def forward(self, batch: AtomicBatch) -> dict[str, Tensor]:
        density = self.density(batch)
        return {
            "atomic_energies": self.energies(density, batch) + self.reference_energies(batch),
            "charges": self.charges(density, batch),
            "spin_charges": self.spins(density, batch),
        }


class PartlySingle(PairNetwork):
    """One module computes in single precision, whatever is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.part = torch.nn.Identity()

    def envelope(self, distances: Tensor) -> Tensor:
        right = super().envelope(distances)
        return right + 0.0 * self.part(distances.detach().float()).double()


class Forgetful(PairNetwork):
    """What it computes depends on something that copies do not carry."""

    def __init__(self) -> None:
        super().__init__()
        self._factor = 1.1

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_factor": 1.0}

    def envelope(self, distances: Tensor) -> Tensor:
        return self._factor * super().envelope(distances)


def broken(method: str, change: Callable[..., Any]) -> Potential:
    """A network one of whose methods is replaced; ``change`` gets the network and the right method first."""
    right = getattr(PairNetwork, method)

    def wrong(self: PairNetwork, *arguments: Any) -> Any:
        return change(self, lambda *given: right(self, *given), *arguments)

    return Potential([type("Broken", (PairNetwork,), {method: wrong})()])


def _first_state(batch: AtomicBatch, name: str) -> AtomicBatch:
    value = getattr(batch, name)
    return replace(batch, **{name: value[:1].expand_as(value).contiguous()})


def _scaled(positions_of: Callable[[AtomicBatch], Tensor]) -> Callable[..., Tensor]:
    """Energies with something added that should not be there."""
    return lambda net, right, density, batch: right(density, batch) + 1e-3 * positions_of(batch)


def _handedness(batch: AtomicBatch) -> Tensor:
    i, _ = batch.edge_index
    vectors = batch.edge_vectors()
    weights = torch.exp(-0.3 * vectors.square().sum(1)) * batch.numbers[batch.edge_index[1]]
    moments = [torch.zeros(batch.n_atoms, 3, dtype=torch.float64).index_add(0, i, vectors * (weights**k)[:, None])
               for k in (1, 2, 3)]  # fmt: skip
    return 1e-3 * torch.linalg.det(torch.stack(moments, dim=1))


def _per_system_mean(value: Tensor, batch: AtomicBatch) -> Tensor:
    return value + 1e-3 * value.mean()


def _in_place(self: PairNetwork, right: Any, batch: AtomicBatch) -> dict[str, Tensor]:
    found: dict[str, Tensor] = right(batch)
    batch.total_charge.add_(1.0)
    return found


def _memory() -> Callable[..., Tensor]:
    calls: list[int] = []

    def change(self: PairNetwork, right: Any, batch: AtomicBatch) -> Tensor:
        calls.append(1)
        return right(batch) * (1.0 + 1e-6 * len(calls))  # type: ignore[no-any-return]

    return change


MISTAKES: dict[str, tuple[Callable[[], Potential], str]] = {
    "promises what it does not return": (
        lambda: broken("forward", lambda net, right, batch: {k: v for k, v in right(batch).items() if k != "charges"}),
        "predictions",
    ),
    "energies of the wrong shape": (
        lambda: broken("forward", lambda net, right, batch: {k: v[:, None] if k == "charges" else v
                                                        for k, v in right(batch).items()}), "predictions",
    ),
    "energies in single precision": (
        lambda: broken("forward", lambda net, right, batch: {k: v.float() if k == "atomic_energies" else v
                                                        for k, v in right(batch).items()}), "predictions",
    ),
    "changes its input": (lambda: broken("forward", _in_place), "predictions"),
    "reference energies summed in single precision": (
        lambda: broken("reference_energies", lambda net, right, batch: right(batch).float().double()),
        "reference_energies",
    ),
    "reference energies of one fidelity": (
        lambda: broken("reference_energies", lambda net, right, batch: right(_first_state(batch, "fidelity"))),
        "reference_energies",
    ),
    "weights that are not drawn": (lambda: broken("initialize", lambda net, right: None), "initialization"),
    "weights that forget the seed": (
        lambda: broken("initialize", lambda net, right: torch.seed() and right()), "initialization",
    ),
    "part of the gradient cut off": (
        lambda: broken("density", lambda net, right, batch: 0.5 * (right(batch) + right(batch).detach())), "forces",
    ),
    "images whose gradient is cut off": (
        lambda: broken("density", lambda net, right, batch: right(batch).detach() if batch.periodic else right(batch)),
        "forces_in_crystal",
    ),
    "cell that is not strained": (
        lambda: broken("density", lambda net, right, batch: right(replace(batch, cell=batch.cell.detach()))), "stress",
    ),
    "curvature out of nothing": (
        lambda: broken("energies", lambda net, right, density, batch: (
            right(density, batch) + 0.1 * (density - density.detach())[:, 0] ** 2)), "second_derivatives",
    ),
    "another formula without gradients": (
        lambda: broken("density", lambda net, right, batch: right(batch) * (1.0 + 1e-5 * torch.is_grad_enabled())),
        "gradient_mode",
    ),
    "neighbors that are cut off": (
        lambda: broken("envelope", lambda net, right, distances: right(distances) + 0.05), "smoothness",
    ),
    "forces that are cut off": (
        lambda: broken("envelope", lambda net, right, distances: 1.0 - distances / CUTOFF), "smoothness",
    ),
    "one atom divided by its neighbors": (
        lambda: broken("charges", lambda net, right, density, batch: right(density / density[:, :1].abs(), batch)),
        "one_atom",
    ),
    "no energy without neighbors": (
        lambda: broken("energies", lambda net, right, density, batch: (
            right(density, batch) * density[0].sum().sign() ** 2)),
        "no_edges",
    ),
    "every edge counted": (
        lambda: broken("envelope", lambda net, right, distances: torch.exp(-distances)), "longer_edges",
    ),
    "distance from the origin": (
        lambda: broken("energies", _scaled(lambda batch: batch.positions.square().sum(1))), "translation",
    ),
    "positions in single precision": (
        lambda: broken("density", lambda net, right, batch: right(replace(
            batch, positions=batch.positions + (batch.positions.float().double() - batch.positions).detach()
        ))), "translation",
    ),
    "a direction in space": (
        lambda: broken("density", lambda net, right, batch: right(batch) + 0.1 * right(batch)[:, [3]]),
        "rotation",
    ),
    "left hand": (
        lambda: broken("energies", lambda net, right, density, batch: right(density, batch) + _handedness(batch)),
        "reflection",
    ),
    "order of atoms": (
        lambda: broken("energies", lambda net, right, density, batch: right(density, batch) * (
            1.0 + 1e-3 * torch.arange(batch.n_atoms))), "permutation",
    ),
    "shift of the wrong sign": (
        lambda: broken("density", lambda net, right, batch: right(replace(batch, unit_shifts=-batch.unit_shifts))),
        "lattice",
    ),
    "energy of a cell": (
        lambda: broken("energies", lambda net, right, density, batch: right(density, batch)
                       * batch.atoms_per_system()[batch.system_idx]), "supercell",
    ),
    "reach without end": (
        lambda: broken("energies", _scaled(lambda batch: 1.0 / (1.0 + torch.cdist(
            batch.positions, batch.positions).sum(1)))), "locality",
    ),
    "energies that do not add up": (
        lambda: broken("energies", lambda net, right, density, batch: right(density, batch) + 1e-3
                       * batch.atoms_per_system()[batch.system_idx] ** 2), "extensivity",
    ),
    "mean over the batch": (
        lambda: broken("energies", lambda net, right, density, batch: _per_system_mean(right(density, batch), batch)),
        "batch",
    ),
    "cell of the first structure": (
        lambda: broken("density", lambda net, right, batch: right(_first_state(batch, "cell"))), "batch_of_crystals",
    ),
    "sum that a number that is none spoils": (
        lambda: broken("density", lambda net, right, batch: right(batch) + 0.0 * batch.positions.sum()), "leak",
    ),
    "charges that do not add up": (
        lambda: broken("charges", lambda net, right, density, batch: right(density, batch) * (1.0 + 1e-6)),
        "charge_conservation",
    ),
    "total charge of the first structure": (
        lambda: broken("charges", lambda net, right, density, batch: (
            right(density, _first_state(batch, "total_charge")))),
        "charge_per_system",
    ),
    "multiplicity of the first structure": (
        lambda: broken("spins", lambda net, right, density, batch: (
            right(density, _first_state(batch, "multiplicity")))),
        "multiplicity_per_system",
    ),
    "fidelity of the first structure": (
        lambda: broken("energies", lambda net, right, density, batch: right(density, _first_state(batch, "fidelity"))),
        "fidelity_per_system",
    ),
    "fidelities that are all the same": (
        lambda: broken("energies", lambda net, right, density, batch: right(
            density, replace(batch, fidelity=0 * batch.fidelity))), "fidelity_per_system",
    ),
    "a memory": (lambda: broken("density", _memory()), "repeatable"),
    "products in single precision": (
        lambda: broken("envelope", lambda net, right, distances: right(distances.float()).double()), "forces",
    ),
    "a part in single precision": (lambda: Potential([PartlySingle()]), "double_precision"),
    "too much in single precision": (
        lambda: broken("density", lambda net, right, batch: (
            right(batch) if net.dtype == torch.float64 else right(batch).bfloat16().double())), "single_precision",
    ),
    "weights that are no part of the network": (lambda: Potential([Forgetful()]), "copies"),
}  # fmt: skip
