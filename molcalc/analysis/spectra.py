"""Infrared spectra: broadened lines of normal modes, spectra of dynamics, and how much two spectra are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from jaxtyping import Float64
from scipy.signal import welch

from molcalc.calculators.base import MolCalculator
from molcalc.calculators.normal_modes import NormalModes
from molcalc.calculators.thermochemistry import PRESSURE, TEMPERATURES, check_conditions
from molcalc.calculators.vibrations import KM_PER_MOL
from molcalc.errors import ConfigError, InputError, checked_positive, is_number, short
from molcalc.state import single

FWHM = 10.0
"""cm⁻¹, full width at half maximum of a line."""
SHAPES = ("lorentzian", "gaussian")
STEP = 1.0
"""cm⁻¹ between points of a spectrum."""
WIDTHS = (0.1, 1e4)
"""cm⁻¹ that a line may be wide: a spectrum has eight points of each width, and no molecule has a wider line."""
BEYOND = 15.0
"""Widths that a spectrum reaches beyond its last line."""
BAND_WIDTH = 10.0
"""cm⁻¹, width at half maximum that the window gives to a line."""
PADDING = 4
"""Times the length of a window that it is continued by zeros, so that points lie closer than the resolution."""
SAME_STEP = 1e-3
"""Share of the time between frames by which it may differ."""
BETWEEN_FRAMES = (1e-4, 1e4)
"""fs from one frame to the next: from the smallest step of dynamics to one whose spectrum ends at 2 cm⁻¹."""
LATEST = 1e15
"""fs, a second: no run is as long, and doubles tell times below from each other."""
_OTHER_TIMES = (
    'give frames of one run in their order, or drop info["time_fs"] and give a time such as timestep=0.5 (fs)'
)
_OTHER_TEMPERATURE = "give the temperature of the run, such as temperature=300 (K)"
_HANN_WIDTH = 1.44
"""Full width at half maximum of the power of a Hann window, in steps of its Fourier transform."""
_PER_CM = 1e-15 * units._c * 100.0
"""Oscillations per fs of a wave of 1 cm⁻¹."""


@dataclass(frozen=True)
class Spectrum:
    """Absorption by wavenumber.

    Attributes
    ----------
    wavenumbers : (n_points,) cm⁻¹, ascending.
    intensity : (n_points,) km/mol per cm⁻¹; its integral over a band is the intensity of the band.
    lines : (n_lines, 2) wavenumber in cm⁻¹ and intensity in km/mol of the modes it is made of; none of dynamics.
    title : what it is of.
    """

    wavenumbers: Float64[np.ndarray, " n_points"]
    intensity: Float64[np.ndarray, " n_points"]
    lines: Float64[np.ndarray, "n_lines 2"]
    title: str = ""

    def similarity(self, other: Spectrum) -> float:
        """Cosine of the angle between two spectra, over all wavenumbers that either has.

        Returns
        -------
        1 for spectra that differ by a factor only, 0 for those without common bands
        """
        step = min(np.diff(self.wavenumbers).min(), np.diff(other.wavenumbers).min())
        low = min(self.wavenumbers[0], other.wavenumbers[0])
        high = max(self.wavenumbers[-1], other.wavenumbers[-1])
        grid = np.arange(low, high + step, step)
        first, second = (np.interp(grid, one.wavenumbers, one.intensity, 0.0, 0.0) for one in (self, other))
        product = float(np.linalg.norm(first) * np.linalg.norm(second))
        return float(first @ second) / product if product else 0.0

    def csv(self) -> str:
        """Comma-separated values with a header."""
        rows = [f"{x!r},{y!r}" for x, y in zip(self.wavenumbers.tolist(), self.intensity.tolist())]
        return "\n".join(["wavenumber (cm⁻¹),intensity (km/mol/cm⁻¹)", *rows]) + "\n"


def infrared_spectrum(
    atoms: Atoms, calc: MolCalculator | None = None, fwhm: float = FWHM, shape: str = "lorentzian"
) -> Spectrum:
    """Harmonic infrared spectrum of a relaxed molecule.

    Parameters
    ----------
    calc : any calculator of molcalc whose model has charges; None takes that of the atoms.
    fwhm : full width at half maximum of each line, cm⁻¹.
    shape : "lorentzian" or "gaussian".

    Returns
    -------
    spectrum in km/mol per cm⁻¹, with its lines

    Raises
    ------
    InputError
        For a structure without vibrations or without a dipole, or without a calculator of molcalc.
    ConfigError
        For a width beyond :data:`WIDTHS`, or another shape.
    """
    from molcalc.analysis.molecular_potential import calculator_with_charges

    modes = NormalModes.of(calculator_with_charges(atoms, calc).get_vibrations(atoms))
    return spectrum_of(modes, fwhm, shape)


def spectrum_of(modes: NormalModes, fwhm: float = FWHM, shape: str = "lorentzian") -> Spectrum:
    """Spectrum of normal modes; imaginary ones absorb nothing.  See :func:`infrared_spectrum`."""
    if modes.intensities is None:
        raise InputError("no infrared spectrum: the model predicts no charges, or the structure has no dipole")
    real = modes.wavenumbers > 0
    if not real.any():
        why = "all its vibrations are imaginary: relax it" if len(real) else "it has no vibrations"
        raise InputError(f"{modes.formula} has no infrared spectrum, because {why}")
    lines = np.stack([modes.wavenumbers[real], modes.intensities[real]], axis=1)
    return broadened(lines, fwhm, shape, f"{modes.formula}, harmonic")


def check_width(fwhm: float, name: str = "fwhm") -> None:
    """Refuse a width of lines in cm⁻¹ beyond :data:`WIDTHS`.

    Parameters
    ----------
    name : of the argument, for messages.

    Raises
    ------
    ConfigError
    """
    if not WIDTHS[0] <= fwhm <= WIDTHS[1]:
        raise ConfigError(f"{name}={fwhm!r} is no width of a line; {WIDTHS[0]:g} to {WIDTHS[1]:g} cm⁻¹ can be drawn")


def broadened(lines: Float64[np.ndarray, "n_lines 2"], fwhm: float, shape: str, title: str = "") -> Spectrum:
    """Spectrum of lines, each of which keeps its area.

    Parameters
    ----------
    lines : (n_lines, 2) wavenumber in cm⁻¹ and intensity in km/mol.
    fwhm : cm⁻¹.
    shape : "lorentzian" or "gaussian".

    Returns
    -------
    spectrum from 0 to beyond the last line

    Raises
    ------
    ConfigError
        For a width beyond :data:`WIDTHS`, or another shape.
    """
    check_width(fwhm)
    if shape not in SHAPES:
        raise ConfigError(f"shape={shape!r}: choose one of {list(SHAPES)}")
    end = float(lines[:, 0].max()) + BEYOND * fwhm
    grid = np.linspace(0.0, end, 1 + int(np.ceil(end / min(STEP, fwhm / 8))))
    away = (grid[:, None] - lines[:, 0]) / (0.5 * fwhm)
    if shape == "lorentzian":
        profile = 1.0 / (np.pi * 0.5 * fwhm * (1.0 + away**2))
    else:
        profile = np.sqrt(np.log(2.0) / np.pi) / (0.5 * fwhm) * np.exp(-np.log(2.0) * away**2)
    return Spectrum(grid, profile @ lines[:, 1], lines, title)


def dipole_spectrum(
    dipoles: Float64[np.ndarray, "n_frames 3"], timestep: float, temperature: float, resolution: float = BAND_WIDTH
) -> Spectrum:
    r"""Infrared spectrum of classical dynamics, from the Fourier transform of the autocorrelation of the dipole.

    With the quantum correction of a harmonic oscillator, which turns the classical :math:`ω^2 \int e^{iωt} ⟨μ(0)·μ(t)⟩`
    into the absorption of quantized vibrations, so that bands have the intensities of the harmonic spectrum.

    Parameters
    ----------
    dipoles : (n_frames, 3) e·Å.
    timestep : fs between frames.
    temperature : K.
    resolution : cm⁻¹, the width that lines get from the window (Hann).

    Returns
    -------
    spectrum in km/mol per cm⁻¹, up to the highest wavenumber that the time between frames can tell

    Raises
    ------
    ConfigError
        For a time, temperature or resolution out of any sense.
    InputError
        For a trajectory that is too short or too coarse for the resolution, or dipoles that are not finite.

    References
    ----------
    R. Ramírez, T. López-Ciudad, P. Kumar P, D. Marx, J. Chem. Phys. 121, 3973 (2004), doi:10.1063/1.1774986.
    """
    _check_run(timestep, temperature)
    check_width(checked_positive("resolution", resolution), "resolution")
    dipoles = np.asarray(dipoles, dtype=np.float64)
    if dipoles.ndim != 2 or dipoles.shape[1] != 3 or not np.isfinite(dipoles).all():
        raise InputError(f"dipoles of shape {dipoles.shape}: (n_frames, 3) finite numbers are needed, in e·Å")
    highest = 0.5 / (_PER_CM * timestep)
    length = int(np.ceil(_HANN_WIDTH / (resolution * _PER_CM * timestep)))
    if len(dipoles) < length:
        finest = _HANN_WIDTH / (len(dipoles) * _PER_CM * timestep)
        coarser = f", or take a resolution of {np.ceil(finest):.0f} cm⁻¹ (molcalc vib: --fwhm)"
        raise InputError(
            f"{len(dipoles)} frames of {timestep:g} fs tell bands {finest:.0f} cm⁻¹ apart; for {resolution:g} cm⁻¹ "
            f"{length} frames are needed{coarser if np.ceil(finest) <= min(highest, WIDTHS[1]) else ''}"
        )
    if resolution > highest:
        raise InputError(
            f"frames {timestep:g} fs apart tell wavenumbers up to {highest:.3g} cm⁻¹, less than a band of "
            f"{resolution:g} cm⁻¹ is wide: write frames more often, or take a smaller resolution (molcalc vib: --fwhm)"
        )
    frequency, power = welch(
        dipoles, fs=1.0 / timestep, nperseg=length, nfft=PADDING * length, detrend="constant", axis=0
    )
    omega = 2.0 * np.pi * frequency  # 1/fs
    moving = omega**2 * power.sum(axis=1) * _PER_CM  # (e·Å/fs)² per cm⁻¹; its integral is the mean square of dμ/dt
    thermal = units.kB * temperature / (1.0 / units.fs) ** 2  # u·Å²/fs², the mean square velocity along a normal mode
    return Spectrum(
        frequency / _PER_CM, KM_PER_MOL * moving / thermal, np.empty((0, 2)), f"dynamics, {temperature:.0f} K"
    )


def md_infrared_spectrum(
    frames: Sequence[Atoms], timestep: float | None = None, calc: MolCalculator | None = None,
    temperature: float | None = None, resolution: float = BAND_WIDTH,
) -> Spectrum:  # fmt: skip
    """Infrared spectrum of a trajectory of a molecule at constant energy (or with a gentle thermostat).

    Parameters
    ----------
    frames : structures with momenta, one every ``timestep``.
    timestep : fs between frames; None takes it from the times that :func:`molcalc.md` keeps in ``info["time_fs"]``.
    calc : computes the dipoles; None takes those that the frames carry.
    temperature : K; None takes the mean of the frames, from their momenta.
    resolution : cm⁻¹, the width that lines get from the window.

    Returns
    -------
    spectrum in km/mol per cm⁻¹

    Raises
    ------
    InputError
        When frames differ in their atoms or their distances in time, have no dipole or no momenta, or are too few; or
        have times, momenta or masses without sense.
    ConfigError
        For a time, temperature or resolution out of any sense.
    """
    if not len(frames):
        raise InputError("a trajectory without frames has no spectrum")
    for k, atoms in enumerate(frames):
        if not np.array_equal(atoms.numbers, frames[0].numbers):
            raise InputError(f"frame {k} has other atoms than frame 0: a spectrum is of one molecule")
    _check_run(timestep, temperature)
    timestep = _timestep(frames, timestep)
    if temperature is None:
        temperature = float(np.mean([_temperature(atoms, k) for k, atoms in enumerate(frames)]))
        if temperature < TEMPERATURES[0]:
            have = f"momenta of {temperature:g} K only" if temperature else "no momenta"
            raise InputError(f"the frames have {have}: {_OTHER_TEMPERATURE}")
    if calc is not None:
        _check_charges(frames, calc)
        dipoles = [one["dipole"] for one in calc.evaluate(list(frames), ["dipole"])]
    else:
        missing = next(
            (k for k, one in enumerate(frames) if one.calc is None or "dipole" not in one.calc.results), None
        )
        if missing is not None:
            raise InputError(f"frame {missing} has no dipole: give the calculator, calc=, which computes them")
        dipoles = [one.calc.results["dipole"] for one in frames]
    return dipole_spectrum(np.array(dipoles), timestep, temperature, resolution)


def _check_run(timestep: float | None, temperature: float | None) -> None:
    """Refuse a time between frames or a temperature of a run that no run has; None is not given."""
    if timestep is not None and not BETWEEN_FRAMES[0] <= checked_positive("timestep", timestep) <= BETWEEN_FRAMES[1]:
        low, high = BETWEEN_FRAMES
        raise ConfigError(f"timestep={timestep:g} fs is out of any sense; frames are {low:g} to {high:g} fs apart")
    if temperature is not None:
        check_conditions(checked_positive("temperature", temperature), PRESSURE)


def _times(frames: Sequence[Atoms]) -> list[float]:
    """fs of the frames that say it."""
    times = []
    for k, atoms in enumerate(frames):
        if "time_fs" not in atoms.info:
            continue
        value = single(atoms.info["time_fs"])
        if not is_number(value) or not abs(value) <= LATEST:
            shown = short(value.item() if isinstance(value, np.generic) else value)
            raise InputError(f'frame {k}: info["time_fs"]={shown} is no time of a run in fs: {_OTHER_TIMES}')
        times.append(float(value))
    return times


def _timestep(frames: Sequence[Atoms], given: float | None) -> float:
    """fs between frames, which must be what their times say, if they have any."""
    times = _times(frames)
    if not times and given is not None:
        return given
    if not times:
        raise ConfigError(
            'the frames have no info["time_fs"], which dynamics of molcalc write: give the time from one to the next, '
            "such as timestep=0.5 (fs)"
        )
    if len(times) < len(frames):
        raise InputError(f"{len(frames) - len(times)} of {len(frames)} frames have no time: these are of several runs")
    if len(times) == 1:
        raise InputError("one frame has no spectrum")
    steps = np.diff(times)
    back = np.flatnonzero(steps <= 0)
    if len(back):
        k = back[0] + 1
        raise InputError(f"frame {k} is at {times[k]:g} fs, frame {k - 1} at {times[k - 1]:g} fs: {_OTHER_TIMES}")
    step = float(np.median(steps))
    odd = np.flatnonzero(np.abs(steps - step) > SAME_STEP * step)
    if len(odd):
        raise InputError(
            f"frame {odd[0] + 1} comes {steps[odd[0]]:g} fs after the one before, others {step:g} fs: frames are "
            "missing, or of several runs"
        )
    low, high = BETWEEN_FRAMES
    if not low <= step <= high:
        raise InputError(
            f"frame 1 comes {step:g} fs after the one before, which is out of any sense ({low:g} to {high:g} fs): "
            f"{_OTHER_TIMES}"
        )
    if given is not None and abs(given - step) > SAME_STEP * step:
        raise ConfigError(f"timestep={given!r}: the frames are {step:g} fs apart; leave it out")
    return step


def _check_charges(frames: Sequence[Atoms], calc: MolCalculator) -> None:
    """Refuse frames that are not of one charge."""
    first = calc.resolve(frames[0]).charge
    for k, atoms in enumerate(frames):
        charge = calc.resolve(atoms).charge
        if charge != first:
            raise InputError(f"frame {k} has charge {charge:+d}, frame 0 {first:+d}: a spectrum is of one molecule")


def _temperature(atoms: Atoms, k: int) -> float:
    """K of frame k: of the vibrations and what else moves; the momentum of the whole molecule does not count."""
    masses, momenta = atoms.get_masses(), atoms.get_momenta()
    for name, values, least in (("mass", masses, 0.0), ("momentum", momenta, -np.inf)):
        if values.dtype.kind not in "iuf":
            raise InputError(f"frame {k}: {name} {short(values.tolist()[0])} is no number: {_OTHER_TEMPERATURE}")
        wrong = ~(np.isfinite(values) & (values > least))
        if wrong.any():
            atom, value = np.argwhere(wrong)[0][0], values[wrong][0]
            raise InputError(f"frame {k}: atom {atom} has {name} {value:g}: {_OTHER_TEMPERATURE}")
    freedoms = 3 * len(atoms) - 3
    if freedoms <= 0:
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers that the next lines refuse
        moving = momenta - masses[:, None] * momenta.sum(axis=0) / masses.sum()
        temperature = float((moving**2 / masses[:, None]).sum() / (units.kB * freedoms))
    if not temperature <= TEMPERATURES[1]:
        raise InputError(f"frame {k}: its momenta are those of {temperature:g} K: {_OTHER_TEMPERATURE}")
    return temperature
