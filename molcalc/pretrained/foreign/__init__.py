"""Model files that other programs wrote."""
