"""Limits of the checks of data: what passes unnoticed, what is warned of, and what is refused."""

FIDELITY_OFFSET = 200
"""Some programs add this to atomic numbers for every fidelity after the first."""

LARGEST_WEIGHT = 1e6
"""Of the errors of a row in the loss; a larger one is refused."""

ROUNDED_CHARGE = 0.05
"""e; a sum of atomic charges that misses the total charge, or an integer, by more is no result of rounding: a report
warns of it."""
LOST_CHARGE = 0.5
"""e; a sum of atomic charges that misses the total charge by more has lost or gained an electron: it is refused."""

FEWEST_PAIRS, MOST_PAIRS = 5, 400
"""Pairs of structures that energies and their derivatives are compared over."""
LARGEST_MOVE, LARGEST_STRAIN = 0.3, 0.05
"""Å and 1; structures that differ by more are no pair: the work between them is not linear."""
TELLING = 3.0
"""Errors of the work of a pair that it must be above to tell something, and within which it agrees."""
AGREEMENT = 0.2
"""Share of the work within which a difference of energies agrees with it, whatever the error."""
SAME_FACTOR = 0.75
"""Share of the pairs that must agree on another factor before it is believed: an outlier among them does not matter."""
SAME_ENERGY = 0.02
"""eV; energies of one geometry that differ by more contradict each other. Geometries count as equal within 1e-3 Å."""
GOOD_CORRELATION = 0.9
"""Correlation from which two quantities are taken to measure the same, if only in different units."""
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
FAR_ORIGIN, OTHER_ORIGIN = 0.5, 0.5
"""e·Å that another origin must make of the dipole of an ion before it is looked at, and the share of the usual dipoles
that those about the other origin must be below."""
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

OUTLYING, OUTLYING_SPREADS, FEWEST_ALIKE = 100.0, 50.0, 5
"""eV, and median distances from the median, that an energy must be away from those of the same composition to be warned
of, and structures of a composition that say what is usual: another unit, or a calculation that went wrong."""
FAR_ENERGY = 12.0
"""Distance of an energy from its fit by composition, in robust standard deviations, that a report warns of."""
SMALLEST_SPREAD = 1e-3
"""eV; a smaller standard deviation of that fit counts as this one."""
LARGE_FORCE = 50.0
"""eV/Å that a report warns of."""
