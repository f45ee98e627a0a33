"""From the name of a model to a potential: opened networks, the energy terms that complete them, ensembles."""
