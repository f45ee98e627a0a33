"""A generator of conformers of one molecule, learned from structures of it."""
