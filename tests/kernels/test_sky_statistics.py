"""Sky statistics of regions against slow twins."""

import numba
import numpy as np
import pytest

from jwnb.kernels import threads, use_threads
from jwnb.kernels.sky_statistics import (
    COUNT,
    DONE,
    HIGH,
    LOW,
    MEAN,
    SPREAD,
    clip,
    clip_tails,
    core_sums,
    first_pixels,
    gather,
    histograms,
    tails,
    usable,
)

SHAPE = (23, 41)


def runs_of(masks):
    """Return the runs of masks as the kernels take them."""
    first, starts, stops = np.zeros((len(masks), SHAPE[0] + 1), np.int64), [], []
    for r, mask in enumerate(masks):
        for y in range(SHAPE[0]):
            first[r, y] = len(starts)
            steps = np.flatnonzero(np.diff(np.concatenate([[0], mask[y].astype(int), [0]])))
            starts += list(steps[::2])
            stops += list(steps[1::2])
        first[r, SHAPE[0]] = len(starts)
    return first, np.array(starts, np.int32), np.array(stops, np.int32)


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(4)
    values = rng.normal(3, 0.5, SHAPE).astype(np.float32)
    values[rng.random(SHAPE) < 0.05] += 20
    values[rng.random(SHAPE) < 0.05] -= 9
    values[rng.random(SHAPE) < 0.1] = np.nan
    y, x = np.indices(SHAPE)
    masks = [
        np.ones(SHAPE, bool), (x + y > 20) & (x < 35), (x % 7 < 4) & (y > 2), (x - 20) ** 2 + (y - 9) ** 2 < 40, np.zeros(SHAPE, bool),
    ]  # fmt: skip
    return values, masks, runs_of(masks)


def clipped(pixels, leading, lower, upper, nclip, lsigma, usigma):
    """The clipping in plain numpy: what is left, mean and spread, and the limits of its histogram."""
    low, high = lower, upper
    for turn in range(nclip + 1):
        low32, high32 = np.float32(low), np.float32(high)
        left = pixels[(pixels >= low32) & (pixels <= high32)]
        if not left.size:
            return [0, 0, 0, 0, 0]
        mean = np.float32(left.astype(float).mean())
        spread = np.float32(np.sqrt(np.sum(((left - mean) ** 2).astype(float)) / (left.size - 1)))
        if turn < nclip:
            low, high = max(lower, float(mean) - lsigma * float(spread)), min(upper, float(mean) + usigma * float(spread))
    return [left.size, mean, spread, low32 if leading < low32 else left.min(), high32 if leading > high32 else left.max()]


def test_pixels_that_cannot_be_used_are_nan():
    data = np.array([[1, np.inf, -np.inf], [np.nan, 2, 3]], np.float32)
    flags = np.array([[0, 0, 0], [0, 5, 2]], np.uint32)
    assert np.array_equal(usable(data, flags, np.uint32(4)), [[1, np.nan, np.nan], [np.nan, np.nan, 3]], equal_nan=True)
    assert np.array_equal(usable(data, flags[:0, :0], np.uint32(4)), [[1, np.nan, np.nan], [np.nan, 2, 3]], equal_nan=True)


def test_sums_of_the_core_and_what_lies_outside(scene):
    values, masks, runs = scene
    low, high = np.float32(2), np.float32(4)
    sums, offsets = core_sums(values, low, high, *runs)
    for mask, (n, total, squares) in zip(masks, sums, strict=True):
        inside = values[mask & (values >= low) & (values <= high)].astype(float) - 3
        assert n == inside.size
        assert (total, squares) == pytest.approx((inside.sum(), (inside**2).sum()), rel=1e-12, abs=1e-12)
    far = (values < low) | (values > high)
    assert list(np.diff(offsets)) == list(far.sum(axis=1))
    found, columns = tails(values, low, high, offsets)
    assert np.array_equal(found, values[far])
    assert np.array_equal(columns, np.nonzero(far)[1])


@pytest.mark.parametrize("how", [
    (-np.inf, np.inf, 5, 4.0, 4.0), (-np.inf, np.inf, 0, 4.0, 4.0), (2.1, np.inf, 3, 3.0, 2.5), (-7.0, 3.5, 2, 2.0, 3.0),
    (50.0, 60.0, 2, 3.0, 3.0),
])  # fmt: skip
def test_clipping(scene, how):
    values, masks, runs = scene
    leading = first_pixels(values, *runs)
    made = clip(values, np.arange(len(masks)), *runs, *how)
    core = np.float32(2.9), np.float32(3.1)
    sums, offsets = core_sums(values, *core, *runs)
    quick = clip_tails(*tails(values, *core, offsets), offsets, *runs, sums, core, leading, *how)
    for r, mask in enumerate(masks):
        pixels = values[mask & np.isfinite(values)]
        assert np.array_equal(leading[r], pixels[0] if pixels.size else np.nan, equal_nan=True)
        expected = clipped(pixels, leading[r], *how)
        assert made[r, COUNT] == expected[0]
        assert made[r, DONE] == 1
        if expected[0]:
            np.testing.assert_allclose(made[r, MEAN : HIGH + 1], expected[1:], rtol=1e-7)
            assert (made[r, LOW], made[r, HIGH]) == tuple(expected[3:])
        if quick[r, DONE]:
            assert quick[r, COUNT] == expected[0]
            np.testing.assert_allclose(quick[r, MEAN : HIGH + 1], expected[1:], rtol=2e-7)
    assert quick[:3, DONE].all() == (how[0] < 10)


def test_a_core_that_is_cut_is_left_to_the_slow_way(scene):
    values, _, runs = scene
    core = np.float32(1), np.float32(5)
    sums, offsets = core_sums(values, *core, *runs)
    made = clip_tails(*tails(values, *core, offsets), offsets, *runs, sums, core, first_pixels(values, *runs), 2.0, np.inf, 2, 4.0, 4.0)
    assert not made[:, DONE].any()


def test_a_single_pixel_has_no_spread():
    values = np.full(SHAPE, np.nan, np.float32)
    values[5, 6] = 7
    runs = runs_of([np.ones(SHAPE, bool)])
    (made,) = clip(values, np.arange(1), *runs, -np.inf, np.inf, 3, 4.0, 4.0)
    assert (made[COUNT], made[MEAN], made[LOW], made[HIGH]) == (1, 7, 7, 7)
    assert np.isnan(made[SPREAD])


@pytest.mark.parametrize("blocks", [1, 4, 50])
def test_histograms_and_the_pixels_of_some_bins(scene, blocks):
    values, masks, runs = scene
    zero, scale, edge = (np.full(len(masks), v, np.float32) for v in (2.0, 8.0, 4.0))
    values = np.where(np.arange(SHAPE[1]) == 3, np.float32(4), values)
    open_end = np.array([True, False, True, False, True])
    offsets = np.array([0, 16, 33, 49, 57, 60])
    counts = histograms(values, *runs, zero, scale, edge, open_end, offsets, blocks)
    wanted = np.tile([3, 5], (len(masks), 1))
    places = [0]
    for r, mask in enumerate(masks):
        pixels = values[mask & (values >= 2) & ((values < 4) if open_end[r] else (values <= 4))]
        index = ((pixels - np.float32(2)) * np.float32(8)).astype(int)
        expected = np.bincount(index, minlength=17)[: offsets[r + 1] - offsets[r]]
        assert np.array_equal(counts[offsets[r] : offsets[r + 1]], expected)
        places.append(places[-1] + int(((index >= 3) & (index <= 5)).sum()))
    near = gather(values, *runs, zero, edge, zero, scale, wanted, np.array(places))
    for r, mask in enumerate(masks):
        expected = values[mask & (values >= 2.375) & (values < 2.75)]
        assert np.array_equal(near[places[r] : places[r + 1]], expected)


def test_the_number_of_threads_changes_nothing(scene):
    values, _, runs = scene
    before, results = threads(), []
    try:
        for n in (1, numba.config.NUMBA_NUM_THREADS):
            use_threads(n)
            results.append(core_sums(values, np.float32(2), np.float32(4), *runs)[0])
    finally:
        use_threads(before)
    assert np.array_equal(*results)
