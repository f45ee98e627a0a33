"""Numbers that formulas of pairs of charges share with their compiled loops."""

LARGEST_ENVELOPE_ARGUMENT = 1.0 - 1e-6
"""Largest d / r_s put into the short-range envelope, whose exponent diverges at 1."""
MIN_SQUARED_DISTANCE = 1e-24
"""Å²; keeps a damped interaction and its gradient finite for coinciding charges."""
