"""Numbers of D3 that formulas and compiled loops share.

References
----------
Grimme, Antony, Ehrlich, Krieg, J. Chem. Phys. 132, 154104 (2010), eq. 15-16.
"""

COUNT_STEEPNESS = 16.0
"""k1 of the D3 paper, in the counting function of coordination numbers."""
WEIGHT_STEEPNESS = 4.0
"""k3 of the D3 paper, in the weights of reference systems."""
LEGACY_MIN_NORM = 1e-5
"""Sum of pair weights below which the published AIMNet2 files set C6 to zero."""
