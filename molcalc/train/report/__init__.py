"""Errors of a model and the report of a run: metrics, tables, pictures."""
