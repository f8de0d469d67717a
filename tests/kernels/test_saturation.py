"""Saturation flags against plain numpy, frame by frame."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from jwnb import dq
from jwnb.kernels import saturation as kernels
from jwnb.kernels.saturation import flag_ramps, usable_thresholds, zero_saturated

UNUSABLE, SATURATED, FLOOR = (dq.GROUP[n] for n in ("DO_NOT_USE", "SATURATED", "AD_FLOOR"))


def grown(mask, grow):
    return binary_dilation(mask, np.ones((2 * grow + 1,) * 2)) if grow else mask


def twin(data, groupdq, thresholds, checked, *, grow, nframes, bias, irs2):
    """Flag one integration, group by group."""
    out = groupdq.copy()
    full = np.logical_or.accumulate(data >= thresholds, axis=0)
    for g in range(len(data)):
        seeds = full[g] if irs2 else full[g] | (groupdq[g] & SATURATED > 0)
        out[g] |= np.where(grown(seeds, grow), SATURATED, 0).astype(np.uint8)
        out[g] |= np.where(data[g] <= 0, FLOOR | UNUSABLE, 0).astype(np.uint8)
    if nframes == 1:
        return out
    flags = out.copy()
    frame_times = np.arange(1, len(data) * nframes + 1, dtype=float).reshape(len(data), nframes)
    for g in range(len(data) - 1) if not irs2 else ():
        usable = flags[g] & (SATURATED | UNUSABLE) == 0
        high = data[g] >= thresholds * (frame_times[g].mean() / frame_times[g, -1])
        diluted = checked & usable & high & (flags[g + 1] & SATURATED > 0)
        out[g] |= np.where(grown(diluted, grow), UNUSABLE, 0).astype(np.uint8)
    if len(data) > 2:
        foretold = (data[0] - bias) / frame_times[0].mean() * frame_times[2, -1] + bias
        sudden = (foretold < thresholds) & (data[1] - data[0] > (thresholds - data[0]) / np.float32(nframes))
        if irs2:
            out[1] |= np.where(grown(sudden & (data[2] >= thresholds), grow), SATURATED, 0).astype(np.uint8)
        else:
            turned = (flags[2] & SATURATED > 0) & (flags[1] & SATURATED == 0)
            out[1] |= np.where(sudden & turned, UNUSABLE, 0).astype(np.uint8)
    return out


def case(seed, shape, density):
    """Return ramps on a grid of round numbers, so that counts often equal their threshold, with flags, NaN and bias."""
    rng = np.random.default_rng(seed)
    _, _, ny, nx = shape
    data = np.cumsum(rng.choice([0, 1000, 2000, 16000], shape, p=[0.2, 0.5, 0.25, 0.05]), axis=1) - 1000.0 * (rng.random(shape) < 0.05)
    data[rng.random(shape) < 0.02] = np.nan
    groupdq = rng.choice([0, 1, 2, 4, 7], shape, p=[1 - 4 * density] + [density] * 4).astype(np.uint8)
    levels = rng.choice([12000, 20000, 30000], (ny, nx)).astype(np.float32)
    levels[rng.random((ny, nx)) < 0.05] = np.nan
    flags = np.where(rng.random((ny, nx)) < 0.05, dq.PIXEL["NO_SAT_CHECK"], 0).astype(np.uint32)
    bias = np.where(rng.random((ny, nx)) < 0.05, np.nan, rng.uniform(0, 500, (ny, nx))).astype(np.float32)
    return data.astype(np.float32), groupdq, levels, flags, bias


def test_bits_are_those_of_dq():
    assert (kernels.DO_NOT_USE, kernels.SATURATED, kernels.AD_FLOOR) == (UNUSABLE, SATURATED, FLOOR)
    assert dq.PIXEL["NO_SAT_CHECK"] == kernels.NO_SAT_CHECK


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 40), st.integers(1, 24)),
    grow=st.integers(0, 3),
    nframes=st.sampled_from([1, 2, 4, 8]),
    density=st.sampled_from([0.0, 0.01]),
    irs2=st.booleans(),
)
def test_against_numpy(seed, shape, grow, nframes, density, irs2):
    data, groupdq, levels, flags, bias = case(seed, shape, density)
    rows = np.flatnonzero(np.random.default_rng(seed).random(shape[2]) < 0.7) if irs2 else np.arange(shape[2])
    thresholds, checked, _ = usable_thresholds(levels[rows], flags[rows])
    options = {"grow": grow, "nframes": nframes}
    out = flag_ramps(data, groupdq, thresholds, checked, bias=bias[rows], rows=rows if irs2 else None, **options)
    expected = groupdq.copy()
    for i in range(shape[0]):
        expected[i, :, rows] = np.moveaxis(
            twin(data[i][:, rows], groupdq[i][:, rows], thresholds, checked, bias=bias[rows], irs2=irs2, **options), 1, 0
        )
    np.testing.assert_array_equal(out, expected)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), ny=st.integers(1, 40), nx=st.integers(1, 24), grow=st.integers(0, 3))
def test_zero_frames_against_numpy(seed, ny, nx, grow):
    data, _, levels, flags, _ = case(seed, (2, 4, ny, nx), 0.0)
    thresholds, _, _ = usable_thresholds(levels, flags)
    frames = np.ascontiguousarray(data[:, 3])
    expected = [np.where(grown(f >= thresholds, grow) | (f <= 0), np.float32(0), f) for f in frames]
    np.testing.assert_array_equal(zero_saturated(frames, thresholds, grow=grow), expected)


def test_thresholds_that_cannot_be_used():
    levels = np.array([[50000, np.nan, 40000, np.nan]], np.float32)
    flags = np.array([[0, 1, dq.PIXEL["NO_SAT_CHECK"], dq.PIXEL["NO_SAT_CHECK"]]], np.uint32)
    thresholds, checked, out = usable_thresholds(levels, flags)
    np.testing.assert_array_equal(thresholds, [[50000, 65536, 65536, 65536]])
    np.testing.assert_array_equal(checked, [[True, False, False, False]])
    no = dq.PIXEL["NO_SAT_CHECK"]
    np.testing.assert_array_equal(out, [[0, no | 1, no, no]])


def test_the_number_of_threads_does_not_matter():
    from jwnb.kernels import threads, use_threads

    data, groupdq, levels, flags, bias = case(3, (2, 5, 70, 40), 0.01)
    thresholds, checked, _ = usable_thresholds(levels, flags)
    before = threads()
    try:
        results = []
        for n in (1, before):
            use_threads(n)
            results.append(flag_ramps(data, groupdq, thresholds, checked, grow=2, nframes=4, bias=bias))
    finally:
        use_threads(before)
    np.testing.assert_array_equal(*results)
