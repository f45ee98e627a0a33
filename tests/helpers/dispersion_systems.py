"""Structures for the D3 tests, and results of the term and of the dftd3 package in atomic units."""

from dataclasses import asdict, replace

import numpy as np
import torch
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.collections import s22
from ase.spacegroup import crystal
from dftd3.interface import DispersionModel, RationalDampingParam

from molcalc.batch import from_atoms
from molcalc.units import BOHR, HARTREE

ORGANIC = [  # names of ase.build.molecule
    "CH4",
    "C2H2",
    "C2H4",
    "C2H6",
    "C6H6",
    "CH3CONH2",
    "C5H5N",
    "C4H4NH",
    "C4H4S",
    "C4H4O",
    "CH3NO2",
    "CH3SH",
    "CCl4",
    "C2F4",
    "isobutane",
    "bicyclobutane",
    "H2CCHCl",
    "SiH4",
    "Si2H6",
    "PH3",
    "SO2",
    "ClF3",
    "AlCl3",
    "BF3",
    "LiF",
    "NaCl",
    "S2",
    "O3",
    "N2H4",
]
NOBLE_GASES = {"He": 3.0, "Ne": 3.1, "Ar": 3.8, "Kr": 4.0, "Xe": 4.4, "Rn": 4.5}


IDENTITY = torch.eye(3, dtype=torch.float64)


def dimer(symbols, distance):
    return Atoms(symbols, [[0.0, 0.0, 0.0], [0.1, 0.2, distance]])


def star(center, ligand, distance, directions, tail=None, tail_distance=0.0):
    """Central atom with ligands, each optionally with one more atom behind."""
    directions = np.array(directions, dtype=float)
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    atoms = Atoms([center] + [ligand] * len(directions), np.vstack([np.zeros(3), distance * directions]))
    if tail is not None:
        atoms += Atoms([tail] * len(directions), (distance + tail_distance) * directions)
    return atoms


TETRAHEDRON = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
TRIGONAL = [[1, 0, 0], [-0.5, 0.75**0.5, 0], [-0.5, -(0.75**0.5), 0]]
BIPYRAMID = [*TRIGONAL, [0, 0, 1], [0, 0, -1]]
OCTAHEDRON = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
SQUARE = OCTAHEDRON[:4]


def palladium_complex():
    """Trans-PdCl2(PH3)2."""
    atoms = Atoms("PdCl2P2", [[0, 0, 0], [2.31, 0, 0], [-2.31, 0, 0], [0, 2.33, 0], [0, -2.33, 0]])
    for side in (1, -1):
        for x, _, z in np.array(TRIGONAL)[:, [0, 2, 1]]:
            atoms += Atoms("H", [[1.24 * x, side * (2.33 + 0.68), 1.24 * z]])
    return atoms


def molecules():
    """Name → Atoms: organics, ion pairs, noble gases, metals, heavy elements, the 22 dimers of S22."""
    systems = {name: molecule(name) for name in ORGANIC}
    systems |= {f"{symbol}2": dimer(f"{symbol}2", r) for symbol, r in NOBLE_GASES.items()}
    systems |= {
        "H2 at 3 Å": dimer("H2", 3.0),
        "ammonium": star("N", "H", 1.02, TETRAHEDRON),
        "ammonium chloride": star("N", "H", 1.02, TETRAHEDRON) + Atoms("Cl", [[2.0, 2.0, 2.0]]),
        "sodium water": molecule("H2O") + Atoms("Na", [[0.0, 0.0, 2.3]]),
        "Ni(CO)4": star("Ni", "C", 1.84, TETRAHEDRON, "O", 1.14),
        "Fe(CO)5": star("Fe", "C", 1.82, BIPYRAMID, "O", 1.15),
        "PdCl2(PH3)2": palladium_complex(),
        "PbH4": star("Pb", "H", 1.75, TETRAHEDRON),
        "BiH3": star("Bi", "H", 1.80, TRIGONAL),
        "PtCl4": star("Pt", "Cl", 2.33, SQUARE),
        "WF6": star("W", "F", 1.83, OCTAHEDRON),
        "XeF4": star("Xe", "F", 1.95, SQUARE),
        "HgCl2": star("Hg", "Cl", 2.25, [[1, 0, 0], [-1, 0, 0]]),
        "LaF3": star("La", "F", 2.05, TRIGONAL),
        "LuCl3": star("Lu", "Cl", 2.42, TRIGONAL),
        "Au2": dimer("Au2", 2.47),
        "TlI": dimer("TlI", 2.81),
        "PoRn": dimer("PoRn", 4.2),
        "UF6": star("U", "F", 2.0, OCTAHEDRON),
    }
    return systems | {f"s22 {name}": s22[name] for name in s22.names}


def crystals():
    """Name → Atoms, periodic in three directions or fewer; vacuum vectors are orthogonal."""
    benzene = crystal(
        "C3H3",
        [
            [-0.0569, 0.1387, -0.0054],
            [-0.1335, 0.0460, 0.1264],
            [-0.0774, -0.0925, 0.1295],
            [-0.0976, 0.2447, -0.0177],
            [-0.2409, 0.0794, 0.2218],
            [-0.1371, -0.1631, 0.2312],
        ],
        spacegroup=61,
        cellpar=[7.39, 9.42, 6.81, 90, 90, 90],
    )  # Bacon, Curry, Wilson, Proc. R. Soc. A 279, 98 (1964)
    urea = crystal(
        "CONH2",
        [
            [0, 0.5, 0.3260],
            [0, 0.5, 0.5953],
            [0.1459, 0.6459, 0.1766],
            [0.2575, 0.7575, 0.2827],
            [0.1441, 0.6441, -0.0380],
        ],
        spacegroup=113,
        cellpar=[5.565, 5.565, 4.684, 90, 90, 90],
    )  # Swaminathan, Craven, McMullan, Acta Cryst. B 40, 300 (1984)
    graphite = crystal(
        "CC", [[0, 0, 0.25], [1 / 3, 2 / 3, 0.25]], spacegroup=194, cellpar=[2.46, 2.46, 6.71, 90, 90, 120]
    )
    slab = fcc111("Pt", (2, 1, 2), vacuum=6.0)
    add_adsorbate(slab, molecule("CO"), 1.9, "ontop")
    polymer = Atoms("C2H2", [[0.0, 0.3, 0.0], [1.2, -0.3, 0.1], [0.0, 1.4, 0.0], [1.2, -1.4, 0.1]], cell=[2.45, 9, 9])
    polymer.pbc = [True, False, False]
    return {
        "benzene": benzene,
        "urea": urea,
        "graphite": graphite,
        "NaCl": bulk("NaCl", "rocksalt", 5.64),
        "MgO": bulk("MgO", "rocksalt", 4.21, cubic=True),
        "CO on Pt(111)": slab,
        "polyacetylene": polymer,
    }


def rattled(atoms, seed=0, amount=0.03):
    """Move atoms off symmetric places, where forces would be zero by symmetry."""
    atoms = atoms.copy()
    atoms.positions += np.random.default_rng(seed).normal(0.0, amount, atoms.positions.shape)
    return atoms


def make_batch(atoms, term, listed=False):
    """Batch of one structure, with a pair list or without."""
    return from_atoms(atoms, cutoff=0.1, pair_cutoff=term.range if listed else None)


def term_results(atoms, term, listed=False):
    """Energy (Ha), gradient (Ha/Bohr) and strain derivative (Ha) of the term."""
    batch = make_batch(atoms, term, listed)
    positions = batch.positions.clone().requires_grad_()
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    deformation = IDENTITY + strain
    deformed = replace(batch, positions=positions @ deformation, cell=batch.cell @ deformation)
    energy = term(deformed, {}).sum()
    gradient, virial = torch.autograd.grad(energy, (positions, strain), materialize_grads=True)
    return energy.item() / HARTREE, gradient.numpy() * BOHR / HARTREE, virial.numpy() / HARTREE


def library_results(atoms, parameters, cutoffs=(60.0, 40.0, 40.0)):
    """The same from the dftd3 package; ``cutoffs`` of pairs, counts and triples in Bohr."""
    lattice = (atoms.cell.array / BOHR, atoms.pbc) if atoms.pbc.any() else ()
    model = DispersionModel(atoms.numbers, atoms.positions / BOHR, *lattice)
    model.set_realspace_cutoff(disp2=cutoffs[0], cn=cutoffs[1], disp3=cutoffs[2])
    results = model.get_dispersion(RationalDampingParam(**asdict(parameters)), grad=True)
    return float(results["energy"]), results["gradient"], results["virial"]


def assert_same(ours, theirs, tolerance):
    for name, a, b in zip(("energy", "gradient", "virial"), ours, theirs):
        np.testing.assert_allclose(a, b, rtol=0.0, atol=tolerance, err_msg=name)
