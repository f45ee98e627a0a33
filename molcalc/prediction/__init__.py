"""Checks and batches of structures, results of each, and their charges seen from points."""
