"""Optimizers and learning-rate schedules with recommended settings."""
