"""Arrays to pictures."""

import io

import numpy as np
import pytest
from PIL import Image

from jwnb.display.images import plane_of, png_bytes, png_uri, shrink, stretch


def test_planes():
    ramp = np.arange(2 * 3 * 4 * 5, dtype=float).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(plane_of(ramp), ramp[0, 2] - ramp[0, 0])
    np.testing.assert_array_equal(plane_of(ramp[0]), ramp[0, 0])
    np.testing.assert_array_equal(plane_of(ramp[:, :1]), ramp[0, 0])


def test_shrinking_averages_and_leaves_nan_out():
    image = np.arange(64.0).reshape(8, 8)
    image[0, 0] = np.nan
    small = shrink(image, 4)
    assert small.shape == (4, 4)
    assert small[0, 0] == pytest.approx((1 + 8 + 9) / 3)
    assert small[3, 3] == pytest.approx((54 + 55 + 62 + 63) / 4)
    assert shrink(image, 8) is image
    assert shrink(np.ones((3, 100)), 10).shape == (1, 10)


@pytest.mark.parametrize(
    "image", [np.zeros((5, 5)), np.full((5, 5), np.nan), np.arange(25.0).reshape(5, 5), np.array([[np.inf, 1.0], [2.0, -np.inf]])]
)
def test_stretch_gives_grey_whatever_comes(image):
    grey = stretch(image)
    assert grey.dtype == np.uint8
    assert grey.shape == image.shape


def test_brighter_is_whiter():
    grey = stretch(np.random.default_rng(1).normal(0, 1, (50, 50)) + np.linspace(0, 100, 50))
    assert grey[:, -5:].mean() > grey[:, :5].mean()


def test_a_png_has_row_zero_at_the_bottom():
    image = np.zeros((2, 3), np.uint8)
    image[0] = 255
    decoded = np.asarray(Image.open(io.BytesIO(png_bytes(image))))
    assert decoded[1].min() == 255
    assert decoded[0].max() == 0


def test_a_thumbnail_is_a_data_uri():
    assert png_uri(np.ones((1000, 500)), 64).startswith("data:image/png;base64,")
