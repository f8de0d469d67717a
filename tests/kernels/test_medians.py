"""Medians and clipped means against numpy and astropy."""

import warnings

import numpy as np
import pytest
from astropy.stats import sigma_clip

from jwnb.kernels.medians import clipped_mean, median_plane, rolling_median

NO_FLAGS = np.zeros((0, 0, 0), np.uint32)


def stack(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out = rng.normal(size=(n, 7, 9)).astype(np.float32)
    out[rng.random(out.shape) < 0.3] = np.nan
    out[:, 2, 3] = np.nan
    return out


@pytest.mark.parametrize("n", [1, 2, 3, 8, 31, 40, 75])
def test_median_of_planes(n: int) -> None:
    planes = stack(n)
    median, counts = median_plane(planes, NO_FLAGS, np.uint32(0), 0, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.nanmedian(planes, axis=0)
    assert median.dtype == np.float32
    assert np.array_equal(median, expected, equal_nan=True)
    assert np.array_equal(counts, np.isfinite(planes).sum(axis=0))


def test_flagged_values_are_left_out() -> None:
    planes = stack(6)
    dq = np.random.default_rng(1).integers(0, 4, planes.shape).astype(np.uint32)
    masked = np.where(dq & 2, np.nan, planes).astype(np.float32)
    for a, b in zip(median_plane(planes, dq, np.uint32(2), 0, 0), median_plane(masked, NO_FLAGS, np.uint32(0), 0, 0), strict=True):
        assert np.array_equal(a, b, equal_nan=True)


@pytest.mark.parametrize(("low", "high"), [(1, 0), (0, 1), (2, 2), (5, 5)])
def test_lowest_and_highest_values_are_left_out_where_enough_are_there(low: int, high: int) -> None:
    planes = stack(9)
    median, _ = median_plane(planes, NO_FLAGS, np.uint32(0), low, high)
    for y, x in np.ndindex(median.shape):
        values = np.sort(planes[:, y, x][np.isfinite(planes[:, y, x])])
        kept = values[low : values.size - high] if values.size > low + high else values
        assert np.array_equal(median[y, x], np.median(kept) if kept.size else np.float32(np.nan), equal_nan=True)


@pytest.mark.parametrize("width", [2, 3, 4, 7, 12, 25, 40])
@pytest.mark.parametrize("holes", [0, 3])
def test_rolling_median(width: int, holes: int) -> None:
    rng = np.random.default_rng(width)
    series = rng.normal(size=40).astype(np.float32).round(1)  # with ties
    series[rng.choice(40, holes, replace=False)] = np.nan
    out = np.empty(40)
    rolling_median(series, width, out)
    for k in range(40):
        start = min(max(k - width // 2, 0), 40 - width)
        assert np.array_equal(out[k], np.median(series[start : start + width].astype(float)), equal_nan=True), k


@pytest.mark.parametrize("n", [1, 2, 5, 200, 999, 5000])
@pytest.mark.parametrize("kind", ["normal", "skewed", "constant", "signed"])
def test_clipped_mean(n: int, kind: str) -> None:
    rng = np.random.default_rng(n)
    values = {"normal": rng.normal(5, 1, n), "skewed": rng.normal(5, 1, n) ** 3, "constant": np.full(n, 7.0), "signed": rng.normal(0, 1, n)}
    weight = values[kind].astype(np.float32)
    weight[n // 2 : n // 2 + n // 10] = 0
    weight[: n // 20] = np.nan
    weight[n // 20 : n // 15] = np.inf
    weight[n // 15 : n // 12] *= 20
    usable = weight[np.isfinite(weight) & (weight != 0)]
    for rounds in (1, 5):
        expected = sigma_clip(usable, sigma=3, maxiters=rounds, masked=False).mean(dtype=float)
        assert clipped_mean(weight, 3.0, rounds) == pytest.approx(expected, rel=1e-9)


def test_clipped_mean_of_nothing() -> None:
    assert np.isnan(clipped_mean(np.array([0, np.nan, np.inf], np.float32), 3.0, 5))
    assert np.isnan(clipped_mean(np.zeros(0, np.float32), 3.0, 5))
