"""Local maxima against a slow twin."""

import numpy as np
import pytest
from scipy.ndimage import maximum_filter

from jwnb.kernels.peaks import local_peaks


def twin(image, masked, threshold, radius):
    offsets = np.arange(-radius, radius + 1)
    circle = np.add.outer(offsets**2, offsets**2) <= radius**2
    filled = np.where(np.isnan(image), -np.inf, image)
    return (filled == maximum_filter(filled, footprint=circle, mode="constant", cval=0.0)) & ~masked & (filled > threshold)


@pytest.mark.parametrize("radius", [1, 2, 3, 6])
@pytest.mark.parametrize("threshold", [-0.5, 0.35, 1.5])
def test_peaks(radius, threshold):
    rng = np.random.default_rng(radius)
    # Rounded, so that some neighbours are equal.
    image = rng.normal(size=(40, 53)).round(1).astype(np.float32)
    image[rng.random(image.shape) < 0.05] = np.nan
    masked = rng.random(image.shape) < 0.1
    expected = twin(image, masked, threshold, radius)
    assert expected.any()
    np.testing.assert_array_equal(local_peaks(image, masked, threshold, radius), expected)


def test_equal_neighbours_are_both_peaks_and_nan_is_none():
    image = np.zeros((9, 9), np.float32)
    image[4, 4:6] = 2
    image[0, 0] = np.nan
    found = local_peaks(image, np.zeros(image.shape, bool), 1.0, 2)
    np.testing.assert_array_equal(np.argwhere(found), [[4, 4], [4, 5]])
