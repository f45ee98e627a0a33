"""Files that ``molcalc export`` wrote: what they say of themselves, and the model inside, without running them.

A program is an archive. One record of it is a JSON text that describes the program.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from molcalc.errors import CheckpointCorruptError, CheckpointMismatchError, ConfigError, short
from molcalc.io.checkpoint import MAX_CONFIG, Checkpoint, ModelConfig, upgrade_1_to_2
from molcalc.io.schema import from_dict

CONTENTS = "molcalc.json"
"""Name of the record, in the folder of extra files of the archive."""
EXPORT_FORMAT = 2
MEMBERS = "potential.members."
"""Beginning of the names of the networks' weights in a program."""
DERIVED_ARRAYS = ("centers",)
"""What a network in a program holds beside its weights."""
_HEAD = re.compile(r"(energy|charge)_head\.")
_TABLES = ("embedding", "shifts")
"""Parts of a program that have no place for further fidelities; those of a model have."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Description that an exported program carries.

    Attributes
    ----------
    form : kind of program.
    molcalc, torch : versions that wrote it.
    source, source_hash : name and hash of the model that it was exported from.
    hash : of the part of that model that it holds.
    fidelity, functional : level of theory.
    dispersion : term that is part of the energy ("d3bj:pbe0"), "in the labels", or None.
    dispersion_parameters : its constants; cutoffs in Å.
    coulomb, coulomb_range, repulsion : as in :class:`molcalc.io.checkpoint.ModelConfig`.
    elements : symbols.
    self_atomic_energies : eV by element, one for each member.
    charged, open_shells : whether it knows ions and multiplicities.
    cutoff : Å, range of the network.
    dtype : arithmetic of its large perceptrons.
    members : networks whose mean it returns.
    parameters : numbers in one network.
    inputs, outputs : names, with shapes and units.
    model : the configuration of the model inside.
    """

    export_format: int = EXPORT_FORMAT
    form: str
    molcalc: str
    torch: str
    source: str
    source_hash: str
    hash: str
    fidelity: str
    functional: str | None
    dispersion: str | None
    dispersion_parameters: dict[str, float]
    coulomb: str | None
    coulomb_range: float | None
    repulsion: str | None
    elements: tuple[str, ...]
    self_atomic_energies: dict[str, tuple[float, ...]]
    charged: bool
    open_shells: bool
    cutoff: float
    units: dict[str, str]
    dtype: str
    members: int
    parameters: int
    inputs: dict[str, str]
    outputs: dict[str, str]
    model: ModelConfig

    def to_json(self, **more: Any) -> str:
        """As text, with further values."""
        return json.dumps({**asdict(self), **more}, indent=1, ensure_ascii=False, allow_nan=False)


def description_beside(program: Path) -> Path:
    """File of the description of a program, which names the whole of it: two programs never share one."""
    return program.with_name(f"{program.name}.json")


def read_contents(data: bytes, where: str) -> Contents | None:
    """Description inside an exported program; None for any other file.

    Returns
    -------
    the description, or None

    Raises
    ------
    CheckpointCorruptError
        When the description is damaged.
    CheckpointMismatchError
        When a newer molcalc wrote it.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        records = [record for record in archive.infolist() if record.filename.endswith(f"/extra/{CONTENTS}")]
    except Exception:  # no archive, or a damaged one: whoever reads the whole of it says so
        return None
    if not records:
        return None
    if len(records) > 1 or records[0].file_size > MAX_CONFIG:
        raise CheckpointCorruptError(f"{where}: its description {CONTENTS} is damaged")
    try:
        values = json.loads(archive.read(records[0]).decode("utf-8"))
        version = values["export_format"]
        if version == 1:  # its model is described as in version 1 of model directories
            values["model"], _ = upgrade_1_to_2(values["model"], {})
    except Exception as error:  # zipfile and json raise many classes for damaged contents
        raise CheckpointCorruptError(f"{where}: its description {CONTENTS} is damaged: {error}") from error
    if type(version) is not int or not 1 <= version <= EXPORT_FORMAT:
        raise CheckpointMismatchError(
            f"{where} has export format {short(version)}; this molcalc reads up to {EXPORT_FORMAT}: install a newer one"
        )
    try:
        return from_dict(Contents, values, f"{where}: {CONTENTS}")
    except ConfigError as error:
        raise CheckpointCorruptError(str(error)) from error


def checkpoint_of_program(state: Mapping[str, Tensor], contents: Contents) -> Checkpoint:
    """The model of one fidelity inside a program, from its state dictionary and description."""
    weights = {}
    for name, value in state.items():
        member, _, rest = name.removeprefix(MEMBERS).partition(".")
        if not name.startswith(MEMBERS) or rest in DERIVED_ARRAYS:
            continue
        rest = _HEAD.sub(r"\1_heads.0.", rest)
        weights[f"members.{member}.{rest}"] = value[None] if rest in _TABLES else value
    return Checkpoint(contents.model, weights)
