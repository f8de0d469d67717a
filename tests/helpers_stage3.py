"""Small calibrated images of one field, dithered and distorted, for the tests of stage 3."""

from functools import lru_cache
from typing import Any

import numpy as np
from helpers_wcs import ARCSEC_PER_PIXEL, distortion_model, exposure, set_pointing
from stdatamodels.jwst.datamodels import ImageModel

from jwnb import dq
from jwnb.wcs.frames import footprint, polygon
from jwnb.wcs.imaging import build

__all__ = ["DITHERS", "calibrated", "dithered"]

RA, DEC, ROLL = 150.0, 2.2, 37.0
# Offsets in arcsec.
DITHERS = ((0.0, 0.0), (0.31, 0.12), (-0.26, 0.15), (0.08, -0.33), (-0.17, -0.21), (0.22, -0.05))


@lru_cache
def _distortion(size: int) -> Any:
    return distortion_model(size=2048 if size > 500 else 4 * size)


@lru_cache
def _wcs(shape: tuple[int, int], ra: float, dec: float, roll: float) -> Any:
    model = ImageModel(exposure(shape))
    set_pointing(model, ra=ra, dec=dec, roll=roll)
    return build(model, _distortion(max(shape)), None)


def calibrated(
    shape: tuple[int, int] = (96, 112), *, ra: float = RA, dec: float = DEC, roll: float = ROLL, number: int = 1, seed: int = 0
) -> ImageModel:
    """Return a cal image in MJy/sr of a smooth sky with noise, bad pixels and every array that photom leaves behind."""
    rng = np.random.default_rng([seed, number])
    model = ImageModel(exposure(shape))
    model.meta.subarray.xstart = model.meta.subarray.ystart = 1
    set_pointing(model, ra=ra, dec=dec, roll=roll)
    model.meta.wcs = _wcs(shape, ra, dec, roll)
    model.meta.wcsinfo.s_region = polygon(footprint(model.meta.wcs))
    y, x = np.indices(shape)
    sky_ra, sky_dec = model.meta.wcs(x, y, with_bounding_box=False)
    east, north = (sky_ra - RA) * np.cos(np.radians(DEC)) * 3600, (sky_dec - DEC) * 3600
    sky = 1 + 0.5 * np.sin(3 * east) * np.cos(4 * north)
    model.var_poisson = (0.004 * sky).astype(np.float32)
    model.var_rnoise = rng.uniform(0.001, 0.003, shape).astype(np.float32)
    model.var_flat = (1e-4 * sky**2).astype(np.float32)
    variance = model.var_poisson + model.var_rnoise + model.var_flat
    model.err = np.sqrt(variance)
    model.data = (sky + rng.normal(size=shape) * model.err).astype(np.float32)
    flags = np.zeros(shape, np.uint32)
    flags[rng.random(shape) < 0.02] |= dq.PIXEL["DO_NOT_USE"]
    flags[rng.random(shape) < 0.01] |= dq.PIXEL["NON_SCIENCE"]
    flags[rng.random(shape) < 0.05] |= dq.PIXEL["JUMP_DET"]
    model.dq = flags
    bad = (flags & dq.PIXEL["DO_NOT_USE"]) > 0
    for array in (model.data, model.err, model.var_poisson, model.var_rnoise, model.var_flat):
        array[bad] = np.nan
    _set_keywords(model, number)
    return model


def dithered(count: int = 3, shape: tuple[int, int] = (96, 112), **how: Any) -> list[ImageModel]:
    """Return several exposures of the field, each a little off and turned."""
    images = []
    for k in range(count):
        east, north = DITHERS[k % len(DITHERS)]
        where = {"ra": RA + (east + 0.01 * k) / 3600 / np.cos(np.radians(DEC)), "dec": DEC + north / 3600, "roll": ROLL + 0.1 * k}
        images.append(calibrated(shape, number=k + 1, **(where | how)))
    return images


def _set_keywords(model: ImageModel, number: int) -> None:
    meta = model.meta
    meta.filename = f"jw09999001001_02101_{number:05d}_nrca1_cal.fits"
    meta.bunit_data = meta.bunit_err = "MJy/sr"
    meta.exposure.exposure_time = meta.exposure.effective_exposure_time = 500.0 + number
    meta.exposure.measurement_time, meta.exposure.elapsed_exposure_time, meta.exposure.duration = 490.0, 505.0, 510.0
    meta.exposure.start_time, meta.exposure.end_time = 60462.5 + 0.01 * number, 60462.506 + 0.01 * number
    meta.exposure.mid_time = 60462.503 + 0.01 * number
    values = {
        "program_number": "09999", "observation_number": "001", "visit_number": "001", "visit_group": "02", "sequence_id": "1",
        "activity_id": "01", "exposure_number": str(number), "date": "2024-06-01", "time": f"12:{number:02d}:00.000",
    }  # fmt: skip
    for key, value in values.items():
        setattr(meta.observation, key, value)
    meta.photometry.conversion_megajanskys = 2.0
    meta.photometry.pixelarea_arcsecsq = ARCSEC_PER_PIXEL**2
    meta.photometry.pixelarea_steradians = float(ARCSEC_PER_PIXEL**2 / 206264.806247096**2)
    meta.target.catalog_name = "FIELD"
    for name in ("assign_wcs", "flat_field", "photom"):
        setattr(meta.cal_step, name, "COMPLETE")
