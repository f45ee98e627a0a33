"""Synthetic structures of H2O2, whose two mirror images differ in one torsion only."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

from ase import Atoms

_SCRIPT = Path(__file__).parents[2] / "examples" / "peroxide_frames.py"
peroxides: Callable[..., list[Atoms]] = runpy.run_path(str(_SCRIPT))["peroxides"]
"""Frames of the example: ``peroxides(n, seed=0)``."""
