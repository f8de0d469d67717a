"""Stars of the Gaia catalogues, from the archive's catalogue service."""

import os

import numpy as np
from astropy.table import Table

from jwnb.errors import CatalogServiceError, ParameterError
from jwnb.parameters import nearest

__all__ = ["CATALOGUES", "query_gaia"]

CATALOGUES = ("GAIADR3", "GAIADR2", "GAIADR1", "GAIAREFCAT")
"""What the service has for alignment."""

URL_VARIABLE = "ASTROMETRIC_CATALOG_URL"
DEFAULT_URL = "https://gsss.stsci.edu/webservices"

_NEEDED = ("ra", "dec", "mag", "objID", "epoch")
_MOTIONS = ("pmra", "pmdec")
_ADVICE = (
    "Give a catalogue of the field as a file instead (abs_refcat='stars.ecsv' with columns RA and DEC in degrees), or leave abs_refcat out."
)


def query_gaia(
    ra: float,
    dec: float,
    radius: float,
    *,
    catalog: str = "GAIADR3",
    epoch: float | None = None,
    timeout: float = 30.0,
    url: str | None = None,
) -> Table:
    """Ask the archive's catalogue service for the stars about a position.

    Parameters
    ----------
    ra, dec, radius : float
        Centre and radius of the circle, in degrees.
    catalog : str
        One of `CATALOGUES`, in any case.
    epoch : float, optional
        Decimal year to which the service moves the stars; those that have no proper motion are then left out. None: positions as they
        stand in the catalogue.
    timeout : float
        Seconds to wait for an answer.
    url : str, optional
        Of the service; else that in the environment variable ASTROMETRIC_CATALOG_URL, else that of the archive.

    Returns
    -------
    Table
        `RA`, `DEC` in degrees, `mag`, `objID`, `epoch` as the service gives it, and without `epoch` given also `pmra` and `pmdec` if
        it sends them; the faintest first. `meta`: `name`, `catalog`, and `epoch`, that of the positions.

    Raises
    ------
    ParameterError
        If an argument has no meaning.
    CatalogServiceError
        If the service cannot be reached, does not answer in time, answers with an error or with something else than a table, or has no
        star there.
    """
    catalog = catalog.upper()
    if catalog not in CATALOGUES:
        raise ParameterError(f"catalog={catalog!r} is not one of {', '.join(CATALOGUES)}.{nearest(catalog, CATALOGUES)}")
    for name, value, low, high in (("ra", ra, -360, 720), ("dec", dec, -90, 90), ("radius", radius, 0, 90), ("timeout", timeout, 0, 1e5)):
        if not low <= value <= high:
            raise ParameterError(f"{name}={value!r} is not a number from {low:g} to {high:g}.")
    asked = {"RA": ra, "DEC": dec} | ({} if epoch is None else {"EPOCH": epoch}) | {"SR": radius, "FORMAT": "CSV", "CAT": catalog}
    base = url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    answer = _answer(f"{base.rstrip('/')}/vo/CatalogSearch.aspx?" + "&".join(f"{key}={value}" for key, value in asked.items()), timeout)
    where = f"{catalog} within {radius:.4f}° of RA {ra:.5f}, DEC {dec:.5f}"
    if answer.startswith("No data records"):
        raise CatalogServiceError(f"The catalogue service has no star of {where}. {_ADVICE}")
    table = _parsed(answer)
    if epoch is not None:
        # The service sends those too that it could not move.
        for name in set(_MOTIONS) & set(table.colnames):
            table = table[np.isfinite(np.ma.filled(np.ma.asarray(table[name], np.float64), np.nan))]
    if len(table) == 0:
        motion = "" if epoch is None else " with a proper motion"
        raise CatalogServiceError(f"The catalogue service has no star{motion} of {where}. {_ADVICE}")
    # What has been moved must not be moved again.
    out = table[[*_NEEDED, *(name for name in _MOTIONS if epoch is None and name in table.colnames)]]
    out.rename_columns(["ra", "dec"], ["RA", "DEC"])
    out.sort("mag", reverse=True)
    out.meta = {"name": catalog, "catalog": catalog, "epoch": float(np.mean(out["epoch"])) if epoch is None else epoch}
    return out


def _answer(address: str, timeout: float) -> str:
    import requests  # type: ignore[import-untyped,unused-ignore]

    service = address.partition("?")[0]
    try:
        got = requests.get(address, headers={"Content-Type": "text/csv"}, timeout=timeout)
    except requests.exceptions.Timeout as problem:
        raise CatalogServiceError(f"The catalogue service at {service} did not answer within {timeout:g} s. {_ADVICE}") from problem
    except requests.exceptions.RequestException as problem:
        raise CatalogServiceError(
            f"The catalogue service at {service} cannot be reached ({type(problem).__name__}). {_ADVICE}"
        ) from problem
    if not got.ok:
        why = f"{got.status_code} {got.reason}"
        raise CatalogServiceError(f"The catalogue service at {service} answered with an error ({why}). {_ADVICE}")
    return str(got.content.decode("utf-8", errors="replace"))


def _parsed(answer: str) -> Table:
    try:
        table = Table.read(answer + "\n", format="ascii.csv", comment="#")
    except Exception as problem:  # astropy raises many kinds
        raise CatalogServiceError(f"The catalogue service sent no table but {answer[:80]!r}. {_ADVICE}") from problem
    lacking = [name for name in _NEEDED if name not in table.colnames]
    if lacking:
        raise CatalogServiceError(f"The catalogue service sent no column {', '.join(lacking)} but {answer[:80]!r}. {_ADVICE}")
    return table
