"""The PhysNet trunk against its formulas written out densely, pair by pair."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from molcalc.models.physnet import Edges, PhysNet, PhysNetConfig
from tests.helpers.networks import dcm_batch, dcm_potential, tiny_dcm
from tests.helpers.structures import organic


def dense_forward(trunk: PhysNet, numbers: Tensor, positions: Tensor, charge: float) -> tuple[Tensor, Tensor, Tensor]:
    """Energies, charges and features of one molecule (Unke, Meuwly 2019, eq. 3-14)."""
    w = trunk.state_dict()

    def activate(x: Tensor) -> Tensor:
        return torch.log(0.5 * torch.exp(x) + 0.5)

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def residual(name: str, x: Tensor) -> Tensor:
        k = 0
        while f"{name}.{k}.first.weight" in w:
            x = x + linear(f"{name}.{k}.second", activate(linear(f"{name}.{k}.first", activate(x))))
            k += 1
        return x

    n, size = len(numbers), w["embedding"].shape[1]
    r = torch.cdist(positions, positions, compute_mode="donot_use_mm_for_euclid_dist")
    scaled = (r / trunk.cutoff).clamp(max=1.0)
    envelope = (1 - 6 * scaled**5 + 15 * scaled**4 - 10 * scaled**3) * (1 - torch.eye(n))
    centers = torch.log1p(torch.exp(w["radial.raw_centers"]))
    widths = torch.nn.functional.softplus(w["radial.raw_widths"])
    g = envelope[..., None] * torch.exp(-widths * (torch.exp(-r)[..., None] - centers) ** 2)
    x = w["embedding"][numbers]
    outputs = torch.zeros(n, 2, dtype=x.dtype)
    for m in range(len(trunk.interactions)):
        name = f"interactions.{m}"
        filters = torch.einsum("ijk,fk->ijf", g, w["filters.weight"][m * size : (m + 1) * size])
        both = activate(linear(f"{name}.both", activate(x)))
        message = both[:, :size] + torch.einsum("ijf,jf->if", filters, both[:, size:])
        message = residual(f"{name}.message_blocks", message)
        x = w[f"{name}.gate"] * x + linear(f"{name}.update", activate(message))
        x = residual(f"{name}.atomic_blocks", x)
        outputs += activate(residual(f"{name}.output_blocks", x)) @ w[f"{name}.output.weight"].T
    values = w["scales"][numbers] * outputs
    q = values[:, 1] + w["charge_shifts"][numbers]
    return values[:, 0], q + (charge - q.sum()) / n, x


@pytest.mark.parametrize("charge", [0, 1])
@pytest.mark.parametrize("blocks", [{}, {"n_interaction": 2, "n_atomic": 0, "n_output": 0}], ids=["default", "other"])
def test_trunk_equals_its_dense_formulas(charge: int, blocks: dict[str, int]) -> None:
    potential = dcm_potential(tiny_dcm("noneq-dcm", **blocks))
    trunk, batch = potential.members[0].trunk, dcm_batch(organic(), potential, charge)
    found = trunk(batch, Edges.of_batch(batch))
    for value, expected in zip(found, dense_forward(trunk, batch.numbers, batch.positions, charge)):
        assert torch.allclose(value, expected, rtol=0, atol=1e-11)


def test_network_follows_the_dtype_of_its_weights() -> None:
    for dtype in (torch.float32, torch.float64):
        potential = dcm_potential(tiny_dcm(), dtype)
        found = potential.members[0](dcm_batch(organic(), potential))
        assert found["charges"].dtype == found["dcm_charges"].dtype == dtype
        assert found["atomic_energies"].dtype == found["dcm_positions"].dtype == torch.float64


def test_single_precision_forces_are_close_to_double_precision() -> None:
    from molcalc.derivatives import evaluate

    checkpoint = tiny_dcm()
    forces = []
    for dtype in (torch.float32, torch.float64):
        potential = dcm_potential(checkpoint, dtype)
        forces.append(evaluate(potential, dcm_batch(organic(), potential), ("forces",))["forces"])
    assert (forces[0] - forces[1]).abs().max() < 1e-4


def test_fresh_networks_depend_on_the_seed_only() -> None:
    first, second, other = tiny_dcm(seed=1), tiny_dcm(seed=1), tiny_dcm(seed=2)
    assert first.hash == second.hash != other.hash


def test_fresh_charges_are_small_but_not_zero() -> None:
    torch.manual_seed(0)
    trunk = PhysNet(PhysNetConfig(elements=(6, 8))).double()
    trunk.initialize()
    potential = dcm_potential(tiny_dcm(cutoff=6.0, head_cutoff=6.0))
    batch = dcm_batch(organic(), potential)
    _, charges, _ = trunk(batch, Edges.of_batch(batch))
    assert 1e-4 < float(charges.detach().abs().max()) < 0.5
    assert math.isclose(float(charges.detach().sum()), 0.0, abs_tol=1e-12)
