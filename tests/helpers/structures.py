"""Molecules and crystals: rattled, rotated, charged, random, and of many elements."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.collections import g2, s22
from ase.spacegroup import crystal as from_spacegroup


def random_rotation(seed: int) -> np.ndarray:
    """Proper rotation matrix."""
    matrix, upper = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    matrix = matrix * np.sign(np.diag(upper))
    return matrix if np.linalg.det(matrix) > 0 else -matrix


def rattled(structure: str | Atoms, amount: float = 0.05, seed: int = 0) -> Atoms:
    """Copy, or a molecule of that name, with atoms moved off symmetric places, where forces are zero by symmetry."""
    atoms = molecule(structure) if isinstance(structure, str) else structure.copy()
    atoms.rattle(amount, seed=seed)
    return atoms


def organic(seed: int = 0) -> Atoms:
    """Rattled acetamide in a random orientation: nothing is aligned with an axis."""
    atoms = rattled("CH3CONH2", seed=seed)
    rng = np.random.default_rng(seed)
    atoms.rotate(rng.uniform(20, 160), rng.normal(size=3))
    atoms.translate([0.31, -0.72, 0.44])
    return atoms


def crystal() -> Atoms:
    """Water and ammonia in a small triclinic cell."""
    water, ammonia = molecule("H2O"), molecule("NH3")
    water.rotate(40, (1, 2, 0.5))
    ammonia.rotate(70, (0.3, -1, 0.8))
    ammonia.translate((2.2, 2.0, 2.3))
    atoms = water + ammonia
    atoms.set_cell([[4.4, 0.3, 0.5], [0.2, 4.6, 0.4], [-0.5, 0.6, 4.9]])
    atoms.pbc = True
    return rattled(atoms, seed=5)


def random_atoms(
    n_atoms: int, seed: int = 0, cell: Any = None, min_distance: float = 0.9, numbers: Any = (1, 6, 7, 8)
) -> Atoms:
    """Atoms at random places, none too close; in a cell, or in a box of the density of a liquid."""
    rng = np.random.default_rng(seed)
    box = np.diag([(n_atoms / 0.08) ** (1 / 3)] * 3) if cell is None else np.asarray(cell, dtype=float)
    shifts = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T @ box if cell is not None else 0.0
    positions: list = []
    while len(positions) < n_atoms:
        trial = rng.random(3) @ box
        images = [trial - other + shifts for other in positions]
        if all(np.linalg.norm(np.atleast_2d(image), axis=1).min() > min_distance for image in images):
            positions.append(trial)
    return Atoms(rng.choice(numbers, n_atoms), positions, cell=cell, pbc=cell is not None)


def points_around(center: np.ndarray, n_points: int, seed: int, radius: float = 5.0) -> np.ndarray:
    """(n_points, 3) random points on a sphere (Å)."""
    directions = np.random.default_rng(seed).normal(size=(n_points, 3))
    return center + radius * directions / np.linalg.norm(directions, axis=1)[:, None]


def charged_molecules(charge_channels: int = 1) -> list[Atoms]:
    """Molecules of H, C, N and O with charges −1, 0, 1 and, for open shells, several multiplicities."""
    found = []
    for name in g2.names:
        if not set(molecule(name).numbers) <= {1, 6, 7, 8}:
            continue
        k = len(found)
        atoms = rattled(name, 0.03, seed=k)
        electrons = int(atoms.numbers.sum())
        charge = k % 3 - 1 if electrons > 1 else 0
        if charge_channels == 1 and (electrons - charge) % 2:
            charge += 1 if charge < 1 else -1
        lowest = 1 + (electrons - charge) % 2
        higher = charge_channels == 2 and k % 4 == 0 and lowest + 1 < electrons - charge
        atoms.info = {"charge": charge, "spin": lowest + 2 * higher}
        found.append(atoms)
    return found


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


def dimer(symbols: str, distance: float) -> Atoms:
    return Atoms(symbols, [[0.0, 0.0, 0.0], [0.1, 0.2, distance]])


def star(
    center: str, ligand: str, distance: float, directions: Any, tail: str | None = None, tail_distance: float = 0.0
) -> Atoms:
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


def palladium_complex() -> Atoms:
    """Trans-PdCl2(PH3)2."""
    atoms = Atoms("PdCl2P2", [[0, 0, 0], [2.31, 0, 0], [-2.31, 0, 0], [0, 2.33, 0], [0, -2.33, 0]])
    for side in (1, -1):
        for x, _, z in np.array(TRIGONAL)[:, [0, 2, 1]]:
            atoms += Atoms("H", [[1.24 * x, side * (2.33 + 0.68), 1.24 * z]])
    return atoms


def known_molecules() -> dict[str, Atoms]:
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


def known_crystals() -> dict[str, Atoms]:
    """Name → Atoms, periodic in three directions or fewer; vacuum vectors are orthogonal."""
    benzene = from_spacegroup(
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
    urea = from_spacegroup(
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
    graphite = from_spacegroup(
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
