"""The model before its first step: random or given weights, and reference energies fitted to the data."""
