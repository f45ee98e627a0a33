"""Cost of a generator of conformers by the size of the molecule: polyalanine, Ac-(Ala)n-NHMe.

Milliseconds of the processor, one thread, the fastest of some calls (other programs on the machine only add to it):
a step of training by structures in the batch, and a sample. Memory is what is kept for derivatives, of one structure.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from molcalc.conformers.rdkit_molecules import embed, molecule_of_smiles
from molcalc.conformers.vae.losses import ObjectiveConfig, reconstruction_terms
from molcalc.conformers.vae.model_files import new_network
from molcalc.conformers.vae.network import VAENetwork, VAENetworkConfig
from molcalc.conformers.vae.reference import ReferenceStructure
from molcalc.conformers.vae.training import decoded


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Fastest of some calls, in seconds of the processor."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def step(network: VAENetwork, positions: torch.Tensor, objective: ObjectiveConfig) -> None:
    """Forward and back."""
    means, _ = network.encode(positions)
    terms = reconstruction_terms(network.decode(means), positions, network.topology, objective)
    torch.stack([value.mean() for value in terms.values()]).sum().backward()


def kept(network: VAENetwork, positions: torch.Tensor, objective: ObjectiveConfig) -> int:
    """Bytes that a forward pass keeps for derivatives."""
    sizes: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step(network, positions, objective)
    return sum(sizes.values())


def measure(smiles: str, batch: int) -> None:
    """Print the costs of one molecule."""
    objective, molecule = ObjectiveConfig(), molecule_of_smiles(smiles, smiles)
    reference = ReferenceStructure.of(embed(molecule, 1, 1)[0])
    network = new_network(reference, VAENetworkConfig())
    x = torch.from_numpy(reference.positions).float().repeat(batch, 1, 1)
    x += 0.05 * torch.randn_like(x)
    network.learn_extent(x[0], x)
    memory = kept(network, x, objective) / batch / 1e6
    trained = seconds(lambda: step(network, x, objective), 4) / batch
    latents = torch.randn(32, network.config.latent_dim)
    sampled = seconds(lambda: decoded(network, latents), 4) / len(latents)
    size = sum(parameter.numel() for parameter in network.parameters())
    print(f"{x.shape[1]:5d} {size:11d} {1e3 * trained:22.2f} {1e3 * sampled:22.2f} {memory:18.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--residues", type=int, nargs="+", default=[1, 3, 6, 9, 12])
    parser.add_argument("--batch", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    print("atoms  parameters  training ms/structure  sampling ms/structure  kept MB/structure")
    for n in args.residues:
        measure("CC(=O)" + "N[C@@H](C)C(=O)" * n + "NC", args.batch)


if __name__ == "__main__":
    main()
