"""Reference-pixel statistics against obvious twins."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import sigmaclip

from jwnb.kernels.refpix import clipped_means, running_median, subtract_separable


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1.0, 5.0), st.lists(st.integers(0, 60), min_size=1, max_size=5))
def test_clipped_means_are_those_of_sigmaclip(seed: int, limit: float, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    values = rng.normal(10, 3, (3, starts[-1])).astype(np.float32)
    values[rng.random(values.shape) < 0.05] += 1000
    values[rng.random(values.shape) < 0.05] = np.nan
    means = clipped_means(values, starts, limit)
    assert means.shape == (3, len(sizes))
    for f in range(3):
        for c in range(len(sizes)):
            pixels = values[f, starts[c] : starts[c + 1]].astype(np.float64)
            pixels = pixels[~np.isnan(pixels)]
            expected = sigmaclip(pixels, limit, limit)[0].mean() if pixels.size else np.nan
            np.testing.assert_allclose(means[f, c], expected, rtol=1e-12)


def test_equal_pixels_and_single_pixels_have_their_own_value_as_mean() -> None:
    values = np.array([[7.1, 7.1, 7.1, 7.1, -3.0]], np.float32)
    np.testing.assert_array_equal(clipped_means(values, np.array([0, 4, 5]), 3.0), [[np.float32(7.1), -3.0]])


def plain_median(values: np.ndarray, good: np.ndarray, length: int, first_row: int, height: int) -> np.ndarray:
    medians = np.full(values.shape[:2], np.nan)
    for f, y in np.ndindex(*medians.shape):
        window = []
        for row in range(first_row + y - length // 2, first_row + y - length // 2 + length):
            inside = -row if row < 0 else 2 * (height - 1) - row if row >= height else row
            if 0 <= inside - first_row < values.shape[1]:
                window += list(values[f, inside - first_row][good[inside - first_row]])
        window = [w for w in window if not np.isnan(w)]
        if window:
            medians[f, y] = np.median(window)
    return medians


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 4),
    st.integers(1, 30),
    st.integers(0, 9),
    st.integers(0, 9),
    st.booleans(),
)
def test_running_median_is_the_median_of_each_window(
    seed: int, nrows: int, ncolumns: int, length: int, before: int, after: int, ties: bool
) -> None:
    height = before + nrows + after
    length = min(length, 2 * height - 1)
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 5, (2, nrows, ncolumns)).astype(np.float32)
    if ties:
        values = np.round(values)
    values[rng.random(values.shape) < 0.1] = np.nan
    good = rng.random((nrows, ncolumns)) > 0.3
    offsets = np.round(rng.normal(0, 3, (2, ncolumns)))
    expected = plain_median(values - offsets[:, np.newaxis], good, length, before, height)
    np.testing.assert_allclose(running_median(values, offsets, good, length, before, height), expected, rtol=1e-12, atol=1e-12)


def test_subtraction_of_rows_and_columns() -> None:
    rng = np.random.default_rng(2)
    data = rng.normal(100, 10, (3, 6, 9)).astype(np.float32)
    data[:, 2, 3] = 0.0
    data[1, 4, 4] = np.nan
    rows, columns = rng.normal(0, 4, (3, 6)), rng.normal(0, 4, (3, 9))
    expected = (data - columns[:, np.newaxis, :] - rows[:, :, np.newaxis]).astype(np.float32)
    np.testing.assert_array_equal(subtract_separable(data, rows, columns, keep_zero=False), expected)
    kept = subtract_separable(data, rows, columns, keep_zero=True)
    np.testing.assert_array_equal(kept, np.where(data == 0, 0, expected))
