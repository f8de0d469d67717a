"""group_scale and dq_init."""

import numpy as np
import pytest
from astropy.io import fits
from helpers import freeze, make_ramp, make_reference, set_keywords
from stdatamodels.jwst.datamodels import GuiderRawModel, MaskModel

import jwnb
from jwnb import dq
from jwnb.errors import InputError, MissingFileError, MissingReferenceError, WrongExposureError

SHAPE = (24, 32)


def ramp(**changes):
    return make_ramp(np.random.default_rng(1).uniform(0, 60000, (2, 3, *SHAPE)), **changes)


def mask(shape=SHAPE):
    flags = np.zeros(shape, np.uint32)
    flags[:4] = dq.PIXEL["REFERENCE_PIXEL"]
    flags[5, 6] = dq.pixel("DEAD", "DO_NOT_USE")
    flags[7, 8] = dq.PIXEL["HOT"]
    return make_reference(MaskModel, shape, "mask", dq=flags)


def test_five_frames_divided_by_eight_are_scaled_up():
    raw = freeze(ramp(**{"exposure.nframes": 5, "exposure.frame_divisor": 8, "exposure.zero_frame": True}))
    raw.zeroframe = np.full((2, *SHAPE), 7, np.float32)
    out = jwnb.group_scale(raw)
    np.testing.assert_array_equal(out.data, raw.data * np.float32(1.6))
    assert out.data.dtype == np.float32 and out.meta.cal_step.group_scale == "COMPLETE"
    assert raw.meta.cal_step.group_scale is None
    for name in ("groupdq", "pixeldq", "zeroframe"):
        assert np.shares_memory(getattr(out, name), getattr(raw, name))


@pytest.mark.parametrize(
    ("nframes", "divisor", "said"),
    [(None, 8, "NFRAMES is not given"), (5, None, "FRMDIVSR is not given"), (4, None, "power of two"), (8, 8, "both 8")],
)
def test_where_there_is_nothing_to_scale_it_says_why(nframes, divisor, said):
    raw = ramp()
    raw.meta.exposure.nframes, raw.meta.exposure.frame_divisor = nframes, divisor
    out = jwnb.group_scale(raw)
    assert out.meta.cal_step.group_scale == "SKIPPED" and said in jwnb.ledger(out)[-1]["reason"]
    assert np.shares_memory(out.data, raw.data)


def test_the_mask_is_added_and_bad_pixels_are_bad_in_every_group():
    raw = ramp()
    raw.pixeldq[7, 8] = dq.PIXEL["WARM"]
    raw.groupdq[1, 2, 7, 8] = dq.GROUP["JUMP_DET"]
    out = jwnb.dq_init(freeze(raw), reference=freeze(mask()))
    np.testing.assert_array_equal(out.pixeldq, raw.pixeldq | mask().dq)
    assert out.pixeldq.dtype == np.uint32 and out.groupdq.dtype == np.uint8
    assert (out.groupdq[:, :, 5, 6] == dq.GROUP["DO_NOT_USE"]).all() and out.groupdq[1, 2, 7, 8] == dq.GROUP["JUMP_DET"]
    assert np.count_nonzero(out.groupdq) == 2 * 3 + 1
    assert np.shares_memory(out.data, raw.data)
    assert out.meta.cal_step.dq_init == "COMPLETE" and raw.meta.cal_step.dq_init is None


def test_bits_of_a_file_are_translated_by_their_names(tmp_path):
    path = tmp_path / "mask.fits"
    mask().save(path)
    table = np.array(
        [(0, 1, "DEAD", ""), (1, 2, "DO_NOT_USE", "")], dtype=[("BIT", "i4"), ("VALUE", "i4"), ("NAME", "S40"), ("DESCRIPTION", "S80")]
    )
    with fits.open(path, mode="update") as opened:
        opened["DQ"].data = np.where(np.eye(*SHAPE, dtype=bool), 3, 0).astype(np.uint32)
        opened.append(fits.BinTableHDU(table, name="DQ_DEF"))
    out = jwnb.dq_init(ramp(), reference=path)
    np.testing.assert_array_equal(out.pixeldq, np.where(np.eye(*SHAPE, dtype=bool), dq.pixel("DEAD", "DO_NOT_USE"), 0))
    assert out.meta.ref_file.mask.name == "mask.fits"


def test_a_subarray_gets_its_part_of_the_mask():
    part = make_ramp(np.ones((1, 2, 6, 10)), **{"subarray.xstart": 3, "subarray.ystart": 4})
    np.testing.assert_array_equal(jwnb.dq_init(part, reference=mask()).pixeldq, mask().dq[3:9, 2:12])


def test_a_mask_that_does_not_cover_the_exposure_is_refused():
    part = make_ramp(np.ones((1, 2, 6, 10)), **{"subarray.xstart": 30, "subarray.ystart": 4})
    with pytest.raises(MissingReferenceError, match="does not cover"):
        jwnb.dq_init(part, reference=mask())


def test_guide_star_exposures_have_one_plane():
    raw = GuiderRawModel(data=np.ones((2, 2, *SHAPE), np.float32))
    set_keywords(raw, SHAPE, **{"instrument.name": "FGS", "instrument.detector": "GUIDER1", "exposure.type": "FGS_ACQ1"})
    raw.dq[7, 8] = 4
    reference = mask()
    reference.meta.instrument.name, reference.meta.instrument.detector = "FGS", "GUIDER1"
    out = jwnb.dq_init(freeze(raw), reference=reference)
    assert isinstance(out, GuiderRawModel) and not out.hasattr("groupdq")
    np.testing.assert_array_equal(out.dq, reference.dq | raw.dq)


def test_flags_of_the_user(tmp_path):
    path = tmp_path / "mine.fits"
    mine = np.zeros(SHAPE, np.int16)
    mine[20, 20] = 1
    fits.writeto(path, mine)
    reference = mask()
    out = jwnb.dq_init(ramp(), reference=freeze(reference), user_supplied_dq=path)
    np.testing.assert_array_equal(out.pixeldq, reference.dq | mine.astype(np.uint32))
    assert (out.groupdq[..., 20, 20] == 1).all()


def test_flags_of_the_user_that_cannot_be_used(tmp_path):
    path = tmp_path / "mine.fits"
    with pytest.raises(MissingFileError, match="mine.fits"):
        jwnb.dq_init(ramp(), reference=mask(), user_supplied_dq=path)
    fits.writeto(path, np.zeros((3, 4), np.int16))
    with pytest.raises(InputError, match=r"shape \(3, 4\)"):
        jwnb.dq_init(ramp(), reference=mask(), user_supplied_dq=path)
    fits.writeto(path, np.zeros(SHAPE, np.float32), overwrite=True)
    with pytest.raises(InputError, match="float32"):
        jwnb.dq_init(ramp(), reference=mask(), user_supplied_dq=path)
    path.write_text("hello")
    with pytest.raises(InputError, match="cannot be read"):
        jwnb.dq_init(ramp(), reference=mask(), user_supplied_dq=path)


def test_flag_planes_of_another_shape_are_started_anew():
    raw = ramp()
    raw.instance["pixeldq"] = np.ones((3, 3), np.uint32)
    out = jwnb.dq_init(raw, reference=mask())
    np.testing.assert_array_equal(out.pixeldq, mask().dq)
    assert "PIXELDQ has the shape (3, 3)" in jwnb.ledger(out)[-1]["notes"][0]


def test_no_mask_for_the_exposure_is_said():
    out = jwnb.dq_init(ramp(), reference="N/A")
    assert out.meta.cal_step.dq_init == "SKIPPED" and "mask" in jwnb.ledger(out)[-1]["reason"]


def test_other_models_are_refused():
    with pytest.raises(WrongExposureError, match="RampModel or GuiderRawModel"):
        jwnb.dq_init(mask(), reference=mask())
