"""Clipped means against astropy's sigma clipping."""

import warnings

import numpy as np
import numpy.typing as npt
import pytest
from astropy.stats import sigma_clip

from jwnb.kernels import clipping as kernels

Floats = npt.NDArray[np.float32]


def stack(n: int, *, seed: int = 1) -> tuple[Floats, Floats]:
    """Values with outliers, NaN and infinities, and variances of which some are NaN."""
    rng = np.random.default_rng(seed)
    data = rng.normal(10, 1, (n, 23, 31)).astype(np.float32)
    data[rng.random(data.shape) < 0.1] += 50
    data[rng.random(data.shape) < 0.1] = np.nan
    data[rng.random(data.shape) < 0.01] = -np.inf
    data[:, 3, 5] = np.nan
    data[:, 4] = 7
    variance = rng.uniform(0.1, 1, data.shape).astype(np.float32)
    variance[0, 6, 6] = np.nan
    return data, variance


def clipped(data: npt.NDArray[np.floating], sigma: float, rounds: int) -> np.ma.MaskedArray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sigma_clip(data.astype(np.float64), sigma=sigma, maxiters=rounds or None, axis=0)


@pytest.mark.parametrize("n", [1, 2, 3, 6, 33, 100])
@pytest.mark.parametrize(("sigma", "rounds"), [(3.0, 0), (1.5, 0), (1.5, 1), (1.0, 2), (0.3, 0)])
def test_mean_and_error(n: int, sigma: float, rounds: int) -> None:
    data, variance = stack(n)
    kept = clipped(data, sigma, rounds)
    number = (~np.ma.getmaskarray(kept)).sum(axis=0)
    mean, error, used = kernels.mean_and_error(data, variance, sigma, rounds)
    spread = np.where(np.ma.getmaskarray(kept), 0, variance.astype(np.float64)).sum(axis=0)
    np.testing.assert_array_equal(used, number)
    np.testing.assert_allclose(mean, kept.mean(axis=0).filled(0), rtol=2e-7)
    np.testing.assert_allclose(error, np.where(number, np.sqrt(spread) / np.maximum(number, 1), 0), rtol=2e-7)
    assert used[3, 5] == mean[3, 5] == error[3, 5] == 0
    # One value among n cannot lie sqrt(n + 2) standard deviations from their median, nor one of two more than one.
    possible = sigma < 1 if n == 2 else n > 2 and sigma**2 < n + 2
    assert (used < np.isfinite(data).sum(axis=0)).any() == possible


@pytest.mark.parametrize("n", [1, 2, 7, 50])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(("sigma", "rounds"), [(3.0, 0), (1.2, 1)])
def test_mean_plane(n: int, power: int, sigma: float, rounds: int) -> None:
    data, _ = stack(n, seed=2)
    expected = clipped(data**power, sigma, rounds).mean(axis=0).filled(np.nan)
    out = kernels.mean_plane(data, power, sigma, rounds)
    np.testing.assert_allclose(out, expected, rtol=2e-7)
    assert np.isnan(out[3, 5])


def test_order_of_the_planes_does_not_matter() -> None:
    data, variance = stack(12)
    whole = kernels.mean_and_error(data, variance, 2.0, 0)
    backwards = kernels.mean_and_error(data[::-1].copy(), variance[::-1].copy(), 2.0, 0)
    for one, other in zip(whole, backwards, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-7)
