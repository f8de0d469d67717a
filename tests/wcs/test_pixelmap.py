"""Pixel maps: within their tolerance everywhere, whatever the transform does."""

import helpers_wcs as h
import numpy as np
import pytest

from jwnb.errors import InputError, ParameterError
from jwnb.wcs import imaging
from jwnb.wcs.pixelmap import image_to_image, pixel_map, sky_map


def wavy(x, y, *, period=400.0):
    """A smooth transform with strong curvature: 5 pixels up and down."""
    return x + 5 * np.sin(2 * np.pi * y / period), y + 5 * np.cos(2 * np.pi * (x + y) / period)


def exact(transform, shape):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    return np.stack(transform(x.ravel(), y.ravel()), axis=-1).reshape(*shape, -1)


@pytest.fixture(scope="module")
def reference():
    return h.distortion_model()


@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-5])
@pytest.mark.parametrize("shape", [(300, 500), (128, 129), (64, 2048)])
def test_error_is_within_the_tolerance_and_known(shape, tolerance) -> None:
    found = pixel_map(wavy, shape, tolerance=tolerance)
    distance = np.linalg.norm(found.full() - exact(wavy, shape), axis=-1).max()
    assert distance <= found.error <= tolerance


def test_grid_is_refined() -> None:
    coarse, fine = (pixel_map(wavy, (600, 600), tolerance=t) for t in (1e-1, 1e-4))
    assert fine.nodes.size > 4 * coarse.nodes.size
    assert max(fine.step) < max(coarse.step)


def test_what_cannot_be_interpolated_is_evaluated_everywhere() -> None:
    def broken(x, y):
        return np.where(x > 31.5, x + 1, x), y

    found = pixel_map(broken, (50, 60))
    assert found.error == 0
    np.testing.assert_array_equal(found.full(), exact(broken, (50, 60)))


def test_values_that_are_not_finite_are_kept() -> None:
    def holed(x, y):
        return np.where(np.hypot(x - 40, y - 40) < 5, np.nan, x), y

    np.testing.assert_array_equal(pixel_map(holed, (80, 80), step=16).full(), exact(holed, (80, 80)))


def test_zero_tolerance_is_exact() -> None:
    np.testing.assert_array_equal(pixel_map(wavy, (40, 30), tolerance=0).full(), exact(wavy, (40, 30)))


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 3), (5, 5)])
def test_tiny_images(shape) -> None:
    np.testing.assert_allclose(pixel_map(wavy, shape).full(), exact(wavy, shape), atol=1e-3)


def test_rows_are_rows_of_the_whole() -> None:
    found = pixel_map(wavy, (90, 70), bounding_box=((2, 60), (3.5, 80)))
    whole = found.full()
    np.testing.assert_array_equal(np.concatenate([found.rows(0, 31), found.rows(31, 90)]), whole)
    inside = np.isfinite(whole).all(axis=-1)
    y, x = np.mgrid[:90, :70]
    np.testing.assert_array_equal(inside, (x >= 2) & (x <= 60) & (y >= 3.5) & (y <= 80))


@pytest.mark.parametrize("wrong", [{"shape": (0, 5)}, {"tolerance": -1.0}, {"tolerance": float("nan")}, {"step": 0}])
def test_bad_calls(wrong) -> None:
    with pytest.raises(ParameterError, match="above 0"):
        pixel_map(wavy, **({"shape": (50, 50)} | wrong))


def test_transform_of_the_wrong_shape() -> None:
    with pytest.raises(InputError, match="one array of the shape of x"):
        pixel_map(lambda x, y: (1.0, 2.0), (50, 50))


@pytest.mark.parametrize("corner", [(1, 1), (1501, 1301)])
def test_from_image_to_image(reference, corner) -> None:
    """A dithered and rolled exposure with real-looking distortion, inverse included."""
    shape = (300, 260)
    source, target = (
        imaging.build(h.exposure(shape, corner=corner, ra=ra, roll=roll), reference, None) for ra, roll in ((150.0, 37.0), (150.001, 38.0))
    )
    found = image_to_image(source, target, shape)
    direct = exact(lambda x, y: target.invert(*source(x, y), with_bounding_box=False), shape)
    assert np.linalg.norm(found.full() - direct, axis=-1).max() <= found.error <= 1e-3
    assert max(found.step) > 50


def test_bounding_box_of_the_source_counts(reference) -> None:
    wcs = imaging.build(h.exposure((100, 100)), h.distortion_model(bounding_box=((3.5, 200), (-0.5, 50.5))), None)
    found = image_to_image(wcs, wcs, (100, 100)).full()
    y, x = np.mgrid[:100, :100]
    np.testing.assert_array_equal(np.isfinite(found[..., 0]), (x >= 3.5) & (y <= 50.5))
    np.testing.assert_allclose(found[:51, 4:, 0], x[:51, 4:], atol=2e-3)


@pytest.mark.parametrize(("ra", "dec"), [(150.0, 2.2), (0.0, 0.0), (359.9999, 60.0), (10.0, 89.9995), (0.0, -90.0)])
def test_to_the_sky(reference, ra, dec) -> None:
    shape = (400, 300)
    wcs = imaging.build(h.exposure(shape, corner=(900, 900), ra=ra, dec=dec), reference, None)
    found = sky_map(wcs, shape)
    lon, lat = np.moveaxis(found.full(), -1, 0)
    true_lon, true_lat = np.moveaxis(exact(wcs, shape), -1, 0)
    away = np.hypot((np.mod(lon - true_lon + 180, 360) - 180) * np.cos(np.radians(true_lat)), lat - true_lat)
    assert away.max() * 3600 / h.ARCSEC_PER_PIXEL <= found.error <= 1e-3
    assert lon.min() >= 0 and lon.max() < 360
