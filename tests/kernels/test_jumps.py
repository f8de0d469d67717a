"""Jumps in whole exposures, against plain numpy pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.test_jump_pixels import RULES, sizes_left
from scipy.ndimage import binary_dilation, generate_binary_structure

from jwnb.kernels.jumps import find_jumps, flag_after_jumps, flag_neighbors, prepare, usable_groups

BAD = np.uint8(3)


def exposure(shape, seed, *, whole=False, spread=4.0):
    """Ramps with jumps, flags, NaN and unusable gains and noise; `whole` makes many differences equal."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(10 ** rng.uniform(-1, 3, shape[2:]), spread, shape)
    steps[rng.random(shape) < 0.05] += 10 ** rng.uniform(1, 4)
    data = np.cumsum(steps, axis=1).astype(np.float32)
    data = np.rint(data) if whole else data
    data[rng.random(shape) < 0.01] = np.nan
    groupdq = np.where(rng.random(shape) < 0.03, rng.choice([1, 2, 4, 6, 64], shape), 0).astype(np.uint8)
    gain = np.where(rng.random(shape[2:]) < 0.03, rng.choice([np.nan, 0, -1], shape[2:]), 1.8).astype(np.float32)
    readnoise = np.where(rng.random(shape[2:]) < 0.03, rng.choice([np.nan, 0], shape[2:]), 6.0).astype(np.float32)
    return prepare(data, groupdq, gain=gain, readnoise=readnoise, do_not_use=RULES.do_not_use)


def differences(ramps):
    return np.diff(np.where(ramps.groupdq & BAD, np.float32(np.nan), ramps.data * ramps.gain), axis=1).astype(float)


def noise2(ramps):
    return ((ramps.readnoise * ramps.gain) ** 2).astype(float) / RULES.nframes


def median_and_sigma(ramps):
    diffs = differences(ramps)
    flat = diffs.reshape(-1, *diffs.shape[2:])
    median = np.full(flat.shape[1:], np.nan)
    some = ~np.isnan(flat).all(axis=0)
    median[some] = np.nanmedian(flat[:, some], axis=0)
    sigma = np.sqrt(np.abs(median) + noise2(ramps))
    return diffs, median, np.where(sigma > 0, sigma, np.nan)


def twin(ramps, method):
    """Return which groups have a jump, useless ones left out."""
    diffs, median, sigma = median_and_sigma(ramps)
    jumps = ramps.groupdq & 4 > 0
    if method == "once":
        with np.errstate(invalid="ignore"):
            jumps[:, 1:] |= np.abs(diffs - median) / sigma > RULES.normal
    else:
        for y, x in np.ndindex(median.shape):
            sizes = np.abs(diffs[:, :, y, x])
            jumps[:, 1:, y, x] |= ~np.isnan(sizes) & ~np.isin(sizes, sizes_left(sizes.ravel(), noise2(ramps)[y, x]))
    return jumps & (ramps.groupdq & BAD == 0)


@pytest.mark.parametrize("method", ["iterate", "once"])
@given(
    st.tuples(st.integers(1, 3), st.integers(2, 14), st.integers(1, 4), st.integers(1, 40)), st.integers(0, 10**6), st.booleans(),
    st.sampled_from([0.1, 4.0, 30.0]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_every_pixel_as_the_twin(method, shape, seed, whole, spread):
    ramps = exposure(shape, seed, whole=whole, spread=spread)
    found = find_jumps(ramps, RULES, method=method)
    expected = twin(ramps, method)
    np.testing.assert_array_equal(found.groupdq & 4 > 0, expected)
    np.testing.assert_array_equal(found.groupdq & ~np.uint8(4), ramps.groupdq & ~np.uint8(4))
    assert found.jumps.sum() == np.count_nonzero(expected | (ramps.groupdq & 4 > 0))


@pytest.mark.parametrize("method", ["iterate", "once"])
@pytest.mark.parametrize("shape", [(1, 9, 3, 1100), (2, 90, 2, 70), (1, 400, 2, 40)])
def test_blocks_of_columns(method, shape):
    ramps = exposure(shape, 8)
    np.testing.assert_array_equal(find_jumps(ramps, RULES, method=method).groupdq & 4 > 0, twin(ramps, method))


@pytest.mark.parametrize("method", ["iterate", "once"])
@pytest.mark.parametrize("drop", [[0], [5], [0, 5], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]])
def test_groups_unusable_as_a_whole(method, drop):
    given_ramps = exposure((2, 6, 5, 33), 4)
    groupdq = given_ramps.groupdq.copy()
    groupdq[:, drop] |= 1
    ramps = prepare(
        given_ramps.data, groupdq, gain=given_ramps.gain, readnoise=given_ramps.readnoise, do_not_use=RULES.do_not_use
    )  # fmt: skip
    assert (~ramps.usable).sum() == 2 * len(drop)
    np.testing.assert_array_equal(find_jumps(ramps, RULES, method=method).groupdq & 4 > 0, twin(ramps, method))


@pytest.mark.parametrize("shape", [(1, 5, 9, 1), (1, 5, 1, 21), (2, 6, 12, 31), (1, 5, 7, 32)])
def test_neighbors(shape):
    ramps = exposure(shape, 2)
    found = find_jumps(ramps, RULES, method="iterate")
    before = found.groupdq.copy()
    flag_neighbors(found, RULES)
    diffs, median, sigma = median_and_sigma(ramps)
    with np.errstate(invalid="ignore"):
        ratio = np.abs(diffs - median) / sigma
        seeds = (ratio > RULES.min_spread) & (ratio < RULES.max_spread) & (before[:, 1:] & 4 > 0)
    cross = np.zeros((1, 1, 3, 3), bool)
    cross[0, 0] = generate_binary_structure(2, 1)
    reached = binary_dilation(seeds, cross) & (before[:, 1:] & BAD == 0)
    before[:, 1:] |= np.where(reached, 4, 0).astype(np.uint8)
    np.testing.assert_array_equal(found.groupdq, before)


@pytest.mark.parametrize("groups", [(0, 2), (3, 0), (1, 4), (10**9, 1)])
def test_groups_after_jumps(groups):
    ramps = exposure((2, 9, 6, 25), 6)
    found = find_jumps(ramps, RULES, method="iterate")
    before = found.groupdq.copy()
    electrons = (100.0, 900.0)
    flag_after_jumps(found, ramps, RULES, electrons=electrons, groups=groups)
    diffs, median, _ = median_and_sigma(ramps)
    expected = before.copy()
    for limit, length in zip(electrons, groups, strict=True):
        with np.errstate(invalid="ignore"):
            large = (before[:, 1:] & 4 > 0) & (diffs - median >= limit)
        for i, g, y, x in np.argwhere(large):
            after = slice(g + 1, g + 2 + length)
            usable = before[i, after, y, x] & BAD == 0
            expected[i, after, y, x] |= np.where(usable, 4, 0).astype(np.uint8)
    np.testing.assert_array_equal(found.groupdq, expected)
    assert (found.groupdq != before).any()


def test_usable_groups():
    groupdq = np.zeros((2, 3, 4, 5), np.uint8)
    groupdq[0, 1] = 1
    groupdq[1, 2] = 3
    groupdq[1, 0] = 1
    groupdq[1, 0, 3, 3] = 2
    np.testing.assert_array_equal(usable_groups(groupdq, np.uint8(1)), [[True, False, True], [True, True, False]])


def test_inputs_are_only_read_and_may_be_strided():
    rng = np.random.default_rng(1)
    data = rng.normal(100, 3, (1, 6, 20, 30)).astype(">f4")[..., ::2, 3:20]
    groupdq, plane = np.zeros(data.shape, np.uint8), np.ones((10, 17), np.float32)
    ramps = prepare(data, groupdq, gain=plane, readnoise=plane, do_not_use=np.uint8(1))
    assert not any(a.flags.writeable for a in ramps[:4]) and groupdq.flags.writeable
    np.testing.assert_array_equal(find_jumps(ramps, RULES, method="iterate").groupdq & 4 > 0, twin(ramps, "iterate"))
    assert not groupdq.any()
