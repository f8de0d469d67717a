import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from jwnb.sim.geometry import Pointing, detector
from jwnb.sim.headers import motion_of_observatory

# What a real NIRCam exposure's headers hold (program 1075) and later stages read; by extension.
PRIMARY = (
    "DATE-OBS TIME-OBS DATE-BEG DATE-END OBS_ID VISIT_ID PROGRAM OBSERVTN VISIT VISITGRP SEQ_ID ACT_ID EXPOSURE TEMPLATE ENG_QUAL ENGQLPTG "
    "VISITYPE VSTSTART VISITSTA NEXPOSUR TSOVISIT TARGPROP TARGNAME TARGTYPE TARG_RA TARG_DEC INSTRUME DETECTOR MODULE CHANNEL FILTER "
    "PUPIL EXPCOUNT EXPRIPAR EXP_TYPE EXPSTART EXPMID EXPEND READPATT NOUTPUTS NINTS NGROUPS NFRAMES FRMDIVSR GROUPGAP DRPFRMS1 "
    "DRPFRMS3 NSAMPLES TSAMPLE TFRAME TGROUP EFFINTTM EFFEXPTM DURATION NRSTSTRT NRESETS ZEROFRAM SUBARRAY SUBSTRT1 SUBSTRT2 SUBSIZE1 "
    "SUBSIZE2 FASTAXIS SLOWAXIS PATTTYPE NUMDTHPT PATT_NUM XOFFSET YOFFSET APERNAME PPS_APER BARTDELT BSTRTIME BENDTIME BMIDTIME "
    "HELIDELT GS_V3_PA PCS_MODE VA_RA VA_DEC BKGDTARG"
).split()
SCIENCE = (
    "MJD-BEG MJD-AVG MJD-END TDB-BEG TDB-MID TDB-END XPOSURE TELAPSE REFFRAME JWST_X JWST_DX OBSGEO-X PA_APER VA_SCALE BUNIT RADESYS RA_V1 "
    "DEC_V1 PA_V3 WCSAXES CRPIX1 CRPIX2 CRVAL1 CRVAL2 CTYPE1 CTYPE2 CUNIT1 CUNIT2 CDELT1 CDELT2 PC1_1 PC1_2 PC2_1 PC2_2 V2_REF V3_REF "
    "VPARITY V3I_YANG RA_REF DEC_REF ROLL_REF VELOSYS"
).split()


def test_keywords_of_a_real_exposure_are_there(practice):
    with fits.open(practice.uncal[0]) as hdus:
        assert [k for k in PRIMARY if hdus[0].header.get(k) in (None, "")] == []
        assert [k for k in SCIENCE if hdus["SCI"].header.get(k) in (None, "")] == []
        assert [h.name for h in hdus] == ["PRIMARY", "SCI", "ZEROFRAME", "GROUP", "INT_TIMES", "ASDF"]
        assert hdus["SCI"].header["BITPIX"] == 16 and hdus["SCI"].header["BZERO"] == 32768


def test_times_add_up(uncal):
    e = uncal.meta.exposure
    assert e.frame_time == pytest.approx(0.27864)
    assert e.group_time == pytest.approx(5 * e.frame_time)
    assert e.integration_time == pytest.approx((5 * 4 + 4) * e.frame_time)
    assert e.exposure_time == pytest.approx(2 * e.integration_time)
    assert e.duration == pytest.approx(e.exposure_time + e.frame_time)
    assert (e.end_time - e.start_time) * 86400 == pytest.approx(e.duration, abs=1e-4)
    assert e.mid_time == pytest.approx((e.start_time + e.end_time) / 2, abs=1e-9)
    assert abs(Time(uncal.meta.observation.date_beg).mjd - e.start_time) * 86400 < 1e-3
    assert uncal.meta.time.barycentric_expstart == e.start_time_tdb


def test_tables_of_integrations_and_groups(uncal):
    e, times, groups = uncal.meta.exposure, uncal.int_times, uncal.group
    np.testing.assert_array_equal(times["integration_number"], [1, 2])
    assert times["int_start_MJD_UTC"][0] == pytest.approx(e.start_time, abs=1e-10)
    assert times["int_end_MJD_UTC"][-1] == pytest.approx(e.end_time, abs=1e-9)
    np.testing.assert_allclose((times["int_end_MJD_UTC"] - times["int_start_MJD_UTC"]) * 86400, e.integration_time, atol=1e-4)
    shift = (times["int_mid_BJD_TDB"] - times["int_mid_MJD_UTC"]) * 86400
    np.testing.assert_allclose(shift, uncal.meta.time.barycentric_correction + 69.184, atol=1e-4)
    assert len(groups) == 10
    np.testing.assert_array_equal(groups["group_number"], [1, 2, 3, 4, 5] * 2)
    ends = np.array([Time(str(t), format="isot").mjd for t in groups["group_end_time"]])
    np.testing.assert_allclose(np.diff(ends[:5]) * 86400, e.group_time, atol=1e-4)
    assert ends[-1] == pytest.approx(e.end_time, abs=1e-9)
    day = groups["end_day"] + (groups["end_milliseconds"] + groups["end_submilliseconds"] / 1000) / 86400e3
    np.testing.assert_allclose(day + Time("2000-01-01").mjd, ends, atol=1e-10)


def test_pointing_keywords_describe_one_attitude(uncal):
    w, meta = uncal.meta.wcsinfo, uncal.meta
    sub = detector("NRCA1").subarray("SUB160")
    p = Pointing(w.v2_ref, w.v3_ref, w.ra_ref, w.dec_ref, w.roll_ref)
    assert (w.v2_ref, w.v3_ref, w.v3yangle, w.vparity) == (sub.v2_ref, sub.v3_ref, sub.v3_yangle, -1)
    boresight = p.at(0, 0)
    v1 = meta.pointing
    np.testing.assert_allclose([v1.ra_v1, v1.dec_v1, v1.pa_v3], [boresight.ra, boresight.dec, boresight.roll])
    # The linear terms of the header's simple WCS point where the distortion does, near the reference point.
    det = detector("NRCA1")
    x, y = sub.xstart - 1 + w.crpix1 - 1, sub.ystart - 1 + w.crpix2 - 1
    for step, pc in (((20, 0), (w.pc1_1, w.pc2_1)), ((0, 20), (w.pc1_2, w.pc2_2))):
        ra, dec = p.to_sky(*det.to_v2v3(np.array([x, x + step[0]]), np.array([y, y + step[1]])))
        east, north = np.diff(ra)[0] * np.cos(np.radians(w.dec_ref)), np.diff(dec)[0]
        np.testing.assert_allclose([east, north], np.array(pc) * 20 * w.cdelt1, atol=0.02 * 20 * w.cdelt1)


def test_dithers_move_the_pointing_by_their_offsets(practice):
    from stdatamodels.jwst.datamodels import Level1bModel

    found = []
    for path in practice.uncal:
        with Level1bModel(path) as m:
            w, d = m.meta.wcsinfo, m.meta.dither
            found.append((w.ra_ref, w.dec_ref, d.x_offset, d.y_offset, w.roll_ref))
    (ra0, dec0, x0, y0, roll), (ra1, dec1, x1, y1, _) = found
    east, north = (ra1 - ra0) * np.cos(np.radians(dec0)) * 3600, (dec1 - dec0) * 3600
    assert np.hypot(east, north) == pytest.approx(np.hypot(x1 - x0, y1 - y0), rel=1e-3)
    assert np.hypot(x1 - x0, y1 - y0) > 0.3
    # +y of the ideal frame lies at the position angle of the aperture
    sub = detector("NRCA1").subarray("SUB160")
    angle = np.radians(roll + sub.v3_yangle)
    along = east * np.sin(angle) + north * np.cos(angle)
    assert along == pytest.approx(y1 - y0, abs=2e-3)


def test_motion_of_the_observatory():
    m = motion_of_observatory(60462.5)
    assert np.linalg.norm(m.from_sun) == pytest.approx(1.01 * 1.0139 * 149597870.7, rel=2e-3)  # in June, near aphelion
    assert np.linalg.norm(m.velocity) == pytest.approx(29.6, rel=0.02)
    assert abs(m.delay(150.1, 2.2)) < 510
    ahead = m.velocity / np.linalg.norm(m.velocity)
    ra, dec = np.degrees(np.arctan2(ahead[1], ahead[0])), np.degrees(np.arcsin(ahead[2]))
    assert m.scale(ra, dec) == pytest.approx(1 + np.linalg.norm(m.velocity) / 299792.458)
    np.testing.assert_allclose(np.array(m.apparent(ra, dec)) - [ra % 360, dec], 0, atol=1e-9)
    displaced = m.apparent(ra + 90, 0.0)
    assert 15 < np.hypot(displaced[0] - (ra + 90) % 360, displaced[1]) * 3600 < 21
