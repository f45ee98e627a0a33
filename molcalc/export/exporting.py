"""``export``: one level of theory of a model as a file that works by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from molcalc.assembly.opening import ModelSource, OpenedModel, open_model
from molcalc.assembly.potentials import potential_of
from molcalc.assembly.terms import DispersionChoice
from molcalc.energy_term import EnergyTerm
from molcalc.errors import ConfigError, suggest
from molcalc.export import program_files
from molcalc.export.description import describe_export
from molcalc.export.program import PaddedPotential, Program
from molcalc.export.reduction import reduced
from molcalc.io import checkpoint
from molcalc.io.checkpoint import CONFIG, Checkpoint
from molcalc.io.files import sha256, together, write_atomic
from molcalc.io.targets import check_not_input, reserved, reserved_folder
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.prediction.options import DTYPES
from molcalc.pretrained.foreign.exported import Contents, array_checksum, description_beside

EXPORT_FORMS = {".jpt": "torchscript", ".pt2": "torch.export", "": "model directory"}
"""What is written, by the ending of its name."""


@dataclass(frozen=True)
class Exported:
    """Outcome of an export: what was written.

    Attributes
    ----------
    path : file or folder.
    sidecar : JSON file that describes it; that of a folder is its configuration.
    contents : the description.
    """

    path: Path
    sidecar: Path
    contents: Contents


def export(
    model: ModelSource | Sequence[ModelSource],
    output: str | os.PathLike[str],
    *,
    fidelity: str | None = None,
    dispersion: DispersionChoice = "auto",
    member: int | None = None,
    dtype: str | None = None,
    aot: bool = False,
    force: bool = False,
    trusted: bool = False,
) -> Exported:
    """Write one fidelity of an AIMNet2 model as a file that works by itself.

    Energies contain what the calculator's contain: reference energies, Coulomb, repulsion, dispersion; for an ensemble
    they are means, and standard deviations come with them.

    Parameters
    ----------
    model : as :class:`molcalc.calculators.AIMNet2` takes it; a list of runs of one model makes an ensemble.
    output : what is written follows from the ending: ``.jpt`` a TorchScript program, ``.pt2`` one of torch.export, and
        without ending a model directory with this fidelity alone. Programs get a description beside them,
        ``NAME.jpt.json``.
    fidelity : its name; may be left out where there is only one.
    dispersion : "auto" as the model declares, None, "d3bj:FUNCTIONAL" with an exact name, or D3Parameters.
    member : one network of an ensemble, from 0; None takes all.
    dtype : "float64" (default of programs) or "float32": arithmetic of the large perceptrons. All else is in float64.
    aot : compile a ``.pt2`` program for this machine (AOTInductor); needs a C++ compiler.
    force : replace what is there.
    trusted : allow an unknown TorchScript file as model; reading it runs the code in it.

    Returns
    -------
    paths of the file and of its description, and the description itself

    Raises
    ------
    FidelityError
        When the fidelity is unknown, or missing where there are several.
    ConfigError, InputError
        When an option does not fit the model or the output, or the fidelity was never trained.
    FileNotFoundError, CheckpointError
        When the model cannot be found or used.
    ResourceError
        When the output cannot be written; what was there stays.
    """
    target = Path(output)
    form = _form(target, dtype, aot)
    models = [model] if isinstance(model, (str, os.PathLike, Checkpoint)) else model
    with _reserved_target(target, models, force):
        source = open_model(model, trusted=trusted)
        chosen = reduced(source, fidelity=fidelity, dispersion=dispersion, member=member)
        return _write(target, form, source, chosen, dtype=dtype or "float64", aot=aot)


def _write(target: Path, form: str, source: OpenedModel, chosen: Checkpoint, *, dtype: str, aot: bool) -> Exported:
    """Write a model of one fidelity in a form, and its description."""
    potential = potential_of(open_model(chosen))
    members, terms = (
        cast(list[AIMNet2Network], list(potential.members)),
        cast(tuple[EnergyTerm, ...], tuple(potential.terms)),
    )
    contents = describe_export(
        chosen, members, terms, form=form, dtype=dtype, source=source.label, source_hash=source.hash
    )  # fmt: skip
    if form == EXPORT_FORMS[""]:
        checkpoint.save(target, chosen)
        return Exported(target, target / CONFIG, contents)
    potential.set_dtype(DTYPES[dtype])
    padded = PaddedPotential(members, terms)
    if form == "torchscript":
        program = Program(padded, members[0].elements, chosen.config.neutral_only)
        contents = replace(contents, arrays=array_checksum(program.state_dict()))
        data = program_files.script(program, contents)
    else:
        data = program_files.packed(padded, contents, aot=aot)
    sidecar = description_beside(target)
    more = {"file": target.name, "bytes": len(data), "sha256": sha256(data)}
    with together():
        write_atomic(target, data)
        write_atomic(sidecar, contents.to_json(**more).encode())
    return Exported(target, sidecar, contents)


def _form(target: Path, dtype: str | None, aot: bool) -> str:
    """What to write; refuses options that do not go with it before any work is done."""
    form = EXPORT_FORMS.get(target.suffix)
    if form is None or not target.name:
        raise ConfigError(
            f"{target}: unknown ending {target.suffix!r}; .jpt is a TorchScript program, .pt2 one of torch.export, and "
            "a name without ending a model directory"
        )
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError(f"dtype={dtype!r}{suggest(str(dtype), DTYPES)}; choose one of {list(DTYPES)}")
    if dtype is not None and form == EXPORT_FORMS[""]:
        raise ConfigError(f"dtype={dtype!r} is for programs; whoever opens the model directory {target} chooses it")
    if aot and form != "torch.export":
        raise ConfigError(f"aot=True compiles a program of torch.export; {target} does not end in .pt2")
    if aot:
        program_files.check_compiler()
        form = "aotinductor"
    return form


@contextmanager
def _reserved_target(target: Path, models: Sequence[ModelSource], force: bool) -> Iterator[None]:
    """Keep the names of what is written; never over the model itself, what nobody asked to replace, or no export."""
    files = [Path(model) for model in models if not isinstance(model, Checkpoint)]
    check_not_input(target, files)
    if not target.suffix:
        with reserved_folder(target, force=force, kind="a model directory", owns=checkpoint.belongs):
            yield
        return
    with (
        reserved(target, force=force, inputs=files),
        reserved(description_beside(target), force=force, inputs=files),
    ):
        yield
