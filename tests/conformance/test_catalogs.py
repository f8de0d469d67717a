"""Catalogues against what the peer makes of the same files and the same answers of the service."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from helpers_service import HEADER, Service

from jwnb.errors import CatalogServiceError
from jwnb.stage3.catalogs import CATALOGUES, at_epoch, query_gaia, read_catalog, read_catfile, read_reference_catalog

pytestmark = pytest.mark.peer


@pytest.fixture
def service(monkeypatch):
    from stcal.tweakreg import astrometric_utils

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Service() as running:
        monkeypatch.setattr(astrometric_utils, "SERVICELOCATION", running.url)
        yield running


@pytest.mark.parametrize("epoch", [None, 2022.6543])
def test_the_service_is_asked_the_same_and_the_stars_are_the_same(service, epoch):
    from stcal.tweakreg.astrometric_utils import get_catalog

    ours = query_gaia(150.123456789, -2.2, 0.0345, epoch=epoch, catalog="GAIADR2", url=service.url)
    theirs = get_catalog(150.123456789, -2.2, epoch=epoch, search_radius=0.0345, catalog="GAIADR2")
    assert service.asked[0] == service.asked[1]
    theirs.sort("mag", reverse=True)
    assert len(ours) == len(theirs) > 1
    for name in ("ra", "dec", "mag", "objID", "epoch"):
        np.testing.assert_array_equal(np.asarray(ours[{"ra": "RA", "dec": "DEC"}.get(name, name)]), np.asarray(theirs[name]))


def test_where_theirs_is_empty_ours_says_so(service):
    from stcal.tweakreg.astrometric_utils import get_catalog

    for service.text in ("No data records", HEADER):
        assert len(get_catalog(150.1, -2.2, epoch=None)) == 0
        with pytest.raises(CatalogServiceError):
            query_gaia(150.1, -2.2, 0.1, url=service.url)


def test_the_catalogues_of_the_service():
    from stcal.tweakreg.astrometric_utils import DEF_CAT_URL, GSSS_CATALOGS

    from jwnb.stage3 import gaia

    assert set(CATALOGUES) == set(GSSS_CATALOGS)
    assert gaia.DEFAULT_URL == DEF_CAT_URL


def test_catfile(tmp_path):
    from jwst.tweakreg.tweakreg_step import _parse_catfile

    for name in ("one.ecsv", "two.ecsv"):
        (tmp_path / name).touch()
    path = tmp_path / "list.txt"
    path.write_text(f"# images\n\na_cal.fits  one.ecsv\nb_cal.fits\t{tmp_path / 'two.ecsv'} \n  c_cal.fits\n")
    ours = {image: None if catalogue is None else str(catalogue) for image, catalogue in read_catfile(path).items()}
    assert ours == _parse_catfile(str(path))


@pytest.mark.parametrize("names", [("x", "y"), ("xcentroid", "ycentroid"), ("x_centroid", "y_centroid"), ("x", "ycentroid")])
def test_catalogue_of_an_image(tmp_path, names):
    from jwst.tweakreg.tweakreg_step import _rename_catalog_columns

    path = tmp_path / "stars.ecsv"
    Table({names[0]: [1.5, 2.5], names[1]: [3.5, 4.5], "flux": [1.0, 2.0]}).write(path)
    ours, theirs = read_catalog(path), _rename_catalog_columns(Table.read(path))
    for name in ("x", "y", "flux"):
        np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.mark.parametrize("kind", ["upper", "lower", "centroid", "both"])
def test_reference_catalogue(tmp_path, kind):
    from stcal.tweakreg.tweakreg import _parse_sky_centroid

    path = tmp_path / "stars.ecsv"
    places = {"ra": [10.0, 350.0], "dec": [-5.0, 6.0]}
    sky = {"sky_centroid": SkyCoord([11.0, 351.0], [-4.0, 7.0], unit="deg")}
    upper = {name.upper(): values for name, values in places.items()}
    table = QTable({"upper": upper, "lower": places, "centroid": sky, "both": places | sky}[kind])
    table.write(path)
    ours, theirs = read_reference_catalog(path), _parse_sky_centroid(Table.read(path))
    for name in ("RA", "DEC"):
        np.testing.assert_allclose(np.asarray(ours[name]), u.Quantity(theirs[name], u.deg).value, rtol=1e-15)


def test_proper_motion():
    from stcal.tweakreg._s3_catalog import _correct_for_proper_motion

    rng = np.random.default_rng(1)
    n = 500
    given = {
        "ra": rng.uniform(0, 360, n), "dec": rng.uniform(-88, 88, n), "pmra": rng.normal(0, 300, n), "pmdec": rng.normal(0, 300, n),
        "ref_epoch": np.full(n, 2016.0), "parallax": np.zeros(n),
    }  # fmt: skip
    theirs = _correct_for_proper_motion(Table(given, masked=True), 2024.5)
    ours = Table({"RA": given["ra"], "DEC": given["dec"], "epoch": given["ref_epoch"], "pmra": given["pmra"], "pmdec": given["pmdec"]})
    moved = at_epoch(ours, 2024.5)
    apart = SkyCoord(moved["RA"], moved["DEC"], unit="deg").separation(SkyCoord(theirs["ra"], theirs["dec"], unit="deg")).mas
    assert apart.max() < 0.01
