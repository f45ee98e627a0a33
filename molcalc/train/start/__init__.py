"""What a run starts from: data divided into parts, the network, its reference energies."""
