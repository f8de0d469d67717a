"""Catalogues to align images by, from files: of one image, and of the sky."""

import difflib
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from jwnb.errors import InputError, MissingFileError, ParameterError
from jwnb.stage3.gaia import CATALOGUES, query_gaia
from jwnb.step import note

__all__ = ["CATALOGUES", "at_epoch", "query_gaia", "read_catalog", "read_catfile", "read_reference_catalog"]

AnyPath = str | os.PathLike[str]
Floats = NDArray[np.float64]

# What a column may be called, whatever the case; the first that is there counts.
_X, _Y = ("x", "xcentroid", "x_centroid"), ("y", "ycentroid", "y_centroid")
_OF_IMAGE: dict[str, tuple[str, ...]] = {"flux": ("flux",), "mag": ("mag",), "weight": ("weight",), "id": ("id", "label")}
_RA, _DEC = ("ra", "ra_icrs"), ("dec", "de_icrs", "dec_icrs")
_OF_SKY: dict[str, tuple[str, ...]] = {
    "weight": ("weight",),
    "mag": ("mag", "phot_g_mean_mag", "gmag"),
    "epoch": ("epoch", "ref_epoch", "refepoch"),
    "pmra": ("pmra",),
    "pmdec": ("pmdec", "pmde"),
    "id": ("source_id", "objid", "id", "label", "source"),
}
_KINDS = "ECSV, FITS tables, CSV and plain columns with a line of names can be read."
_EPOCH_KEYS = ("ref_epoch", "refepoch")
_YEARS = (1800.0, 2200.0)
_UNITS = {"RA": "deg", "DEC": "deg", "pmra": "mas / yr", "pmdec": "mas / yr", "epoch": "yr"}


def read_catalog(path: AnyPath, *, shape: tuple[int, int] | None = None) -> Table:
    """Read the catalogue of one image.

    Parameters
    ----------
    path : path
        ECSV, FITS (the first table), CSV, or plain columns with a line of names. Needed are `x` and `y`, or `xcentroid` and
        `ycentroid`, or `x_centroid` and `y_centroid`, in any case: pixels, the centre of the first being (0, 0).
    shape : (int, int), optional
        Height and width of the image, where known: a catalogue of which nothing lies on it is refused.

    Returns
    -------
    Table
        `x`, `y` and, where there are such columns, `flux`, `mag`, `weight`, `id`. Rows without a position are left out, with a note.
        `meta["name"]` is the name of the file.

    Raises
    ------
    MissingFileError
        If there is no such file.
    InputError
        If it is no table, is empty, lacks a position, has one twice, or has no row on the image.
    """
    path = Path(path)
    table = _table_of(path)
    names = {"x": _column(table, _X, path), "y": _column(table, _Y, path)}
    if None in names.values():
        raise InputError(f"{path.name} has no columns x and y (nor xcentroid, ycentroid); {_what_there_is(table)}")
    positions = {key: _numbers(table, str(name), path) for key, name in names.items()}
    positions |= _others(table, _OF_IMAGE, path)
    out = _with_positions(positions, ("x", "y"), path)
    _check_weights(out, path)
    if shape is not None:
        inside = (out["x"] >= -0.5) & (out["x"] < shape[1] - 0.5) & (out["y"] >= -0.5) & (out["y"] < shape[0] - 0.5)
        if not inside.any():
            raise InputError(
                f"no source of {path.name} lies on the image of {shape[1]}×{shape[0]} pixels: x goes from {out['x'].min():.1f} to "
                f"{out['x'].max():.1f}, y from {out['y'].min():.1f} to {out['y'].max():.1f}. Is it the catalogue of another image?"
            )
    return out


def read_catfile(path: AnyPath) -> dict[str, Path | None]:
    """Read which catalogue belongs to which image.

    Parameters
    ----------
    path : path
        Plain text, a line per image: its file name, and after white space that of its catalogue, relative to the folder of this file.
        A line without catalogue: its stars are found. Empty lines and those that begin with `#` do not count.

    Returns
    -------
    dict
        From file names of images to paths of catalogues or None. Empty if no image is named.

    Raises
    ------
    MissingFileError
        If the file, or a catalogue that it names, does not exist.
    InputError
        If a line has more than two columns, an image two catalogues, or the file is not text.
    """
    path = Path(path)
    _check_file(path)
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError as problem:
        raise InputError(f"{path.name} is not a text file ({problem}); a line per image is expected: its name, its catalogue.") from problem
    found: dict[str, Path | None] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        image, *catalogue = words
        if len(catalogue) > 1:
            raise InputError(
                f"line {number} of {path.name} has {len(words)} columns: {line.strip()!r}. An image and its catalogue are expected."
            )
        belongs = path.parent / catalogue[0] if catalogue else None
        if found.get(image, belongs) != belongs:
            raise InputError(f"{path.name} names two catalogues for {image}: {found[image]} and {belongs}.")
        if belongs is not None:
            _check_file(belongs)
        found[image] = belongs
    return found


def read_reference_catalog(path: AnyPath) -> Table:
    """Read a catalogue of positions on the sky.

    Parameters
    ----------
    path : path
        ECSV, FITS (the first table), CSV, or plain columns with a line of names. Needed are `RA` and `DEC` in degrees, in any case
        (`RA_ICRS`, `DE_ICRS` too), or a column `sky_centroid` of coordinates, as source catalogues have. Used if there:
        `weight`; proper motions `pmra` (with the cosine of the declination) and `pmdec` in mas/yr; the epoch of the positions in years
        (`epoch`, `ref_epoch`); `mag` or `phot_g_mean_mag`; `source_id`. Columns with other units are converted.

    Returns
    -------
    Table
        `RA` from 0 to 360, `DEC`, and which of `weight`, `mag`, `epoch`, `pmra`, `pmdec`, `id` there are. Rows without a position are
        left out, with a note. `meta`: `name`, that of the file; `epoch`, the mean of the epochs, or None if the catalogue has none.

    Raises
    ------
    MissingFileError
        If there is no such file.
    InputError
        If it is no table, is empty, lacks a position, has one twice, or has positions, epochs or weights that cannot be.
    """
    path = Path(path)
    table = _table_of(path)
    ra, dec = (_column(table, names, path) for names in (_RA, _DEC))
    if ra is not None and dec is not None:
        columns = {"RA": _numbers(table, ra, path, unit="deg"), "DEC": _numbers(table, dec, path, unit="deg")}
        if _column(table, ("sky_centroid",), path) is not None:
            note(f"{path.name} has columns {ra}, {dec} and sky_centroid: the last is not used")
    else:
        columns = _centroids(table, path)
    columns |= _others(table, _OF_SKY, path)
    if ("pmra" in columns) != ("pmdec" in columns):
        raise InputError(f"{path.name} has proper motions in one coordinate only: both pmra and pmdec are needed, or none.")
    if "epoch" not in columns:
        stated = next((table.meta[key] for key in table.meta if str(key).lower() in _EPOCH_KEYS), None)
        if stated is not None:
            columns["epoch"] = np.full(len(table), _year(stated, path))
    out = _with_positions(columns, ("RA", "DEC"), path)
    _check_sky(out, path)
    _check_weights(out, path)
    out["RA"] %= 360
    out.meta["epoch"] = _mean_epoch(out, path)
    for name, unit in _UNITS.items():
        if name in out.colnames:
            out[name].unit = unit
    return out


def at_epoch(table: Table, year: float) -> Table:
    """Move the positions of a catalogue to another epoch by its proper motions.

    Parameters
    ----------
    table : Table
        `RA`, `DEC`, and for the motion `epoch`, `pmra`, `pmdec`, as `read_reference_catalog` gives it.
    year : float
        The epoch wanted, in decimal years.

    Returns
    -------
    Table
        A new table. Stars whose motion or epoch is not known stay where they are. `meta["motion"]` says in words what was done;
        `meta["epoch"]` is the new epoch if anything was moved.

    Notes
    -----
    Along great circles, by `astropy.coordinates.SkyCoord.apply_space_motion`. Parallaxes are not applied.
    """
    from astropy import units as u
    from astropy.coordinates import SkyCoord
    from astropy.time import Time
    from erfa import ErfaWarning

    if not _YEARS[0] <= year <= _YEARS[1]:
        raise ParameterError(f"year={year!r} is not a decimal year such as 2024.5.")
    out = table.copy()
    lacking = [name for name in ("epoch", "pmra", "pmdec") if name not in out.colnames]
    if lacking:
        what = "epoch" if lacking == ["epoch"] else "proper motions" if "epoch" not in lacking else "epoch and no proper motions"
        out.meta["motion"] = f"none: the catalogue has no {what}"
        return out
    epoch, pmra, pmdec = (np.ma.filled(np.ma.asarray(out[name], np.float64), np.nan) for name in ("epoch", "pmra", "pmdec"))
    known = np.isfinite(epoch) & np.isfinite(pmra) & np.isfinite(pmdec)
    if known.any():
        ra, dec = (np.array(out[name], np.float64) for name in ("RA", "DEC"))
        stars = SkyCoord(
            ra[known] * u.deg, dec[known] * u.deg, frame="icrs", obstime=Time(epoch[known], format="jyear"),
            pm_ra_cosdec=pmra[known] * u.mas / u.yr, pm_dec=pmdec[known] * u.mas / u.yr,
        )  # fmt: skip
        with warnings.catch_warnings():
            # Said where the distance is not known: a far one is taken, and that is what is meant.
            warnings.simplefilter("ignore", ErfaWarning)
            moved = stars.apply_space_motion(new_obstime=Time(year, format="jyear"))
        ra[known], dec[known] = moved.ra.deg, moved.dec.deg
        epoch[known] = year
        out["RA"][:], out["DEC"][:], out["epoch"][:] = ra, dec, epoch
        out.meta["epoch"] = year
    still = int((~known).sum())
    out.meta["motion"] = f"to {year:.4f}" + (f"; {still} of {len(out)} stars without proper motion or epoch stay" if still else "")
    return out


def _check_file(path: Path) -> None:
    if path.is_file():
        return
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the catalogue in it.")
    if not path.parent.is_dir():
        raise MissingFileError(f"The catalogue {path} does not exist: there is no folder {path.parent}.")
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=3, cutoff=0.5)
    raise MissingFileError(f"The catalogue {path} does not exist." + (f" In the same folder: {', '.join(near)}." if near else ""))


def _table_of(path: Path) -> Table:
    """Read the table in a file, whichever of the known kinds it is."""
    _check_file(path)
    if path.stat().st_size == 0:
        raise InputError(f"The catalogue {path.name} is an empty file.")
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"SIMPLE") or path.name.lower().endswith((".fits", ".fits.gz")):
        kind = "fits"
    elif b"\0" in start:
        raise InputError(f"The catalogue {path.name} is neither text nor FITS. {_KINDS}")
    elif start.startswith(b"# %ECSV"):
        kind = "ascii.ecsv"
    else:
        kind = "ascii.csv" if path.suffix.lower() == ".csv" else "ascii"
    try:
        with warnings.catch_warnings():
            # Several tables in one file (the first counts), and units that astropy does not know.
            warnings.simplefilter("ignore")
            table = Table.read(path, format=kind)
    except Exception as problem:  # astropy raises many kinds
        said = str(problem).strip().splitlines()
        raise InputError(
            f"The catalogue {path.name} cannot be read as a table ({type(problem).__name__}: {said[0] if said else ''}). {_KINDS}"
        ) from problem
    if len(table) == 0:
        raise InputError(f"The catalogue {path.name} has no rows; {_what_there_is(table)}")
    table.meta["jwnb_renames"] = kind in {"ascii", "ascii.csv"}
    return table


def _what_there_is(table: Table) -> str:
    shown = ", ".join(table.colnames[:20]) + (", …" if len(table.colnames) > 20 else "")
    headless = all(name.startswith("col") for name in table.colnames) if table.colnames else False
    return f"its columns are {shown}." + (" The first line must name the columns." if headless else "")


def _column(table: Table, names: Sequence[str], path: Path) -> str | None:
    """Return what the table calls a column, None if it has none, and raise if it has it twice."""
    for name in names:
        found = [c for c in table.colnames if c.lower() == name]
        if table.meta["jwnb_renames"]:
            # Readers of text call the second x x_1.
            found += [c for c in table.colnames if c.lower() == f"{name}_1"] if found else []
        if len(found) > 1:
            raise InputError(f"The catalogue {path.name} has more than one column {name!r} ({', '.join(found)}): keep one.")
        if found:
            return found[0]
    return None


def _numbers(table: Table, name: str, path: Path, *, unit: str | None = None) -> Floats:
    """Return a column as numbers, NaN where it has none."""
    from astropy import units as u

    column = table[name]
    given = getattr(column, "unit", None)
    try:
        values = np.ma.filled(np.ma.asarray(getattr(column, "value", column)).astype(np.float64), np.nan)
    except (TypeError, ValueError) as problem:
        expected = f"in {unit}" if unit else ""
        first = str(column[0])
        raise InputError(f"Column {name} of {path.name} does not hold numbers {expected} but, first, {first!r}.") from problem
    if values.ndim != 1:
        raise InputError(f"Column {name} of {path.name} has {values.shape[1:]} values in each row; one is expected.")
    if unit is None or given is None or u.Unit(unit) == given:
        return np.asarray(values, np.float64)
    try:
        return np.asarray((values * given).to_value(unit), np.float64)
    except (u.UnitConversionError, TypeError, AttributeError) as problem:
        raise InputError(f"Column {name} of {path.name} is in {given}, which is no {unit}.") from problem


def _others(table: Table, wanted: Mapping[str, Sequence[str]], path: Path) -> dict[str, Any]:
    """Return the columns that a table need not have."""
    found: dict[str, Any] = {}
    for key, names in wanted.items():
        name = _column(table, names, path)
        if name is None:
            continue
        if key == "id":
            found[key] = np.ma.filled(np.ma.asarray(table[name]), 0) if table[name].dtype.kind in "iu" else np.asarray(table[name])
        elif key == "epoch" and table[name].dtype.kind in "OSU":
            found[key] = np.array([_year(value, path) for value in table[name]])
        else:
            found[key] = _numbers(table, name, path, unit=_UNITS.get(key) if key.startswith("pm") else None)
    return found


def _centroids(table: Table, path: Path) -> dict[str, Floats]:
    name = _column(table, ("sky_centroid",), path)
    if name is None or not hasattr(table[name], "icrs"):
        raise InputError(f"{path.name} has no columns RA and DEC, nor sky_centroid; {_what_there_is(table)}")
    sky = table[name].icrs
    return {"RA": np.asarray(sky.ra.deg, np.float64), "DEC": np.asarray(sky.dec.deg, np.float64)}


def _year(value: Any, path: Path) -> float:
    try:
        return float(str(value).strip().lstrip("JB"))
    except ValueError as problem:
        raise InputError(f"The epoch {value!r} of {path.name} is no decimal year such as 2016.0.") from problem


def _with_positions(columns: Mapping[str, Any], names: tuple[str, str], path: Path) -> Table:
    """Return the rows that have a position."""
    good = np.isfinite(columns[names[0]]) & np.isfinite(columns[names[1]])
    if not good.any():
        raise InputError(f"no row of {path.name} has a position: {names[0]} or {names[1]} is missing or NaN in all {good.size}.")
    if not good.all():
        note(f"{path.name}: {int((~good).sum())} of {good.size} rows have no position and are left out")
    return Table({name: values[good] for name, values in columns.items()}, meta={"name": path.name})


def _check_sky(table: Table, path: Path) -> None:
    for name, low, high in (("RA", -180.0, 360.0), ("DEC", -90.0, 90.0)):
        wrong = np.flatnonzero((table[name] < low) | (table[name] > high))
        if wrong.size:
            raise InputError(
                f"{wrong.size} of {len(table)} rows of {path.name} have {name} out of range, the first {table[name][wrong[0]]:g}: "
                f"degrees from {low:g} to {high:g} are expected."
            )


def _check_weights(table: Table, path: Path) -> None:
    if "weight" not in table.colnames:
        return
    wrong = np.flatnonzero(~(np.isfinite(table["weight"]) & (table["weight"] >= 0)))
    if wrong.size:
        raise InputError(f"{wrong.size} of {len(table)} weights of {path.name} are negative or no numbers, first in row {wrong[0] + 1}.")


def _mean_epoch(table: Table, path: Path) -> float | None:
    if "epoch" not in table.colnames:
        return None
    known = table["epoch"][np.isfinite(table["epoch"])]
    if len(known) == 0:
        return None
    if known.min() < _YEARS[0] or known.max() > _YEARS[1]:
        raise InputError(f"Epochs of {path.name} go from {known.min():g} to {known.max():g}; decimal years such as 2016.0 are expected.")
    return float(known.mean())
