"""Every D3 test that asks for ``path`` runs compiled and in plain torch."""

import pytest

from molcalc.dispersion.d3 import D3Dispersion
from molcalc.kernels.runtime import available


@pytest.fixture(params=["compiled", "torch"])
def path(request, monkeypatch):
    if request.param == "compiled" and not available():
        pytest.skip("numba is not installed")
    if request.param == "torch":
        monkeypatch.setattr("molcalc.dispersion.d3.usable", lambda *tensors: False)
        # "auto" would then choose the library, against which much is compared.
        monkeypatch.setitem(D3Dispersion.__init__.__kwdefaults__, "backend", "torch")
    return request.param
