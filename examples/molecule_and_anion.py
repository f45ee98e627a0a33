"""
A molecule and its anion: infrared spectra and Gibbs energies
=============================================================

How strong an acid is formic acid in the gas phase? The Gibbs energy of HCOOH → HCOO⁻ + H⁺ was measured: 1415 ± 8
kJ/mol (NIST Chemistry WebBook).
"""

from ase import units
from ase.build import molecule

from molcalc import AIMNet2, relax
from molcalc.analysis import draw_spectrum, infrared_spectrum
from molcalc.calculators.normal_modes import NormalModes
from molcalc.calculators.thermochemistry import thermochemistry

# %%
# The charge stands with the atoms. One calculator serves both: nothing is remembered from one molecule to the next.

acid = molecule("HCOOH")
anion = acid[[0, 1, 2, 4]]
anion.info["charge"] = -1

calc = AIMNet2("wb97m-d3")
acid, anion = relax([acid, anion], calc, fmax=1e-3)
for name, atoms in {"acid": acid, "anion": anion}.items():
    bonds = [atoms.get_distance(1, oxygen) for oxygen in (0, 2)]
    print(f"{name:6}C-O {bonds[0]:.3f} and {bonds[1]:.3f} Å, sum of charges {atoms.get_charges().sum():.3f} e")

# %%
# Both oxygen atoms of the anion are alike, and its bonds lie between the double and the single one.
#
# Gibbs energies
# --------------
# Second derivatives give the normal modes and their intensities. Thermochemistry is that of a rigid rotor and harmonic
# oscillators in an ideal gas. The proton is such a gas, too: its enthalpy is 5/2 kT, its entropy 108.9 J/(mol K).

proton = 2.5 * units.kB * 298.15 - 298.15 * 108.9 * units.J / units.mol
gibbs = {}
for name, atoms in {"acid": acid, "anion": anion}.items():
    modes = NormalModes.of(calc.get_vibrations(atoms))
    gas = thermochemistry(modes, atoms.get_potential_energy(), temperature=298.15)
    gibbs[name] = gas.gibbs_energy
    print(f"{name}: zero-point energy {gas.zero_point_energy:.4f} eV, Gibbs energy {gas.gibbs_energy:.4f} eV")
    for number, strength in zip(modes.wavenumbers, modes.intensities):
        print(f"  {number:7.1f} cm⁻¹ {strength:7.1f} km/mol")

acidity = (gibbs["anion"] + proton - gibbs["acid"]) / (units.kJ / units.mol)
print(f"Gibbs energy of the deprotonation: {acidity:.0f} kJ/mol, measured 1415 ± 8")

# %%
# Infrared spectra
# ----------------
# The C=O stretch of the acid was measured at 1777 cm⁻¹; harmonic frequencies are 3 to 5 % too high. In the anion two
# equal bonds share what was a single and a double one: their antisymmetric stretch is lower by 120 cm⁻¹, and twice as
# strong.

spectra = [infrared_spectrum(atoms, calc, fwhm=20.0) for atoms in (acid, anion)]
figure = draw_spectrum(*spectra, labels=["HCOOH", "HCOO⁻"])
