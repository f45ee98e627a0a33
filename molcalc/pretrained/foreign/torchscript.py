"""Reading TorchScript files: the only module that does.

A TorchScript file is a program. It is opened only when its SHA-256 is that of a published file, or when the user
says that it is trusted.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from typing import Any

import torch
from torch import Tensor

from molcalc.errors import CheckpointCorruptError, UnsafeCheckpointError
from molcalc.io.archives import check_archive
from molcalc.io.files import sha256

D3_PARAMETERS = ("s6", "s8", "a1", "a2")


def is_torchscript(data: bytes) -> bool:
    """Whether bytes look like a TorchScript program, whatever the name of the file."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return any("code" in name.split("/")[:-1] or name.endswith("constants.pkl") for name in archive.namelist())
    except Exception:  # the central directory is damaged: whoever reads the file says so
        return False


def read_state(data: bytes, where: str, *, known_sha256: str | None, trusted: bool = False) -> dict[str, Tensor]:
    """State dictionary of a TorchScript module.

    The parameters of a D3 module, which the program holds as constants, are added as ``….s6``, ``….s8``, ``….a1`` and
    ``….a2``.

    Parameters
    ----------
    data : content of the file; the checksum is taken of these very bytes.
    known_sha256 : checksum of the published file it claims to be, or None.

    Returns
    -------
    tensors by name

    Raises
    ------
    CheckpointCorruptError
        When the checksum differs or the file cannot be read.
    UnsafeCheckpointError
        When the file is not a known one and not trusted.
    """
    actual = sha256(data)
    if known_sha256 is not None and actual != known_sha256:
        raise CheckpointCorruptError(
            f"{where}: sha256 is {actual[:12]}…, the published file has {known_sha256[:12]}…: it was truncated, "
            "damaged or exchanged; reinstall the package that ships it"
        )
    if known_sha256 is None and not trusted:
        raise UnsafeCheckpointError(
            f"{where} is an unknown TorchScript file (sha256 {actual[:12]}…), and opening one runs the code in it. "
            "If you made it or know who did, pass trusted=True (--trusted on the command line)"
        )
    module = _loaded(data, where)
    state = {name: value.detach() for name, value in module.state_dict().items()}
    for name, part in module.named_modules():
        constants = {key: getattr(part, key, None) for key in D3_PARAMETERS}
        if all(isinstance(value, float) for value in constants.values()):
            state.update(
                {f"{name}.{key}": torch.tensor(value, dtype=torch.float64) for key, value in constants.items()}
            )
    return state


def read_program(data: bytes, where: str, trusted: bool) -> dict[str, Tensor]:
    """State dictionary of a program that ``molcalc export`` wrote.

    Returns
    -------
    tensors by name

    Raises
    ------
    CheckpointCorruptError
        When the file cannot be read.
    UnsafeCheckpointError
        When it is not trusted.
    """
    if not trusted:
        raise UnsafeCheckpointError(
            f"{where} is a TorchScript program (sha256 {sha256(data)[:12]}…), and opening one runs the code in it. If "
            "you exported it or know who did, pass trusted=True (--trusted on the command line); better, export a "
            "model directory: a name without ending"
        )
    return {name: value.detach() for name, value in _loaded(data, where).state_dict().items()}


def _loaded(data: bytes, where: str) -> Any:
    """The module in a TorchScript file; torch does not look at the checksums of its records."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise CheckpointCorruptError(f"{where} is not a TorchScript file, or truncated or damaged ({len(data)} bytes)")
    check_archive(data, where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            return torch.jit.load(io.BytesIO(data), map_location="cpu")
    except (RuntimeError, ValueError) as error:
        raise CheckpointCorruptError(f"{where} is not a TorchScript file: {str(error).splitlines()[0]}") from error
