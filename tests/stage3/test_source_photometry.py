"""Circles, skies and shapes against photutils and the truth."""

import numpy as np
import pytest
from helpers_sources import SIGMA, enclosed, paint
from photutils.aperture import ApertureStats, CircularAnnulus, CircularAperture, aperture_photometry
from photutils.detection import DAOStarFinder

from jwnb.stage3.correlated_noise import Correlation
from jwnb.stage3.source_photometry import Sky, ab_magnitudes, circles, local_sky, nearest_neighbours, shapes, stamps

WHITE = Correlation(np.ones(1))


def noise(shape: tuple[int, int] = (60, 70), seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def places(seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.r_[rng.uniform(10, 50, 20), 0.3, 69.4, -200.0, np.nan], np.r_[rng.uniform(10, 50, 20), 1.0, 59.0, 5.0, 5.0]


def no_sky(n: int) -> Sky:
    return Sky(np.zeros(n), np.zeros(n), np.zeros(n))


@pytest.mark.parametrize("radius", [0.4, 1.2, 6.7])
def test_sums_are_those_of_photutils(radius: float) -> None:
    image, err = noise(), np.abs(noise(seed=3))
    x, y = places()
    image[30, 30] = np.nan
    ours = circles(image, err, (x, y), radius=radius, sky=no_sky(x.size), correlation=WHITE)
    theirs = aperture_photometry(image, CircularAperture(np.column_stack([x, y])[:23], radius), error=err)
    np.testing.assert_allclose(ours.flux[:23], theirs["aperture_sum"], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours.error[:23], theirs["aperture_sum_err"], rtol=1e-12)
    assert np.isnan(ours.flux[-2:]).all()
    assert np.isnan(ours.error_corr[-2:]).all()


def test_many_sources_are_measured_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from jwnb.stage3 import source_photometry

    image, (x, y) = noise(), places()
    how = {"radius": 3.0, "sky": no_sky(x.size), "correlation": WHITE}
    whole = circles(image, np.abs(image), (x, y), **how)
    monkeypatch.setattr(source_photometry, "_PIXELS_AT_ONCE", 200)
    parts = circles(image, np.abs(image), (x, y), **how)
    assert np.array_equal(whole.flux, parts.flux, equal_nan=True)
    assert np.array_equal(whole.error_corr, parts.error_corr, equal_nan=True)


def test_the_sky_of_rings() -> None:
    image = noise() + np.float32(7)
    x, y = places()
    sky = local_sky(image, x, y, inner=4.0, outer=9.0, correlation=WHITE)
    stats = ApertureStats(image, CircularAnnulus(np.column_stack([x, y])[:22], 4.0, 9.0), sum_method="center")
    np.testing.assert_allclose(sky.level[:22], stats.median, atol=0.05)  # which does not clip
    assert np.isnan(sky.level[-2:]).all()
    assert np.allclose(sky.error[:20], np.sqrt(np.pi / 2 / (np.pi * (81 - 16))), rtol=0.3)
    assert np.allclose(sky.error, sky.error_corr, equal_nan=True)
    correlated = local_sky(image, x, y, inner=4.0, outer=9.0, correlation=Correlation(np.array([2 / 3, 1 / 6])))
    assert np.nanmin(correlated.error_corr / correlated.error) > 1.3


def test_a_star_has_its_light() -> None:
    x, y = np.array([30.3]), np.array([28.8])
    # A circle that cuts pixels takes their light as evenly spread.
    image = paint((60, 70), x, y, 100.0, wide=np.sqrt(SIGMA**2 - 1 / 12)).astype(np.float32) + np.float32(3)
    sky = local_sky(image, x, y, inner=9.0, outer=12.0, correlation=WHITE)
    light = circles(image, np.ones_like(image), (x, y), radius=2.02, sky=sky, correlation=WHITE)
    assert light.flux[0] == pytest.approx(100 * enclosed(2.02), rel=0.01)


def test_shapes_are_those_of_daofind() -> None:
    rng = np.random.default_rng(5)
    x, y = (v.ravel() for v in np.meshgrid(np.arange(10, 60, 10.0), np.arange(10, 60, 10.0)))
    image = paint((70, 70), x + rng.uniform(-0.4, 0.4, 25), y + rng.uniform(-0.4, 0.4, 25), 100.0, ratio=0.7, angle=0.4).astype(np.float32)
    fwhm = 2.5
    found = DAOStarFinder(0.5, fwhm, sharpness_range=(-9, 9), roundness_range=(-9, 9), scale_threshold=False)(image)
    for name in ("xcentroid", "x_centroid"):
        if name in found.colnames:
            px, py = found[name], found[name.replace("x", "y", 1)]
    order = np.argsort(np.rint(py / 10) * 100 + px)
    sharpness, roundness = shapes(image, np.rint(x), np.rint(y), fwhm=fwhm)
    same = np.isclose(np.rint(px[order]), x) & np.isclose(np.rint(py[order]), y)
    assert same.sum() > 20
    np.testing.assert_allclose(sharpness[same], np.asarray(found["sharpness"])[order][same], rtol=0.02)
    np.testing.assert_allclose(roundness[same], np.asarray(found["roundness1"])[order][same], atol=0.02)


def test_stamps_beyond_the_border_are_zero() -> None:
    image = np.arange(12, dtype=np.float32).reshape(3, 4) + 1
    [corner, far] = stamps(image, np.array([0.2, -100.0]), np.array([1.9, 5.0]), 1)
    assert corner.tolist() == [[0, 5, 6], [0, 9, 10], [0, 0, 0]]
    assert not far.any()


def test_neighbours() -> None:
    label = np.array([4, 7, 9, 11], np.int32)
    nearest, distance = nearest_neighbours(label, np.array([0.0, 3, 4, np.nan]), np.array([0.0, 4, 4, 1]))
    assert nearest.tolist() == [7, 9, 7, -1]
    assert distance[:3].tolist() == [5, 1, 1]
    assert np.isnan(distance[3])
    nearest, distance = nearest_neighbours(label[:1], np.zeros(1), np.zeros(1))
    assert nearest.tolist() == [-1]
    assert np.isnan(distance).all()


def test_magnitudes() -> None:
    magnitude, error = ab_magnitudes(np.array([3631.0, -1.0, np.nan]), np.array([36.31, 1.0, 1.0]))
    assert magnitude[0] == pytest.approx(0, abs=1e-3)
    assert error[0] == pytest.approx(2.5 * np.log10(1.01))
    assert np.isnan(magnitude[1:]).all()
    assert np.isnan(error[1:]).all()
