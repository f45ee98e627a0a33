"""Calculators and networks that are right, and one for each mistake that the kits of checks are meant to find."""
