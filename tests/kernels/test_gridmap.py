"""Cubic interpolation against slow twins."""

import numpy as np
import pytest

from jwnb.kernels.gridmap import cubic_at, cubic_rows, cubic_weights


def polynomial(x, y, c):
    """A bicubic polynomial: what the interpolation must give back exactly."""
    return sum(c[i, j] * x**i * y**j for i in range(4) for j in range(4))


@pytest.fixture
def grid():
    rng = np.random.default_rng(5)
    step, count = 2.5, 6
    coefficients = rng.normal(size=(2, 4, 4)) / 10.0 ** np.add.outer(np.arange(4), np.arange(4))
    x, y = np.meshgrid(np.arange(count) * step, np.arange(count + 1) * step)
    return step, count, coefficients, np.array([polynomial(x, y, c) for c in coefficients])


def test_weights_sum_to_one_and_pick_nodes() -> None:
    first, weights = cubic_weights(np.array([0.0, 3.0, 6.5, 15.0]), 3.0, 6)
    np.testing.assert_array_equal(first, [0, 0, 1, 2])
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights[[0, 1, 3]], [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], atol=1e-12)


def test_rows_reproduce_a_cubic(grid) -> None:
    step, count, coefficients, nodes = grid
    x, y = np.arange(13.0), np.arange(15.0)
    out = np.empty((15, 13, 2))
    cubic_rows(nodes, *cubic_weights(y, step, count + 1), *cubic_weights(x, step, count), out)
    xx, yy = np.meshgrid(x, y)
    for k in range(2):
        np.testing.assert_allclose(out[..., k], polynomial(xx, yy, coefficients[k]), rtol=1e-10, atol=1e-10)


def test_single_places_are_those_of_rows(grid) -> None:
    step, count, coefficients, nodes = grid
    rng = np.random.default_rng(6)
    x, y = rng.uniform(0, 12.5, 40), rng.uniform(0, 15, 40)
    out = cubic_at(nodes, *cubic_weights(y, step, count + 1), *cubic_weights(x, step, count))
    np.testing.assert_allclose(out, [polynomial(x, y, c) for c in coefficients], rtol=1e-10, atol=1e-10)
