"""Weights, and variances added with squared weights."""

import numpy as np
import pytest

from jwnb.kernels import coadd as kernels

NONE = np.zeros((0, 0), np.uint32)


def test_weights() -> None:
    data = np.array([[1, np.nan, 1, 1, 1, 1]], np.float32)
    dq = np.array([[0, 0, 1, 2, 4, 0]], np.uint32)
    error = np.array([[1, 1, 1, 1, 1, np.nan]], np.float32)
    variance = np.array([[0.5, 0.5, 0.5, 0.5, 0.0, 0.5]], np.float32)
    empty = np.zeros((0, 0), np.float32)
    out = kernels.weights(data, dq, (error, empty), variance, np.uint32(1), np.float32(7))
    np.testing.assert_array_equal(out, [[2, 0, 0, 2, 0, 0]])
    out = kernels.weights(data, NONE, (empty,), empty, np.uint32(1), np.float32(7))
    np.testing.assert_array_equal(out, [[7, 0, 7, 7, 7, 7]])


@pytest.mark.parametrize("inverse", [0, 1])
def test_variances_are_added_with_squared_weights(inverse: int) -> None:
    rng = np.random.default_rng(7)
    inputs = rng.uniform(0.1, 1, (3, 8, 9, 4)).astype(np.float32)
    inputs[1, 2, 3, 0] = 0
    inputs[0, 1, 1, 2] = np.nan
    sums, totals = np.zeros((2, 3, 8, 9), np.float32)
    for planes in inputs:
        kernels.add_variances(planes, np.array([0, 2]), inverse, 3.0, sums, totals)
    expected = np.zeros((3, 8, 9))
    norm = np.zeros((3, 8, 9))
    for planes in inputs.astype(float):
        for r, c in np.ndindex(8, 9):
            scale = 1 / planes[r, c, 1] ** 2 if inverse else 3.0
            for plane, kind in ((1, 0), (2, 2)):
                if planes[r, c, 0] and np.isfinite(planes[r, c, plane]):
                    expected[kind, r, c] += planes[r, c, plane] ** 2 * scale**2
                    norm[kind, r, c] += scale
    with np.errstate(invalid="ignore"):
        expected = 0.5 * expected / norm**2
    error = kernels.combine_variances(sums, totals, 0.5)
    np.testing.assert_allclose(sums, expected, rtol=1e-5)
    both = np.where(np.isnan(expected).all(axis=0), np.nan, np.sqrt(np.nansum(expected, axis=0)))
    np.testing.assert_allclose(error, both, rtol=1e-5)
