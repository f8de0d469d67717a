"""The assign_wcs step as people call it."""

import asdf
import helpers_wcs as h
import numpy as np
import pytest
from astropy.wcs import WCS

import jwnb
from jwnb.errors import InputError, WrongExposureError
from jwnb.record import ledger
from jwnb.wcs.assign import BUILDERS, assign_wcs
from jwnb.wcs.pixelmap import sky_map


@pytest.fixture(scope="module")
def references():
    return {"distortion": h.distortion_model(), "filteroffset": "N/A"}


def test_input_is_unchanged_and_pixels_are_shared(references) -> None:
    model = h.exposure((64, 48))
    model.data = np.ones((64, 48), np.float32)
    model.data.flags.writeable = False
    before = dict(model.meta.wcsinfo.instance)
    out = assign_wcs(model, **references)
    assert model.meta.wcs is None and dict(model.meta.wcsinfo.instance) == before
    assert np.shares_memory(out.data, model.data)
    assert out.meta.cal_step.assign_wcs == "COMPLETE"
    assert ledger(out)[-1]["step"] == "assign_wcs"
    assert out.meta.wcsinfo.s_region.startswith("POLYGON ICRS  ")


def test_cutting_first_or_after_gives_the_same_sky(references) -> None:
    model = h.exposure((200, 300), corner=(101, 201), subarray="SUB320")
    whole = assign_wcs(model, **references)
    piece = assign_wcs(jwnb.cutout(model, x=(150, 220), y=(33, 90)), **references)
    x, y = np.meshgrid(np.arange(0, 70, 9.0), np.arange(0, 57, 8.0))
    np.testing.assert_allclose(piece.meta.wcs(x, y), whole.meta.wcs(x + 150, y + 33), rtol=0, atol=1e-12)
    assert piece.meta.wcs.bounding_box.bounding_box(order="F") == ((-0.5, 69.5), (-0.5, 56.5))


@pytest.mark.parametrize("suffix", ["fits", "asdf"])
def test_round_trip(references, suffix, tmp_path) -> None:
    out = assign_wcs(h.exposure((64, 48), corner=(801, 401)), **references)
    again = jwnb.open(jwnb.save(out, tmp_path / f"image_cal.{suffix}"))
    x, y = np.meshgrid(np.linspace(0, 47, 5), np.linspace(0, 63, 5))
    np.testing.assert_allclose(again.meta.wcs(x, y), out.meta.wcs(x, y), rtol=0, atol=1e-12)
    np.testing.assert_allclose(again.meta.wcs.invert(*again.meta.wcs(x, y)), (x, y), atol=2e-3)
    assert again.meta.wcs.available_frames == out.meta.wcs.available_frames
    assert again.meta.wcs.bounding_box == out.meta.wcs.bounding_box
    assert again.meta.wcsinfo.s_region == out.meta.wcsinfo.s_region


def test_header_alone_will_do(references, tmp_path) -> None:
    """What a tool that knows nothing of gWCS reads from the SCI header is right to a hundredth of a pixel."""
    from astropy.io import fits

    out = assign_wcs(h.exposure((500, 500), corner=(801, 401)), **references)
    header = fits.getheader(jwnb.save(out, tmp_path / "image_cal.fits"), "SCI")
    ra, dec = WCS(header).all_pix2world(200.0, 300.0, 0)
    np.testing.assert_allclose((ra, dec), out.meta.wcs(200.0, 300.0), atol=0.011 * h.ARCSEC_PER_PIXEL / 3600)


@pytest.mark.parametrize("name", ["ra_ref", "dec_ref", "roll_ref", "v2_ref", "v3_ref"])
def test_missing_pointing_is_named(references, name) -> None:
    model = h.exposure((8, 8))
    setattr(model.meta.wcsinfo, name, None)
    with pytest.raises(InputError, match=name.upper()):
        assign_wcs(model, **references)


@pytest.mark.parametrize("exp_type", ["NRC_DARK", "NRC_LED", "NRC_GRISM", "NIS_LAMP", "FGS_SKYFLAT"])
def test_exposures_without_a_sky(references, exp_type) -> None:
    model = h.exposure((8, 8))
    model.meta.exposure.type = exp_type
    with pytest.raises(WrongExposureError, match=exp_type):
        assign_wcs(model, **references)


def test_distortion_that_is_not_applicable_skips() -> None:
    out = assign_wcs(h.exposure((8, 8)), distortion="N/A", filteroffset="N/A")
    assert out.meta.cal_step.assign_wcs == "SKIPPED" and out.meta.wcs is None


def test_without_approximation(references) -> None:
    out = assign_wcs(h.exposure((64, 48)), sip_approx=False, **references)
    assert out.meta.wcsinfo.cdelt1 is not None and out.meta.wcsinfo.ctype1 == "RA---TAN"


def test_approximation_that_fails_leaves_the_keywords(references, monkeypatch) -> None:
    def refuse(*_, **__):
        raise ValueError("no celestial frame")

    monkeypatch.setattr("jwnb.wcs.sip.approximate", refuse)
    with pytest.warns(match="no SIP approximation was written: no celestial frame"):
        out = assign_wcs(h.exposure((64, 48)), **references)
    assert out.meta.wcsinfo.cdelt1 is not None and out.meta.cal_step.assign_wcs == "COMPLETE"


def test_footprint_that_is_not_finite(references) -> None:
    from astropy.modeling.models import Const1D

    nowhere = Const1D(np.nan) & Const1D(np.nan)
    with pytest.warns(match="S_REGION is left as it was"):
        out = assign_wcs(h.exposure((16, 16)), distortion=h.as_distortion(nowhere), filteroffset="N/A", sip_approx=False)
    assert out.meta.wcsinfo.s_region is None


def test_every_builder_is_of_an_imaging_type() -> None:
    assert {kind[:3] for kind in BUILDERS} == {"NRC", "NIS", "FGS"}


@pytest.mark.parametrize("detector", ["nrca1", "nrcalong", "nrcb3"])
def test_distortion_in_flight(detector) -> None:
    """With a real distortion the image is where the telescope pointed, and interpolated sky positions are as good as asked for."""
    source = h.shared_data("references", "nircam_gwcs", f"jw01345001001_02201_00001_{detector}_tweakreg.asdf")
    if not source.exists():
        pytest.skip(f"{source.name} is not here")
    with asdf.open(source) as tree:
        transform = tree["wcs"].get_transform("detector", "v2v3").copy()
    model = h.exposure()
    model.meta.wcsinfo.v2_ref, model.meta.wcsinfo.v3_ref = (float(v) for v in transform(1023.5, 1023.5))
    out = assign_wcs(model, distortion=h.as_distortion(transform), filteroffset="N/A")
    np.testing.assert_allclose(out.meta.wcs(1023.5, 1023.5), (150.0, 2.2), rtol=0, atol=1e-9)
    found = sky_map(out.meta.wcs, (2048, 2048))
    rows = np.concatenate([found.rows(k, k + 1) for k in (0, 517, 2047)])
    x, y = np.meshgrid(np.arange(2048.0), [0.0, 517, 2047])
    ra, dec = out.meta.wcs(x, y)
    away = np.hypot((rows[..., 0] - ra) * np.cos(np.radians(dec)), rows[..., 1] - dec) * 3600 / h.ARCSEC_PER_PIXEL
    assert away.max() <= 2 * found.error <= 2e-3  # a long-wave pixel is two of the short-wave ones that this is counted in
