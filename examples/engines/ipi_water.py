"""
i-PI
====

Path integral dynamics of a water molecule with i-PI: 8 beads, evaluated together."""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from ase import units
from ase.build import molecule
from ase.io import write
from ipi.scripting.interactive import InteractiveSimulation

import molcalc
from molcalc.engines import ipi_driver

INPUT = """<simulation verbosity='quiet'>
  <output prefix='pimd'> </output>
  <prng><seed>1</seed></prng>
  <ffdirect name='molcalc' pbc='false'>
    <pes>custom</pes> <pes_path>{driver}</pes_path> <batch_size>{beads}</batch_size>
    <parameters>{{template: water.xyz, model: small-species, fidelity: pbe0, dtype: float64}}</parameters>
  </ffdirect>
  <system>
    <initialize nbeads='{beads}'>
      <file mode='ase' units='angstrom'>water.xyz</file>
      <cell mode='abc' units='angstrom'>[30, 30, 30]</cell>
      <velocities mode='thermal' units='kelvin'>300</velocities>
    </initialize>
    <forces> <force forcefield='molcalc'/> </forces>
    <ensemble> <temperature units='kelvin'>300</temperature> </ensemble>
    <motion mode='dynamics'> <dynamics mode='nve'> <timestep units='femtosecond'>0.25</timestep> </dynamics> </motion>
  </system>
</simulation>
"""
parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=400, help="of 0.25 fs")
parser.add_argument("--beads", type=int, default=8)
args = parser.parse_args()
atoms = molecule("H2O")
calc = molcalc.AIMNet2("small-species", fidelity="pbe0", dtype="float64")
atoms = molcalc.relax([atoms], calc, fmax=0.01, progress=False)[0]
with tempfile.TemporaryDirectory() as folder:
    write(Path(folder, "water.xyz"), atoms)
    os.chdir(folder)  # i-PI writes where it is started
    simulation = InteractiveSimulation(INPUT.format(driver=ipi_driver.__file__, beads=args.beads))
    energy = simulation.properties("potential") * ipi_driver.IPI_HARTREE / units.Hartree  # of i-PI and of ASE
    print(f"energy {energy:.8f} eV, in ASE {atoms.get_potential_energy():.8f} eV")
    time, energies = [], []
    for step in range(0, args.steps, 5):
        simulation.run(5, write_outputs=False)
        time.append(0.25e-3 * (step + 5))
        energies.append(simulation.properties("conserved") / len(atoms) / args.beads)
drift = np.polyfit(time, energies, 1)[0]
print(f"fluctuation {1e3 * np.std(energies):.1e} meV/atom, drift {1e3 * drift:.1e} meV/atom/ps")
