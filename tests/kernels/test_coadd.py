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


@pytest.mark.parametrize("inverse", [False, True])
def test_variances_are_added_with_squared_weights(inverse: bool) -> None:
    rng = np.random.default_rng(7)
    inputs = rng.uniform(0.1, 1, (3, 3, 8, 9)).astype(np.float32)
    inputs[1, 0, 2, 3] = 0
    inputs[0, 2, 1, 1] = np.nan
    sums, totals = np.zeros((2, 3, 8, 9), np.float32)
    for weight, *deviations in inputs:
        kernels.add_variances(weight, tuple(deviations), np.array([0, 2]), inverse, 3.0, sums, totals)
    expected = np.zeros((3, 8, 9))
    norm = np.zeros((3, 8, 9))
    for weight, *deviations in inputs.astype(float):
        for r, c in np.ndindex(8, 9):
            scale = 1 / deviations[0][r, c] ** 2 if inverse else 3.0
            for one, kind in zip(deviations, (0, 2), strict=True):
                if weight[r, c] and np.isfinite(one[r, c]):
                    expected[kind, r, c] += one[r, c] ** 2 * scale**2
                    norm[kind, r, c] += scale
    with np.errstate(invalid="ignore"):
        expected = 0.5 * expected / norm**2
    error = kernels.combine_variances(sums, totals, 0.5)
    np.testing.assert_allclose(sums, expected, rtol=1e-5)
    both = np.where(np.isnan(expected).all(axis=0), np.nan, np.sqrt(np.nansum(expected, axis=0)))
    np.testing.assert_allclose(error, both, rtol=1e-5)


def test_extent_and_shift() -> None:
    pixmap = np.dstack([[[3.0, np.nan], [-7.5, 4.0]], [[30.0, 1.0], [40.0, np.nan]]])
    low, high = kernels.extent(pixmap)
    np.testing.assert_array_equal([low, high], [[1.0, -7.5], [40.0, 4.0]])
    kernels.shift(pixmap, 1.0, 20.0)
    np.testing.assert_array_equal(pixmap[0, 0], [2.0, 10.0])
    low, high = kernels.extent(np.full((2, 2, 2), np.nan))
    assert np.isinf(low).all() and np.isinf(high).all()


def test_two_means_from_one_drizzle() -> None:
    rng = np.random.default_rng(8)
    first, second, weight = rng.uniform(0.1, 4, (3, 6, 50)).astype(np.float32)
    weight[2, 3], first[2, 3], second[4, 4] = 0, np.nan, 0
    ratio, scaled, possible = kernels.pair(first, second, weight)
    assert possible
    total = weight.sum(axis=1, keepdims=True)
    both = scaled.sum(axis=1, keepdims=True)
    one, two = kernels.parted((ratio * scaled).sum(axis=1, keepdims=True) / both, both, total)
    first[2, 3] = 1
    for mean, variance in ((one, first), (two, second)):
        expected = (np.sqrt(variance) * weight).sum(axis=1, keepdims=True) / total
        np.testing.assert_allclose(mean, expected, rtol=1e-6)
    assert np.isnan(kernels.parted(ratio, scaled, np.zeros_like(weight))).all()
    first[0, 0] = 0
    assert not kernels.pair(first, second, weight)[2]


def test_images_are_added_with_their_weights() -> None:
    data, total, context = np.zeros((3, 3), np.float32), np.zeros((3, 3), np.float32), np.zeros((3, 3), np.int32)
    nowhere = np.zeros((0, 0), bool)
    weights = np.array([[1, 2, 3], [0, 1, 0], [-1, 0.5, 2]], np.float32)
    values = np.array([[1, 1, 1], [np.nan, 5, np.nan], [2, 2, 2]], np.float32)
    for k in range(3):
        kernels.add_image(np.roll(values, k, 1), np.roll(weights, k, 1), data, total, nowhere, context, np.int32(1 << k))
    stack, share = (np.array([np.roll(a, k, 1) for k in range(3)], float) for a in (values, weights))
    np.testing.assert_allclose(total, share.sum(axis=0))
    np.testing.assert_allclose(data, np.where(share == 0, 0, stack * share).sum(axis=0) / share.sum(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(context, ((share != 0) * [[[1]], [[2]], [[4]]]).sum(axis=0))
    kernels.add_image(values, weights, data, total, values == 5, context, np.int32(8))
    assert (context & 8).sum() == 8 == context[1, 1] & 8
