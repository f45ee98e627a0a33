"""Models that come with the package."""

from __future__ import annotations

from pathlib import Path

from molcalc.io import checkpoint
from molcalc.io.checkpoint import Checkpoint

FOLDER = Path(__file__).parent / "models"
BUNDLED = ("small-species",)
"""Names of the folders in :data:`FOLDER`; each has a README.md with data, errors and licence."""


def load_bundled(name: str) -> Checkpoint:
    """A model of the package.

    Raises
    ------
    FileNotFoundError, CheckpointCorruptError
        When the installation is incomplete or damaged.
    """
    return checkpoint.load(FOLDER / name)
