"""saturation: what is flagged, and what is left alone."""

import numpy as np
import pytest
from helpers import freeze, make_ramp, make_reference
from stdatamodels.jwst.datamodels import SaturationModel, SuperBiasModel

import jwnb
from jwnb import dq
from jwnb.errors import InputError, ParameterError, WrongExposureError

SHAPE = (20, 24)
SATURATED, FLOOR, UNUSABLE = (dq.GROUP[n] for n in ("SATURATED", "AD_FLOOR", "DO_NOT_USE"))


def threshold(level=50000.0, shape=SHAPE):
    return make_reference(SaturationModel, shape, "saturation", data=np.full(shape, level, np.float32), dq=np.zeros(shape, np.uint32))


def flat_ramp(ngroups=6, nints=1, **changes):
    return make_ramp(np.full((nints, ngroups, *SHAPE), 1000.0), **changes)


def flagged(out, bit):
    return out.groupdq & bit > 0


def test_a_saturated_group_its_neighbours_and_all_later_ones():
    ramp = flat_ramp(nints=2)
    ramp.data[1, 2, 10, 12] = 50000  # at the threshold, in one group only
    out = jwnb.saturation(freeze(ramp), saturation=freeze(threshold()), superbias="N/A")
    expected = np.zeros(ramp.data.shape, bool)
    expected[1, 2:, 9:12, 11:14] = True
    np.testing.assert_array_equal(flagged(out, SATURATED), expected)
    assert not (out.groupdq & ~SATURATED).any() and not ramp.groupdq.any()
    assert np.shares_memory(out.data, ramp.data)


@pytest.mark.parametrize(("grow", "count"), [(0, 1), (1, 9), (3, 49)])
def test_layers_of_neighbours(grow, count):
    ramp = flat_ramp(1)
    ramp.data[0, 0, 10, 12] = 60000
    out = jwnb.saturation(ramp, saturation=threshold(), superbias="N/A", n_pix_grow_sat=grow)
    assert flagged(out, SATURATED).sum() == count


def test_the_floor_is_flagged_in_its_group_alone():
    ramp = flat_ramp()
    ramp.data[0, 3, 5, 6], ramp.data[0, 1, 7, 8], ramp.data[0, 1, 9, 9] = 0, -4, np.nan
    out = jwnb.saturation(ramp, saturation=threshold(), superbias="N/A")
    assert out.groupdq[0, 3, 5, 6] == out.groupdq[0, 1, 7, 8] == FLOOR | UNUSABLE
    assert np.count_nonzero(out.groupdq) == 2


def test_pixels_without_a_threshold_are_not_checked():
    ramp = flat_ramp()
    ramp.data[:] = 64000
    reference = threshold(np.nan)
    reference.data[3, 4] = 50000
    reference.data[15, 15], reference.dq[15, 15] = 50000, dq.PIXEL["NO_SAT_CHECK"]
    out = jwnb.saturation(ramp, saturation=reference, superbias="N/A", n_pix_grow_sat=0)
    assert flagged(out, SATURATED).sum() == 6 and flagged(out, SATURATED)[0, :, 3, 4].all()
    no_check = out.pixeldq & dq.PIXEL["NO_SAT_CHECK"] > 0
    assert not no_check[3, 4] and no_check.sum() == no_check.size - 1
    assert np.isnan(reference.data).any() and not reference.dq[0, 0]


def test_pixels_without_a_threshold_are_not_searched_either():
    """Their neighbour saturates in the second group, and their first is high for an average: still nothing is known of them."""
    ramp = flat_ramp(2, **{"exposure.nframes": 8})
    ramp.data[0, :, 10, 12], ramp.data[0, :, 10, 13] = [45000, 50000], [45000, 48000]
    reference = threshold()
    both = jwnb.saturation(ramp, saturation=reference, superbias="N/A")
    assert both.groupdq[0, 0, 10, 12] == both.groupdq[0, 0, 10, 13] == UNUSABLE
    reference.dq[10, 11:15] = dq.PIXEL["NO_SAT_CHECK"]
    reference.dq[10, 12] = 0
    ramp.data[0, :, 10, 12] = [20000, 50000]
    assert not flagged(jwnb.saturation(ramp, saturation=reference, superbias="N/A"), UNUSABLE).any()


def test_an_average_that_hides_saturated_frames():
    """A star saturates in the last frames of group 3: its mean is below the threshold and above what that rate would give."""
    ramp = flat_ramp(**{"exposure.nframes": 8})
    ramp.data[0, :, 10, 12] = [10000, 22000, 34000, 47000, 50000, 50000]
    out = jwnb.saturation(ramp, saturation=threshold(), superbias="N/A")
    assert flagged(out, SATURATED)[0, 4:, 9:12, 11:14].all() and not flagged(out, SATURATED)[0, :4].any()
    assert flagged(out, UNUSABLE)[0, 3].sum() == 9 and flagged(out, UNUSABLE).sum() == 9
    off = jwnb.saturation(ramp, saturation=threshold(), superbias="N/A", use_readpatt=False)
    assert not flagged(off, UNUSABLE).any()


def test_a_sudden_rise_in_the_second_group_is_foreseen_with_the_bias():
    ramp = flat_ramp(**{"exposure.nframes": 8})
    ramp.data[0, :, 10, 12] = [15500, 24000, 50000, 50000, 50000, 50000]
    bias = make_reference(SuperBiasModel, SHAPE, "superbias", data=np.full(SHAPE, 15000, np.float32))
    with_bias = jwnb.saturation(ramp, saturation=threshold(), superbias=bias)
    assert with_bias.groupdq[0, 1, 10, 12] == UNUSABLE and flagged(with_bias, UNUSABLE).sum() == 1
    # Without a bias the first group alone foretells more than the threshold, so nothing sudden is seen.
    without = jwnb.saturation(ramp, saturation=threshold(), superbias="N/A")
    assert not flagged(without, UNUSABLE).any()
    bias.data[10, 12] = np.nan
    assert not flagged(jwnb.saturation(ramp, saturation=threshold(), superbias=bias), UNUSABLE).any()


def test_zeroframe_loses_what_is_saturated_or_at_the_floor():
    ramp = flat_ramp(2, **{"exposure.zero_frame": True})
    ramp.zeroframe = np.full((1, *SHAPE), 900, np.float32)
    ramp.zeroframe[0, 10, 12], ramp.zeroframe[0, 2, 2], ramp.zeroframe[0, 4, 4] = 55000, -1, np.nan
    out = jwnb.saturation(freeze(ramp), saturation=threshold(), superbias="N/A")
    expected = ramp.zeroframe.copy()
    expected[0, 9:12, 11:14] = expected[0, 2, 2] = 0
    np.testing.assert_array_equal(out.zeroframe, expected)
    ramp.meta.exposure.zero_frame = False
    assert np.shares_memory(jwnb.saturation(ramp, saturation=threshold(), superbias="N/A").zeroframe, ramp.zeroframe)


@pytest.mark.parametrize("grow", [0, 1, 3])
def test_a_piece_with_its_halo_is_the_same_piece_of_the_whole(grow):
    rng = np.random.default_rng(3)
    data = np.cumsum(rng.exponential(3000, (1, 6, 60, 64)) * (rng.random((1, 1, 60, 64)) < 0.2), axis=1) + 500
    whole = make_ramp(data, **{"exposure.nframes": 8})
    options = {"saturation": threshold(9000, (60, 64)), "superbias": "N/A", "n_pix_grow_sat": grow}
    expected = jwnb.saturation(whole, **options)
    out = jwnb.Runner(whole, ("saturation",), options={"saturation": options})(x=(8, 50), y=(18, 42))
    np.testing.assert_array_equal(out.groupdq, expected.groupdq[:, :, 18:42, 8:50])
    assert flagged(out, UNUSABLE).any() and flagged(out, SATURATED).any()


def test_bad_calls():
    ramp = flat_ramp()
    with pytest.raises(ParameterError, match="n_pix_grow_sat"):
        jwnb.saturation(ramp, saturation=threshold(), n_pix_grow_sat=-1)
    ramp.meta.exposure.nframes = None
    with pytest.raises(InputError, match="NFRAMES"):
        jwnb.saturation(ramp, saturation=threshold(), superbias="N/A")
    assert jwnb.saturation(ramp, saturation=threshold(), superbias="N/A", use_readpatt=False).meta.cal_step.saturation == "COMPLETE"


def test_no_threshold_for_the_exposure_is_said():
    out = jwnb.saturation(flat_ramp(), saturation="N/A", superbias="N/A")
    assert out.meta.cal_step.saturation == "SKIPPED" and "saturation" in jwnb.ledger(out)[-1]["reason"]


def test_a_piece_of_an_irs2_readout_is_refused():
    keywords = {"instrument.name": "NIRSPEC", "instrument.detector": "NRS1", "subarray.ysize": 2048}
    ramp = make_ramp(np.ones((1, 1, 3000, 4)), **keywords)
    reference = threshold(shape=(3000, 4))
    reference.meta.instrument.name, reference.meta.instrument.detector = "NIRSPEC", "NRS1"
    with pytest.raises(WrongExposureError, match="3200 rows"):
        jwnb.saturation(ramp, saturation=reference, superbias="N/A")
