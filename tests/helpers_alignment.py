"""Small images of star fields whose pointing keywords are wrong by a known amount, for the tests of alignment."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import gwcs
import numpy as np
from astropy.modeling.models import Scale, Shift
from astropy.table import Table
from helpers_wcs import distortion_model, exposure, set_pointing
from stdatamodels.jwst.datamodels import ImageModel
from tweakwcs.correctors import JWSTWCSCorrector

from jwnb.stage3.alignment import StarList
from jwnb.wcs.frames import footprint, image_box, polygon
from jwnb.wcs.imaging import build

__all__ = ["DEC", "DITHERS", "RA", "Sky", "observe", "off_truth", "star_field", "star_list", "visits"]

RA, DEC, ROLL = 150.0, 2.2, 37.0
BINNED = 5  # detector pixels along a side of one of an image: a few hundred pixels see a minute of arc
SHAPE = (400, 400)
FWHM = 2.5
# Offsets in arcsec, errors of the pointing in arcsec east and north, and of the roll in degrees.
DITHERS = ((0.0, 0.0), (3.1, 1.2), (-2.6, 1.5), (0.8, -3.3))
ERRORS = ((0.0, 0.0, 0.0), (0.45, -0.2, 0.05), (-0.3, 0.35, -0.04), (0.1, 0.5, 0.03))


@dataclass(frozen=True)
class Sky:
    """Stars: degrees, and counts in the image."""

    ra: np.ndarray
    dec: np.ndarray
    flux: np.ndarray

    def table(self, *, east: float = 0.0, north: float = 0.0, every: int = 1) -> Table:
        """A catalogue of them, displaced by some arcsec."""
        dec = self.dec + north / 3600
        return Table({"RA": self.ra + east / 3600 / np.cos(np.radians(dec)), "DEC": dec})[::every]


def star_field(count: int = 220, *, seed: int = 4, width: float = 90.0, apart: float = 2.0, ra: float = RA, dec: float = DEC) -> Sky:
    """Return stars of the same brightness within a factor of some, none closer to another than `apart` (arcsec)."""
    rng = np.random.default_rng(seed)
    places = np.empty((0, 2))
    while len(places) < count:
        new = rng.uniform(-width / 2, width / 2, 2)
        if not (np.hypot(*(places - new).T) <= apart).any():
            places = np.vstack([places, new])
    east, north = places.T / 3600
    return Sky(ra + east / np.cos(np.radians(dec)), dec + north, rng.uniform(800, 8000, count))


@lru_cache
def _distortion() -> Any:
    return distortion_model()


@lru_cache
def _wcs(ra: float, dec: float, roll: float, corner: tuple[int, int], shape: tuple[int, int]) -> Any:
    model = ImageModel(exposure((2048, 2048)))
    set_pointing(model, ra=ra, dec=dec, roll=roll)
    first, *rest = build(model, _distortion(), None).pipeline
    binned = Scale(float(BINNED)) & Scale(float(BINNED)) | Shift(BINNED / 2 - 0.5 + corner[0]) & Shift(BINNED / 2 - 0.5 + corner[1])
    wcs = gwcs.WCS([(first.frame, binned | first.transform), *((s.frame, s.transform) for s in rest)])
    wcs.bounding_box = image_box(shape)
    return wcs


def observe(
    sky: Sky,
    *,
    number: int = 1,
    dither: tuple[float, float] = (0.0, 0.0),
    error: tuple[float, float, float] = (0.0, 0.0, 0.0),
    detector: int = 1,
    shape: tuple[int, int] = SHAPE,
    noise: float = 4.0,
    seed: int = 0,
) -> tuple[ImageModel, Any]:
    """Return an image and its true WCS. The second detector lies beside the first."""
    rng = np.random.default_rng([seed, number, detector])
    model, truth = _pointed(dither, error, detector, shape)
    data = rng.normal(10, noise, shape)
    x, y = truth.invert(sky.ra, sky.dec, with_bounding_box=False)
    for star, (column, row) in enumerate(zip(x, y, strict=True)):
        if -5 < column < shape[1] + 5 and -5 < row < shape[0] + 5:
            _add(data, column, row, sky.flux[star])
    model.data, model.err = data.astype(np.float32), np.full(shape, noise, np.float32)
    model.dq = np.zeros(shape, np.uint32)
    _set_keywords(model, number, detector)
    return model, truth


def star_list(
    sky: Sky,
    *,
    index: int,
    dither: tuple[float, float],
    error: tuple[float, float, float],
    detector: int = 1,
    shape: tuple[int, int] = SHAPE,
) -> tuple[StarList, Any]:
    """Return the stars of an image where they truly are, with a WCS that is off, and the true WCS."""
    model, truth = _pointed(dither, error, detector, shape)
    x, y = truth.invert(sky.ra, sky.dec, with_bounding_box=False)
    on = np.flatnonzero((x > 0) & (x < shape[1] - 1) & (y > 0) & (y < shape[0] - 1))
    info = model.meta.wcsinfo
    corrector = JWSTWCSCorrector(model.meta.wcs, {"roll_ref": info.roll_ref, "v2_ref": info.v2_ref, "v3_ref": info.v3_ref})
    return StarList(index, corrector, x[on], y[on], None, on), truth


def visits(sky: Sky, count: int = 4, **how: Any) -> tuple[list[ImageModel], list[Any]]:
    """Return dithered exposures with errors of pointing, and their true WCS; the first has no error."""
    made = [observe(sky, number=k + 1, dither=DITHERS[k], error=ERRORS[k], **how) for k in range(count)]
    return [model for model, _ in made], [truth for _, truth in made]


def off_truth(model: Any, truth: Any, *, also: Any = None) -> np.ndarray:
    """Return how far the corners and the middle of an image are off, in arcsec (5, 2), or how much more than those of `also`."""
    (x0, x1), (y0, y1) = image_box(model.data.shape)
    x, y = np.array([x0, x0, x1, x1, (x0 + x1) / 2]), np.array([y0, y1, y1, y0, (y0 + y1) / 2])
    ra, dec = model.meta.wcs(x, y, with_bounding_box=False)
    true_ra, true_dec = truth(x, y, with_bounding_box=False)
    off = np.column_stack([(ra - true_ra) * np.cos(np.radians(true_dec)), dec - true_dec]) * 3600
    return off if also is None else off - off_truth(*also)


def _pointed(
    dither: tuple[float, float], error: tuple[float, float, float], detector: int, shape: tuple[int, int]
) -> tuple[ImageModel, Any]:
    """Return an image without data, whose pointing is wrong, and its true WCS."""
    corner = (0, 0) if detector == 1 else (2200, 30)
    nominal = (RA + dither[0] / 3600 / np.cos(np.radians(DEC)), DEC + dither[1] / 3600, ROLL)
    pointed = (nominal[0] + error[0] / 3600 / np.cos(np.radians(DEC)), nominal[1] + error[1] / 3600, ROLL + error[2])
    model = ImageModel(exposure(shape))
    model.meta.wcs = _wcs(*nominal, corner, shape)
    set_pointing(model, ra=nominal[0], dec=nominal[1], roll=nominal[2])
    if detector != 1:
        _own_pointing(model, shape)
    model.meta.wcsinfo.s_region = polygon(footprint(model.meta.wcs))
    return model, _wcs(*pointed, corner, shape)


def _add(data: np.ndarray, column: float, row: float, flux: float) -> None:
    sigma = FWHM / 2.3548
    rows, columns = (np.arange(max(0, int(c) - 8), min(n, int(c) + 9)) for c, n in ((row, data.shape[0]), (column, data.shape[1])))
    if len(rows) and len(columns):
        shape = np.exp(-((rows[:, None] - row) ** 2 + (columns - column) ** 2) / 2 / sigma**2)
        data[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += flux * shape / (2 * np.pi * sigma**2)


def _own_pointing(model: ImageModel, shape: tuple[int, int]) -> None:
    """Give a detector beside the first the keywords of its own middle."""
    wcs, info = model.meta.wcs, model.meta.wcsinfo
    middle = np.array(shape[::-1]) / 2 - 0.5
    v2, v3 = (float(v) for v in wcs.transform("detector", "v2v3vacorr", *middle))
    to_sky = wcs.get_transform("v2v3vacorr", "world")
    (ra, above), (dec, higher) = to_sky(np.array([v2, v2]), np.array([v3, v3 + 1.0]))
    info.v2_ref, info.v3_ref, info.ra_ref, info.dec_ref = v2, v3, float(ra), float(dec)
    info.roll_ref = float(np.degrees(np.arctan2((above - ra) * np.cos(np.radians(dec)), higher - dec)))


def _set_keywords(model: ImageModel, number: int, detector: int) -> None:
    meta = model.meta
    meta.filename = f"jw09999001001_02101_{number:05d}_nrca{detector}_cal.fits"
    meta.instrument.detector = f"NRCA{detector}"
    values = {
        "program_number": "09999", "observation_number": "001", "visit_number": "001", "visit_group": "02", "sequence_id": "1",
        "activity_id": "01", "exposure_number": str(number), "date": "2024-06-01", "time": f"12:{number:02d}:00.000",
    }  # fmt: skip
    for key, value in values.items():
        setattr(meta.observation, key, value)
