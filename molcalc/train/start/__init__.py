"""Start of a run: random or given weights, and reference energies fitted to the data."""
