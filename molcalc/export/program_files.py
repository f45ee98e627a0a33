"""Programs as files: of torch.export, which last, and TorchScript, which this module alone writes.

In a program of torch.export the gradient is traced together with the energy, so that forces come with it. The number
of structures and of atoms is open. TorchScript is deprecated since torch 2.13; programs that run it are many, hence
that form.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from molcalc.errors import ConfigError, ResourceError
from molcalc.export.program import PaddedPotential, Program
from molcalc.pretrained.foreign.exported import CONTENTS, Contents

EXAMPLE = (7, 11)
"""Structures and atoms of the example that is traced; no other size in a program is the same, which would tie them."""
OLDEST_TORCH = "2.13"
"""Version of torch before which torch.export does not see that a program fits any number of atoms."""
SOURCE_RECORDS = ".debug_pkl"
"""Records that name the files of the machine that wrote a program; nothing needs them."""
_OF_WRITER = ("version", ".data/version", ".data/serialization_id", "byteorder")
"""Records that torch adds to every archive."""


def packed(potential: PaddedPotential, contents: Contents, *, aot: bool) -> bytes:
    """A file that ``torch.export.load`` reads, or one compiled for this machine (``aot``)."""
    program = exported_program(potential)
    if aot:
        return _compiled(program, contents)
    buffer = io.BytesIO()
    with _quiet():
        torch.export.save(program, buffer, extra_files={CONTENTS: contents.to_json()})
    return buffer.getvalue()


def exported_program(potential: PaddedPotential) -> ExportedProgram:
    """Program of ``coord`` (B, N, 3), ``numbers`` (B, N), ``charge`` (B,) and ``mult`` (B,), for any B and N."""
    if torch.__version__ < OLDEST_TORCH:
        raise ConfigError(
            f"programs of torch.export (.pt2) need torch {OLDEST_TORCH}, and this is torch {torch.__version__}: update "
            "it, or export a TorchScript program (.jpt) or a model directory (a name without ending)"
        )
    from torch.fx.experimental.proxy_tensor import make_fx

    n_systems, n_atoms = EXAMPLE
    generator = torch.Generator().manual_seed(0)
    coord = 3.0 * torch.randn(n_systems, n_atoms, 3, generator=generator, dtype=torch.float64)
    numbers = torch.full((n_systems, n_atoms), int(potential.known.nonzero()[-1]))
    charge = torch.zeros(n_systems, dtype=torch.float64)
    example = (coord, numbers, charge, torch.ones_like(charge))
    with _quiet():
        trace = make_fx(_Evaluation(potential), tracing_mode="symbolic", _allow_non_fake_inputs=True)
        graph: torch.fx.GraphModule = trace(*example)
        for node in graph.graph.nodes:
            node.meta.pop("stack_trace", None)  # names files of this machine
        batch, atoms = Dim("batch", min=1), Dim("atoms", min=1)
        sizes = ({0: batch, 1: atoms}, {0: batch, 1: atoms}, {0: batch}, {0: batch})
        program = torch.export.export(_Traced(graph), example, dynamic_shapes=sizes, strict=False)
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)
    return program


class _Evaluation(nn.Module):
    """Results of a padded batch; elements that were not trained stop the program."""

    def __init__(self, potential: PaddedPotential) -> None:
        super().__init__()
        self.potential = potential

    def forward(self, coord: Tensor, numbers: Tensor, charge: Tensor, mult: Tensor) -> dict[str, Tensor]:
        known = self.potential.covers(numbers).all()
        torch._assert_async(known, "numbers holds an element that is not covered by this model")
        leaf = coord.detach().requires_grad_(True)
        with torch.enable_grad():
            results = self.potential.evaluate(leaf, numbers, charge, mult, False)
        return {name: value.detach() for name, value in results.items()}


class _Traced(nn.Module):
    """A traced graph with named inputs."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.traced = graph

    def forward(self, coord: Tensor, numbers: Tensor, charge: Tensor, mult: Tensor) -> dict[str, Tensor]:
        results: dict[str, Tensor] = self.traced(coord, numbers, charge, mult)
        return results


def _compiled(program: ExportedProgram, contents: Contents) -> bytes:
    """The same as machine code."""
    from torch._inductor import aoti_compile_and_package

    with _quiet(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt2"
        try:
            aoti_compile_and_package(program, package_path=str(path))
        except Exception as error:  # of the compiler: torch has a dozen classes for them
            raise ResourceError(f"compiling the program failed: {str(error).splitlines()[0]}") from error
        return rewritten(path.read_bytes(), without=".cpp", more={CONTENTS: contents.to_json()})


def check_compiler() -> None:
    """Raise ConfigError where there is no C++ compiler."""
    compilers = [os.environ.get("CXX", ""), "g++", "clang++", "cl"]
    if not any(shutil.which(name) for name in compilers if name):
        raise ConfigError(
            "compiling a program (aot) needs a C++ compiler, and none is found (g++, clang++, or one in CXX): "
            "leave the option out"
        )


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


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
