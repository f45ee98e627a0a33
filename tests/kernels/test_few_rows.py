"""Layers of a few rows are matrix products, forward and back, with and without an activation."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from molcalc.kernels import runtime

if not runtime.available():
    pytest.skip("needs numba", allow_module_level=True)

from molcalc.kernels.few_rows import MOST_ROWS, layer, layer_gradient

ROUNDING = {np.float32: 1e-5, np.float64: 1e-13}
"""Relative to sums of some dozen numbers."""


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 5, 7, 18, MOST_ROWS])
@pytest.mark.parametrize(("n_in", "n_out"), [(48, 6), (61, 7), (17, 1), (113, 34)])
def test_layers_of_few_rows_are_matrix_products(n_rows: int, n_in: int, n_out: int, dtype: type) -> None:
    rng = np.random.default_rng(n_rows + n_in)
    x, weight, bias = (rng.normal(size=shape).astype(dtype) for shape in ((n_rows, n_in), (n_out, n_in), (n_out,)))
    result, value, slope = np.full((3, n_rows, n_out), np.nan, dtype=dtype)
    layer(
        *(a.reshape(-1) for a in (x, weight, bias)),
        n_rows,
        n_in,
        n_out,
        *(a.reshape(-1) for a in (result, value, slope)),
    )
    expected = x @ weight.T + bias
    np.testing.assert_allclose(result, expected, rtol=0, atol=50 * ROUNDING[dtype])
    np.testing.assert_allclose(
        value, functional.gelu(torch.from_numpy(expected)).numpy(), rtol=0, atol=50 * ROUNDING[dtype]
    )
    for start in (0, 13):
        by_x, factor = np.full((n_rows, n_in - start), np.nan, dtype=dtype), rng.normal(size=(n_rows, n_in - start))
        for own in (np.empty(0, dtype=dtype), factor.astype(dtype).reshape(-1)):
            layer_gradient(result.reshape(-1), weight.reshape(-1), n_rows, n_in, n_out, start, own, by_x.reshape(-1))
            expected = result @ weight[:, start:] * (factor if own.size else 1.0)
            np.testing.assert_allclose(by_x, expected, rtol=0, atol=200 * ROUNDING[dtype])
