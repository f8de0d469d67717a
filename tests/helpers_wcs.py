"""Small WCS inputs: a polynomial distortion like NIRCam's, exposures with pointing keywords, reference models."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.modeling import fitting
from astropy.modeling.models import Mapping, Polynomial2D, Shift
from stdatamodels.jwst.datamodels import CubeModel, DistortionModel, FilteroffsetModel, ImageModel

V2, V3, V3YANGLE = 120.525464, -527.543132, -0.5627898  # about NRCA1_FULL, arcsec and degrees
ARCSEC_PER_PIXEL = 0.0309
ROOT = Path(__file__).resolve().parent.parent


def shared_data(*parts: str) -> Path:
    """Path of a test file that is not part of the project; whoever asks skips where it is absent."""
    return Path(os.environ.get("JWNB_TEST_DATA", ROOT.parent / "shared" / "data"), *parts)


def distortion_model(*, degree: int = 5, bounding_box: Any = None, seed: int = 3, size: int = 2048) -> DistortionModel:
    """A detector to V2V3 polynomial that bends straight lines by some pixels, with its fitted inverse.

    Parameters
    ----------
    degree : int
        Of the polynomial.
    bounding_box : tuple, optional
        ``((x0, x1), (y0, y1))`` bound to the transform.
    seed : int
        Of the coefficients.
    size : int
        Pixels along a side of the detector whose centre is the reference point.
    """
    rng = np.random.default_rng(seed)
    columns, rows = Polynomial2D(degree), Polynomial2D(degree)
    columns.c1_0, columns.c0_1 = ARCSEC_PER_PIXEL, 1e-5
    rows.c1_0, rows.c0_1 = 3e-5, 1.004 * ARCSEC_PER_PIXEL
    for polynomial in (columns, rows):
        for name in polynomial.param_names:
            power = sum(map(int, name[1:].split("_")))
            if power >= 2:
                setattr(polynomial, name, rng.uniform(-1, 1) * {2: 6e-8, 3: 6e-12, 4: 4e-15, 5: 6e-19}[power])
    x, y = np.meshgrid(*2 * [np.linspace(-1.05, 1.05, 60) * size / 2])
    ideal_x, ideal_y = columns(x, y), rows(x, y)
    fit = fitting.LinearLSQFitter()
    back = fit(Polynomial2D(degree), ideal_x, ideal_y, x) & fit(Polynomial2D(degree), ideal_x, ideal_y, y)
    centre, angle = (size - 1) / 2, np.radians(V3YANGLE)
    turn = Polynomial2D(1, c1_0=-np.cos(angle), c0_1=np.sin(angle)) & Polynomial2D(1, c1_0=np.sin(angle), c0_1=np.cos(angle))
    split = Mapping((0, 1, 0, 1))
    forward = Shift(-centre) & Shift(-centre) | split | columns & rows | split.copy() | turn | Shift(V2) & Shift(V3)
    forward.inverse = Shift(-V2) & Shift(-V3) | split.copy() | turn.copy() | split.copy() | back | Shift(centre) & Shift(centre)
    if bounding_box is not None:
        from astropy.modeling import bind_bounding_box

        bind_bounding_box(forward, bounding_box, order="F")
    return as_distortion(forward)


def as_distortion(forward: Any) -> DistortionModel:
    """Wrap a detector to V2V3 transform as a DISTORTION reference."""
    return reference_for("NIRCAM", DistortionModel(model=forward, input_units=u.pix, output_units=u.arcsec), "distortion")


def filteroffset_model(rows: list[dict[str, Any]]) -> FilteroffsetModel:
    """A FILTEROFFSET reference with the given rows."""
    model = FilteroffsetModel()
    model.filters = rows
    return reference_for("NIRCAM", model, "filteroffset")


def reference_for(instrument: str, model: Any, reftype: str) -> Any:
    """Give a reference model the keywords that it must have, for one instrument."""
    meta = model.meta
    meta.telescope, meta.reftype, meta.title = "JWST", reftype, reftype
    meta.instrument.name, meta.instrument.detector = instrument, INSTRUMENTS[instrument]["detector"]
    meta.instrument.channel, meta.instrument.module = ("SHORT", "A") if instrument == "NIRCAM" else (None, None)
    meta.instrument.p_pupil = "CLEAR|"
    meta.exposure.type, meta.exposure.p_exptype = "NRC_IMAGE", "NRC_IMAGE|"
    meta.description, meta.author, meta.pedigree, meta.useafter = "made for a test", "test", "DUMMY", "2015-01-01T00:00:00"
    return model


INSTRUMENTS = {
    "NIRCAM": {"detector": "NRCA1", "channel": "SHORT", "module": "A", "filter": "F200W", "pupil": "CLEAR"},
    "NIRISS": {"detector": "NIS", "filter": "CLEAR", "pupil": "F150W"},
    "FGS": {"detector": "GUIDER1"},
}


def exposure(
    shape: tuple[int, ...] = (2048, 2048),
    *,
    exp_type: str = "NRC_IMAGE",
    corner: tuple[int, int] = (1, 1),
    subarray: str = "FULL",
    ra: float = 150.0,
    dec: float = 2.2,
    roll: float = 37.0,
    va_scale: float | None = 1.00003,
) -> ImageModel | CubeModel:
    """A rate or rateints model of an imaging exposure with all the pointing keywords.

    Parameters
    ----------
    shape : tuple of int
        Of the data; three axes give a CubeModel.
    exp_type : str
        EXP_TYPE; decides the instrument.
    corner : tuple of int
        SUBSTRT1, SUBSTRT2 (1-based).
    subarray : str
        SUBARRAY.
    ra, dec, roll : float
        Degrees.
    va_scale : float, optional
        VA_SCALE.
    """
    model = (CubeModel if len(shape) == 3 else ImageModel)(shape)
    name = {"NRC": "NIRCAM", "NIS": "NIRISS", "FGS": "FGS"}[exp_type[:3]]
    model.meta.telescope, model.meta.instrument.name = "JWST", name
    for key, value in INSTRUMENTS[name].items():
        setattr(model.meta.instrument, key, value)
    model.meta.exposure.type = exp_type
    area = model.meta.subarray
    area.name, (area.xstart, area.ystart), area.ysize, area.xsize = subarray, corner, *shape[-2:]
    area.fastaxis, area.slowaxis = -1, 2
    model.meta.observation.date, model.meta.observation.time = "2024-06-01", "12:00:00.000"
    model.meta.exposure.mid_time = 60462.5
    model.meta.filename = "jw09999001001_02101_00001_nrca1_rate.fits"
    model.meta.velocity_aberration.scale_factor = va_scale
    set_pointing(model, ra=ra, dec=dec, roll=roll)
    return model


def set_pointing(model: Any, *, ra: float, dec: float, roll: float) -> None:
    """Write the keywords that assign_wcs starts from."""
    info = model.meta.wcsinfo
    info.ra_ref, info.dec_ref, info.roll_ref = ra, dec, roll
    info.v2_ref, info.v3_ref, info.vparity, info.v3yangle = V2, V3, -1, V3YANGLE
    info.wcsaxes, info.ctype1, info.ctype2, info.cunit1, info.cunit2 = 2, "RA---TAN", "DEC--TAN", "deg", "deg"
    info.crpix1, info.crpix2 = (model.meta.subarray.xsize + 1) / 2, (model.meta.subarray.ysize + 1) / 2
    info.crval1, info.crval2 = ra, dec
    info.cdelt1 = info.cdelt2 = ARCSEC_PER_PIXEL / 3600
    info.pc1_1, info.pc1_2, info.pc2_1, info.pc2_2 = -1.0, 0.0, 0.0, 1.0
    info.velosys = 0.0
