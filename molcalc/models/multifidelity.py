"""AIMNet2 for several levels of theory: one backbone, and for each fidelity its own embedding, heads and atoms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from molcalc.batch import AtomicBatch
from molcalc.errors import ConfigError
from molcalc.models.aimnet2 import MLP, AIMNet2, AIMNet2Config, equilibrate

EMBEDDINGS = ("separate", "shared")


@dataclass(frozen=True, kw_only=True)
class MultiFidelityConfig(AIMNet2Config):
    """Sizes of the network, and what its fidelities share.

    Attributes
    ----------
    n_fidelities : levels of theory.
    embeddings : "separate", a row for every fidelity and element; or "shared", a row for every element and an offset
        for every fidelity, so that an element seen at one level helps at another.
    bases : for every fidelity the index of the one that it corrects (Δ-learning), or None: it then uses the embedding
        of its base, and its head predicts the difference to the base's. () corrects none.
    charge_heads : every fidelity corrects the charges of the passes with a head of its own.
    charge_hidden : widths of the hidden layers of the charge heads.
    """

    n_fidelities: int = 2
    embeddings: str = "separate"
    bases: tuple[int | None, ...] = ()
    charge_heads: bool = False
    charge_hidden: tuple[int, ...] = (64,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_fidelities < 1:
            raise ValueError(f"n_fidelities={self.n_fidelities}; expected at least 1")
        if self.embeddings not in EMBEDDINGS:
            raise ValueError(f"embeddings={self.embeddings!r}; choose one of {', '.join(EMBEDDINGS)}")
        if self.bases and len(self.bases) != self.n_fidelities:
            raise ValueError(f"bases={self.bases}; expected one for each of the {self.n_fidelities} fidelities")
        for fidelity in range(len(self.bases)):
            self.chain(fidelity)

    def base(self, fidelity: int) -> int | None:
        """The fidelity that one corrects, or None."""
        return self.bases[fidelity] if self.bases else None

    def chain(self, fidelity: int) -> tuple[int, ...]:
        """The fidelity, its base, the base of that, and so on; raises ValueError for a circle."""
        found = [fidelity]
        while (base := self.base(found[-1])) is not None:
            if base in found or not 0 <= base < self.n_fidelities:
                raise ValueError(f"bases={self.bases}; fidelity {found[-1]} cannot correct fidelity {base}")
            found.append(base)
        return tuple(found)


class MultiFidelityAIMNet2(AIMNet2):
    r"""AIMNet2 whose embedding, energy head, free atoms and, optionally, charge head belong to a fidelity.

    Every structure is of one fidelity, ``batch.fidelity``; a batch may mix them. All heads see every atom, and an index
    picks the one that counts: a head without structures in a batch gets gradients that are zero, not absent, as several
    processes need it. With ``bases``,

    .. math:: E_i^{(f)} = \sum_{g \in \{f,\, b(f),\, b(b(f)),\, …\}} h_g(a_i) + E^{(f)}_{Z_i}

    Otherwise as :class:`molcalc.models.aimnet2.AIMNet2`, which a model of one fidelity equals exactly.
    """

    config: MultiFidelityConfig

    def __init__(self, config: MultiFidelityConfig) -> None:
        super().__init__(config, config.n_fidelities)
        c = self.config
        size = c.n_channels * c.n_radial
        if c.embeddings == "separate":
            self.embedding = nn.Parameter(torch.empty(c.n_fidelities, c.max_number + 1, size))
        else:
            self.embedding_offsets = nn.Parameter(torch.empty(c.n_fidelities, size))
        self.energy_heads = nn.ModuleList(MLP((c.aim_size, *c.energy_hidden, 1)) for _ in range(c.n_fidelities))
        if c.charge_heads:
            sizes = (c.aim_size, *c.charge_hidden, 2 * c.charge_channels)
            self.charge_heads = nn.ModuleList(MLP(sizes) for _ in range(c.n_fidelities))
        chains = [c.chain(fidelity) for fidelity in range(c.n_fidelities)]
        self._roots = [chain[-1] for chain in chains]
        self._added = [[float(head in chain) for head in range(c.n_fidelities)] for chain in chains]

    @property
    def n_fidelities(self) -> int:
        """Levels of theory that it knows."""
        return self.config.n_fidelities

    def initialize(self) -> MultiFidelityAIMNet2:
        """Draw fresh weights (seed torch before): equal embeddings, different heads, corrections that are zero."""
        super().initialize()
        if self.config.embeddings == "shared":
            nn.init.zeros_(self.embedding_offsets)
        for fidelity in range(self.config.n_fidelities):
            self._initialize_corrections(fidelity)
        return self

    def _initialize_corrections(self, fidelity: int) -> None:
        """Let the heads of a fidelity that correct something begin with no correction."""
        if self.config.base(fidelity) is not None:
            last = _last(self.energy_heads[fidelity])
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        if self.config.charge_heads:
            last = _last(self.charge_heads[fidelity])
            nn.init.zeros_(last.weight)
            with torch.no_grad():  # factors of the charge correction that are zero would stay zero
                last.bias.copy_(torch.arange(len(last.bias)) >= self.config.charge_channels)

    def _embed(self, batch: AtomicBatch) -> Tensor:
        c = self.config
        roots = torch.tensor(self._roots, device=batch.fidelity.device).index_select(0, batch.fidelity)
        of_atoms = roots.index_select(0, batch.system_idx)
        if c.embeddings == "shared":
            offsets = self.embedding_offsets.index_select(0, of_atoms)
            return self.embedding.index_select(0, batch.numbers) + offsets
        return self.embedding.flatten(0, 1).index_select(0, of_atoms * (c.max_number + 1) + batch.numbers)

    def _atomic_energies(self, aim: Tensor, batch: AtomicBatch) -> Tensor:
        each = torch.cat([head(aim) for head in self.energy_heads], dim=1)
        added = torch.tensor(self._added, dtype=each.dtype, device=each.device)
        return (each * added.index_select(0, batch.fidelity).index_select(0, batch.system_idx)).sum(dim=1)

    def _final_charges(self, charges: Tensor, aim: Tensor, targets: Tensor, batch: AtomicBatch) -> Tensor:
        c = self.config
        if not c.charge_heads:
            return charges
        each = torch.stack([head(aim) for head in self.charge_heads], dim=1)
        index = batch.fidelity.index_select(0, batch.system_idx)[:, None, None].expand(-1, 1, each.shape[2])
        raw, factors = each.gather(1, index)[:, 0].split(c.charge_channels, dim=1)
        return equilibrate(charges + raw, factors, targets, batch.system_idx, c.exact_charges)


def with_fidelities(network: AIMNet2, sources: Sequence[int], **changes: Any) -> MultiFidelityAIMNet2:
    """A network of several fidelities that starts from a given one.

    What it predicts at each fidelity is what ``network`` predicts at its source.

    Parameters
    ----------
    network : of one or several fidelities.
    sources : fidelity of ``network`` that each new one starts from; 0 where there is only one.
    changes : fields of :class:`MultiFidelityConfig` that turn on what ``network`` does not have: ``bases``,
        ``charge_heads``, ``charge_hidden``; and ``embeddings`` for one of a single fidelity.

    Raises
    ------
    ConfigError
        When embeddings that are separate are to be shared (or the reverse), or a corrected fidelity is left out.
    """
    old, given = _lifted(network, changes)
    settings = {**asdict(old), "n_fidelities": len(sources), "bases": _carried(old, sources), **changes}
    config = MultiFidelityConfig(**settings)
    with torch.random.fork_rng(devices=[]):
        result = MultiFidelityAIMNet2(config).initialize()
    tables = {"shifts", "embedding_offsets"} | ({"embedding"} if config.embeddings == "separate" else set())
    picked = torch.tensor(list(sources))
    state = result.to(network.embedding.dtype).state_dict()
    for name, fresh in state.items():
        kind, _, rest = name.partition("_heads.")
        if rest:
            fidelity, _, parameter = rest.partition(".")
            source = sources[int(fidelity)]
            begins = kind == "energy" and _begins_at_zero(config, int(fidelity), old, sources)
            value = fresh if begins else given.get(f"{kind}_heads.{source}.{parameter}", fresh)
        else:
            value = given[name].index_select(0, picked) if name in tables else given[name]
        state[name] = value.detach().clone()
    result.load_state_dict(state, strict=True, assign=True)
    return result


def _last(head: nn.Module) -> nn.Linear:
    """The layer that a perceptron ends with."""
    return [layer for layer in head.children() if isinstance(layer, nn.Linear)][-1]


def _lifted(network: AIMNet2, changes: Mapping[str, Any]) -> tuple[MultiFidelityConfig, dict[str, Tensor]]:
    """Configuration and weights of a network as those of one with several fidelities."""
    given = network.state_dict()
    if isinstance(network, MultiFidelityAIMNet2):
        old = network.config
        if changes.get("embeddings", old.embeddings) != old.embeddings:
            raise ConfigError(
                f"embeddings={changes['embeddings']!r}: this model of {old.n_fidelities} fidelities has "
                f"{old.embeddings!r} ones; leave the option out"
            )
        return old, given
    embeddings = changes.get("embeddings", "separate")
    config = MultiFidelityConfig(**{**asdict(network.config), "n_fidelities": 1, "embeddings": embeddings})
    lifted = {name.replace("energy_head.", "energy_heads.0."): value for name, value in given.items()}
    lifted["shifts"] = given["shifts"][None]
    if embeddings == "separate":
        lifted["embedding"] = given["embedding"][None]
    else:
        lifted["embedding_offsets"] = torch.zeros_like(given["embedding"][:1])
    return config, lifted


def _begins_at_zero(
    config: MultiFidelityConfig, fidelity: int, old: MultiFidelityConfig, sources: Sequence[int]
) -> bool:
    """Whether the energy head of a new fidelity starts at zero, not as that of its source."""
    source = sources[fidelity]
    base, old_base = config.base(fidelity), old.base(source)
    if base is not None and sources[base] == source:
        return True
    if old_base != (None if base is None else sources[base]):
        raise ConfigError(
            f"bases={config.bases}: fidelity {fidelity} starts from fidelity {source} of the given model, which does "
            f"not correct the one that fidelity {base} starts from"
        )
    return False


def _carried(old: MultiFidelityConfig, sources: Sequence[int]) -> tuple[int | None, ...]:
    """Bases of fidelities that start from given ones."""
    if not old.bases:
        return ()
    bases = [old.bases[source] for source in sources]
    lost = [source for source, base in zip(sources, bases) if base is not None and base not in sources]
    if lost:
        raise ConfigError(f"fidelity {lost[0]} corrects fidelity {old.bases[lost[0]]}, which is left out: keep both")
    return tuple(None if base is None else list(sources).index(base) for base in bases)
