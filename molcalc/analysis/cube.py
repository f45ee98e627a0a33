"""Gaussian cube files of the electrostatic potential of a molecule, written plane by plane."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from ase import Atoms
from jaxtyping import Float64

from molcalc.analysis.molecular_potential import MolecularPotential
from molcalc.calculators.base import MolCalculator
from molcalc.errors import ResourceError, checked_positive
from molcalc.io.files import replacing
from molcalc.io.targets import reserved
from molcalc.progress import progress_bar
from molcalc.units import BOHR, HARTREE

SPACING = 0.2
"""Å."""
GRID_MARGIN = 4.0
"""Å around the outermost nuclei."""
BYTES_PER_VALUE = 14
"""Of text, line ends included."""
PER_LINE = 6
SHOWN_FROM = 4_000_000
"""Values from which on a terminal shows how far the file is."""
CLEARANCE = 1e-2
"""Spacings at least between a grid point and a charge, where the potential has no value."""
_SHIFTS = (0.0, 0.31, 0.17, 0.43, 0.23, 0.07, 0.37)
"""Spacings by which the grid moves away from charges; the first that will do is taken."""


@dataclass(frozen=True)
class CubeGrid:
    """Regular grid along x, y and z.

    Attributes
    ----------
    origin : (3,) Å.
    shape : points along x, y and z.
    spacing : Å.
    """

    origin: np.ndarray
    shape: tuple[int, int, int]
    spacing: float

    @classmethod
    def around(
        cls, positions: Float64[np.ndarray, "n_sites 3"], spacing: float = SPACING, margin: float = GRID_MARGIN
    ) -> CubeGrid:
        """Grid around charges and nuclei, none of whose points is on one.

        Parameters
        ----------
        positions : (n_sites, 3) Å.
        spacing : Å.
        margin : Å around the outermost of them.

        Returns
        -------
        grid that begins and ends ``margin`` beyond them or a little more

        Raises
        ------
        ConfigError
            For a spacing or margin that is not a positive number.
        """
        for name, value in (("spacing", spacing), ("margin", margin)):
            checked_positive(name, value)
        low, high = positions.min(axis=0) - margin, positions.max(axis=0) + margin
        for shift in _SHIFTS:
            origin = low - shift * spacing
            steps = (positions - origin) / spacing
            if np.abs(steps - np.round(steps)).max(axis=1).min() >= CLEARANCE:
                break
        nx, ny, nz = (int(n) for n in np.ceil((high - origin) / spacing) + 1)
        return cls(origin, (nx, ny, nz), float(spacing))

    @property
    def n_points(self) -> int:
        """Points of the whole grid."""
        nx, ny, nz = self.shape
        return nx * ny * nz

    def planes(self) -> Iterator[Float64[np.ndarray, "n_points 3"]]:
        """Points of each plane of constant x, z running fastest.

        Yields
        ------
        (n_y·n_z, 3) Å
        """
        nx, ny, nz = self.shape
        y = self.origin[1] + self.spacing * np.arange(ny)
        z = self.origin[2] + self.spacing * np.arange(nz)
        plane = np.empty((ny * nz, 3))
        plane[:, 1], plane[:, 2] = np.repeat(y, nz), np.tile(z, ny)
        for k in range(nx):
            plane[:, 0] = self.origin[0] + self.spacing * k
            yield plane


def write_cube(
    path: str | os.PathLike[str],
    atoms: Atoms,
    calc: MolCalculator | None = None,
    spacing: float = SPACING,
    margin: float = GRID_MARGIN,
    source: str = "auto",
    force: bool = False,
    progress: bool = True,
) -> CubeGrid:
    """Write the electrostatic potential of a molecule as a Gaussian cube file.

    Lengths in the file are in Bohr and values in Hartree/e, as programs that draw such files expect them;
    ``ase.io.cube.read_cube`` gives the values back as they are in the file.

    >>> write_cube("water.cube", atoms, AIMNet2("wb97m-d3"))

    Parameters
    ----------
    calc : any calculator of molcalc whose model has charges; None takes that of the atoms.
    spacing : Å between points.
    margin : Å around the outermost charges.
    source : "distributed" charges, atomic "charges", or "auto": those that the dipole is made of.
    force : replace a file that is there.
    progress : show a bar on a terminal while a large file is written.

    Returns
    -------
    the grid

    Raises
    ------
    InputError
        For a periodic structure, a file that is there, or without a calculator of molcalc.
    MissingPropertyError
        When the model predicts no charges.
    ConfigError
        For another source, or a spacing or margin that is not a positive number.
    ResourceError
        When the file would not fit on the disk, which is estimated before.
    """
    target = Path(path)
    with reserved(target, force=force):
        potential = MolecularPotential.of(atoms, calc, source)
        return write_potential_cube(target, potential, spacing, margin, progress)


def write_potential_cube(
    path: Path,
    potential: MolecularPotential,
    spacing: float = SPACING,
    margin: float = GRID_MARGIN,
    progress: bool = True,
) -> CubeGrid:
    """Write a potential that is known as a cube file; see :func:`write_cube`."""
    grid = CubeGrid.around(
        np.concatenate([potential.sites.positions.numpy(), potential.atoms.positions]), spacing, margin
    )
    size, free = BYTES_PER_VALUE * grid.n_points, shutil.disk_usage(path.absolute().parent).free
    if size > free:
        raise ResourceError(
            f"{path}: {grid.n_points:,} values at {spacing:g} Å need {size / 1e9:.2f} GB, and {free / 1e9:.2f} GB are "
            "free: take a larger spacing or a smaller margin"
        )
    shown = progress and grid.n_points >= SHOWN_FROM
    with replacing(path, size) as temporary, open(temporary, "w", encoding="ascii") as file:
        file.write(_header(potential.atoms, grid))
        with progress_bar(total=grid.shape[0], desc="cube", unit="plane", visible=shown) as bar:
            for plane in grid.planes():
                _write_plane(file, potential.at(plane) / HARTREE, grid.shape[2])
                bar.update()
    return grid


def _header(atoms: Atoms, grid: CubeGrid) -> str:
    lines = ["electrostatic potential in Hartree/e, by molcalc", "OUTER LOOP: X, MIDDLE LOOP: Y, INNER LOOP: Z"]
    lines.append(_line(len(atoms), *(grid.origin / BOHR)))
    lines += [_line(n_points, *(grid.spacing / BOHR * direction)) for n_points, direction in zip(grid.shape, np.eye(3))]
    lines += [_line(int(z), float(z), *(position / BOHR)) for z, position in zip(atoms.numbers, atoms.positions)]
    return "\n".join(lines) + "\n"


def _line(count: int, *numbers: float) -> str:
    return f"{count:5d}" + "".join(f"{number:12.6f}" for number in numbers)


def _write_plane(file: TextIO, values: Float64[np.ndarray, " n_points"], run: int) -> None:
    """Values of a plane; each ``run`` along z begins a new line."""
    full, rest = divmod(run, PER_LINE)
    form = full * (PER_LINE * "%13.5E" + "\n") + (rest * "%13.5E" + "\n" if rest else "")
    file.write((len(values) // run) * form % tuple(values.tolist()))
