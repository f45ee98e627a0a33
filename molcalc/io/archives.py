"""Zip archives, which models, programs and arrays of numpy are: checked as a whole before anything is unpacked."""

from __future__ import annotations

import io
import zipfile

from molcalc.errors import CheckpointCorruptError, short
from molcalc.io.budget import budget_of, expansion_message


def check_archive(data: bytes, where: str) -> None:
    """Refuse a model file whose records do not have their checksums, which torch does not compare, or that expands.

    Parameters
    ----------
    data : content of the archive.
    where : named in errors.

    Raises
    ------
    CheckpointCorruptError
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            claimed = sum(record.file_size for record in archive.infolist())
            if claimed > budget_of(len(data)):
                raise CheckpointCorruptError(expansion_message(where, claimed, len(data)))
            damaged = archive.testzip()
    except CheckpointCorruptError:
        raise
    except Exception as error:  # zipfile raises a dozen classes for damaged archives
        raise CheckpointCorruptError(f"{where} is truncated or damaged: {short(str(error))}") from error
    if damaged is not None:
        raise CheckpointCorruptError(f"{where} is damaged: the checksum of {short(damaged)} does not match")
