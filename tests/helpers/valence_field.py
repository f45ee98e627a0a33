"""Ethylene as bonds, angles and torsions: an energy whose motions out of the plane are hardly anharmonic."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from torch import Tensor

from molcalc.calculators.vibrations import InfraredVibrations

STRETCH = {"CC": 57.0, "CH": 35.0}
"""eV/Å²."""
BEND, TORSION, HEIGHT = 4.0, 0.75, 20.0
"""eV/rad², eV for each H-C-C-H, and eV/Å² of the height of a carbon atom above its neighbors."""


class ValenceField:
    """Stands in for a calculator; the molecule is at its minimum."""

    def __init__(self) -> None:
        self.atoms: Atoms = molecule("C2H4")
        start = torch.tensor(self.atoms.positions)
        self._bonds = [(0, 1), (0, 2), (0, 3), (1, 4), (1, 5)]
        if self.atoms.get_distance(0, 2) > self.atoms.get_distance(0, 4):
            raise AssertionError("atoms 2 and 3 are those of carbon 0")
        self._near = {c: [b if a == c else a for a, b in self._bonds if c in (a, b)] for c in (0, 1)}
        self._lengths = [_distance(start, *bond) for bond in self._bonds]
        self._angles = [(i, c, k) for c in (0, 1) for i, k in itertools.combinations(self._near[c], 2)]
        self._rest = [_angle(start, *angle) for angle in self._angles]

    def energy(self, positions: Tensor) -> Tensor:
        """() eV of (6, 3) Å."""
        total = positions.new_zeros(())
        for (i, j), length in zip(self._bonds, self._lengths):
            kind = "".join(sorted(self.atoms.symbols[[i, j]]))
            total = total + 0.5 * STRETCH[kind] * (_distance(positions, i, j) - length) ** 2
        for angle, rest in zip(self._angles, self._rest):
            total = total + 0.5 * BEND * (_angle(positions, *angle) - rest) ** 2
        for i, j in itertools.product((2, 3), (4, 5)):
            normals = [_normal(positions, i, 0, 1), _normal(positions, 0, 1, j)]
            total = total + 0.5 * TORSION * (1.0 - (normals[0] @ normals[1]) ** 2)
        for carbon, near in self._near.items():
            height = (positions[carbon] - positions[near].mean(dim=0)) @ _normal(positions, *near)
            total = total + 0.5 * HEIGHT * height**2
        return total

    def get_property(self, name: str, atoms: Atoms) -> np.ndarray:
        """Forces."""
        assert name == "forces"
        positions = torch.tensor(atoms.positions, requires_grad=True)
        (gradient,) = torch.autograd.grad(self.energy(positions), positions)
        return -gradient.numpy()

    def get_vibrations(self, atoms: Atoms) -> InfraredVibrations:
        """Second derivatives."""
        hessian = torch.autograd.functional.hessian(self.energy, torch.tensor(atoms.positions))
        return InfraredVibrations(atoms, hessian.numpy())


def _distance(positions: Tensor, i: int, j: int) -> Tensor:
    return torch.linalg.vector_norm(positions[i] - positions[j])


def _angle(positions: Tensor, i: int, center: int, k: int) -> Tensor:
    first, second = positions[i] - positions[center], positions[k] - positions[center]
    return torch.acos(first @ second / (first.norm() * second.norm()))


def _normal(positions: Tensor, i: int, j: int, k: int) -> Tensor:
    """Unit vector perpendicular to the plane of three atoms."""
    normal = torch.linalg.cross(positions[j] - positions[i], positions[k] - positions[j])
    return normal / normal.norm()
