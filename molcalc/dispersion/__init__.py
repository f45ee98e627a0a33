"""Dispersion energy terms."""
