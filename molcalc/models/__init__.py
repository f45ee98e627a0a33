"""The networks: geometry in, atomic energies and charges out."""
