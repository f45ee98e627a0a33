"""Options of the start: fidelities, their dispersion."""

from __future__ import annotations

import pytest

from molcalc.errors import ConfigError
from molcalc.train.config import make_config


def test_declared_dispersion_is_looked_up_before_any_data_is_read() -> None:
    options = {"model": "aimnet2", "fidelities": {"low": {"dispersion": "d3bj:BP86"}}}
    assert make_config(options).start.trained_fidelity("low").labels.dispersion == "d3bj:bp"
    with pytest.raises(ConfigError, match=r"fidelities\.low: no D3 parameters for functional 'pbbe0'.*pbe0"):
        make_config({"model": "aimnet2", "fidelities": {"low": {"dispersion": "d3bj:pbbe0"}}})
