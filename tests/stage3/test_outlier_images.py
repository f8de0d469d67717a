"""Medians of images and what they are compared with."""

import numpy as np
import pytest
from helpers_outliers import SKY, starfield
from helpers_stage3 import calibrated, dithered

from jwnb import dq
from jwnb.errors import InputError
from jwnb.models import Exposures
from jwnb.stage3.outlier_images import Combining, Comparing, blotted, compare, median_of_pixels, median_on_grid
from jwnb.stage3.output_grid import grid_around
from jwnb.wcs.pixelmap import image_to_image

HOW = Combining(unusable=int(dq.PIXEL["DO_NOT_USE"]))
SHAPE = (60, 64)


def grid_of(images):
    return grid_around([image.meta.wcsinfo.s_region for image in images], images[0])


def flat(count: int, value: float = 3.0):
    images = dithered(count, SHAPE)
    for image in images:
        image.data = np.full(SHAPE, value, np.float32)
        image.dq = np.zeros(SHAPE, np.uint32)
    return images


def test_a_flat_sky_comes_back_flat() -> None:
    images = flat(4)
    grid = grid_of(images)
    median = median_on_grid(Exposures(images), grid, HOW, groups="abcd")
    assert median.image.shape == grid.shape and median.counts.max() == 4
    assert np.allclose(median.image[median.counts > 0], 3.0, rtol=1e-6)
    blot, _ = blotted(median.image, median.image, image_to_image(images[0].meta.wcs, grid.wcs, SHAPE))
    assert np.allclose(blot[3:-3, 3:-3], 3.0, rtol=1e-6)


def test_sky_that_is_still_there_is_taken_off_for_the_median_and_put_back_for_the_comparison() -> None:
    images = flat(3)
    for k, image in enumerate(images):
        image.data = image.data + np.float32(k)
        image.meta.background.level, image.meta.background.subtracted = float(k), False
    images[1].meta.background.subtracted = None  # not said: not subtracted
    median = median_on_grid(Exposures(images), grid_of(images), HOW, groups="abc")
    assert np.allclose(median.image[median.counts > 0], 3.0, rtol=1e-6)
    found, _ = compare(Exposures(images), median, Comparing(), tolerance=1e-3)
    assert not any(one.found.any() for one in found)


def test_detectors_of_one_exposure_go_together() -> None:
    images = flat(3)
    images[1].data[:], images[2].data[:] = 5, 9
    for image in images:
        image.var_rnoise[:] = 1
    grid = grid_of(images)
    together = median_on_grid(Exposures(images), grid, HOW, groups="abb")
    alone = median_on_grid(Exposures(images), grid, HOW, groups="abc")
    middle = tuple(n // 2 for n in grid.shape)
    assert together.counts.max() == 2 and alone.counts.max() == 3
    assert together.image[middle] == pytest.approx((3 + 7) / 2, rel=1e-4)
    assert alone.image[middle] == pytest.approx(5)


def test_low_weights_are_left_out() -> None:
    images = [calibrated(SHAPE, number=k) for k in (1, 2, 3)]
    for image in images:
        image.data[:], image.dq[:] = 3, 0
    for image in images:
        image.var_rnoise[:] = 1
    images[0].data[20:40, 20:40], images[0].var_rnoise[20:40, 20:40] = 100, 4
    images[1].data[20:40, 20:40], images[1].var_rnoise[20:40, 20:40] = 200, 4
    grid, given = grid_of(images), Exposures(images)
    x, y = grid.wcs.invert(*images[0].meta.wcs(28, 28, with_bounding_box=False), with_bounding_box=False)
    for maskpt, on_grid, plain in ((0.7, 3.0, 3.0), (0.0, 100.0, 100.0)):
        how = Combining(unusable=1, maskpt=maskpt)
        assert median_on_grid(given, grid, how, groups="abc").image[round(float(y)), round(float(x))] == pytest.approx(on_grid, rel=1e-5)
        assert median_of_pixels(given, how).image[28, 28] == plain


def test_a_box_on_the_grid_gives_what_the_whole_grid_does() -> None:
    """The margin holds all that a kernel reaches."""
    images = dithered(1, SHAPE)
    far = calibrated(SHAPE, ra=150.002, number=2)
    grid = grid_of([*images, far])
    for kernel in ("square", "lanczos3", "gaussian"):
        median = median_on_grid(Exposures([*images, far]), grid, Combining(kernel=kernel, unusable=1, maskpt=0.0), groups="ab")
        x, y = grid.wcs.invert(*images[0].meta.wcs(31.5, 29.5, with_bounding_box=False), with_bounding_box=False)
        assert median.counts[round(float(y)), round(float(x))] == 1
        assert median.counts.sum() > 2 * 0.95 * SHAPE[0] * SHAPE[1]
        assert not median.counts[:, grid.shape[1] // 2].any()  # between the two


def test_plain_images_must_be_of_one_shape() -> None:
    images = [calibrated(SHAPE), calibrated((60, 60), number=2)]
    with pytest.raises(InputError, match="resample_data"):
        median_of_pixels(Exposures(images), HOW)


def test_what_is_missing_is_said() -> None:
    images = flat(2)
    median = median_of_pixels(Exposures(images), HOW)
    del images[1].instance["err"]
    with pytest.raises(InputError, match="ERR"):
        compare(Exposures(images), median, Comparing(), tolerance=1e-3)
    images[0].meta.exposure.measurement_time = images[0].meta.exposure.exposure_time = None
    with pytest.raises(InputError, match="TMEASURE"):
        median_of_pixels(Exposures(images), Combining(weight_type="exptime"))


def test_cores_are_counted_where_stars_are() -> None:
    field = starfield(2.5, shape=(90, 96), stars=8, hits=0.0)
    median = median_on_grid(Exposures(field.clean), grid_of(field.clean), HOW, groups="abcd")
    _, counts = compare(Exposures(field.clean), median, Comparing(), tolerance=1e-3)
    bright = (field.flux / 7 > 20 * np.sqrt(SKY * 2e-3 + field.flux / 7 * 2e-3)).sum()
    # Of each star and image one pixel, more or less: the nearest pixel of the grid may be that of two or none.
    assert 0.6 * 4 * bright <= counts[0] <= 1.4 * 4 * bright
    assert counts[1] == 0 and counts[2] > 20000
