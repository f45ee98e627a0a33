"""Writing TorchScript: the only module that does.

TorchScript is deprecated since torch 2.13. Programs that run it are many, hence this form; those of
:mod:`molcalc.export.package` and model directories are made to last.
"""

from __future__ import annotations

import io
import warnings

import torch

from molcalc.export.archives import rewritten
from molcalc.export.program import Program
from molcalc.pretrained.foreign.exported import CONTENTS, Contents

SOURCE_RECORDS = ".debug_pkl"
"""Records that name the files of the machine that wrote a program; nothing needs them."""


def script(program: Program, contents: Contents) -> bytes:
    """A self-contained file that ``torch.jit.load`` reads.

    Parameters
    ----------
    contents : description of the model, which goes into the file.

    Returns
    -------
    content of the file
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.save(torch.jit.script(program), buffer, _extra_files={CONTENTS: contents.to_json()})
    return rewritten(buffer.getvalue(), without=SOURCE_RECORDS)
