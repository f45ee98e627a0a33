"""Every electrostatic test that asks for ``path`` runs compiled and in plain torch."""

import pytest

from molcalc.kernels.runtime import available


@pytest.fixture(params=["compiled", "torch"])
def path(request, monkeypatch):
    if request.param == "compiled" and not available():
        pytest.skip("numba is not installed")
    if request.param == "torch":
        for module in ("sums", "reciprocal"):
            monkeypatch.setattr(f"molcalc.electrostatics.{module}.usable", lambda *tensors: False)
    return request.param
