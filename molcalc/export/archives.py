"""Archives of torch: copies with records left out or added."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import torch

_OF_WRITER = ("version", ".data/version", ".data/serialization_id", "byteorder")
"""Records that torch adds to every archive."""


def rewritten(data: bytes, *, without: str | None = None, more: Mapping[str, str] | None = None) -> bytes:
    """A copy of an archive.

    Parameters
    ----------
    without : ending of the names of records that are left out.
    more : extra files by name.

    Returns
    -------
    content of the new archive
    """
    target = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(target)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for record in archive.infolist():
            name = record.filename.partition("/")[2]
            if name not in _OF_WRITER and not (without and name.endswith(without)):
                content = archive.read(record)
                writer.write_record(name, content, len(content))
    for name, text in (more or {}).items():
        content = text.encode()
        writer.write_record(f"extra/{name}", content, len(content))
    writer.write_end_of_file()
    return target.getvalue()
