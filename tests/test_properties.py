"""One record per property, and the tables that follow from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.calculators.calculator import all_properties
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

from molcalc.electrostatics.multipoles import quadrupole
from molcalc.properties import CYCLIC, LABELS, PROPERTIES, VOIGT, from_voigt, to_voigt

SAME_UNIT = {
    "meV": "meV", "kcal/mol": "kcal/mol", "meV/Å": "meV/Angstrom", "kcal/mol/Å": "kcal/mol/Angstrom", "GPa": "GPa",
    "e·Å": "e*Angstrom", "D": "Debye", "e·Å²": "e*Angstrom^2", "D·Å": "Debye*Angstrom", "e": "e", "V": "V",
    "kcal/mol/e": "kcal/mol/e",
}  # fmt: skip
"""Units of reports that data may be declared in as well, as they spell them."""


def symmetric(*shape: int) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(*shape, 3, 3))
    return values + values.swapaxes(-1, -2)


def test_stress_is_in_the_order_of_ase() -> None:
    tensors = symmetric(4)
    np.testing.assert_array_equal(to_voigt(tensors), np.array([full_3x3_to_voigt_6_stress(t) for t in tensors]))
    six = np.arange(6.0)
    np.testing.assert_array_equal(from_voigt(six), voigt_6_to_full_3x3_stress(six))


def test_quadrupole_labels_are_in_the_order_of_quadrupole_moments() -> None:
    r = torch.tensor([[1.0, 2.0, 4.0]]).double()
    tensor = r.T @ r - torch.eye(3).double() * (r @ r.T) / 3
    moment = quadrupole(torch.zeros(1, 3).double(), r, torch.ones(1).double(), torch.zeros(1, dtype=torch.int64))
    torch.testing.assert_close(to_voigt(tensor[None], LABELS["quadrupole"].components), moment)


@pytest.mark.parametrize("order", [VOIGT, CYCLIC], ids=["voigt", "cyclic"])
def test_six_components_make_the_tensor_again(order: tuple[tuple[int, int], ...]) -> None:
    tensors = symmetric(2, 5)
    np.testing.assert_array_equal(from_voigt(to_voigt(tensors, order), order), tensors)
    on_torch = torch.from_numpy(tensors)
    assert torch.equal(from_voigt(to_voigt(on_torch, order), order), on_torch)


@pytest.mark.parametrize("name", PROPERTIES)
def test_units_of_reports_are_those_of_data(name: str) -> None:
    """What a report shows as 1 GPa is what data declare as 1 GPa."""
    quantity = PROPERTIES[name].quantity
    assert next(iter(quantity.factors.values())) == 1.0
    for unit, factor in quantity.shown:
        if unit in SAME_UNIT:
            assert factor * quantity.factors[SAME_UNIT[unit]] == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("name", PROPERTIES)
def test_records_are_consistent(name: str) -> None:
    entry = PROPERTIES[name]
    assert entry.ase_name is None or entry.ase_name in all_properties
    if entry.components is not None:
        assert (entry.rank, entry.shape[-1]) == (2, 6)
    elif entry.rank:
        assert entry.shape[-entry.rank :] == (3,) * entry.rank
    assert entry.label == (name in LABELS)
