"""The catalogue service, by a local stand-in."""

import socket
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
from helpers_service import HEADER, Service

from jwnb.errors import CatalogServiceError, ParameterError
from jwnb.stage3.gaia import query_gaia


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Service() as running:
        monkeypatch.setenv("ASTROMETRIC_CATALOG_URL", running.url)
        yield running


def test_what_is_asked(service):
    query_gaia(150.25, -2.5, 0.1, epoch=2022.5)
    path = urlparse(service.asked[0])
    assert path.path == "/webservices/vo/CatalogSearch.aspx"
    assert parse_qs(path.query) == {
        "RA": ["150.25"], "DEC": ["-2.5"], "EPOCH": ["2022.5"], "SR": ["0.1"], "FORMAT": ["CSV"], "CAT": ["GAIADR3"],
    }  # fmt: skip
    query_gaia(150.25, -2.5, 0.1, catalog="gaiadr2", url=service.url + "/")
    assert parse_qs(urlparse(service.asked[1]).query) == {
        "RA": ["150.25"], "DEC": ["-2.5"], "SR": ["0.1"], "FORMAT": ["CSV"], "CAT": ["GAIADR2"],
    }  # fmt: skip


def test_stars_moved_by_the_service(service):
    table = query_gaia(150.2, 2.2, 0.1, epoch=2022.5)
    assert table.colnames == ["RA", "DEC", "mag", "objID", "epoch"], "no motions: they were applied"
    np.testing.assert_array_equal(table["objID"], [11, 13])
    np.testing.assert_array_equal(table["RA"], [150.1, 150.3])
    assert table.meta == {"name": "GAIADR3", "catalog": "GAIADR3", "epoch": 2022.5}


def test_stars_as_catalogued(service):
    table = query_gaia(150.2, 2.2, 0.1)
    assert table.colnames == ["RA", "DEC", "mag", "objID", "epoch", "pmra", "pmdec"]
    np.testing.assert_array_equal(table["mag"], [19.5, 17.5, 14.5])
    assert table.meta["epoch"] == 2016.0


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("No data records found", 200, "no star of GAIADR3 within 0.1000° of RA 150.20000, DEC 2.20000"), (HEADER, 200, "no star"),
        (HEADER + "12,150.2,2.3,19.5,,,2016.0,b\n", 200, "no star with a proper motion"),
        ("<html><body>down for repair</body></html>", 200, "no column ra, dec, mag, objID, epoch but '<html>"),
        ("", 200, "no column"), ("a,b\n1,2,3,4\n", 200, "no table but 'a,b"), ("x", 500, r"error \(500 "), ("x", 404, r"error \(404 "),
        ("\xff\xfe binary", 200, "catalogue service sent no"),
    ],
    ids=["none", "no rows", "no motions", "html", "empty", "ragged", "500", "404", "binary"],
)  # fmt: skip
def test_answers_without_stars(service, text, status, message):
    service.text, service.status = text, status
    with pytest.raises(CatalogServiceError, match=message) as raised:
        query_gaia(150.2, 2.2, 0.1, epoch=2022.5)
    assert "abs_refcat='stars.ecsv'" in str(raised.value)


def test_no_answer_in_time(service):
    service.delay = 0.6
    with pytest.raises(CatalogServiceError, match=r"did not answer within 0.2 s.*abs_refcat"):
        query_gaia(150.2, 2.2, 0.1, timeout=0.2)


def test_nobody_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CatalogServiceError, match=r"cannot be reached \(ConnectionError\)"):
            query_gaia(150.2, 2.2, 0.1, url=url)
    with pytest.raises(CatalogServiceError, match="cannot be reached"):
        query_gaia(150.2, 2.2, 0.1, url="no address")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((150.0, 2.0, 0.1), {"catalog": "GAIADR4"}, r"not one of GAIADR3.*Did you mean"), ((np.nan, 2.0, 0.1), {}, "ra=nan"),
        ((150.0, 95.0, 0.1), {}, "dec=95"), ((150.0, 2.0, -1.0), {}, "radius=-1"), ((150.0, 2.0, 1.0), {"timeout": -1}, "timeout=-1"),
    ],
)  # fmt: skip
def test_arguments_without_meaning(arguments, options, message):
    with pytest.raises(ParameterError, match=message):
        query_gaia(*arguments, **options)
