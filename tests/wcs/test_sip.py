"""The FITS approximation: as good as it says."""

import helpers_wcs as h
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from jwnb.wcs import imaging, sip


@pytest.fixture(scope="module")
def image():
    model = h.exposure((600, 800), corner=(301, 501))
    model.meta.wcs = imaging.build(model, h.distortion_model(), None)
    return model


@pytest.mark.parametrize("error", [0.1, 0.01])
def test_header_is_within_the_error(image, error) -> None:
    keywords = sip.approximate(image, max_pix_error=error, max_inv_pix_error=error)
    wcs = WCS(fits.Header({k.upper(): v for k, v in keywords.items()}))
    x, y = np.meshgrid(np.linspace(0, 799, 17), np.linspace(0, 599, 13))
    ra, dec = image.meta.wcs(x, y)
    wide, high = wcs.all_pix2world(x, y, 0)
    away = np.hypot((wide - ra) * np.cos(np.radians(dec)), high - dec) * 3600 / h.ARCSEC_PER_PIXEL
    assert away.max() < error * 1.05  # of a nominal pixel; SIPMXERR is of the pixel at the reference point
    assert keywords["sipmxerr"] <= error
    assert not any(key.startswith("naxis") for key in keywords)
    assert all(isinstance(v, int | float | str) and not hasattr(v, "dtype") for v in keywords.values())


def test_degree_is_the_lowest_that_will_do(image) -> None:
    rough, fine = (sip.approximate(image, max_pix_error=error) for error in (5.0, 0.01))
    assert rough.get("a_order", 1) < fine["a_order"]
    assert sip.approximate(image, degree=4)["a_order"] == 4


def test_reference_pixel_is_kept_where_there_is_one(image) -> None:
    keywords = sip.approximate(image)
    assert (keywords["crpix1"], keywords["crpix2"]) == (400.5, 300.5)
    other = image.copy()
    other.meta.wcsinfo.crpix1, other.meta.wcsinfo.crpix2 = 10.0, 20.0
    keywords = sip.approximate(other)
    assert (keywords["crpix1"], keywords["crpix2"]) == (10.0, 20.0)
    ra, dec = image.meta.wcs(9.0, 19.0)
    assert (keywords["crval1"], keywords["crval2"]) == (pytest.approx(ra), pytest.approx(dec))


def test_shortcomings() -> None:
    keywords = {"sipmxerr": 0.2, "sipiverr": 0.004}
    assert sip.shortcomings(keywords, forward=0.01, inverse=0.01) == [
        "the forward SIP approximation errs by up to 0.2 pixels; 0.01 was asked for"
    ]
    assert sip.shortcomings(keywords, forward=None, inverse=None) == []
    assert len(sip.shortcomings(keywords, forward=0.1, inverse=0.001)) == 2
    assert sip.shortcomings({"sipmxerr": 0.001}, forward=0.01, inverse=0.01) == []


def test_linear_terms_go(image) -> None:
    model = image.copy()
    model.meta.wcsinfo.instance["a_5_0"] = 1.0
    sip.replace_linear_terms(model, {"cd1_1": 2.0, "ctype1": "RA---TAN-SIP"})
    left = model.meta.wcsinfo.instance
    assert left["cd1_1"] == 2.0 and left["ctype1"] == "RA---TAN-SIP" and left["ra_ref"] == 150.0
    assert not {"cdelt1", "pc1_1", "pc2_2", "a_5_0"} & set(left)
