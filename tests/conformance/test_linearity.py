"""linearity against `jwst` on the same exposure and reference."""

from typing import Any

import numpy as np
import pytest
from conformance.peer_stage1 import assert_close, run_jwst
from helpers import freeze, make_ramp, make_reference
from jwst.linearity import LinearityStep
from stdatamodels.jwst.datamodels import LinearityModel, RampModel

import jwnb
from jwnb import dq

pytestmark = pytest.mark.peer

SHAPE = (3, 5, 24, 40)
NO_LIN_CORR, SATURATED = dq.PIXEL["NO_LIN_CORR"], dq.GROUP["SATURATED"]


def exposure(shape: tuple[int, ...] = SHAPE, **changes: Any) -> RampModel:
    """Return bent ramps, some saturated from some group on, with flags, NaN and a ZEROFRAME with holes."""
    rng = np.random.default_rng(8)
    nints, ngroups, ny, nx = shape
    straight = rng.uniform(50, 9000, (nints, 1, ny, nx)) * np.arange(1, ngroups + 1)[:, None, None]
    data = straight - 2e-6 * straight**2 + rng.normal(0, 5, shape)
    data[rng.random(shape) < 0.01] = np.nan
    ramp = make_ramp(data, **({"exposure.zero_frame": True} | changes))
    ramp.groupdq = np.where(data > 30000, SATURATED, 0).astype(np.uint8)
    ramp.groupdq[rng.random(shape) < 0.02] |= dq.GROUP["JUMP_DET"]
    ramp.groupdq[:, :, 3] = SATURATED  # a row without a good group
    ramp.groupdq[:, 0, 4] |= SATURATED  # a row saturated in the first group only, as a flag can say
    ramp.pixeldq = rng.choice(np.array([0, 1, 4], np.uint32), (ny, nx))
    ramp.zeroframe = data[:, 0].astype(np.float32) / 3
    ramp.zeroframe[rng.random(ramp.zeroframe.shape) < 0.05] = 0.0
    return ramp


def polynomial(order: int, shape: tuple[int, int] = SHAPE[2:], *, inverse: bool = False) -> LinearityModel:
    """Return coefficients that vary from pixel to pixel, with NaN, missing linear terms and flags."""
    rng = np.random.default_rng(order)
    scales = np.array([3.0, 0.02, 2e-7, 1e-12, 1e-17, 1e-22])[: order + 1, None, None]
    coeffs = rng.normal(0, 1, (order + 1, *shape)) * scales
    coeffs[1] += 1.0
    if order > 1:
        coeffs[2] += 2e-6
    bend = np.zeros((4, *shape))
    bend[0], bend[1], bend[2] = rng.normal(0, 2, shape), 1.0, -2e-6
    for k, c in enumerate((coeffs, bend)):
        c[min(order, len(c) - 1), 5, 6 + k] = np.nan
        c[1, 7, 8 + k] = 0.0
    model = make_reference(LinearityModel, shape, "linearity", coeffs=coeffs.astype(np.float32), dq=np.zeros(shape, np.uint32))
    model.dq[rng.random(shape) < 0.1] = NO_LIN_CORR
    model.dq[rng.random(shape) < 0.1] |= dq.PIXEL["DO_NOT_USE"]
    coeffs_flagged = model.coeffs.copy()
    coeffs_flagged[:, model.dq & NO_LIN_CORR != 0] = np.nan
    model.coeffs = coeffs_flagged
    if inverse:
        model.inv_coeffs = bend.astype(np.float32)
    return model


def compare(ramp: RampModel, reference: LinearityModel, *, exact: bool = True) -> RampModel:
    ours, theirs = jwnb.linearity(freeze(ramp), reference=freeze(reference)), run_jwst(LinearityStep, ramp, linearity=reference)
    assert ours.meta.cal_step.linearity == "COMPLETE" == theirs.meta.cal_step.linearity
    if exact:
        np.testing.assert_array_equal(ours.data, theirs.data)
    else:
        assert_close(ours.data, theirs.data, float(np.nanmax(ramp.data)))
    np.testing.assert_array_equal(ours.zeroframe, theirs.zeroframe)
    np.testing.assert_array_equal(ours.pixeldq, theirs.pixeldq)
    np.testing.assert_array_equal(ours.groupdq, theirs.groupdq)
    assert ours.pixeldq.dtype == theirs.pixeldq.dtype and ours.groupdq.dtype == theirs.groupdq.dtype
    assert np.nanmax(np.abs(ours.data - ramp.data)) > 100.0
    return ours


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_polynomials_of_any_order_agree_to_the_last_bit(order: int) -> None:
    compare(exposure(), polynomial(order))


@pytest.mark.parametrize("nframes", [2, 4, 8])
@pytest.mark.parametrize("ngroups", [2, 3, 7])
def test_groups_that_are_means_of_reads(nframes: int, ngroups: int) -> None:
    ramp = exposure((2, ngroups, *SHAPE[2:]), **{"exposure.nframes": nframes, "exposure.groupgap": 2})
    ours = compare(ramp, polynomial(3, inverse=True), exact=False)
    assert not np.array_equal(ours.data, jwnb.linearity(ramp, reference=polynomial(3)).data, equal_nan=True)


def test_single_reads_do_not_need_the_inverse() -> None:
    compare(exposure(), polynomial(3, inverse=True))


def test_regrouped_reads_do_not_use_the_inverse() -> None:
    ramp = exposure(**{"exposure.nframes": 4})
    ramp.meta.exposure.read_times = [[1.0], [2.0]]
    compare(ramp, polynomial(3, inverse=True))


def test_a_larger_reference_is_cut_to_the_subarray() -> None:
    ramp = exposure(**{"subarray.xstart": 11, "subarray.ystart": 6, "exposure.nframes": 2})
    compare(ramp, polynomial(3, (40, 64), inverse=True), exact=False)


def test_without_zeroframe() -> None:
    ramp = exposure(**{"exposure.zero_frame": False})
    ramp.zeroframe = None
    ours, theirs = (f.data for f in (jwnb.linearity(ramp, reference=polynomial(3)), run_jwst(LinearityStep, ramp, linearity=polynomial(3))))
    np.testing.assert_array_equal(ours, theirs)
