"""guider_cds: rates and errors of every guide mode."""

import numpy as np
import pytest
from astropy.io import fits
from helpers import freeze, make_ramp, make_reference, set_keywords
from stdatamodels.jwst.datamodels import GainModel, GuiderCalModel, GuiderRawModel, ReadnoiseModel

import jwnb
from jwnb.errors import InputError, MissingReferenceError, WrongExposureError

SHAPE = (16, 20)
SECONDS = 0.5


def raw(kind, data, **changes):
    model = GuiderRawModel(data=np.asarray(data, dtype=np.float32))
    keywords = {"instrument.name": "FGS", "instrument.detector": "GUIDER1", "exposure.type": kind, "exposure.group_time": SECONDS}
    set_keywords(model, model.data.shape[-2:], **(keywords | changes))
    return model


def references(shape=SHAPE, gain=2.0, noise=10.0):
    made = {
        "gain": make_reference(GainModel, shape, "gain", data=np.full(shape, gain, np.float32)),
        "readnoise": make_reference(ReadnoiseModel, shape, "readnoise", data=np.full(shape, noise, np.float32)),
    }
    for model in made.values():
        model.meta.instrument.name, model.meta.instrument.detector = "FGS", "GUIDER1"
    return made


def ramp_of(levels, nints=1):
    return np.ones((nints, len(levels), *SHAPE)) * np.asarray(levels, float)[:, None, None]


@pytest.mark.parametrize("kind", ["FGS_ACQ1", "FGS_ACQ2", "FGS_TRACK"])
def test_the_second_group_minus_the_first(kind):
    exposure = raw(kind, ramp_of([1000, 1400], nints=3))
    exposure.data[2] *= 2
    exposure.dq[3, 4] = 1
    out = jwnb.guider_cds(freeze(exposure), **{k: freeze(r) for k, r in references().items()})
    assert isinstance(out, GuiderCalModel) and out.data.shape == out.err.shape == (3, *SHAPE)
    assert (out.data[:2] == 800).all() and (out.data[2] == 1600).all()
    np.testing.assert_allclose(out.err[0], np.sqrt(2 * (10 / SECONDS) ** 2 + 400 / (2 * SECONDS)), rtol=1e-6)
    np.testing.assert_array_equal(out.dq, exposure.dq)
    assert out.meta.bunit_data == "DN/s" and out.meta.cal_step.guider_cds == "COMPLETE"
    assert out.meta.exposure.type == kind and out.meta.ref_file.gain.name


def test_fine_guidance_averages_four_groups_at_each_end():
    out = jwnb.guider_cds(raw("FGS_FINEGUIDE", ramp_of([1, 2, 3, 4, 50, 105, 106, 107, 108])), **references())
    np.testing.assert_array_equal(out.data, np.full((1, *SHAPE), (106.5 - 2.5) / SECONDS))


@pytest.mark.parametrize("kind", ["FGS_ID-IMAGE", "FGS_ID-STACK"])
def test_identification_takes_the_smaller_difference(kind):
    exposure = raw(kind, ramp_of([1000, 1400], nints=2))
    exposure.data[0, 1, 5, 6] += 30000  # a cosmic ray
    out = jwnb.guider_cds(exposure, **references())
    np.testing.assert_array_equal(out.data, np.full((1, *SHAPE), 800))


def test_falling_counts_have_no_photon_noise():
    out = jwnb.guider_cds(raw("FGS_ACQ1", ramp_of([1400, 1000])), **references())
    np.testing.assert_allclose(out.err, np.sqrt(2) * 10 / SECONDS, rtol=1e-6)


def test_no_gain_no_error_estimate():
    given = references()
    given["gain"].data[3, 4] = 0
    given["gain"].data[5, 6] = np.nan
    out = jwnb.guider_cds(raw("FGS_ACQ1", ramp_of([1000, 1400])), **given)
    assert np.isinf(out.err[0, 3, 4]) and np.isnan(out.err[0, 5, 6]) and np.isfinite(out.err).sum() == out.err.size - 2


def test_a_subarray_gets_its_part_of_the_references():
    given = references((64, 64))
    given["readnoise"].data[10, 12] = 1000
    exposure = raw("FGS_ACQ1", ramp_of([1000, 1000]), **{"subarray.xstart": 9, "subarray.ystart": 3})
    out = jwnb.guider_cds(exposure, **given)
    assert np.argmax(out.err[0]) == np.ravel_multi_index((8, 4), SHAPE)


def test_a_reference_that_does_not_cover_the_exposure_is_refused_but_for_stacked_strips():
    data = np.ones((2, 2, 16, 30)) * np.array([100, 200])[:, None, None]
    given = references()
    given["readnoise"].data[:8] = 30
    with pytest.raises(MissingReferenceError, match="does not cover"):
        jwnb.guider_cds(raw("FGS_ID-IMAGE", data), **given)
    out = jwnb.guider_cds(raw("FGS_ID-STACK", data), **given)
    np.testing.assert_allclose(out.err, np.sqrt(2 * (20 / SECONDS) ** 2 + 100 / (2 * SECONDS)), rtol=1e-6)
    assert "mean readnoise" in jwnb.ledger(out)[-1]["notes"][0]


def test_references_of_another_detector_or_shape_are_refused():
    given = references()
    given["gain"].meta.instrument.detector = "GUIDER2"
    with pytest.raises(MissingReferenceError, match="GUIDER2"):
        jwnb.guider_cds(raw("FGS_ACQ1", ramp_of([1, 2])), **given)
    with pytest.raises(MissingReferenceError, match="not of the detector"):
        odd = references((7, 9))
        for name in ("xsize", "ysize"):
            setattr(odd["readnoise"].meta.subarray, name, 2048)
        jwnb.guider_cds(raw("FGS_ACQ1", ramp_of([1, 2])), **odd)


@pytest.mark.parametrize(("kind", "shape"), [("FGS_ACQ1", (2, 1, *SHAPE)), ("FGS_ID-IMAGE", (1, 2, *SHAPE))])
def test_too_few_groups_or_integrations(kind, shape):
    with pytest.raises(InputError, match="2 are needed|compares two"):
        jwnb.guider_cds(raw(kind, np.ones(shape)), **references())


def test_what_is_no_guide_star_exposure_is_refused():
    with pytest.raises(WrongExposureError):
        jwnb.guider_cds(make_ramp(np.ones((1, 2, *SHAPE))), **references())
    with pytest.raises(WrongExposureError, match="NRC_IMAGE"):
        jwnb.guider_cds(raw("NRC_IMAGE", ramp_of([1, 2])), **references())


def test_tables_and_unknown_extensions_are_carried(tmp_path):
    exposure = raw("FGS_TRACK", ramp_of([1, 2]))
    table = np.zeros(2, dtype=exposure.get_dtype("centroid_table"))
    exposure.centroid_table = table
    path = tmp_path / "jw00001001001_gs-track_2024001000000_uncal.fits"
    exposure.save(path)
    with fits.open(path, mode="append") as opened:
        opened.append(fits.ImageHDU(np.arange(6.0).reshape(2, 3), name="MINE"))
    out = jwnb.guider_cds(path, **references())
    assert len(out.centroid_table) == 2
    out.save(tmp_path / "cal.fits")
    with fits.open(tmp_path / "cal.fits") as saved:
        np.testing.assert_array_equal(saved["MINE"].data, np.arange(6.0).reshape(2, 3))


def test_no_gain_for_the_exposure_leaves_it_raw():
    exposure = raw("FGS_ACQ1", ramp_of([1, 2]))
    out = jwnb.guider_cds(exposure, **(references() | {"gain": "N/A"}))
    assert isinstance(out, GuiderRawModel) and out.meta.cal_step.guider_cds == "SKIPPED"
