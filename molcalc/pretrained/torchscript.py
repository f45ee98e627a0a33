"""Reading TorchScript files: the only module that does.

A TorchScript file is a program. It is opened only when its SHA-256 is that of a published file, or when the user
says that it is trusted.
"""

from __future__ import annotations

import io
import warnings

import torch
from torch import Tensor

from molcalc.errors import CheckpointCorruptError, UnsafeCheckpointError
from molcalc.files import sha256


def read_state(data: bytes, where: str, *, known_sha256: str | None, trusted: bool = False) -> dict[str, Tensor]:
    """State dictionary of a TorchScript module.

    Parameters
    ----------
    data : content of the file; the checksum is taken of these very bytes.
    known_sha256 : checksum of the published file it claims to be, or None.

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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            module = torch.jit.load(io.BytesIO(data), map_location="cpu")
    except RuntimeError as error:
        raise CheckpointCorruptError(f"{where} is not a TorchScript file: {str(error).splitlines()[0]}") from error
    return {name: value.detach() for name, value in module.state_dict().items()}
