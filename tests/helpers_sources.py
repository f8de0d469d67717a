"""A small mosaic with stars, galaxies and blends of known flux, and the references for its catalogue."""

from functools import lru_cache
from typing import Any

import numpy as np
from astropy.table import Table
from helpers_stage3 import calibrated
from stdatamodels.jwst.datamodels import ABVegaOffsetModel, FgsImgApcorrModel, ImageModel, MirImgApcorrModel, NrcImgApcorrModel

__all__ = ["SIGMA", "apcorr", "enclosed", "mosaic", "paint", "vega"]

SIGMA = 1.3  # of a star, pixels
RADII = {30: 1.1, 50: 1.531, 70: 2.02, 80: 2.333}


def paint(shape: tuple[int, int], x: Any, y: Any, flux: Any, *, wide: Any = SIGMA, ratio: Any = 1.0, angle: Any = 0.0) -> np.ndarray:
    """Return an image of Gaussians: of standard deviation `wide` along an axis at `angle` (radians), and `ratio` times that across."""
    rows, columns = np.indices(shape)
    image = np.zeros(shape)
    for a, b, f, w, r, t in np.broadcast(x, y, flux, wide, ratio, angle):
        j, i = (slice(max(0, int(c - 9 * w)), int(c + 9 * w) + 2) for c in (b, a))
        dx, dy = columns[j, i] - a, rows[j, i] - b
        along, across = dx * np.cos(t) + dy * np.sin(t), -dx * np.sin(t) + dy * np.cos(t)
        image[j, i] += f / (2 * np.pi * w**2 * r) * np.exp(-0.5 * (along**2 + (across / r) ** 2) / w**2)
    return image


def mosaic(**how: Any) -> ImageModel:
    """Return a copy of what `made_mosaic` makes."""
    return made_mosaic(**how).copy()


@lru_cache
def made_mosaic(
    shape: tuple[int, int] = (230, 260), *, seed: int = 0, noise: float = 0.02, sky: float = 0.4, empty: bool = False
) -> ImageModel:
    """Return an i2d image in MJy/sr: forty stars, six galaxies, three close pairs, a sloping sky, a border without data, a hole."""
    rng = np.random.default_rng(seed)
    model = calibrated(shape, seed=seed)
    ny, nx = shape
    image = np.zeros(shape)
    if not empty:
        gx, gy = (v.ravel()[:46] for v in np.meshgrid(np.arange(7) * 34 + 25.0, np.arange(7) * 30 + 22.0))
        gx, gy = gx + rng.uniform(-5, 5, 46), gy + rng.uniform(-5, 5, 46)
        flux = 10 ** rng.uniform(0.3, 2.5, 46)
        flux[:3] = 80, 120, 200
        image += paint(shape, gx[:40], gy[:40], flux[:40])
        image += paint(shape, gx[40:], gy[40:], flux[40:] + 30, wide=3.0, ratio=0.5, angle=rng.uniform(0, 3, 6))
        image += paint(shape, gx[:3] + 9, gy[:3] + 3, flux[:3] * 0.7)
    rows, columns = np.indices(shape)
    image += sky + 0.1 * columns / nx + 0.05 * rows / ny
    err = np.sqrt(noise**2 + 1e-4 * np.abs(image))
    model.data, model.err = (image + err * rng.normal(size=shape)).astype(np.float32), err.astype(np.float32)
    model.wht = np.ones(shape, np.float32)
    for part in (np.s_[:4], np.s_[:, -5:], np.s_[100:104, 50:53]):
        model.data[part] = model.err[part] = np.nan
        model.wht[part] = 0
    model.dq = None
    model.meta.filename = "field_i2d.fits"
    model.meta.wcsinfo.crpix1, model.meta.wcsinfo.crpix2 = nx / 2, ny / 2
    model.meta.resample.pixel_scale_ratio, model.meta.resample.pixfrac, model.meta.resample.kernel = 1.0, 1.0, "square"
    model.meta.cal_step.resample = "COMPLETE"
    return model


def enclosed(radius: float) -> float:
    """Part of a star's light in a circle, the mean of its light in the ring for the sky taken off."""
    return float(1 - np.exp(-0.5 * (radius / SIGMA) ** 2))


def apcorr(instrument: str = "NIRCAM", *, ratio: float = 1.0, **changed: Any) -> Any:
    """Return the aperture corrections of `mosaic`'s stars, radii in pixels that are `ratio` times the mosaic's larger."""
    rows = []
    for filter_ in ("F150W", "F200W"):
        for percent, radius in RADII.items():
            row = {
                "filter": filter_, "pupil": "CLEAR", "subarray": "FULL", "eefraction": percent / 100, "radius": radius * ratio,
                "apcorr": 1 / enclosed(radius), "skyin": 8.0 * ratio, "skyout": 11.0 * ratio,
            }  # fmt: skip
            rows.append(row | changed)
    kind = {"NIRCAM": NrcImgApcorrModel, "MIRI": MirImgApcorrModel, "FGS": FgsImgApcorrModel}[instrument]
    model = kind()
    dtype = model.get_dtype("apcorr_table")
    rows = rows if instrument != "FGS" else rows[: len(RADII)]
    model.apcorr_table = np.array([tuple(row[name] for name in dtype.names) for row in rows], dtype=dtype)
    return _described(model, "apcorr", instrument)


def vega(instrument: str = "NIRCAM", *, value: float = 1.68) -> Any:
    """Return AB minus Vega magnitudes."""
    columns = {"NIRCAM": {"filter": ["F150W", "F200W"], "pupil": ["CLEAR", "CLEAR"]}, "MIRI": {"filter": ["F150W", "F200W"]}}
    table = Table(columns.get(instrument, {"detector": ["GUIDER1", "GUIDER2"]}))
    table["abvega_offset"] = np.array([1.2, value], np.float32)
    model = ABVegaOffsetModel()
    model.abvega_offset = table
    return _described(model, "abvegaoffset", instrument)


def _described(model: Any, reftype: str, instrument: str) -> Any:
    meta = model.meta
    meta.reftype, meta.author, meta.pedigree, meta.useafter, meta.description = reftype, "test", "DUMMY", "2015-01-01T00:00:00", "test"
    meta.instrument.name, meta.telescope = instrument, "JWST"
    return model
