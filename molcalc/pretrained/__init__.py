"""Published weights and foreign model files: found, verified, converted."""
