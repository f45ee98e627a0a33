"""Files that ``molcalc export`` wrote: what they say of themselves, and the model inside, without running them.

A program is an archive. One record of it is a JSON text that describes the program; a file beside it holds the same,
with the checksum of the whole. Torch compares no checksum when it opens an archive: here all of them are.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from molcalc.errors import CheckpointCorruptError, CheckpointMismatchError, ConfigError, short
from molcalc.io.archives import check_archive
from molcalc.io.arrays import digest
from molcalc.io.checkpoint import MAX_CONFIG, Checkpoint, ModelConfig, upgrade_1_to_2
from molcalc.io.files import read_file, sha256
from molcalc.io.schema import from_dict
from molcalc.io.seals import SEAL, sealed, unsealed

CONTENTS = "molcalc.json"
"""Name of the record, in the folder of extra files of the archive."""
EXPORT_FORMAT = 3
UNSEALED = (1, 2)
"""Formats whose descriptions have no checksum of their own."""
MAX_DESCRIPTION = 1 << 20
"""Bytes of a description beside a program."""
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
    arrays : checksum of the weights in the program; programs of older formats have none.
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
    arrays: str = ""

    def to_json(self, **more: Any) -> str:
        """As sealed text, with further values."""
        return json.dumps(sealed({**asdict(self), **more}), indent=1, ensure_ascii=False, allow_nan=False)


def description_beside(program: Path) -> Path:
    """File of the description of a program, which names the whole of it: two programs never share one."""
    return program.with_name(f"{program.name}.json")


def read_contents(data: bytes, path: Path) -> Contents | None:
    """Description inside an exported program, which is compared with all its checksums; None for any other file.

    Parameters
    ----------
    data : content of the file.
    path : the file: what is beside it is compared, too.

    Returns
    -------
    the description, or None

    Raises
    ------
    CheckpointCorruptError
        When the program or a description of it is damaged, or one does not belong to the other.
    CheckpointMismatchError
        When a newer molcalc wrote it.
    """
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return None
    check_archive(data, str(path))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = [record for record in archive.infolist() if record.filename.endswith(f"/extra/{CONTENTS}")]
        if not records:
            return None
        if len(records) > 1 or records[0].file_size > MAX_CONFIG:
            raise CheckpointCorruptError(f"{path}: its description {CONTENTS} is damaged")
        text = archive.read(records[0])
    values = _described(text, f"{path}: its description {CONTENTS}")
    if values.get("export_format") == 1:  # its model is described as in version 1 of model directories
        values["model"], _ = upgrade_1_to_2(values["model"], {})
    try:
        contents = from_dict(Contents, values, f"{path}: {CONTENTS}")
    except ConfigError as error:
        raise CheckpointCorruptError(str(error)) from error
    _check_beside(data, path)
    return contents


def _described(text: bytes, where: str) -> dict[str, Any]:
    """Values of a description without its seal."""
    try:
        values = json.loads(text.decode("utf-8"))
        version = values["export_format"]
        if type(version) is not int or not 1 <= version <= EXPORT_FORMAT:
            raise CheckpointMismatchError(
                f"{where} has export format {short(version)}; this molcalc reads up to {EXPORT_FORMAT}: install a "
                "newer one"
            )
        if not isinstance(values.get("model"), dict):
            raise ValueError("it describes no model")
        return values if version in UNSEALED and SEAL not in values else unsealed(values)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointCorruptError(f"{where} is damaged: {short(str(error))}") from error


def _check_beside(data: bytes, path: Path) -> None:
    """Compare a program with the description beside it, where there is one."""
    beside = description_beside(path)
    try:
        stated = _described(read_file(beside, MAX_DESCRIPTION), str(beside)).get("sha256")
    except FileNotFoundError:
        return
    if stated != sha256(data):
        raise CheckpointCorruptError(
            f"{path}: sha256 is {sha256(data)[:12]}…, not that in {beside.name}: one of the two was damaged or "
            f"exchanged; export it again, or take {beside.name} away if it belongs to another file"
        )


def array_checksum(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of the networks' weights in a program."""
    return digest({f"{member}.{name}": value for member, name, value in _arrays(state)})


def _arrays(state: Mapping[str, Tensor]) -> Iterator[tuple[str, str, Tensor]]:
    """Number of the network, name and values of all weights in a program."""
    for name, value in state.items():
        member, _, rest = name.removeprefix(MEMBERS).partition(".")
        if name.startswith(MEMBERS) and rest not in DERIVED_ARRAYS:
            yield member, rest, value


def checkpoint_of_program(state: Mapping[str, Tensor], contents: Contents, where: str) -> Checkpoint:
    """The model of one fidelity inside a program, from its state dictionary and description.

    Parameters
    ----------
    where : named in errors.

    Returns
    -------
    the model in memory

    Raises
    ------
    CheckpointCorruptError
        When the weights are not those that the description was written for.
    """
    if contents.arrays != (array_checksum(state) if contents.arrays else ""):
        raise CheckpointCorruptError(f"{where}: the weights are not those of its description: export it again")
    weights = {}
    for member, name, value in _arrays(state):
        own = _HEAD.sub(r"\1_heads.0.", name)
        weights[f"members.{member}.{own}"] = value[None] if own in _TABLES else value
    return Checkpoint(contents.model, weights)
