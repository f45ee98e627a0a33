"""Infrared spectra."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from molcalc.analysis import infrared_spectrum, md_infrared_spectrum
from molcalc.analysis.spectra import Spectrum, broadened, dipole_spectrum, spectrum_of
from molcalc.calculators import D3, AIMNet2
from molcalc.calculators.normal_modes import NormalModes
from molcalc.calculators.vibrations import KM_PER_MOL
from molcalc.errors import ConfigError, InputError, MolcalcError
from tests.helpers.networks import tiny_checkpoint

PER_CM = 2.99792458e-5
"""Oscillations per fs of 1 cm⁻¹."""


def area(spectrum: Spectrum, low: float = 0.0, high: float = np.inf) -> float:
    """km/mol of a band."""
    inside = (spectrum.wavenumbers >= low) & (spectrum.wavenumbers <= high)
    return float(np.trapezoid(spectrum.intensity[inside], spectrum.wavenumbers[inside]))


@pytest.mark.parametrize("shape", ["lorentzian", "gaussian"])
def test_lines_keep_their_areas_and_have_the_width(shape: str) -> None:
    found = broadened(np.array([[1000.0, 50.0], [3000.0, 20.0]]), 12.0, shape)
    assert area(found, 800, 1200) == pytest.approx(50.0, rel=0.03 if shape == "lorentzian" else 1e-3)
    half = found.wavenumbers[(found.intensity > found.intensity.max() / 2) & (found.wavenumbers < 2000)]
    assert np.ptp(half) == pytest.approx(12.0, abs=2.1)
    assert found.wavenumbers[found.intensity.argmax()] == pytest.approx(1000.0, abs=1.0)


def test_the_harmonic_spectrum_is_that_of_the_vibrations() -> None:
    atoms, calc = molecule("CH3OH"), AIMNet2(tiny_checkpoint(), dtype="float64")
    modes = NormalModes.of(calc.get_vibrations(atoms))
    found = infrared_spectrum(atoms, calc)
    real = modes.wavenumbers > 0
    assert found.lines[:, 0] == pytest.approx(modes.wavenumbers[real], rel=1e-6)
    assert area(found) == pytest.approx(modes.intensities[real].sum(), rel=0.15)


def test_an_oscillator_in_motion_has_the_intensity_of_its_mode() -> None:
    slope, temperature, timestep = 0.3, 300.0, 1.0
    omega = 2 * np.pi * 1000.0 * PER_CM
    thermal = units.kB * temperature * units.fs**2  # u·Å²/fs²
    time = timestep * np.arange(20000)
    dipoles = np.zeros((len(time), 3))
    dipoles[:, 0] = slope * np.sqrt(2 * thermal) / omega * np.cos(omega * time)
    dipoles[:, 1] = 5.0  # a constant dipole absorbs nothing
    found = dipole_spectrum(dipoles, timestep, temperature, resolution=20.0)
    assert area(found) == pytest.approx(KM_PER_MOL * slope**2, rel=0.02)
    assert found.wavenumbers[found.intensity.argmax()] == pytest.approx(1000.0, abs=4.0)
    half = found.wavenumbers[found.intensity > found.intensity.max() / 2]
    assert np.ptp(half) == pytest.approx(20.0, abs=7.0)


def trajectory(n_frames: int, omega: float) -> list[Atoms]:
    """A stretching CO with momenta and dipoles."""
    frames = []
    for k in range(n_frames):
        atoms = molecule("CO")
        atoms.positions[0, 2] += 0.05 * np.cos(omega * k)
        momenta = np.zeros((2, 3))
        momenta[0, 2] = -0.05 * omega / units.fs * atoms.get_masses()[0] * np.sin(omega * k)
        atoms.set_momenta(momenta)
        atoms.calc = SinglePointCalculator(atoms, dipole=np.array([0, 0, 0.1 * np.cos(omega * k)]))
        frames.append(atoms)
    return frames


def test_a_trajectory_has_a_band_where_it_oscillates() -> None:
    frames = trajectory(2500, 2 * np.pi * 2000.0 * PER_CM)
    found = md_infrared_spectrum(frames, timestep=1.0, resolution=30.0)
    assert found.wavenumbers[found.intensity.argmax()] == pytest.approx(2000.0, abs=10.0)


def test_trajectories_that_give_no_spectrum_are_refused() -> None:
    frames = trajectory(100, 0.3)
    with pytest.raises(InputError, match=r"frames of 1 fs tell bands .* take a resolution of 481 cm⁻¹ \(.*--fwhm"):
        md_infrared_spectrum(frames, timestep=1.0, resolution=5.0)
    with pytest.raises(ConfigError, match="timestep"):
        md_infrared_spectrum(frames, timestep=0.0)
    frames[7].calc = None
    with pytest.raises(InputError, match="frame 7 has no dipole"):
        md_infrared_spectrum(frames, timestep=1.0)
    frames[5] = molecule("N2")
    with pytest.raises(InputError, match="frame 5 has other atoms"):
        md_infrared_spectrum(frames, timestep=1.0)
    frames[7], frames[5] = trajectory(1, 1.0) * 2
    frames[6].info["charge"] = 2
    with pytest.raises(InputError, match=r"frame 6 has charge \+2, frame 0 \+0"):
        md_infrared_spectrum(frames, timestep=1.0, calc=AIMNet2(tiny_checkpoint()))
    still = trajectory(3000, 0.0)
    with pytest.raises(InputError, match="no momenta"):
        md_infrared_spectrum(still, timestep=1.0)
    with pytest.raises(InputError, match="without frames"):
        md_infrared_spectrum([], timestep=1.0)


def test_the_time_between_frames_is_what_they_say() -> None:
    frames = trajectory(2500, 2 * np.pi * 2000.0 * PER_CM)
    expected = md_infrared_spectrum(frames, timestep=1.0, resolution=30.0)
    with pytest.raises(ConfigError, match="such as timestep=0.5"):
        md_infrared_spectrum(frames)
    for k, atoms in enumerate(frames):
        atoms.info["time_fs"] = 7.0 + k
    assert md_infrared_spectrum(frames, resolution=30.0).wavenumbers == pytest.approx(expected.wavenumbers)
    with pytest.raises(ConfigError, match="the frames are 1 fs apart"):
        md_infrared_spectrum(frames, timestep=0.5)
    with pytest.raises(InputError, match="frame 9 comes 2 fs after the one before, others 1 fs"):
        md_infrared_spectrum([*frames[:9], *frames[10:]])
    del frames[3].info["time_fs"]
    with pytest.raises(InputError, match="1 of 2500 frames have no time"):
        md_infrared_spectrum(frames)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("soon", "frame 3: info.*='soon' is no time"),
        ("3.0", "frame 3: .*'3.0' is no time"),
        (True, "frame 3: .*True is no time"),
        (None, "frame 3: .*None is no time"),
        ([1.0, 2.0], r"frame 3: .*\[1.0, 2.0\] is no time"),
        (np.array([1.0, 2.0]), "frame 3: .*array.* is no time"),
        (3 + 0j, r"frame 3: .*\(3\+0j\) is no time"),
        (np.float32("nan"), "frame 3: .*=nan is no time"),
        (np.inf, "frame 3: .*inf is no time"),
        (-1e308, r"frame 3: .*-1e\+308 is no time"),
        (10**400, "frame 3: .* is no time"),
        (2.0, "frame 3 is at 2 fs, frame 2 at 2 fs"),
        (1.0, "frame 3 is at 1 fs, frame 2 at 2 fs"),
    ],
    ids=range(13),
)
def test_times_that_are_none_name_their_frame(value: object, message: str) -> None:
    frames = trajectory(5, 0.3)
    for k, atoms in enumerate(frames):
        atoms.info["time_fs"] = np.array([k])
    frames[3].info["time_fs"] = value
    with pytest.raises(InputError, match=f"{message}.*drop info.* and give") as caught:
        md_infrared_spectrum(frames, resolution=9000.0)
    assert not isinstance(caught.value, ConfigError)


@pytest.mark.parametrize("apart", [1e-300, 1e9])
def test_times_out_of_any_sense_are_refused(apart: float) -> None:
    frames = trajectory(5, 0.3)
    for k, atoms in enumerate(frames):
        atoms.info["time_fs"] = k * apart
    with pytest.raises(InputError, match="frame 1 comes .* fs after .* out of any sense") as caught:
        md_infrared_spectrum(frames, resolution=9000.0)
    assert not isinstance(caught.value, ConfigError)
    frames = trajectory(5, 0.3)
    with pytest.raises(ConfigError, match="timestep=.* is out of any sense"):
        md_infrared_spectrum(frames, timestep=apart)
    with pytest.raises(ConfigError, match="temperature=.* is out of any sense"):
        md_infrared_spectrum(frames, timestep=1.0, temperature=apart)
    with pytest.raises(ConfigError, match="resolution=.* is no width"):
        md_infrared_spectrum(frames, timestep=1.0, resolution=apart)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("momenta", np.nan, "frame 2: atom 0 has momentum nan"),
        ("momenta", -np.inf, "frame 2: atom 0 has momentum -inf"),
        ("momenta", 1e300, "frame 2: its momenta are those of inf K"),
        ("momenta", "fast", "frame 2: momentum .*'fast'.* is no number"),
        ("masses", 0.0, "frame 2: atom 0 has mass 0"),
        ("masses", np.nan, "frame 2: atom 0 has mass nan"),
        ("masses", 1e-320, "frame 2: its momenta are those of inf K"),
    ],
)
def test_momenta_and_masses_that_are_none_name_their_frame(name: str, value: float | str, message: str) -> None:
    frames = trajectory(5, 0.3)
    if name == "masses":
        frames[2].set_masses([12.0, 16.0])
    changed = frames[2].arrays[name].astype(object if isinstance(value, str) else float)
    changed.flat[0] = value
    frames[2].arrays[name] = changed.astype(type(value)) if isinstance(value, str) else changed
    with pytest.raises(InputError, match=f"{message}.*: give the temperature of the run"):
        md_infrared_spectrum(frames, timestep=1.0, resolution=9000.0)


def test_frames_too_far_apart_for_a_band_are_refused() -> None:
    with pytest.raises(InputError, match=r"up to 1.67 cm⁻¹, less than a band of 10 cm⁻¹"):
        md_infrared_spectrum(trajectory(5, 0.3), timestep=1e4)


def test_equal_spectra_are_alike_and_distant_ones_are_not() -> None:
    one = broadened(np.array([[1000.0, 50.0], [3000.0, 20.0]]), 10.0, "gaussian")
    double = broadened(np.array([[1000.0, 100.0], [3000.0, 40.0]]), 10.0, "gaussian")
    other = broadened(np.array([[2000.0, 50.0]]), 10.0, "gaussian")
    assert one.similarity(double) == pytest.approx(1.0, abs=1e-6)
    assert one.similarity(other) == pytest.approx(0.0, abs=1e-6)
    near = broadened(np.array([[1005.0, 50.0], [3000.0, 20.0]]), 10.0, "gaussian")
    assert 0.3 < one.similarity(near) < 0.95


def test_what_has_no_spectrum_says_so() -> None:
    with pytest.raises(MolcalcError, match="no infrared spectrum"):
        infrared_spectrum(molecule("H2O"), D3("pbe0"))
    with pytest.raises(InputError, match="no vibrations"):
        infrared_spectrum(Atoms("O"), AIMNet2(tiny_checkpoint(), dtype="float64"))
    falling = NormalModes(molecule("N2"), np.array([-300.0]), np.zeros((1, 2, 3)), np.array([1.0]), "linear")
    with pytest.raises(InputError, match="all its vibrations are imaginary"):
        spectrum_of(falling)
    for width in (0.0, 1e-9, 1e300, np.nan):
        with pytest.raises(ConfigError, match="fwhm"):
            broadened(np.array([[1000.0, 1.0]]), width, "gaussian")
    with pytest.raises(ConfigError, match="shape"):
        broadened(np.array([[1000.0, 1.0]]), 5.0, "voigt")
