"""Numbers that formulas share with their compiled loops.

References
----------
Grimme, Antony, Ehrlich, Krieg, J. Chem. Phys. 132, 154104 (2010), eq. 15-16 (D3).
"""

LARGEST_ENVELOPE_ARGUMENT = 1.0 - 1e-6
"""Largest d / r_s put into the short-range envelope, whose exponent diverges at 1."""
MIN_SQUARED_DISTANCE = 1e-24
"""Å²; keeps a damped interaction and its gradient finite for coinciding charges."""
COUNT_STEEPNESS = 16.0
"""k1 of the D3 paper, in the counting function of coordination numbers."""
WEIGHT_STEEPNESS = 4.0
"""k3 of the D3 paper, in the weights of reference systems."""
LEGACY_MIN_NORM = 1e-5
"""Sum of pair weights below which the published AIMNet2 files set C6 to zero."""
