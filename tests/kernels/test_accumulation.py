import numpy as np
import pytest
from scipy.optimize import brentq

from jwnb.kernels import threads, use_threads
from jwnb.kernels.accumulation import accumulate_ramps, invert_polynomial

HIT = np.dtype([("frame", "i4"), ("y", "i4"), ("x", "i4"), ("electrons", "f4")])
NONE = np.zeros(0, HIT)


def ramps(rate, *, gain=2.0, curvature=0.0, full_well=50000.0, hits=NONE, seed=0, **pattern):
    shape = rate.shape
    coeffs = np.zeros((4, *shape), np.float32)
    coeffs[1], coeffs[2], coeffs[3] = 1, curvature, curvature * 1e-6
    options = {"frame_time": 10.0, "nints": 1, "ngroups": 3, "nframes": 2, "groupgap": 1} | pattern
    return accumulate_ramps(
        rate.astype(np.float32), gain=np.full(shape, gain, np.float32), coeffs=coeffs,
        full_well=np.full(shape, full_well, np.float32), hits=hits, seed=np.arange(seed, seed + shape[0]), **options,
    )  # fmt: skip


def test_inverse_polynomial():
    rng = np.random.default_rng(3)
    coeffs = np.zeros((5, 6, 7), np.float32)
    coeffs[1:] = np.array([1, 6e-7, 1.5e-12, 1e-17], np.float32)[:, None, None] * rng.uniform(0.9, 1.1, (1, 6, 7))
    linear = rng.uniform(-200, 60000, (6, 7)).astype(np.float32)
    measured = invert_polynomial(linear, coeffs, np.full((6, 7), 1e6, np.float32))
    back = sum(c.astype(float) * measured**k for k, c in enumerate(coeffs))
    np.testing.assert_allclose(back, linear, atol=1e-6)
    capped = invert_polynomial(linear, coeffs, np.full((6, 7), 300.0, np.float32))
    assert capped.max() == 300.0


@pytest.mark.parametrize("level", [0.02, 0.8, 1.9, 2.6, 40.0])  # through both ways of drawing numbers
def test_means_and_variances_are_those_of_light(level):
    groups, first = ramps(np.full((120, 120), level))
    seconds = 10.0 * np.array([[1, 2], [4, 5], [7, 8]])
    mean = level * seconds.mean(axis=1) / 2.0
    error = np.sqrt(level * seconds.max(axis=1) / 4.0 / 120**2)
    assert np.all(np.abs(groups.mean(axis=(0, 2, 3)) - mean) < 4 * error)
    assert abs(first.mean() - level * 10 / 2) < 4 * np.sqrt(level * 10 / 4 / 120**2)
    # Variance of a mean of two reads at t1, t2: level (t1 + 3 t1 + ... ) follows from cov = level min(t, t').
    expected = [level * np.minimum.outer(t, t).mean() / 4.0 for t in seconds]
    np.testing.assert_allclose(groups[0].var(axis=(1, 2)), expected, rtol=0.08)
    increments = groups[0, 1] - groups[0, 0]
    assert abs(np.corrcoef(increments.ravel(), groups[0, 0].ravel())[0, 1]) < 0.6  # only half of group 0's last frame is shared


def test_each_integration_starts_empty():
    groups, first = ramps(np.full((50, 50), 30.0), nints=3)
    np.testing.assert_allclose(groups.mean(axis=(2, 3)) / groups[0].mean(axis=(1, 2)), 1.0, atol=5e-3)
    assert first.shape == (3, 50, 50)
    assert not np.array_equal(first[0], first[1])


def test_cosmic_rays_stay_until_the_reset():
    hits = np.array([(1, 2, 3, 600.0), (5, 0, 0, 200.0), (9, 4, 1, 100.0)], HIT)  # the second in a dropped frame, the third in the last one
    groups, first = ramps(np.zeros((5, 6)), hits=hits, nints=2)
    expected = np.zeros((2, 3, 5, 6))
    expected[0, :, 2, 3] = 150, 300, 300  # half of the first group's frames have it
    expected[0, 2, 0, 0] = 100
    expected[1, :, 4, 1] = 50
    np.testing.assert_array_equal(groups, expected)
    assert first[1, 4, 1] == 50
    assert first[0].max() == 0


def test_non_linearity_and_full_well():
    groups, first = ramps(np.full((40, 40), 3000.0), curvature=1e-6, full_well=40000.0)
    # Each frame is bent by itself, and then they are averaged.
    early, late = (brentq(lambda m, t=t: m + 1e-6 * m**2 + 1e-12 * m**3 - 1500 * t, 0, 1e5) for t in (10, 20))
    assert first.mean() == pytest.approx(early, rel=1e-3)
    assert groups[0, 0].mean() == pytest.approx((early + late) / 2, rel=1e-3)
    assert (early + late) / 2 < 0.98 * 22500
    full, _ = ramps(np.full((40, 40), 9000.0), curvature=1e-6, full_well=40000.0)
    assert np.all(full[0, 1:] == 40000.0)


def test_threads_do_not_change_the_result():
    rate = np.random.default_rng(0).uniform(0, 5, (40, 30))
    before = threads()
    many = ramps(rate, seed=7)
    use_threads(1)
    try:
        one = ramps(rate, seed=7)
    finally:
        use_threads(before)
    np.testing.assert_array_equal(many[0], one[0])
    assert not np.array_equal(many[0], ramps(rate, seed=8)[0])
