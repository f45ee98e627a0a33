"""Checks of the contract of a network: what it returns, batches, states of structures, precision, copies."""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields, replace

import torch
from ase import Atoms
from torch import Tensor, nn

from molcalc.batch import AtomicBatch
from molcalc.derivatives import evaluate
from molcalc.models.network import TrainableNetwork
from molcalc.nn.segments import segment_sum
from molcalc.potential import Potential
from molcalc.properties import PROPERTIES
from molcalc.testing.check_report import CheckFailedError, CheckSkippedError
from molcalc.testing.potential_subject import BatchResults, PotentialSubject, Sample, require_equal

TOTAL_CHARGE_ERROR = 1e-9
"""e, allowed error of a total charge in double precision."""
SINGLE_ENERGY, SINGLE_FORCES = 1e-5, 2e-4
"""eV per atom, and eV/Å or relative to the largest force: allowed error of a network in single precision."""
VISIBLE = 1e-7
"""eV, or e; the least that a change of charge, spin or fidelity has to change."""
LARGE_BATCH = 8
"""Copies of each structure in the batch that tries single precision: small batches may run in double."""


def predictions(subject: PotentialSubject) -> None:
    """A network returns what it promises, in the promised shapes, and leaves the batch as it was."""
    batch = subject.batch(*subject.samples)
    kept = copy.deepcopy(batch)
    for network in subject.potential.networks:
        found = network(batch)
        promised = {"atomic_energies", *network.predicts}
        if set(found) != promised:
            raise CheckFailedError(f"it returns {sorted(found)}; it promises {sorted(promised)}")
        if found["atomic_energies"].dtype != torch.float64:
            raise CheckFailedError(f"atomic energies are {found['atomic_energies'].dtype}; sum them in float64")
        for name, value in found.items():
            shape = PROPERTIES[name].shape if name in PROPERTIES else None
            wrong = shape is not None and (
                value.ndim != 1 + len(shape) or any(b not in (-1, a) for a, b in zip(value.shape[1:], shape))
            )
            if wrong or value.shape[0] != batch.n_atoms:
                raise CheckFailedError(f"{name} has the shape {tuple(value.shape)}; expected (n_atoms, *{shape})")
            if not bool(torch.isfinite(value).all()):
                raise CheckFailedError(f"{name} is not finite")
    for field in fields(AtomicBatch):
        before, after = getattr(kept, field.name), getattr(batch, field.name)
        if isinstance(before, Tensor) and not torch.equal(before, after):
            raise CheckFailedError(f"forward changes {field.name} of the batch that it is given")


def reference_energies(subject: PotentialSubject) -> None:
    """Energies of free atoms are added to the last digit, for the fidelity that they are set for."""
    network = _trainable(subject)
    number = int(subject.sample.atoms.numbers[0])
    samples = [replace(subject.sample, fidelity=k) for k in range(network.n_fidelities)]
    batch = subject.batch(*samples)
    for k in range(network.n_fidelities):
        network.set_reference_energies({number: -2041.9}, k)
        before = network(batch)["atomic_energies"]
        network.set_reference_energies({number: -2041.9 + 1e-9}, k)
        change = network(batch)["atomic_energies"] - before
        own = (batch.numbers == number) & (batch.fidelity.index_select(0, batch.system_idx) == k)
        if float((change - 1e-9 * own).abs().max()) > 1e-11:
            raise CheckFailedError(f"a reference energy of fidelity {k} that grows by 1e-9 eV adds {change} eV")


def initialization(subject: PotentialSubject) -> None:
    """Fresh weights are all drawn, and depend on the seed only."""
    network = _trainable(subject)
    drawn = []
    for filling in (float("nan"), 1.0):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(filling)
            torch.manual_seed(5)
            network.initialize()
        drawn.append({name: value.clone() for name, value in network.named_parameters()})
    forgotten = [name for name, value in drawn[0].items() if not torch.equal(value, drawn[1][name])]
    if forgotten:
        raise CheckFailedError(f"initialize() leaves weights as they were: {', '.join(forgotten[:5])}")


def _trainable(subject: PotentialSubject) -> TrainableNetwork:
    """A copy of the first network."""
    if not isinstance(subject.network, TrainableNetwork):
        raise CheckSkippedError(f"{type(subject.network).__name__} is not trained")
    return copy.deepcopy(subject.network)


def longer_edges(subject: PotentialSubject) -> None:
    """Edges beyond the range of the network change nothing."""
    for sample in (subject.sample, subject.crystal):
        potential = subject.periodic if sample.atoms.pbc.any() else subject.potential
        longer = subject.batch(sample, potential=potential, cutoff=potential.cutoff + 1.5)
        require_equal(
            evaluate(potential, longer, ("forces",)), subject.results(sample, potential=potential), "with longer edges"
        )


def _mixed(subject: PotentialSubject) -> list[Sample]:
    """Structures of several sizes, charges and fidelities, one of them a single atom."""
    atom = Atoms([int(subject.sample.atoms.numbers[0])], [[1.0, 2.0, 3.0]])
    charges = (0, 1, -1)
    molecules = [replace(sample, charge=charges[k % 3]) for k, sample in enumerate(subject.samples)]
    mixed = [molecules[0], Sample(atom, charge=-1), *molecules[1:], subject.sample]
    return [replace(sample, fidelity=k % subject.network.n_fidelities) for k, sample in enumerate(mixed)]


def batch(subject: PotentialSubject) -> None:
    """A structure in a batch, wherever it stands, has the results that it has alone."""
    mixed = _mixed(subject)
    alone = [subject.results(sample) for sample in mixed]
    for order in (list(range(len(mixed))), [2, 0, *range(3, len(mixed)), 1]):
        wanted = {name: torch.cat([alone[k][name] for k in order]) for name in alone[0]}
        require_equal(subject.results(*(mixed[k] for k in order)), wanted, "in a batch with others,")


def batch_of_crystals(subject: PotentialSubject) -> None:
    """A crystal in a batch has the results that it has alone, with stress, beside molecules where terms allow both."""
    crystal, potential = subject.crystal, subject.periodic
    images = [crystal, replace(crystal, atoms=crystal.atoms.repeat((2, 1, 1)))]
    alone = [subject.results(each, potential=potential, properties=("forces", "stress")) for each in images]
    wanted = {name: torch.cat([each[name] for each in alone]) for name in alone[0]}
    found = subject.results(*images, potential=potential, properties=("forces", "stress"))
    require_equal(found, wanted, "in a batch with another crystal,")


def leak(subject: PotentialSubject) -> None:
    """What happens in one structure does not reach another one of the batch, not even a position that is no number."""
    clean = subject.batch(*_mixed(subject))
    expected = evaluate(subject.potential, clean, ("forces",))
    for poison in (0.1, float("nan")):
        positions = clean.positions.clone()
        positions[clean.system_idx == 2] += poison * torch.arange(1.0, 4.0)
        found = evaluate(subject.potential, replace(clean, positions=positions), ("forces",))
        _require_others_equal(found, expected, clean, 2, "when another structure of the batch changes,")


def _require_others_equal(
    found: BatchResults, expected: BatchResults, batch: AtomicBatch, changed: int, when: str
) -> None:
    """Fail unless all structures but one have the same results."""
    of_atoms, of_systems = batch.system_idx != changed, torch.arange(batch.n_systems) != changed
    kept = []
    for results in (found, expected):
        masks = {name: of_atoms if len(value) == batch.n_atoms else of_systems for name, value in results.items()}
        kept.append({name: value[masks[name]] for name, value in results.items()})
    require_equal(kept[0], kept[1], when)


def charge_conservation(subject: PotentialSubject) -> None:
    """Charges add up to the total charge of every structure, spin charges to its unpaired electrons."""
    if not subject.charged:
        raise CheckSkippedError("no charges are predicted")
    samples = [replace(sample, charge=q) for sample in subject.samples for q in (-1, 0, 1, 2)]
    batch = subject.batch(*samples)
    found = evaluate(subject.potential, batch, ())
    for name, wanted in (("charges", batch.total_charge), ("spin_charges", batch.multiplicity - 1.0)):
        if name in found:
            error = segment_sum(found[name].double(), batch.system_idx, batch.n_systems) - wanted
            if float(error.abs().max()) > TOTAL_CHARGE_ERROR:
                raise CheckFailedError(f"{name} miss what they should add up to by {float(error.abs().max()):.2g} e")


def charge_per_system(subject: PotentialSubject) -> None:
    """A total charge acts on its own structure only."""
    if not subject.charged:
        raise CheckSkippedError("no charges are predicted")
    batch = subject.batch(*subject.samples)
    total_charge = batch.total_charge.clone()
    total_charge[0] += 2
    _check_state(subject, batch, replace(batch, total_charge=total_charge), "charges", "total charge")


def multiplicity_per_system(subject: PotentialSubject) -> None:
    """A multiplicity acts on its own structure only."""
    if not subject.open_shell:
        raise CheckSkippedError("no spin charges are predicted")
    batch = subject.batch(*subject.samples)
    multiplicity = batch.multiplicity.clone()
    multiplicity[0] += 2
    _check_state(subject, batch, replace(batch, multiplicity=multiplicity), "spin_charges", "multiplicity")


def fidelity_per_system(subject: PotentialSubject) -> None:
    """A fidelity acts on its own structure only."""
    if subject.network.n_fidelities == 1:
        raise CheckSkippedError("there is one fidelity")
    batch = subject.batch(*subject.samples)
    fidelity = batch.fidelity.clone()
    fidelity[0] += 1
    _check_state(subject, batch, replace(batch, fidelity=fidelity), "energy", "fidelity")


def _check_state(subject: PotentialSubject, before: AtomicBatch, after: AtomicBatch, name: str, what: str) -> None:
    """Fail unless a change of the first structure's state changes a result of it, and none of the others."""
    expected = evaluate(subject.potential, before, ("forces",))
    found = evaluate(subject.potential, after, ("forces",))
    _require_others_equal(found, expected, before, 0, f"when another structure has another {what},")
    own = before.system_idx == 0 if len(expected[name]) == before.n_atoms else torch.arange(before.n_systems) == 0
    if not float((found[name] - expected[name])[own].abs().max()) > VISIBLE:
        raise CheckFailedError(f"{name} do not depend on the {what}")


def repeatable(subject: PotentialSubject) -> None:
    """Results are the same to the last bit when a structure is seen again, whatever came between."""
    subject.results(*subject.samples)
    require_equal(subject.results(subject.sample), subject.standard, "seen again,", exact=True)


def copies(subject: PotentialSubject) -> None:
    """Copies and pickles give the same results."""
    wanted = subject.results(subject.sample, potential=subject.given)
    for copied in (copy.deepcopy(subject.given), pickle.loads(pickle.dumps(subject.given))):  # noqa: S301 - made here
        require_equal(subject.results(subject.sample, potential=copied), wanted, "of a copy", exact=True)


def double_precision(subject: PotentialSubject) -> None:
    """Nothing is computed in single precision when double is asked for."""
    seen: dict[torch.dtype, str] = {}

    def record(module: nn.Module, inputs: object, output: object) -> None:
        values = [*inputs, output] if isinstance(inputs, tuple) else [output]
        for value in values:
            tensors = value.values() if isinstance(value, dict) else [value]
            seen.update({t.dtype: type(module).__name__ for t in tensors
                         if isinstance(t, Tensor) and t.is_floating_point()})  # fmt: skip

    handles = [module.register_forward_hook(record) for module in subject.potential.modules()]
    try:
        subject.results(subject.sample)
    finally:
        for handle in handles:
            handle.remove()
    narrow = {dtype: place for dtype, place in seen.items() if dtype != torch.float64}
    if narrow:
        raise CheckFailedError(", ".join(f"{place} sees {dtype}" for dtype, place in narrow.items()))


def single_precision(subject: PotentialSubject) -> None:
    """With the large matrix products in single precision, results stay close to those in double."""
    single: Potential = copy.deepcopy(subject.potential).set_dtype(torch.float32)
    rounded: Potential = copy.deepcopy(single).set_dtype(torch.float64)
    samples = LARGE_BATCH * subject.samples
    found, wanted = (subject.results(*samples, potential=each) for each in (single, rounded))
    n_atoms = torch.tensor([len(sample.atoms) for sample in samples])
    error = float(((found["energy"] - wanted["energy"]).abs() / n_atoms).max())
    if not error <= SINGLE_ENERGY:
        raise CheckFailedError(f"energies are off by {error:.2g} eV per atom (allowed: {SINGLE_ENERGY})")
    error, scale = float((found["forces"] - wanted["forces"]).abs().max()), max(1.0, subject.force_scale)
    if not error <= SINGLE_FORCES * scale:
        raise CheckFailedError(f"forces are off by {error:.2g} eV/Å (allowed: {SINGLE_FORCES * scale:.2g})")
