"""Convolution with a kernel against an obvious sum over its terms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jwnb.kernels.ipc import deconvolve


def twin(image, kernel, borders):
    """Sum the terms of one image in float64; pixels of the borders stay and give nothing."""
    bottom, top, left, right = borders
    ny, nx = image.shape
    inside = (slice(bottom, ny - top), slice(left, nx - right))
    source = np.zeros(image.shape)
    source[inside] = image[inside]
    ky, kx = kernel.shape[:2]
    wide = np.pad(source, ((ky // 2,) * 2, (kx // 2,) * 2))
    total = np.zeros(image.shape)
    for j in range(ky):
        for i in range(kx):
            total += kernel[j, i].astype(np.float64) * wide[ky - 1 - j : ky - 1 - j + ny, kx - 1 - i : kx - 1 - i + nx]
    out = image.astype(np.float64)
    out[inside] = total[inside]
    return out


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(9, 24), st.integers(9, 24)),
    size=st.tuples(st.sampled_from([1, 3, 5]), st.sampled_from([1, 3, 5])),
    borders=st.tuples(*[st.sampled_from([0, 4])] * 4),
    each=st.booleans(),
)
def test_against_the_sum(seed, shape, size, borders, each):
    rng = np.random.default_rng(seed)
    data = rng.uniform(0, 100, shape).astype(np.float32)
    kernel = rng.uniform(-1, 1, size + shape[2:] * each).astype(np.float32)
    out = deconvolve(data, kernel, borders=borders)
    expected = np.array([[twin(image, kernel, borders) for image in ramp] for ramp in data])
    np.testing.assert_allclose(out, expected, rtol=0, atol=100 * kernel.size / (shape[2] * shape[3] if each else 1) * 2**-22)


def test_the_coupling_of_a_point_is_undone():
    image = np.zeros((1, 1, 21, 21), np.float32)
    image[0, 0, 10, 10] = 10000
    coupling = np.array([[0, 0.005, 0], [0.005, 0.98, 0.005], [0, 0.005, 0]], np.float32)
    undo = 2 * np.pad([[1.0]], 1) - coupling  # first order in the coupling
    seen = deconvolve(image, coupling)
    back = deconvolve(seen, undo.astype(np.float32))
    assert seen[0, 0, 10, 11] == pytest.approx(50)
    assert abs(back - image).max() < 10000 * 6 * 0.02**2
    assert back.sum() == pytest.approx(10000, rel=1e-6)


def test_only_rows_of_ordinary_pixels_take_part():
    rng = np.random.default_rng(1)
    data = rng.uniform(0, 100, (2, 2, 30, 12)).astype(np.float32)
    rows = np.flatnonzero(rng.random(30) < 0.6)
    kernel = rng.uniform(-1, 1, (3, 3)).astype(np.float32)
    out = deconvolve(data, kernel, borders=(1, 1, 1, 1), rows=rows)
    np.testing.assert_array_equal(out[:, :, rows], deconvolve(np.ascontiguousarray(data[:, :, rows]), kernel, borders=(1, 1, 1, 1)))
    others = np.setdiff1d(np.arange(30), rows)
    np.testing.assert_array_equal(out[:, :, others], data[:, :, others])


def test_nan_spreads_as_far_as_the_kernel():
    data = np.ones((1, 1, 9, 9), np.float32)
    data[0, 0, 4, 4] = np.nan
    out = deconvolve(data, np.full((3, 3), 0.1, np.float32))
    assert np.isnan(out).sum() == 9 and np.isnan(out[0, 0, 3:6, 3:6]).all()
