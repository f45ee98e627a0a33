"""From a name to a potential: models are opened, joined to ensembles, and completed by energy terms."""
