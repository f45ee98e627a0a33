"""``molcalc info``: what a model is, what it was made for, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molcalc.cli.options import Arguments, Subparsers, add_trusted, input_paths
from molcalc.cli.table import Column, ShownTable, add_table_options, check_table_target, show_table

if TYPE_CHECKING:
    from molcalc.fidelity import Fidelity
    from molcalc.io.checkpoint import Checkpoint, ModelConfig
    from molcalc.knowledge import Knowledge

_EPILOG = """\
examples:
  molcalc info
  molcalc info wb97m-d3
  molcalc info runs/water --json
  molcalc info model_pbe0.jpt
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("info", help="what a model is", description=__doc__, epilog=_EPILOG)
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="published name, directory, .jpt, .pt or .pt2 file (none: list the names)",
    )
    add_table_options(parser)
    add_trusted(parser)
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Print a description of one model, or the published names."""
    from molcalc.pretrained.sources import read_model

    check_table_target(args, input_paths([], args.model))
    if args.model is None:
        values: dict[str, Any] = published_models()
    else:
        values = (
            describe_program(args.model)
            or describe_generator(args.model)
            or describe_model(args.model, read_model(args.model, trusted=args.trusted))
        )
    rows: list[Sequence[str]] = [[key, _text(value)] for key, value in values.items()]
    width = max(len(key) for key in values)
    table = ShownTable([Column("what", text=True), Column("value", text=True)], rows)
    show_table(args, table, values, "\n".join(f"{key:{width}}  {text}" for key, text in rows))
    return 0


def published_models() -> dict[str, str]:
    """Names of models, and whether their weights are here."""
    from molcalc.errors import CheckpointError
    from molcalc.pretrained.catalog import BUNDLED, PUBLISHED, find_file

    found = {}
    for name, entry in PUBLISHED.items():
        try:
            found[name] = f"installed: {find_file(entry.file)}"
        except CheckpointError as error:
            found[name] = f"not installed: {error}"
    for name, trunk in BUNDLED.items():
        found[name] = "comes with molcalc" + ("" if trunk is None else f", heads on {trunk}")
    return found


def describe_model(name: str, checkpoint: Checkpoint) -> dict[str, Any]:
    """Description of a model as plain values: sizes, fidelities, energy terms, origin and files.

    Parameters
    ----------
    name : of the model, or its file.

    Returns
    -------
    values by name

    Raises
    ------
    CheckpointError, ConfigError
        When no potential can be made of it, for the reasons that a calculator has.
    """
    from ase.data import chemical_symbols

    from molcalc.assembly.opening import open_model
    from molcalc.assembly.potentials import potential_of
    from molcalc.assembly.terms import coulomb_words

    config = checkpoint.config
    opened = open_model(checkpoint)
    potential_of(opened, config.fidelities[0].name)  # refuses terms that do not exist
    network = opened.members[0]
    return {
        "model": name,
        "kind": config.kind,
        "members": config.n_members,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "elements": [chemical_symbols[z] for z in network.elements],
        "cutoff": f"{network.cutoff:g} Å",
        "fidelities": [_fidelity(fidelity, config, network.elements) for fidelity in config.fidelities],
        "coulomb": _coulomb(config.coulomb and coulomb_words(config), config.coulomb_range),
        "charged": "no, neutral molecules only" if config.neutral_only else "yes",
        "fragments": _fragments(checkpoint),
        "open shells": "yes" if "spin_charges" in network.predicts else "no",
        "predicts": ["atomic_energies", *network.predicts],
        "hash": checkpoint.hash,
        "provenance": config.provenance or "not recorded",
        "files": [f"{path} ({path.stat().st_size} bytes)" for path in model_files(name)],
    }


def describe_generator(name: str) -> dict[str, Any] | None:
    """Description of a generator of conformers: its molecule, size, training and files; None for anything else."""
    from dataclasses import asdict

    from molcalc.conformers.vae.model_files import parts_of
    from molcalc.errors import CheckpointError, MissingFileError
    from molcalc.io import checkpoint
    from molcalc.registry import GENERATOR

    try:
        model = checkpoint.load(name)
    except (CheckpointError, MissingFileError):  # whoever reads potentials says what is wrong
        return None
    if model.config.kind != GENERATOR:
        return None
    config, parts = model.config, parts_of(model, name)
    assert parts.network is not None
    molecule, mixture = parts.reference.molecule, parts.mixture
    return {
        "model": name,
        "kind": config.kind,
        "molecule": molecule.name,
        "formula": molecule.formula,
        "charge": molecule.charge,
        "multiplicity": molecule.multiplicity,
        "parameters": sum(parameter.numel() for parameter in parts.network.parameters()),
        "network": asdict(parts.network_config),
        "objective": asdict(parts.objective),
        "prior": "not fitted: the run has not ended" if mixture is None else f"{len(mixture.weights)} components",
        "hash": model.hash,
        "provenance": config.provenance or "not recorded",
        "files": [f"{path} ({path.stat().st_size} bytes)" for path in model_files(name)],
    }


def describe_program(name: str) -> dict[str, Any] | None:
    """Description of a file that ``molcalc export`` wrote, without running it; None for anything else."""
    from molcalc.io.files import read_file, sha256
    from molcalc.pretrained.foreign.exported import description_beside, read_contents

    path = Path(name)
    if path.suffix not in (".jpt", ".pt2") or not path.is_file():
        return None
    data, beside = read_file(path), description_beside(path)
    found = read_contents(data, path)
    if found is None:
        return None
    dispersion = found.dispersion or "none"
    return {
        "model": name,
        "kind": f"program ({found.form})",
        "members": found.members,
        "parameters": found.parameters,
        "elements": list(found.elements),
        "cutoff": f"{found.cutoff:g} Å",
        "fidelities": [
            {"name": found.fidelity, "functional": found.functional or "not recorded", "dispersion": dispersion}
        ],
        "dispersion": {"term": dispersion, **found.dispersion_parameters},
        "coulomb": _coulomb(found.coulomb, found.coulomb_range),
        "repulsion": found.repulsion or "none",
        "charged": "yes" if found.charged else "no, neutral molecules only",
        "open shells": "yes" if found.open_shells else "no",
        "dtype": found.dtype,
        "inputs": found.inputs,
        "outputs": found.outputs,
        "self-atomic energies": {symbol: list(values) for symbol, values in found.self_atomic_energies.items()},
        "hash": found.hash,
        "provenance": found.model.provenance,
        "made by": f"molcalc {found.molcalc}, torch {found.torch}",
        "sha256": f"{sha256(data)}, "
        + (f"as in {beside.name}" if beside.exists() else f"not compared: {beside.name} is missing"),
        "files": [f"{path} ({len(data)} bytes)"],
    }


def _fragments(checkpoint: Checkpoint) -> str:
    """Charges, in words, that the model gives to two molecules which are far apart."""
    from molcalc.analysis.fragment_charges import DISTANCE, fragment_charges
    from molcalc.errors import UnsupportedElementError

    if checkpoint.config.neutral_only:
        return "not measured: for neutral molecules only"
    try:
        found = fragment_charges(checkpoint)
    except UnsupportedElementError:
        return "not measured: the model does not know H, N and O"
    return f"NH4⁺ {found.ion:+.3f} e, H2O {found.water:+.3f} e at {DISTANCE:g} Å (right: +1, 0)"


def _coulomb(method: str | None, reach: float | None) -> str:
    if method is None:
        return "none"
    return method if reach is None else f"{method}, beyond {reach:g} Å"


def _fidelity(fidelity: Fidelity, config: ModelConfig, elements: Sequence[int]) -> dict[str, Any]:
    """Description of a fidelity, with its elements where they can differ from those of the network."""
    from ase.data import chemical_symbols

    dispersion = "in the labels" if fidelity.dispersion_in_labels else fidelity.dispersion or "none"
    words: dict[str, Any] = {
        "name": fidelity.name,
        "functional": fidelity.functional or "not recorded",
        "dispersion": dispersion,
    }
    if fidelity.knowledge is not None:
        words["trained on"] = _knowledge(fidelity.knowledge)
    if len(config.fidelities) == 1 and fidelity.elements is None:
        return words
    return {**words, "elements": [chemical_symbols[z] for z in fidelity.elements or elements]}


def _knowledge(known: Knowledge) -> dict[str, Any]:
    """What the training data covered; the span of compositions as formulas."""
    from molcalc.knowledge import formula_of

    span = "any (energies of free atoms were given)" if known.span is None else [formula_of(row) for row in known.span]
    return {
        "systems": known.n_systems,
        "atoms": "…".join(str(size) for size in known.sizes),
        "charges": list(known.charges),
        "multiplicities": list(known.multiplicities),
        "compositions made of": span,
        "shortest distances (Å)": known.shortest,
    }


def model_files(name: str) -> list[Path]:
    """Files a model is read from; none for a model on a hub or one that is in the cache only."""
    from molcalc.errors import CheckpointError
    from molcalc.pretrained.catalog import BUNDLED, BUNDLED_FOLDER, PUBLISHED, find_file

    if name in PUBLISHED:
        try:
            return [find_file(PUBLISHED[name].file)]
        except CheckpointError:
            return []
    path = BUNDLED_FOLDER / name if name in BUNDLED else Path(name)
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    return [path] if path.is_file() else []


def _text(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ("; " if any(isinstance(item, dict) for item in value) else ", ").join(_text(item) for item in value)
    return str(value)
