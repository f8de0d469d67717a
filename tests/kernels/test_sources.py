"""Kernels for sources, each against a slow and obvious twin."""

import warnings

import numpy as np
import pytest
from astropy.convolution import Gaussian1DKernel, Gaussian2DKernel, convolve
from astropy.stats import sigma_clip
from scipy import ndimage

from jwnb.kernels.sources import has_saddle, ring_medians, smooth, summed_variance


def blobs(seed: int = 1, shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5).astype(np.float32)


def test_smoothing_is_that_of_astropy() -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(size=(23, 31)).astype(np.float32)
    image[4, 5] = image[0, 0] = np.nan
    masked = rng.random(image.shape) < 0.1
    masked[8:19, 10:22] = True  # a hole larger than the kernel
    kernel = Gaussian2DKernel(1.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = convolve(image, kernel, mask=masked)
    line = Gaussian1DKernel(1.1).array
    ours = smooth(image, masked, line / line.sum())
    assert ours.dtype == np.float32
    assert np.isnan(expected).any()
    np.testing.assert_allclose(ours, expected, rtol=3e-7, atol=1e-8)


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("least", [1, 4, 9])
def test_saddles(diagonal: bool, least: int) -> None:
    image = blobs()
    structure = ndimage.generate_binary_structure(2, 2 if diagonal else 1)
    segments, n = ndimage.label(image > 0.05, structure=structure)
    segments, slices = segments.astype(np.int32), ndimage.find_objects(segments)
    labels = np.arange(1, n + 1)
    boxes = np.array([(s[0].start, s[0].stop, s[1].start, s[1].stop) for s in slices])
    levels = np.array([np.linspace(0.05, image[segments == k].max(), 9)[:-1] for k in labels], np.float32)
    expected = []
    for k in labels:
        pieces = [ndimage.label((image > level) & (segments == k), structure=structure)[0] for level in levels[k - 1]]
        expected.append(any((np.bincount(p.ravel())[1:] >= least).sum() >= 2 for p in pieces))
    assert 0 < sum(expected) < n
    assert has_saddle(image, segments, labels, boxes, levels, least, diagonal).tolist() == expected


def test_rings() -> None:
    rng = np.random.default_rng(3)
    image = rng.normal(size=(40, 40)).astype(np.float32)
    image[rng.random(image.shape) < 0.03] += 30
    image[20, 15] = np.nan
    x, y = np.array([15.3, 0.2, 39.0, -50.0, 20.0]), np.array([18.1, 1.0, 39.0, 3.0, 20.0])
    median, deviation, number = ring_medians(image, x, y, 4.0, 8.0, 3.0, 5)
    assert number[0] < ring_medians(image, x, y, 4.0, 8.0, 1e9, 5)[2][0]  # outliers go
    rows, columns = np.indices(image.shape)
    for k in range(5):
        distance = np.hypot(rows - y[k], columns - x[k])
        values = image[(distance >= 4) & (distance < 8)].astype(float)
        if not values.size:
            assert np.isnan(median[k])
            assert number[k] == 0
            continue
        kept = sigma_clip(values[np.isfinite(values)], 3, maxiters=5, masked=False)
        assert number[k] == kept.size
        np.testing.assert_allclose([median[k], deviation[k]], [np.median(kept), kept.std()], rtol=1e-12)


def test_summed_variance() -> None:
    rng = np.random.default_rng(4)
    errors = rng.uniform(1, 2, (9, 11)).astype(np.float32)
    segments = rng.integers(0, 3, (9, 11)).astype(np.int32)
    table = np.outer([0.5, 0.2, 0.05], [0.5, 0.2, 0.05])
    total = np.zeros(3)
    summed_variance(errors, segments, table, total)
    places = np.argwhere(segments >= 0)
    for label in (1, 2):
        mine = [(y, x) for y, x in places if segments[y, x] == label]
        expected = sum(
            float(errors[a]) * float(errors[b]) * table[abs(a[0] - b[0]), abs(a[1] - b[1])]
            for a in mine for b in mine if max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= 2
        )  # fmt: skip
        assert total[label] == pytest.approx(expected, rel=1e-12)
    assert total[0] == 0
