"""Charge, multiplicity and fidelity in ``atoms.info``, where copies and files of a structure carry them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ase import Atoms

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator


def keep_state(atoms: Atoms, calculator: MolCalculator) -> dict[str, Any]:
    """Note in ``atoms.info``, so that files carry them, total charge and what else the model can choose from.

    That is the multiplicity of one that uses it, and the fidelity of one that has several. What labels in the file were
    of is not what results are of.

    Returns
    -------
    what makes the results of this structure, as ``todict`` of the calculator says it after computing them

    Raises
    ------
    InputError
        When charge or multiplicity contradict each other or the model.
    """
    state = calculator.resolve(atoms)
    atoms.info["charge"] = state.charge
    atoms.info.pop("fidelity", None)
    if len(calculator.fidelities) > 1:
        atoms.info["fidelity"] = calculator.fidelity
    if "magmoms" in calculator.implemented_properties:
        atoms.info["spin"] = state.multiplicity
    return {**calculator.predictor.provenance(), "charge": state.charge, "multiplicity": state.multiplicity}
