"""Reduction of a model of several fidelities and networks to the part that one level of theory needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import cast

import torch
from torch import Tensor, nn

from molcalc.assembly.opening import OpenedModel
from molcalc.assembly.terms import DispersionChoice, dispersion_term
from molcalc.dispersion.parameters import D3Parameters
from molcalc.errors import ConfigError
from molcalc.fidelity import Fidelity
from molcalc.io.checkpoint import Checkpoint
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.registry import MODELS, checkpoint_of

KIND = "aimnet2"
"""Kind of the models that can be exported."""


def reduced(
    source: OpenedModel,
    *,
    fidelity: str | None = None,
    dispersion: DispersionChoice = "auto",
    member: int | None = None,
) -> Checkpoint:
    """The model of one fidelity alone, whose predictions are those of the whole model.

    The heads that a fidelity adds up (its own and those of what it corrects) become one of blocks.

    Parameters
    ----------
    fidelity : its name; may be left out where there is only one.
    dispersion : as in :func:`molcalc.assembly.terms.dispersion_term`; becomes what the result declares.
    member : one network of an ensemble; None keeps all.

    Returns
    -------
    model with one fidelity

    Raises
    ------
    FidelityError
        For an unknown fidelity, or none where there are several.
    ConfigError
        When the fidelity was never trained, or dispersion would be counted twice.
    """
    config, label = source.config, source.label
    if config.kind != KIND:
        trunk = MODELS[config.kind].trunk
        cure = f": export the {trunk} model below its head, whose energies it has" if trunk == KIND else ""
        raise ConfigError(f"{label!r} holds a {config.kind!r} model; {KIND} models can be exported{cure}")
    index = source.index_of(fidelity)
    chosen = config.fidelities[index]
    dispersion_term(chosen, dispersion)  # the refusals of the calculators
    networks = cast("list[AIMNet2Network]", source.chosen_members(member))
    if chosen.elements == () or _untrained(networks, index):
        raise ConfigError(
            f"fidelity {chosen.name!r} of {label!r} was never trained, its predictions mean nothing: train it with "
            "data of this level, or export another fidelity"
        )
    singles = [single_fidelity(network, index) for network in networks]
    elements = tuple(z for z in singles[0].config.elements if chosen.elements is None or z in chosen.elements)
    arguments = {**asdict(singles[0].config), "elements": elements}
    provenance = {**config.provenance, "exported from": f"{label}, hash {source.hash}"}
    if member is not None:
        provenance["member"] = str(member)
    declared = replace(
        config,
        arguments=arguments,
        n_members=len(singles),
        fidelities=(replace(chosen, dispersion=_declared(chosen, dispersion), elements=elements),),
        provenance=provenance,
    )
    return checkpoint_of(declared, list(singles))


def single_fidelity(network: nn.Module, fidelity: int) -> AIMNet2Network:
    """A network of one fidelity, with separate embeddings, that predicts what a given one does at one of its.

    Its dtypes are those of the given one.

    Returns
    -------
    network in evaluation mode whose weights need no gradient
    """
    assert isinstance(network, AIMNet2Network)
    old = network.config
    chain, given = old.chain(fidelity), network.state_dict()
    state = {name: value for name, value in given.items() if name.startswith(("conv_", "passes."))}
    if old.embeddings == "shared":
        state["embedding"] = (given["embedding"] + given["embedding_offsets"][chain[-1]])[None]
    else:
        state["embedding"] = given["embedding"][chain[-1]][None]
    state["shifts"] = given["shifts"][fidelity][None]
    own = f"charge_heads.{fidelity}."
    state.update({f"charge_heads.0.{k.removeprefix(own)}": v for k, v in given.items() if k.startswith(own)})
    config = replace(
        old,
        n_fidelities=1,
        embeddings="separate",
        readouts="separate",
        bases=(),
        energy_hidden=tuple(len(chain) * width for width in old.energy_hidden),
    )
    result = AIMNet2Network(config)
    merged = _sum_of_heads([_layers(network.energy_heads[old.readout(k)]) for k in chain])
    names = [name for name, _ in result.energy_heads[0].named_parameters(prefix="energy_heads.0")]
    state.update(zip(names, (parameter for layer in merged for parameter in layer)))
    result.load_state_dict({name: value.detach().clone() for name, value in state.items()}, strict=True, assign=True)
    return result.requires_grad_(False).eval()


Layers = list[tuple[Tensor, Tensor]]
"""Weights and biases of a perceptron."""


def _layers(head: nn.Module) -> Layers:
    return [(layer.weight, layer.bias) for layer in head.children() if isinstance(layer, nn.Linear)]


def _sum_of_heads(heads: Sequence[Layers]) -> Layers:
    """The perceptron whose result is the sum of those of several that see the same input."""
    merged = []
    for k, layers in enumerate(zip(*heads)):
        weights, biases = [weight for weight, _ in layers], [bias for _, bias in layers]
        first, last = k == 0, k == len(heads[0]) - 1
        if first and last:
            weight = torch.stack(weights).sum(dim=0)
        elif first:
            weight = torch.cat(weights, dim=0)
        elif last:
            weight = torch.cat(weights, dim=1)
        else:
            weight = torch.block_diag(*weights)
        merged.append((weight, torch.stack(biases).sum(dim=0) if last else torch.cat(biases)))
    return merged


def _untrained(networks: Sequence[AIMNet2Network], fidelity: int) -> bool:
    """Whether nothing of a fidelity has changed since it was added: a correction that is zero, or a copy of another."""

    def of_fidelity(network: AIMNet2Network, k: int) -> list[Tensor]:
        table = network.embedding if network.embedding_offsets is None else network.embedding_offsets
        return [table[k], network.shifts[k], *network.energy_heads[network.config.readout(k)].parameters()]

    def equal(network: AIMNet2Network, other: int) -> bool:
        pairs = zip(of_fidelity(network, fidelity), of_fidelity(network, other))
        return all(torch.equal(mine, others) for mine, others in pairs)

    last = [_layers(network.energy_heads[network.config.readout(fidelity)])[-1] for network in networks]
    if not any(bool(weight.any()) or bool(bias.any()) for weight, bias in last):
        return True
    return any(all(equal(network, other) for network in networks) for other in range(fidelity))


def _declared(chosen: Fidelity, wish: DispersionChoice) -> str | None:
    """The text that names the chosen dispersion in a model."""
    if wish == "auto":
        return chosen.dispersion
    if wish is None or isinstance(wish, str):
        return wish
    method = "d3bj" if isinstance(wish, D3Parameters) else "d4"
    return f"{method}:" + ",".join(f"{key}={value!r}" for key, value in asdict(wish).items())
