"""Assembly of potentials: models are opened by name, joined to ensembles, and completed by energy terms."""
