"""Compiled loops, under the names of the formulas that they compute; each has a plain torch twin."""
