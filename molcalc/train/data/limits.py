"""Limits of the checks of data: what passes unnoticed, what is warned of, and what is refused."""

FIDELITY_OFFSET = 200
"""Some programs add this to atomic numbers for every fidelity after the first."""

ROUNDED_CHARGE = 0.05
"""e; a sum of atomic charges that misses the total charge, or an integer, by more is no result of rounding: a report
warns of it."""
LOST_CHARGE = 0.5
"""e; a sum of atomic charges that misses the total charge by more has lost or gained an electron: it is refused."""

FEWEST_PAIRS, MOST_PAIRS = 5, 200
"""Pairs of neighboring rows that energies and their derivatives are compared over."""
LARGEST_MOVE, LARGEST_STRAIN = 0.3, 0.05
"""Å and 1; rows that differ by more are no pair: the work between them is not linear."""
GOOD_CORRELATION = 0.9
"""Pearson's coefficient from which two quantities are taken to measure the same, if only in different units."""
SLOPE_TOLERANCE = 0.3
"""Share of the work by which differences of energies may miss it."""
FORCE_UNIT_TOLERANCE = 0.15
"""Share by which a slope may miss the factor of a unit of forces."""

SAMPLED = 200
"""Structures whose units are looked at."""
SAMPLED_POINTS = 50
"""Structures whose electrostatic potentials are fitted."""
ENERGY_TOLERANCE = 0.05
"""Share by which energies in the right unit may miss the sum of atomic energies."""
SAME_UNIT = 0.9
"""Share of structures that must agree on another unit of energies."""
LONGEST_DIPOLE = 0.6
"""e; a median of |dipole| / diameter above it does not occur in neutral molecules of non-metals."""
DEBYE_SLOPE_OF_CHARGES = (3.5, 14.0)
"""Slope of dipoles in Debye against those of atomic charges: 4.8 times what charges miss or exaggerate."""
GOOD_FIT, BAD_FIT = 0.9, 0.7
"""Share of an electrostatic potential that charges on the atoms explain in the right frame and unit, and in others."""
BOHR_TOLERANCE, HARTREE_TOLERANCE = 0.2, 0.25
"""Share by which a slope of dipoles may miss what points in Bohr, and potentials in Hartree/e, make of it."""

FEWEST_FRAMES, RUNS_COMPARED, FRAMES_COMPARED = 20, 10, 100
"""Frames that make a trajectory; trajectories, and pairs of frames of each, that are compared."""
NEAR_FRAMES = 0.5
"""Consecutive frames of a trajectory are nearer to each other than this share of what others are."""

FAR_ENERGY = 12.0
"""Distance of an energy from its fit by composition, in robust standard deviations, that a report warns of."""
SMALLEST_SPREAD = 1e-3
"""eV; a smaller standard deviation of that fit counts as this one."""
LARGE_FORCE = 50.0
"""eV/Å that a report warns of."""
