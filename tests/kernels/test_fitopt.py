"""What is kept of each segment."""

import numpy as np
import pytest
from kernels.test_ramps import TIME, frames, pixels
from kernels.test_segments import BITS, POWERS, plan, segments_slowly

from jwnb.kernels.fitopt import fit_segments
from jwnb.kernels.ramps import fit_ramps
from jwnb.kernels.segments import optimal_weights, power_index

NOISE = float(np.float32(12 * 2 / np.sqrt(8)))


def line_slowly(values, start):
    """Return slope and intercept with their errors, by the normal equations."""
    n = len(values)
    x = np.arange(start, start + n, dtype=float)
    w = np.abs((np.arange(n) - (n - 1) / 2) / ((n - 1) / 2)) ** POWERS[power_index(values[0], values[-1], 2.0, NOISE)] / NOISE**2
    design = np.stack([x, np.ones(n)])
    covariance = np.linalg.inv(design * w @ design.T)
    return *(covariance @ (design @ (w * values))), *np.sqrt(np.diag(covariance))


@pytest.mark.parametrize(("nints", "ngroups"), [(1, 5), (2, 12)])
def test_segments(nints, ngroups):
    ramps = frames(nints, ngroups, 0.1)
    given = {"plan": plan(ngroups, suppress_one_group=False), "bits": BITS, "weights": optimal_weights(ngroups)}
    _, rateints, median = fit_ramps(ramps, pixels(), **given)
    fits = fit_segments(ramps, pixels(), **given, rateints=rateints, median=median, groups_before=1.5)
    assert fits.slope.shape[0] == nints and fits.slope.shape[1] >= 2
    seen = 0
    for i, y, x in np.random.default_rng(2).integers(0, (nints, 5, 300), (200, 3)):
        ramp, flags = ramps.data[i, :, y, x].astype(float), ramps.groupdq[i, :, y, x]
        found = [] if flags[0] & 2 else segments_slowly(flags.tolist())[0]
        assert (fits.weights[i, :, y, x] > 0).sum() == len(found)
        for s, (start, n) in enumerate(found):
            if n < 3:
                continue
            slope, intercept, slope_error, intercept_error = line_slowly(ramp[start : start + n], start)
            ours = [getattr(fits, name)[i, s, y, x] for name in ("slope", "yint", "sigslope", "sigyint")]
            np.testing.assert_allclose(
                ours, [slope / TIME, intercept, slope_error, intercept_error], rtol=1e-5, atol=1e-6 * np.abs(ramp).max()
            )
            np.testing.assert_allclose(fits.weights[i, s, y, x] * fits.var_rnoise[i, s, y, x], 1, rtol=1e-6)
            seen += 1
        ramp[flags & 2 > 0] = np.nan
        jumps = [ramp[g] - ramp[g - 1] for g in range(1, ngroups) if flags[g] & 4]
        np.testing.assert_allclose(fits.crmag[i, : len(jumps), y, x], jumps, rtol=1e-6)
        assert (fits.crmag[i, len(jumps) :, y, x] == 0).all()
        pedestal = ramp[0] - rateints.rate[i, y, x] * 1.5
        np.testing.assert_allclose(fits.pedestal[i, y, x], np.nan_to_num(pedestal), rtol=1e-5, atol=1e-6 * np.nanmax(ramp))
    assert seen > 100


def test_two_groups():
    ramps = frames(1, 2, 0.0)._replace(groupdq=np.zeros((1, 2, 5, 300), np.uint8))
    given = {"plan": plan(2), "bits": BITS, "weights": optimal_weights(2)}
    _, rateints, median = fit_ramps(ramps, pixels(), **given)
    fits = fit_segments(ramps, pixels(), **given, rateints=rateints, median=median, groups_before=1.0)
    np.testing.assert_allclose(fits.slope[0, 0], (ramps.data[0, 1] - ramps.data[0, 0]) / TIME, rtol=1e-6)
    np.testing.assert_allclose(fits.yint[0, 0], ramps.data[0, 0], rtol=1e-6)
    np.testing.assert_allclose(fits.sigslope, np.sqrt(2) * NOISE, rtol=1e-6)
    assert fits.crmag.shape == (1, 0, 5, 300)
