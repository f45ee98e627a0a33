"""Every electrostatic test that asks for ``path`` runs compiled and in plain torch."""

import pytest

from molcalc.nn.compiled import available


@pytest.fixture(params=["compiled", "torch"])
def path(request, monkeypatch):
    if request.param == "compiled" and not available():
        pytest.skip("numba is not installed")
    if request.param == "torch":
        monkeypatch.setattr("molcalc.electrostatics.pair_sum.usable", lambda *tensors: False)
    return request.param
