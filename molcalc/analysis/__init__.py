"""Analyses of calculators beyond the results of single structures."""
