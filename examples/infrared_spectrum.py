"""
Infrared spectra: harmonic, anharmonic, and of dynamics
=======================================================

Classical atoms at 300 K move so little that their bands lie near the harmonic ones. Vibrations with the energy that
quantum mechanics gives them, half a quantum each and one more where it is absorbed, swing as wide as molecules do.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import units
from ase.build import molecule
from ase.io import read

from molcalc import AIMNet2, md, relax
from molcalc.analysis import anharmonic_vibrations, draw_spectrum, md_infrared_spectrum
from molcalc.analysis.spectra import broadened, spectrum_of
from molcalc.calculators.normal_modes import NormalModes

parser = argparse.ArgumentParser()
parser.add_argument("molecule", nargs="?", default="H2O", help="of the names of ASE, such as CO2")
parser.add_argument("--steps", type=int, default=10000, help="of 0.5 fs")
parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="folder")
args = parser.parse_args()
args.output.mkdir(parents=True, exist_ok=True)

# %%
# Normal modes, second-order perturbation theory, and energies of the modes for several runs of dynamics.

calc = AIMNet2("wb97m-d3", member=0)
(atoms,) = relax([molecule(args.molecule)], calc, fmax=1e-4)
modes, anharmonic = NormalModes.of(calc.get_vibrations(atoms)), anharmonic_vibrations(atoms, calc)
strong = np.flatnonzero(modes.intensities > 1.0)
shares = [np.full(len(modes.energies), units.kB * 300.0)]
shares += [modes.energies * (0.5 + 0.5 * (np.arange(len(modes.energies)) == k)) for k in strong]
starts = [atoms.copy() for _ in shares]
for seed, (start, energies) in enumerate(zip(starts, shares)):
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], len(energies))
    start.set_velocities(np.tensordot(signs * np.sqrt(2 * energies), modes.displacements, axes=1))

# %%
# All runs move side by side, on this page 3000 steps. Spectra of dynamics are Fourier transforms of the autocorrelation
# of the dipole.

paths = [args.output / f"{args.molecule}_{k}.traj" for k in range(len(starts))]
md(starts, calc, args.steps, ensemble="nve", interval=4, keep_velocities=True, trajectory=paths, force=True)
found = [md_infrared_spectrum(read(path, ":"), calc=calc, resolution=1.2e5 / args.steps) for path in paths]
print("harmonic  300 K  one quantum  perturbation theory  (cm⁻¹)")
for k, excited in zip(strong, found[1:]):
    away = np.abs(excited.wavenumbers - modes.wavenumbers[k])
    near = ((found[0], away < 70.0), (excited, away < 300.0))  # warm atoms stay near the harmonic frequency
    peaks = [one.wavenumbers[there][one.intensity[there].argmax()] for one, there in near]
    print(f"{modes.wavenumbers[k]:8.1f} {peaks[0]:6.0f} {peaks[1]:12.0f} {anharmonic.level(k).wavenumber:20.1f}")
spectra = [spectrum_of(modes), broadened(anharmonic.lines, 10.0, "lorentzian", "anharmonic"), found[0]]
figure = draw_spectrum(*spectra, labels=["harmonic", "anharmonic", "dynamics, 300 K"])
