"""What is on the sky: stars, galaxies with Sersic profiles, an even background. And what a detector sees of it."""

import functools
from dataclasses import dataclass

import numpy as np
from astropy.table import QTable, Table
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import gammaincinv

from jwnb.errors import ParameterError
from jwnb.kernels.gaussians import draw_gaussians
from jwnb.sim.geometry import Detector, Pointing, Subarray
from jwnb.sim.optics import Bandpass, Blend, point_spread

__all__ = ["Scene", "image_of_scene", "pixel_areas", "random_galaxies", "random_stars", "sersic_blend"]

STAR_COLUMNS = {"ra": "deg", "dec": "deg", "flux": "Jy"}
GALAXY_COLUMNS = {
    **STAR_COLUMNS, "half_light_radius": "arcsec", "sersic_index": "", "axis_ratio": "", "position_angle": "deg",
}  # fmt: skip
GAUSSIAN_WIDTH = 1 / np.sqrt(2 * np.log(2))  # standard deviation of a Gaussian whose half-light radius is one
ARCSEC2 = (np.pi / 180 / 3600) ** 2  # steradians


@dataclass(frozen=True)
class Scene:
    """Sources and background.

    Attributes
    ----------
    stars : Table
        Columns ra, dec (degrees), flux (Jy).
    galaxies : Table
        The same and half_light_radius (of the major axis, arcsec), sersic_index, axis_ratio, position_angle (of the major
        axis, degrees east of north).
    sky : float
        Background, MJy/sr.
    """

    stars: Table
    galaxies: Table
    sky: float


def random_stars(number: int, field: tuple[NDArray[np.float64], NDArray[np.float64]], band: Bandpass,
                 rng: np.random.Generator) -> Table:  # fmt: skip
    """Draw stars evenly over a field.

    Parameters
    ----------
    number : int
        How many.
    field : tuple of NDArray
        RA and Dec of places to choose from, degrees: at least `number` of them, the same for every filter.
    band : Bandpass
        The filter; the same random numbers give the same stars in another filter, with the colours of stars.
    rng : numpy.random.Generator
        Random numbers.

    Returns
    -------
    Table
        Brightest first.
    """
    ra, dec = field
    # Counts that rise as flux**-0.55, between 0.08 and 400 µJy at 2 µm; a power law in wavelength for the colour.
    low, high, slope = 0.08e-6, 400e-6, -0.55
    u = rng.random(number)
    flux = (low**slope + u * (high**slope - low**slope)) ** (1 / slope)
    flux = flux * (band.pivot / 2.0) ** rng.normal(-1.0, 0.4, number)
    order = np.argsort(-flux)
    return _table(STAR_COLUMNS, ra=ra[:number][order], dec=dec[:number][order], flux=flux[order])


def random_galaxies(number: int, field: tuple[NDArray[np.float64], NDArray[np.float64]], band: Bandpass,
                    rng: np.random.Generator) -> Table:  # fmt: skip
    """Draw galaxies evenly over a field, disks and spheroids; arguments as for `random_stars`."""
    ra, dec = field
    flux = 10 ** rng.uniform(-6.3, -4.5, number) * (band.pivot / 2.0) ** rng.normal(0.5, 0.5, number)
    radius = np.clip(0.25 * (flux / 3e-6) ** 0.3 * rng.lognormal(0.0, 0.35, number), 0.08, 1.5)
    disk = rng.random(number) < 0.7
    index = np.where(disk, rng.normal(1.0, 0.15, number), rng.normal(3.5, 0.6, number)).clip(0.6, 5.5)
    ratio, angle = rng.uniform(0.3, 1.0, number), rng.uniform(0, 180, number)
    order = np.argsort(-flux)
    return _table(
        GALAXY_COLUMNS, ra=ra[:number][order], dec=dec[:number][order], flux=flux[order], half_light_radius=radius[order],
        sersic_index=index[order].round(2), axis_ratio=ratio[order], position_angle=angle[order],
    )  # fmt: skip


def checked_catalogue(table: Table, kind: str) -> Table:
    """Return a caller's catalogue as a plain table in the units of `Scene`.

    Parameters
    ----------
    table : Table
        With or without units; or anything that `Table` takes.
    kind : str
        ``"stars"`` or ``"galaxies"``.

    Returns
    -------
    Table
        The columns that matter, with an ``id`` from 1.

    Raises
    ------
    ParameterError
        If a column is missing or a value is impossible.
    """
    columns = STAR_COLUMNS if kind == "stars" else GALAXY_COLUMNS
    given = QTable(table) if not isinstance(table, Table) else table
    missing = [name for name in columns if name not in given.colnames]
    if missing:
        raise ParameterError(f"the table of {kind} lacks {', '.join(missing)}; it needs {', '.join(columns)}")
    values = {name: _in_unit(given[name], unit) for name, unit in columns.items()}
    if not all(np.isfinite(v).all() for v in values.values()):
        raise ParameterError(f"the table of {kind} has values that are not finite numbers")
    if kind == "galaxies":
        index, ratio = values["sersic_index"], values["axis_ratio"]
        if np.any((index < 0.5) | (index > 6)) or np.any((ratio <= 0) | (ratio > 1)) or np.any(values["half_light_radius"] <= 0):
            raise ParameterError("galaxies need 0.5 <= sersic_index <= 6, 0 < axis_ratio <= 1 and half_light_radius > 0")
    return _table(columns, **values)


def pixel_areas(det: Detector, subarray: Subarray) -> NDArray[np.float64]:
    """Return each pixel's solid angle, arcsec², from a coarse grid of the distortion (good to 1e-6)."""
    from scipy.interpolate import RectBivariateSpline

    y = np.linspace(0, subarray.ysize - 1, 24) + subarray.ystart - 1
    x = np.linspace(0, subarray.xsize - 1, 24) + subarray.xstart - 1
    grid = det.pixel_area(*np.meshgrid(x, y))
    spline = RectBivariateSpline(y, x, grid)
    return np.asarray(spline(np.arange(subarray.ysize) + subarray.ystart - 1, np.arange(subarray.xsize) + subarray.xstart - 1))


def image_of_scene(scene: Scene, *, pointing: Pointing, det: Detector, subarray: Subarray, band: Bandpass) -> NDArray[np.float64]:
    """Return the flux that falls on each pixel.

    Parameters
    ----------
    scene : Scene
        Sources and background.
    pointing : Pointing
        Where the telescope really looks.
    det, subarray : Detector, Subarray
        The pixels.
    band : Bandpass
        The filter, for the width of the point spread function.

    Returns
    -------
    NDArray[np.float64]
        Jy in each pixel, shape (ny, nx).
    """
    psf = point_spread(band, det)
    parts = [np.zeros((0, 6))]
    if len(scene.stars):
        x, y = _pixels(scene.stars["ra"], scene.stars["dec"], pointing, det, subarray)
        for xi, yi, flux in zip(x, y, scene.stars["flux"], strict=True):
            parts.append(_placed(psf, xi, yi, flux))
    for galaxy in scene.galaxies:
        x, y = _pixels(np.array([galaxy["ra"]]), np.array([galaxy["dec"]]), pointing, det, subarray)
        profile = _galaxy_on_pixels(galaxy, pointing, det, subarray)
        parts.append(_placed(profile.convolved_with(psf), x[0], y[0], galaxy["flux"]))
    image = draw_gaussians(subarray.shape, np.concatenate(parts))
    return image + scene.sky * 1e6 * ARCSEC2 * pixel_areas(det, subarray)


@functools.lru_cache(maxsize=256)
def sersic_blend(index: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a round Sersic profile as a sum of Gaussians.

    Parameters
    ----------
    index : float
        Sersic index, 0.5 to 6.

    Returns
    -------
    weight, width : NDArray[np.float64]
        Shares of the flux, and standard deviations in units of the half-light radius. Fitted to the light in rings out
        to 25 radii (Hogg & Lang 2013 do the same for two indices); the light within the half-light radius is right to 1 %.
    """
    b = gammaincinv(2 * index, 0.5)
    radius = np.geomspace(0.01, 25, 240)
    width = np.geomspace(0.008, 12, 18)
    width[np.argmin(np.abs(width - GAUSSIAN_WIDTH))] = GAUSSIAN_WIDTH  # so that index 0.5 is the Gaussian that it is
    ring = radius**2  # light per unit of log radius
    target = ring * np.exp(-b * (radius ** (1 / index) - 1))
    basis = ring[:, None] * np.exp(-0.5 * (radius[:, None] / width) ** 2) / (2 * np.pi * width**2)
    unit = target.max()
    weight, _ = nnls(basis, target / unit)
    keep = weight > 1e-6 * weight.sum()
    weight = weight[keep] / weight[keep].sum()
    weight.setflags(write=False)
    return weight, width[keep]


def _galaxy_on_pixels(galaxy, pointing: Pointing, det: Detector, subarray: Subarray) -> Blend:  # type: ignore[no-untyped-def]
    """Return a galaxy's profile in pixels, through the distortion at its place."""
    ra, dec, step = float(galaxy["ra"]), float(galaxy["dec"]), 0.5 / 3600
    cosine = np.cos(np.radians(dec))
    x, y = _pixels(
        np.array([ra + step / cosine, ra - step / cosine, ra, ra]), np.array([dec, dec, dec + step, dec - step]), pointing, det, subarray
    )
    # Columns: pixels per arcsec to the east and to the north (the two points of each pair are 1 arcsec apart).
    jacobian = np.array([[x[0] - x[1], x[2] - x[3]], [y[0] - y[1], y[2] - y[3]]])
    angle = np.radians(float(galaxy["position_angle"]))
    axes = np.array([[np.sin(angle), np.cos(angle)], [np.cos(angle), -np.sin(angle)]])  # major, minor in (east, north)
    sizes = float(galaxy["half_light_radius"]) * np.array([1.0, float(galaxy["axis_ratio"])])
    spread = jacobian @ axes.T @ np.diag(sizes)
    shape = spread @ spread.T
    weight, width = sersic_blend(float(galaxy["sersic_index"]))
    covariance = (width**2)[:, None] * np.array([shape[0, 0], shape[1, 1], shape[0, 1]])
    return Blend(weight, covariance)


def _placed(blend: Blend, x: float, y: float, flux: float) -> NDArray[np.float64]:
    place = np.broadcast_to([x, y], (blend.weight.size, 2))
    return np.column_stack([place, flux * blend.weight, blend.covariance])


def _pixels(ra, dec, pointing: Pointing, det: Detector, subarray: Subarray):  # type: ignore[no-untyped-def]
    """Map the sky to 0-based pixels of the subarray."""
    x, y = det.to_pixel(*pointing.from_sky(np.asarray(ra, float), np.asarray(dec, float)))
    return x - (subarray.xstart - 1), y - (subarray.ystart - 1)


def _table(columns: dict[str, str], **values: NDArray[np.float64]) -> Table:
    table = Table({"id": np.arange(1, len(values["ra"]) + 1)})
    for name, unit in columns.items():
        table[name] = np.asarray(values[name], dtype=float)
        if unit:
            table[name].unit = unit
    return table


def _in_unit(column, unit: str) -> NDArray[np.float64]:  # type: ignore[no-untyped-def]
    given = getattr(column, "unit", None)
    if unit and given is not None:
        return np.atleast_1d(np.asarray((np.asarray(column) * given).to_value(unit), dtype=float))
    return np.atleast_1d(np.asarray(column, dtype=float))
