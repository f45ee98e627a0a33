"""From a model of several fidelities and networks to the part of it that one level of theory needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import torch
from torch import Tensor, nn

from molcalc.assembly.opened_model import OpenedModel
from molcalc.assembly.terms import DispersionChoice, dispersion_term
from molcalc.dispersion.parameters import D3Parameters
from molcalc.errors import ConfigError
from molcalc.fidelity import Fidelity
from molcalc.io.checkpoint import Checkpoint
from molcalc.models.aimnet2 import AIMNet2, AIMNet2Config
from molcalc.models.multifidelity import MultiFidelityAIMNet2, MultiFidelityConfig
from molcalc.registry import checkpoint_of

KINDS = ("aimnet2", "aimnet2-multi")


def reduced(
    source: OpenedModel,
    *,
    fidelity: str | None = None,
    dispersion: DispersionChoice = "auto",
    member: int | None = None,
) -> Checkpoint:
    """The model of one fidelity alone, whose predictions are those of the whole model.

    The heads that a fidelity adds up (its own and those of what it corrects) become one of blocks. A charge head stays:
    the result is then a model "aimnet2-multi" of one fidelity, else an "aimnet2".

    Parameters
    ----------
    fidelity : its name; may be left out where there is only one.
    dispersion : as in :func:`molcalc.assembly.terms.dispersion_term`; becomes what the result declares.
    member : one network of an ensemble; None keeps all.

    Raises
    ------
    FidelityError
        For an unknown fidelity, or none where there are several.
    ConfigError
        When the fidelity was never trained, or dispersion would be counted twice.
    """
    config, label = source.config, source.label
    if config.kind not in KINDS:
        raise ConfigError(f"{label!r} holds a {config.kind!r} model; {' and '.join(KINDS)} models can be exported")
    index = source.index_of(fidelity)
    chosen = config.fidelities[index]
    dispersion_term(chosen, dispersion)  # the refusals of the calculators
    networks = source.chosen_members(member)
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
        kind="aimnet2-multi" if isinstance(singles[0], MultiFidelityAIMNet2) else "aimnet2",
        arguments=arguments,
        n_members=len(singles),
        fidelities=(replace(chosen, dispersion=_declared(chosen, dispersion), elements=elements),),
        provenance=provenance,
    )
    return checkpoint_of(declared, list(singles))


def single_fidelity(network: nn.Module, fidelity: int) -> AIMNet2:
    """A network that predicts what a given one does at one fidelity.

    Its dtypes are those of the given one.
    """
    assert isinstance(network, AIMNet2)
    if not isinstance(network, MultiFidelityAIMNet2):
        return network
    old = network.config
    chain, given = old.chain(fidelity), network.state_dict()
    state = {name: value for name, value in given.items() if name.startswith(("conv_", "passes."))}
    if old.embeddings == "separate":
        state["embedding"] = given["embedding"][chain[-1]]
    else:
        state["embedding"] = given["embedding"] + given["embedding_offsets"][chain[-1]]
    state["shifts"] = given["shifts"][fidelity]
    head = _sum_of_heads([_layers(network.energy_heads[k]) for k in chain])
    sizes = {field: getattr(old, field) for field in AIMNet2Config.__dataclass_fields__}
    sizes["energy_hidden"] = tuple(len(chain) * width for width in old.energy_hidden)
    places = [name.rpartition(".")[0] for name, _ in network.energy_heads[0].named_parameters() if "weight" in name]
    config: AIMNet2Config
    if old.charge_heads:
        config = MultiFidelityConfig(**sizes, n_fidelities=1, charge_heads=True, charge_hidden=old.charge_hidden)
        state["embedding"], state["shifts"] = state["embedding"][None], state["shifts"][None]
        own = f"charge_heads.{fidelity}."
        state.update({f"charge_heads.0.{k.removeprefix(own)}": v for k, v in given.items() if k.startswith(own)})
        result: AIMNet2 = MultiFidelityAIMNet2(config)
    else:
        config = AIMNet2Config(**sizes)
        result = AIMNet2(config)
    prefix = "energy_heads.0" if old.charge_heads else "energy_head"
    for place, (weight, bias) in zip(places, head):
        state[f"{prefix}.{place}.weight"], state[f"{prefix}.{place}.bias"] = weight, bias
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


def _untrained(networks: Sequence[nn.Module], fidelity: int) -> bool:
    """Whether nothing of a fidelity has changed since it was added: a correction that is zero, or a copy of another."""

    def of_fidelity(network: MultiFidelityAIMNet2, k: int) -> list[Tensor]:
        tables = [network.embedding[k]] if network.config.embeddings == "separate" else [network.embedding_offsets[k]]
        return [*tables, network.shifts[k], *network.energy_heads[k].parameters()]

    def equal(network: MultiFidelityAIMNet2, other: int) -> bool:
        pairs = zip(of_fidelity(network, fidelity), of_fidelity(network, other))
        return all(torch.equal(mine, others) for mine, others in pairs)

    several = [network for network in networks if isinstance(network, MultiFidelityAIMNet2)]
    if not several:
        return False
    last = [_layers(network.energy_heads[fidelity])[-1] for network in several]
    if not any(bool(weight.any()) or bool(bias.any()) for weight, bias in last):
        return True
    return any(all(equal(network, other) for network in several) for other in range(fidelity))


def _declared(chosen: Fidelity, wish: DispersionChoice) -> str | None:
    """The text that names the chosen dispersion in a model."""
    if wish == "auto":
        return chosen.dispersion
    if wish is None or isinstance(wish, str):
        return wish
    method = "d3bj" if isinstance(wish, D3Parameters) else "d4"
    return f"{method}:" + ",".join(f"{key}={value!r}" for key, value in asdict(wish).items())
