"""Potentials in torch-sim, as a model of its own: all systems of a state in one evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from torch import Tensor

from molcalc.calculators.base import MolCalculator
from molcalc.engines.engine_structure import engine_package
from molcalc.errors import CellError, InputError, short

torchsim: Any = engine_package("torch_sim", "torch-sim-atomistic")
STATED = ("charge", "total_charge", "spin")
"""Keys of a system in a state that mean what they mean in ``atoms.info``; spin is the multiplicity."""


class TorchSimModel(torchsim.models.interface.ModelInterface):
    """Model of torch-sim: energies, forces and stresses in eV and Å, in double precision.

    Parameters
    ----------
    calc : calculator of molcalc. Its charge, multiplicity and fidelity hold for every system; charges and
        multiplicities of single systems are those of the state, which :func:`state_of` writes there. Periodic systems
        have a stress where the calculator has one.

    Raises
    ------
    InputError
        For calculators of others.
    """

    def __init__(self, calc: MolCalculator) -> None:
        if not isinstance(calc, MolCalculator):
            raise InputError(f"calc={short(calc)} is a {type(calc).__name__}; expected a calculator of molcalc")
        super().__init__()
        self.calc = calc
        self._device, self._dtype = calc.device, torch.float64
        self._compute_forces, self._compute_stress = True, "stress" in calc.implemented_properties

    def forward(self, state: Any, **_: Any) -> dict[str, Tensor]:
        """Results of all systems of a state.

        Returns
        -------
        energy (n_systems,) in eV, forces (n_atoms, 3) in eV/Å, and stress (n_systems, 3, 3) in eV/Å³ of boxes

        Raises
        ------
        CellError
            For states that are periodic in one or two directions, whose pressure no engine defines alike.
        InputError
            And its subclasses, as :meth:`molcalc.calculators.base.MolCalculator.calculate`.
        """
        images = _images(state)
        with_stress = self._compute_stress and bool(images[0].pbc.all())
        found = self.calc.evaluate(images, ("energy", "forces", "stress") if with_stress else ("energy", "forces"))
        results = {
            "energy": np.array([each["energy"] for each in found]),
            "forces": np.concatenate([each["forces"] for each in found]),
        }
        if with_stress:
            results["stress"] = np.array([voigt_6_to_full_3x3_stress(each["stress"]) for each in found])
        return {name: torch.as_tensor(value, device=state.device) for name, value in results.items()}


def state_of(images: Atoms | Sequence[Atoms], calc: MolCalculator) -> Any:
    """State of torch-sim with the charges and multiplicities that hold for each structure.

    torch-sim itself leaves out what ``atoms.info`` says.

    Parameters
    ----------
    images : structures that are periodic in the same directions, with elements that the model knows.
    calc : calculator of molcalc.

    Returns
    -------
    torch_sim.SimState in double precision, on the device of the calculator

    Raises
    ------
    InputError
        And its subclasses for what the model cannot describe, for constraints, and where periodic structures and
        molecules are mixed.
    """
    images = [images] if isinstance(images, Atoms) else list(images)
    if not images:
        raise InputError("no structures: a state has at least one")
    for k, atoms in enumerate(images):
        if atoms.constraints:
            kind = type(atoms.constraints[0]).__name__
            raise InputError(
                f"structure {k} has the constraint {kind}, which is not carried over: use those of torch-sim "
                "(state.constraints) and delete it here (del atoms.constraints)"
            )
        if not np.array_equal(atoms.pbc, images[0].pbc):
            raise InputError(
                f"structure {k} has pbc={atoms.pbc.tolist()}, the first one {images[0].pbc.tolist()}: the systems of a "
                "state are periodic in the same directions; make two states"
            )
    stated = []
    for atoms in images:
        _, resolved = calc.prepare(atoms)
        copied = atoms.copy()
        copied.info = {"charge": resolved.charge, "spin": resolved.multiplicity}
        stated.append(copied)
    extras = {key: key for key in ("charge", "spin")}
    return torchsim.io.atoms_to_state(stated, calc.device, torch.float64, system_extras_map=extras)


def _images(state: Any) -> list[Atoms]:
    """Structures of a state, with the charges and multiplicities that it states."""
    pbc = state.pbc.cpu().numpy()
    if pbc.any() and not pbc.all():
        raise CellError(
            f"pbc={pbc.tolist()}: states are of molecules or periodic in three directions; give a slab a box with "
            "empty space, and pbc=True"
        )
    if "total_spin" in state.system_extras:
        raise InputError("the state has total_spin, which programs define differently: state the multiplicity as spin")
    stated = {key: state.system_extras[key].cpu().numpy() for key in STATED if key in state.system_extras}
    numbers, positions = state.atomic_numbers.cpu().numpy(), state.positions.detach().cpu().numpy()
    cells = state.cell.detach().cpu().numpy().swapaxes(1, 2)  # columns are vectors there
    bounds = np.searchsorted(state.system_idx.cpu().numpy(), np.arange(state.n_systems + 1))
    return [
        Atoms(
            numbers[start:stop],
            positions[start:stop],
            cell=cells[k] if pbc.all() else None,
            pbc=pbc,
            info={key: values[k].item() for key, values in stated.items()},
        )
        for k, (start, stop) in enumerate(zip(bounds[:-1], bounds[1:]))
    ]
