"""Models that were trained for a moment and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from molcalc.analysis.model_comparison import ModelComparison, compare_models
from tests.helpers.training_runs import PLAIN_DCM, copied

TRAINED_BRIEFLY: dict[str, Any] = {
    "epochs": 1, "arguments": PLAIN_DCM, "batch_size": 8, "split_method": "random", "test": 0.2, "plots": False,
    "memory": False, "rounds": 1, "progress": False,
}  # fmt: skip
"""Options of a comparison that takes seconds."""


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ModelComparison]:
    """Folder of data and runs, and the comparison of PhysNet-DCM with its sibling."""
    folder = tmp_path_factory.mktemp("compared")
    data = copied("co2_esp.db", folder)
    return folder, compare_models(data, output=folder / "runs", **TRAINED_BRIEFLY)
