"""
TorchSim
========

Eight water molecules side by side in torch-sim: energies as in ASE, and one picosecond at constant energy."""

import argparse

import numpy as np
import torch
import torch_sim
from ase.build import molecule

import molcalc
from molcalc.engines.torch_sim import TorchSimModel, state_of

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=4000, help="of 0.25 fs")
args = parser.parse_args()

calc = molcalc.AIMNet2("small-species", fidelity="pbe0", dtype="float64")
(water,) = molcalc.relax([molecule("H2O")], calc, fmax=0.01, progress=False)
model, state = TorchSimModel(calc), state_of([water] * 8, calc)
print(f"energy {model(state)['energy'][0].item():.8f} eV, in ASE {water.get_potential_energy():.8f} eV")

state.rng = 1
kT = torch.tensor(300 * torch_sim.units.MetalUnits.temperature, dtype=torch.float64)
step = torch.tensor(0.25e-3 * torch_sim.units.MetalUnits.time, dtype=torch.float64)
state = torch_sim.nve_init(state, model, kT=kT)
time, energies = [], []
for k in range(1, args.steps + 1):
    state = torch_sim.nve_step(state, model, dt=step)
    if k % 10 == 0:
        kinetic = torch_sim.calc_kinetic_energy(masses=state.masses, momenta=state.momenta, system_idx=state.system_idx)
        time.append(0.25e-3 * k)
        energies.append((state.energy + kinetic).numpy() / len(water))
drifts = np.polyfit(time, np.array(energies), 1)[0]
spread = np.std(energies, axis=0).mean()
print(f"fluctuation {1e3 * spread:.1e} meV/atom, largest drift {1e3 * np.abs(drifts).max():.1e} meV/atom/ps")
