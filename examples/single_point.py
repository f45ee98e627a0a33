"""Energy, forces, charges, dipole moment and uncertainty of a molecule, and of an ion.

The published model is an ensemble of four networks: their mean is the result, their standard deviation a hint of how
far to trust it.
"""

import numpy as np
from ase import Atoms, units
from ase.build import molecule

from molcalc import AIMNet2

calculator = AIMNet2("wb97m-d3")


def report(name: str, atoms: Atoms) -> None:
    """Print everything that one evaluation gives."""
    atoms.calc = calculator
    energy = atoms.get_potential_energy()
    dipole = np.linalg.norm(atoms.get_dipole_moment()) / units.Debye
    print(f"{name}: energy {energy:.4f} ± {calculator.extras['energy_std']:.4f} eV, dipole moment {dipole:.3f} D")
    print("  atom    charge/e  ±std       force/(eV/Å)")
    columns = zip(atoms.symbols, atoms.get_charges(), calculator.extras["charges_std"], atoms.get_forces())
    for k, (symbol, charge, std, force) in enumerate(columns):
        print(
            f"  {k:2d} {symbol:2}  {charge:8.4f} {std:8.4f}   " + " ".join(f"{component:9.4f}" for component in force)
        )
    print(f"  sum of charges {atoms.get_charges().sum():.4f} e\n")


report("acetamide", molecule("CH3CONH2"))

hydroxide = molecule("OH")
hydroxide.info["charge"] = -1
report("hydroxide", hydroxide)

# Many structures at once, each with its own charge.
acid = molecule("HCOOH")
base = acid[[0, 1, 2, 4]]
base.info["charge"] = -1
energies = [result["energy"] for result in calculator.evaluate([acid, base], ["energy"])]
print(f"taking the acidic proton from formic acid costs {energies[1] - energies[0]:.2f} eV (nothing relaxed)")
