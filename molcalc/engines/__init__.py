"""Potentials inside other programs that move atoms: one file per program, each imported only when it is named."""
