"""Comparisons of images with what is expected, against slow twins."""

import numpy as np
import pytest
from scipy import ndimage

from jwnb.kernels import outliers as kernels

F = np.float32


def scene(shape: tuple[int, ...] = (30, 34), seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    blot = ndimage.gaussian_filter(rng.normal(size=shape), 1.0).astype(F) * 20
    err = rng.uniform(0.3, 1, shape).astype(F)
    data = (blot + rng.normal(size=shape) * 3 * err).astype(F)
    for array, value in ((data, np.nan), (blot, np.nan), (err, np.nan), (err, np.inf)):
        array[rng.random(shape) < 0.02] = value
    return data, err, blot


def steepness(image: np.ndarray) -> np.ndarray:
    out = np.full(image.shape, np.nan, F)
    for y, x in np.ndindex(image.shape):
        if np.isnan(image[y, x]):
            continue
        out[y, x] = 0
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < image.shape[0] and 0 <= u < image.shape[1] and np.isfinite(image[v, u]):
                out[y, x] = max(out[y, x], abs(image[y, x] - image[v, u]))
    return out


def noise(err: np.ndarray) -> np.ndarray:
    return np.nan_to_num(err)


@pytest.mark.parametrize(("snr", "scale", "background"), [((5, 4), (1.2, 0.7), 0), ((2, 1), (0, 0), 0.4), ((1, 3), (0.5, 2), -0.2)])
def test_two_passes(snr, scale, background) -> None:
    data, err, blot = scene()
    found = kernels.far_from_blotted(data, err, blot, np.array(snr, F), np.array(scale, F), F(background))
    with np.errstate(over="ignore"):
        off = np.abs(data - blot - F(background))
        first, second = (off > F(b) * steepness(blot) + F(a) * noise(err) for a, b in zip(snr, scale, strict=True))
    expected = ndimage.maximum_filter(first, 3) & second
    assert 0 < expected.sum() < expected.size
    assert np.array_equal(found, expected)


def test_no_outlier_where_something_is_unknown() -> None:
    data, err, blot = (np.zeros((5, 5), F) for _ in range(3))
    data[1, 1] = data[3, 3] = 1
    blot[1, 1] = np.nan
    found = kernels.far_from_blotted(data, err, blot, np.array([5, 4], F), np.array([1, 1], F), F(0))
    assert np.argwhere(found).tolist() == [[3, 3]]


def test_planes_against_one_that_is_expected() -> None:
    data, err, _ = scene((4, 9, 8))
    expected = scene((9, 8), seed=1)[2]
    found = kernels.far_from(data, err, expected, F(3))
    with np.errstate(over="ignore"):
        twin = np.abs(data - expected) > F(3) * noise(err)
    assert np.array_equal(found, twin) and 0 < twin.sum() < twin.size


@pytest.mark.parametrize("width", [2, 5, 8])
def test_integrations_against_those_about_them(width: int) -> None:
    data, err, _ = scene((20, 3, 37))
    dq = np.random.default_rng(5).integers(0, 30, data.shape).astype(np.uint32) // 28
    found = kernels.far_from_rolling(data, err, dq, np.uint32(1), width, F(2))
    masked = np.where(dq & 1, np.nan, data).astype(float)
    half = width // 2
    with np.errstate(over="ignore"):
        for k in range(20):
            start = min(max(k - half, 0), 20 - width)
            twin = np.abs(data[k].astype(float) - np.median(masked[start : start + width], axis=0)) > F(2) * noise(err[k])
            assert np.array_equal(found[k], twin)
    assert found.any()


@pytest.mark.parametrize("radius", [0.0, 0.9, 1.0, 1.5, 3.2])
def test_growing(radius: float) -> None:
    found = np.zeros((2, 12, 13), bool)
    found[0, 5, 6] = found[1, 0, 0] = True
    out = kernels.grown(found, radius)
    y, x = np.indices((12, 13))
    assert np.array_equal(out[0], np.hypot(y - 5, x - 6) <= radius)
    assert np.array_equal(out[1], np.hypot(y, x) <= radius)
    assert np.array_equal(kernels.grown(found[0], radius), out[0])


def test_maxima_that_stand_out() -> None:
    median = np.ones((20, 24), F)
    median[6, 7], median[6, 8] = 11, 5
    median[12, 12] = 4
    median[1, 10] = 50  # too near the edge
    median[15, 20], median[15, 17] = 9, np.nan
    counts = np.full(median.shape, 4, np.uint16)
    counts[12, 12] = 2
    out = kernels.core_contrast(median, counts, 3)
    assert np.argwhere(out).tolist() == [[6, 7]]
    assert out[6, 7] == 10
    assert kernels.core_contrast(median, counts, 2)[12, 12] == 3


def test_counting_on_cores() -> None:
    shape = (6, 7)
    data, err, contrast, found = np.ones(shape, F), np.ones(shape, F), np.zeros(shape, F), np.zeros(shape, bool)
    contrast[2, 2], contrast[3, 4], contrast[4, 4], contrast[1, 1] = 30, 30, 30, 10
    found[2, 2] = found[4, 4] = found[0, 0] = True
    data[4, 4] = np.nan
    assert kernels.core_counts(data, err, contrast, found, F(20)).sum(axis=0).tolist() == [2, 1, 39, 1]


def test_nearest() -> None:
    image = np.arange(20, dtype=F).reshape(4, 5)
    places = np.array([[[0.4, 0.4], [4.4, 3.4], [4.6, 1.0]], [[-0.6, 0], [1.6, -0.4], [np.nan, 1.0]]])
    out = np.full((2, 3), -1, F)
    kernels.nearest(image, places, out)
    assert out.tolist() == [[0, 19, 0], [0, 2, 0]]


def test_nan_and_flags_go_together() -> None:
    found = np.zeros((1, 2, 4), bool)
    found[0, 0, 0] = True
    dq = np.zeros((1, 2, 4), np.uint32)
    dq[0, 1, 1], dq[0, 0, 0], dq[0, 1, 3] = 1, 4, 2
    data = np.ones((1, 2, 4), F)
    data[0, 0, 2] = np.nan
    invalid = found.copy()
    kernels.add_nan(invalid, data)
    out = kernels.marked(dq, found, invalid, np.uint32(16), np.uint32(1))
    assert out.tolist() == [[[21, 0, 1, 0], [0, 1, 0, 2]]]
    assert invalid.tolist() == [[[True, False, True, False], [False, True, False, False]]]
    blank = kernels.blanked(data, invalid)
    assert np.array_equal(np.isnan(blank), invalid) and np.isfinite(data).sum() == 7


def test_outliers_among_others():
    found = np.random.default_rng(4).random((40, 50)) < 0.7
    expected = ndimage.binary_erosion(found, np.ones((3, 3))).sum(axis=1)
    np.testing.assert_array_equal(kernels.in_blocks(found), expected)
    assert expected.sum() > 20
