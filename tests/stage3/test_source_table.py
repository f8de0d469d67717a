"""The table: columns, units, what is written and read again."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from helpers_sources import apcorr, mosaic, paint, vega

from jwnb import models
from jwnb.stage3.source_catalog import source_catalog


@pytest.fixture(scope="module")
def references():
    return {"apcorr": apcorr(), "abvegaoffset": vega()}


@pytest.fixture(scope="module")
def made(references):
    return source_catalog(mosaic(), **references)


def test_errors_of_ours_stand_behind_and_are_of_their_own(made):
    names = made.cat.colnames
    ours = [name for name in names if name.endswith("_err_corr")]
    assert names[-len(ours) :] == ours
    assert ours == [f"{name}_flux_err_corr" for name in ("aper30", "aper50", "aper70", "aper_total", "isophotal")]
    assert all(made.cat[name].unit == u.Jy and "neighbouring" in made.cat[name].info.description for name in ours)


def test_the_file_holds_what_the_table_holds(made, tmp_path):
    back = QTable.read(models.save(made.cat, tmp_path / made.cat.meta["filename"]))
    assert back.colnames == made.cat.colnames
    assert np.array_equal(back["aper50_flux"], made.cat["aper50_flux"])
    assert back["sky_centroid"].separation(made.cat["sky_centroid"]).max() < 1e-9 * u.arcsec
    assert back.meta["history"] == made.cat.meta["history"]
    assert "jwnb" in back.meta["version"]


def test_vega_magnitudes_are_the_others_less_the_offset(made):
    cat = made.cat
    for name in ("aper30", "aper_total", "isophotal"):
        np.testing.assert_allclose(cat[f"{name}_abmag"] - cat[f"{name}_vegamag"], np.float32(1.68), rtol=1e-6)


def test_the_angle_on_the_sky(references):
    model = mosaic(empty=True, noise=1e-3)
    for angle in (0.0, 0.7, 2.0):
        x, y = 120.0, 110.0
        model.data = (paint(model.data.shape, x, y, 500.0, wide=4.0, ratio=0.4, angle=angle) + 0.4).astype(np.float32)
        row = source_catalog(model, **references).cat[0]
        assert np.degrees(angle) % 180 == pytest.approx(row["orientation"].to_value("deg") % 180, abs=0.5)
        ends = model.meta.wcs.pixel_to_world(x + 9 * np.cos(angle) * np.array([-1, 1]), y + 9 * np.sin(angle) * np.array([-1, 1]))
        expected = ends[0].position_angle(ends[1]).deg % 180
        assert abs((row["sky_orientation"].to_value("deg") - expected + 90) % 180 - 90) < 0.6


def test_north_is_found_beside_the_image(references):
    model = mosaic()
    inside = source_catalog(model, **references).cat["sky_orientation"]
    model.meta.wcsinfo.crpix1 = -300.0
    outside = source_catalog(model, **references).cat["sky_orientation"]
    assert np.abs(outside - inside).max() < 0.1 * u.deg
    model.meta.wcsinfo.crpix1 = model.meta.wcsinfo.crpix2 = None
    assert np.abs(source_catalog(model, **references).cat["sky_orientation"] - inside).max() < 0.1 * u.deg


def test_kron_columns_stand_at_the_end(references):
    cat = source_catalog(mosaic(), kron=True, **references).cat
    assert cat.colnames[-3:] == ["kron_flux", "kron_flux_err", "kron_radius"]
    assert cat["kron_flux"].unit == u.Jy
    bright = cat["isophotal_flux"] > np.nanmedian(cat["isophotal_flux"])
    assert np.nanmedian((cat["kron_flux"] / cat["isophotal_flux"])[bright].value) == pytest.approx(1, abs=0.15)


def test_an_empty_table_has_the_same_columns(made, references):
    with pytest.warns(UserWarning, match="no sources"):
        empty = source_catalog(mosaic(empty=True), **references).cat
    assert empty.colnames == made.cat.colnames
    for name in empty.colnames:
        assert getattr(empty[name], "unit", None) == getattr(made.cat[name], "unit", None) or isinstance(empty[name], SkyCoord), name
        assert isinstance(empty[name], SkyCoord) or empty[name].dtype == made.cat[name].dtype, name
