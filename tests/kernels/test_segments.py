"""Segments of a ramp, their weights and their slopes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jwnb import dq
from jwnb.kernels.segments import (
    FIRST_GROUP,
    ORDINARY,
    ZERO_FRAME,
    Bits,
    Plan,
    dissect,
    find_segments,
    give_back_charge,
    median_in_place,
    median_rate,
    noise_in_electrons,
    optimal_weights,
    power_index,
    read_noise_variance,
    segment_slope,
    segment_time,
)

BITS = Bits(*(dq.GROUP[n] for n in ("DO_NOT_USE", "SATURATED", "JUMP_DET", "PERSISTENCE", "CHARGELOSS")), dq.PIXEL["NO_GAIN_VALUE"])
POWERS = (0.0, 0.4, 1.0, 3.0, 6.0, 10.0)


def plan(ngroups, **changes):
    made = Plan(0, ngroups, 0, ngroups - 1, False, True, 10.0, 2.0, 5.0, 1 / np.sqrt(8))
    return made._replace(**changes)


def segments(flags):
    flags = np.array(flags, np.uint8)
    starts, lengths = np.empty((2, len(flags)), np.int64)
    count, listed = find_segments(flags, len(flags), BITS, starts, lengths)
    return list(zip(starts[:count].tolist(), lengths[:count].tolist(), strict=True)), listed


def segments_slowly(flags):
    flags = [f & ~32 for f in flags]
    found, g = [], 0
    while g < len(flags):
        if flags[g]:
            g += 1
            continue
        stop = next((k for k in range(g, len(flags)) if flags[k]), len(flags))
        begin = g - 1 if g and flags[g - 1] == 4 else g
        found.append((begin, stop - begin))
        g = stop
    long = [s for s in found if s[1] > 1]
    return (long, len(long)) if long else (found[:1], len(found))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([0, 0, 0, 0, 4, 4, 36, 32, 1, 2, 5, 128]), min_size=1, max_size=20))
def test_segments(flags):
    assert segments(flags) == segments_slowly(flags)


def test_segments_by_hand():
    assert segments([0, 0, 4, 0, 0, 2]) == ([(0, 2), (2, 3)], 2)
    assert segments([0, 4, 4, 0, 1, 0]) == ([(2, 2)], 1)
    assert segments([0, 1, 0, 1, 0]) == ([(0, 1)], 3)


def cut(flags, zero=0.0, **changes):
    flags = np.array(flags, np.uint8)
    n = len(flags)
    p = plan(n, **changes)
    starts, lengths = np.empty((2, n), np.int64)
    seen, kind, earned, count, _ = dissect(flags, n, np.float32(zero), p, BITS, starts, lengths)
    return int(seen), kind, int(earned), list(zip(starts[:count].tolist(), lengths[:count].tolist(), strict=True)), flags.tolist()


def test_a_ramp_of_one_good_group():
    assert cut([0, 2, 2])[:4] == (3, ORDINARY, 1, [])
    assert cut([0, 2, 2], suppress_one_group=False)[:4] == (2, FIRST_GROUP, 0, [(0, 1)])
    assert cut([1, 0, 2], suppress_one_group=False)[:4] == (3, ORDINARY, 0, [(1, 1)])


def test_the_zero_frame():
    assert cut([2, 2], 7.0, suppress_one_group=False)[:4] == (2, ZERO_FRAME, 0, [(0, 1)])
    assert cut([2, 2], 0.0, suppress_one_group=False)[:4] == (2, ORDINARY, 3, [])
    assert cut([2, 2], 7.0)[1] == ORDINARY


def test_unusable_ramps():
    assert cut([2, 0, 0])[2] == 3
    assert cut([1, 2, 1])[2] == 1
    assert cut([4, 4, 4])[2:4] == (0, [])


def test_chosen_groups():
    assert cut([0, 0, 0, 0, 0], first_used=1, last_used=3)[3] == [(1, 3)]
    *_, found, flags = cut([1, 4, 0, 0, 1], start=1, stop=4, forgive_jump=True)
    assert found == [(0, 3)] and flags[:3] == [0, 0, 0]


def test_charge_loss_is_given_back():
    flags = np.array([0, 0, 129, 129, 2], np.uint8)
    starts, lengths = np.empty((2, 5), np.int64)
    assert give_back_charge(flags, 5, plan(5), BITS, starts, lengths) == 1 and lengths[0] == 4
    # The flag alone, without DO_NOT_USE, puts a group out of use: that is how `jwst` does it.
    assert give_back_charge(np.array([0, 0, 128], np.uint8), 3, plan(3), BITS, starts, lengths) == 1 and lengths[0] == 2


def slope_slowly(values, power):
    n = len(values)
    x = np.arange(n)
    w = np.abs((x - (n - 1) / 2) / ((n - 1) / 2)) ** power
    middle = (w * x).sum() / w.sum()
    return (w * (x - middle) * values).sum() / (w * (x - middle) ** 2).sum()


@pytest.mark.parametrize("n", [3, 4, 9, 20])
@pytest.mark.parametrize("signal", [-50.0, 5.0, 60.0, 150.0, 1000.0, 5000.0, 1e5])
def test_slopes(n, signal):
    values = np.linspace(0, signal, n) + np.random.default_rng(n).normal(0, 3, n)
    weights = optimal_weights(n)
    p = power_index(values[0], values[-1], 2.0, 10.0)
    padded = np.concatenate([[9e9], values, [9e9]])
    slope = segment_slope(padded, 1, n, 2.0, 10.0, weights.odd, weights.slope_norm)
    np.testing.assert_allclose(slope, slope_slowly(values, POWERS[p]), rtol=1e-9)


def test_power_steps():
    read_noise, gain = 10.0, 2.0
    for limit, low in ((5, 0), (10, 1), (20, 2), (50, 3), (100, 4)):
        electrons = (limit**2 + np.sqrt(limit**4 + 4 * limit**2 * read_noise**2)) / 2  # S / sqrt(R² + S) = limit
        assert power_index(0.0, electrons / gain * (1 - 1e-9), gain, read_noise) == low
        assert power_index(0.0, electrons / gain * (1 + 1e-9), gain, read_noise) == low + 1


def test_slopes_of_bad_values():
    weights = optimal_weights(4)
    values = np.array([0.0, 10.0, np.nan, 30.0])
    assert segment_slope(values, 0, 4, 2.0, 100.0, weights.odd, weights.slope_norm) == pytest.approx((3 * 30 - 10) / 10)
    assert np.isnan(segment_slope(values, 1, 2, 2.0, 100.0, weights.odd, weights.slope_norm))
    assert np.isnan(segment_slope(values, 0, 4, 2.0, 0.0, weights.odd, weights.slope_norm))


@pytest.mark.parametrize("m", [1, 2, 3, 8, 39, 41, 42, 101])
def test_medians(m):
    for seed in range(5):
        values = np.random.default_rng(seed).integers(-9, 9, m).astype(float)
        assert median_in_place(values.copy(), m, m) == np.median(values)
        for count in {1, 2, m // 2} - {0}:
            if count <= m:
                assert median_in_place(values.copy(), m, count) == np.median(np.sort(values)[:count])
    assert np.isnan(median_in_place(np.zeros(m), m, 0))


def test_median_rates():
    n = 5
    work = np.empty(n)

    def rate(flags, values, kind=ORDINARY, size=n):
        return median_rate(np.array(flags, np.uint8), np.array(values, float), kind, plan(size), BITS, work)

    assert rate([0] * 5, [0, 10, 30, 40, 90]) == 1.5
    assert rate([0, 0, 4, 0, 0], [0, 10, 900, 940, 990]) == 4.0
    assert rate([0, 1, 0, 0, 0], [0, 5, 30, 40, 90]) == 3.0
    assert rate([0, 2, 2, 2, 2], [20, *[np.nan] * 4]) == 2.0
    assert rate([1, 2, 2, 2, 2], [20, *[np.nan] * 4]) == 0.0
    assert rate([0, 2, 2, 2, 2], [20, *[np.nan] * 4], FIRST_GROUP) == 4.0
    assert rate([0, 2, 2, 2, 2], [20, *[np.nan] * 4], ZERO_FRAME) == 10.0
    assert np.isnan(rate([2], [np.nan], size=1))


def test_variances_and_times():
    assert read_noise_variance(5, 2.0, 10.0, 10.0) == pytest.approx(12 * (10 / 2 / 10) ** 2 / 120)
    assert read_noise_variance(1, 2.0, 10.0, 5.0) == read_noise_variance(2, 2.0, 10.0, 5.0) == pytest.approx(2.0)
    assert read_noise_variance(5, -1.0, 10.0, 10.0) == 0
    assert [segment_time(k, plan(3)) for k in (ORDINARY, FIRST_GROUP, ZERO_FRAME)] == [10.0, 5.0, 2.0]
    assert noise_in_electrons(np.float32(12), np.float32(2), plan(3)) == pytest.approx(12 * 2 / np.sqrt(8), rel=1e-7)
