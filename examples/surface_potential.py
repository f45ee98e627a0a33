"""
Electrostatic potential on the surface of a molecule
====================================================

Where does pyridine attract a proton? One charge on each atom has no lone pair; multipoles on the atoms, trained on
potentials of PBE0, have one.
"""

from ase.build import molecule

from molcalc import AIMNet2, relax
from molcalc.analysis import draw_esp_surface, esp_surface

# %%
# Two models with the same energies: the published charges, and multipoles that come with this package.

charges, multipoles = AIMNet2("wb97m-d3"), AIMNet2("wb97m-d3-multipoles")
(pyridine,) = relax([molecule("C5H5N")], charges, fmax=0.01)

for name, calc in {"charges": charges, "multipoles": multipoles}.items():
    surface = esp_surface(pyridine, calc, scale=1.4)
    print(f"{name}: {surface.potential.min():.2f} to {surface.potential.max():.2f} V on {len(surface.points)} points")
    for what, extremum in {"lowest": surface.minima[0], "highest": surface.maxima[0]}.items():
        symbol = pyridine.symbols[extremum.atom]
        print(f"   {what:8}{extremum.potential:6.2f} V, beside {symbol}{extremum.atom}")
    balance = surface.descriptors
    print(f"   charge separation {balance.deviation:.3f} V, balance of the variances {balance.balance:.3f}")

# %%
# The potential in V is the energy in eV of a charge of one electron, so small that it changes nothing. Both pictures
# have the same scale: red is positive.

figure = draw_esp_surface(pyridine, charges, reach=1.3)

# %%
# The lone pair:

figure = draw_esp_surface(pyridine, multipoles, reach=1.3)
