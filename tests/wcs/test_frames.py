"""Pointing, rotation, aberration and footprints against plain spherical trigonometry."""

import helpers_wcs as h
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.modeling.models import Identity

from jwnb.errors import InputError
from jwnb.wcs import frames


@pytest.mark.parametrize(("ra", "dec", "roll"), [(150.0, 2.2, 37.0), (0.0, 0.0, 0.0), (359.99, -70.0, 300.0)])
def test_reference_point_and_roll(ra: float, dec: float, roll: float) -> None:
    """The reference point lies at RA_REF, DEC_REF, and the V3 axis at ROLL_REF from north through east."""
    pointing = frames.Pointing(ra, dec, roll, h.V2, h.V3)
    to_sky = frames.telescope_to_sky(pointing)
    here, above = (SkyCoord(*to_sky(h.V2, h.V3 + step), unit="deg") for step in (0.0, 0.01))
    assert here.separation(SkyCoord(ra, dec, unit="deg")).arcsec < 1e-7
    angle = here.position_angle(above).deg
    assert (angle - roll + 180) % 360 - 180 == pytest.approx(0, abs=1e-4)
    assert here.separation(above).arcsec == pytest.approx(0.01, rel=1e-6)
    back = to_sky.inverse(here.ra.deg, here.dec.deg)
    np.testing.assert_allclose(back, (h.V2, h.V3), atol=1e-7)


def test_right_ascension_is_from_0_to_360() -> None:
    to_sky = frames.telescope_to_sky(frames.Pointing(0.0, 0.0, 0.0, 0.0, 0.0))
    ra, _ = to_sky(np.array([-10.0, 10.0]), np.zeros(2))
    np.testing.assert_allclose(np.sort(ra), [10 / 3600, 360 - 10 / 3600])


def test_aberration_stretches_about_the_reference_point() -> None:
    correction = frames.aberration(frames.Pointing(0, 0, 0, 120.0, -500.0, aberration_scale=1.0001))
    np.testing.assert_allclose(correction(120.0, -500.0), (120.0, -500.0), atol=1e-10)
    np.testing.assert_allclose(correction(220.0, -500.0), (220.01, -500.0), atol=1e-10)
    np.testing.assert_allclose(correction.inverse(220.01, -500.0), (220.0, -500.0), atol=1e-10)


@pytest.mark.parametrize("scale", [None, 1.0])
def test_no_aberration(scale: float | None) -> None:
    assert isinstance(frames.aberration(frames.Pointing(0, 0, 0, 1, 1, aberration_scale=scale)), Identity)


def test_aberration_about_the_origin_needs_no_shift() -> None:
    assert frames.aberration(frames.Pointing(0, 0, 0, 0, 0, aberration_scale=1.1)).n_submodels == 2


@pytest.mark.parametrize(("name", "keyword"), [("ra_ref", "RA_REF"), ("roll_ref", "ROLL_REF"), ("v3_ref", "V3_REF")])
@pytest.mark.parametrize("value", [None, float("nan")])
def test_pointing_that_cannot_be_used_is_named(name: str, keyword: str, value: float | None) -> None:
    model = h.exposure((8, 8))
    setattr(model.meta.wcsinfo, name, value)
    with pytest.raises(InputError, match=rf"keyword {keyword} of jw09999"):
        frames.pointing_of(model)


def test_scale_must_be_positive() -> None:
    with pytest.raises(InputError, match="VA_SCALE is 0"):
        frames.pointing_of(h.exposure((8, 8), va_scale=0.0))


@pytest.mark.parametrize(("corner", "shift"), [((1, 1), None), ((5, 1), (4, 0)), ((1, 7), (0, 6)), ((3, 9), (2, 8)), ((None, None), None)])
def test_subarray_shift(corner: tuple[int, int], shift: tuple[int, int] | None) -> None:
    made = frames.subarray_shift(h.exposure((8, 8), corner=corner))
    assert made is None if shift is None else made(0, 0) == shift


def test_polygon() -> None:
    corners = np.array([[10.0, -1.0], [10.5, -1], [10.5, 0.25], [10, 1 / 3]])
    assert frames.polygon(corners) == (
        "POLYGON ICRS  10.000000000 -1.000000000 10.500000000 -1.000000000 10.500000000 0.250000000 10.000000000 0.333333333"
    )
    corners[2, 1] = np.nan
    assert frames.polygon(corners) is None
