"""Energies and temperature along molecular dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms, units

from molcalc.errors import InputError
from molcalc.train.report.figures import BLUE, GRAY, GREEN, RED, new_figure, style

PICOSECONDS_FROM = 5000.0
"""fs from which on the time axis is in ps."""
SMOOTHED = 0.05
"""Share of the run over which the temperature is averaged for its second line."""


def draw_dynamics(
    frames: Sequence[Atoms], degrees_of_freedom: int | None = None, temperature: float | None = None
) -> Any:
    """Potential and total energy, and temperature, along a trajectory.

    Parameters
    ----------
    frames : with energies and momenta, and with ``time_fs`` in ``info``, as ``molcalc md`` writes them; without times
        the axis counts frames.
    degrees_of_freedom : that carry kinetic energy; None for three of each atom.
    temperature : K of the thermostat, drawn as a line.

    Returns
    -------
    figure of matplotlib

    Raises
    ------
    InputError
        For fewer than two frames, or a frame without energy or momenta.
    """
    if len(frames) < 2:
        raise InputError(f"a picture of dynamics needs two frames or more; there are {len(frames)}")
    for k, atoms in enumerate(frames):
        if atoms.calc is None or "energy" not in atoms.calc.results or not atoms.has("momenta"):
            raise InputError(f"frame {k} has no energy or no momenta: it is not from molecular dynamics")
    potential = np.array([atoms.calc.results["energy"] for atoms in frames])
    kinetic = np.array([atoms.get_kinetic_energy() for atoms in frames])
    free = 3 * len(frames[0]) if degrees_of_freedom is None else degrees_of_freedom
    kelvins = 2.0 * kinetic / (max(free, 1) * units.kB)
    times, axis_label = _times(frames)
    with style():
        figure, axes = new_figure(2, 1, 7.5, 5.0, sharex=True)
        energies, heat = axes[:, 0]
        start = potential[0] + kinetic[0]
        energies.plot(times, potential - start, color=BLUE, linewidth=1.0, label="potential")
        energies.plot(times, potential + kinetic - start, color=RED, label="total")
        energies.set(ylabel="energy − total at first (eV)")
        energies.ticklabel_format(axis="y", useOffset=False)
        energies.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        heat.plot(times, kelvins, color=GRAY, linewidth=0.8, label="of the frame")
        window = max(1, round(SMOOTHED * len(frames)))
        if window > 1:
            middle = np.convolve(kelvins, np.full(window, 1.0 / window), mode="valid")
            heat.plot(np.convolve(times, np.full(window, 1.0 / window), mode="valid"), middle, color=GREEN,
                      label=f"mean of {window} frames")  # fmt: skip
        if temperature is not None:
            heat.axhline(temperature, color="black", linestyle="--", linewidth=1.0, label="thermostat")
        heat.set(xlabel=axis_label, ylabel="temperature (K)", ylim=(0.0, None))
        heat.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        energies.set_title(f"{frames[0].get_chemical_formula()}: mean temperature {kelvins.mean():.0f} K")
        return figure


def _times(frames: Sequence[Atoms]) -> tuple[np.ndarray, str]:
    """Places along the axis, and what it says."""
    if not all("time_fs" in atoms.info for atoms in frames):
        return np.arange(len(frames), dtype=np.float64), "frame"
    times = np.array([atoms.info["time_fs"] for atoms in frames], dtype=np.float64)
    return (times / 1000.0, "time (ps)") if times[-1] - times[0] >= PICOSECONDS_FROM else (times, "time (fs)")
