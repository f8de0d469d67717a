"""Coordinate frames and the transforms from the telescope's V2V3 plane to the sky, common to all instruments.

The names of frames and transforms are those of today's products, so that any tool for these finds its way.
"""

from dataclasses import dataclass
from typing import Any

import gwcs
import numpy as np
import numpy.typing as npt
from astropy import coordinates, units
from astropy.modeling import Model
from astropy.modeling.models import Identity, RotationSequence3D, Scale, Shift
from gwcs import coordinate_frames
from gwcs.geometry import CartesianToSpherical, SphericalToCartesian
from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb.errors import InputError
from jwnb.models import keyword_of

__all__ = [
    "POINTING", "Box", "ImagingFrames", "Pointing", "aberration", "footprint", "image_box", "imaging_frames", "pointing_of",
    "polygon", "subarray_shift", "telescope_to_sky",
]  # fmt: skip

Box = tuple[tuple[float, float], tuple[float, float]]

# What the rotation to the sky cannot do without.
POINTING = tuple(f"meta.wcsinfo.{name}" for name in ("ra_ref", "dec_ref", "roll_ref", "v2_ref", "v3_ref"))


@dataclass(frozen=True)
class Pointing:
    """Where the telescope looks: the sky position and roll of a reference point in V2V3.

    Attributes
    ----------
    ra, dec : float
        Sky position of the reference point in degrees (RA_REF, DEC_REF).
    roll : float
        Position angle of the V3 axis there, north through east, in degrees (ROLL_REF).
    v2, v3 : float
        The reference point in arcsec (V2_REF, V3_REF).
    aberration_scale : float or None
        Apparent over true plate scale (VA_SCALE).
    """

    ra: float
    dec: float
    roll: float
    v2: float
    v3: float
    aberration_scale: float | None = None


@dataclass(frozen=True)
class ImagingFrames:
    """The four frames of an imaging WCS in order."""

    detector: coordinate_frames.Frame2D
    v2v3: coordinate_frames.Frame2D
    v2v3vacorr: coordinate_frames.Frame2D
    world: coordinate_frames.CelestialFrame


def pointing_of(model: JwstDataModel) -> Pointing:
    """Read the pointing of an exposure.

    Parameters
    ----------
    model : JwstDataModel
        Any product with WCS information.

    Returns
    -------
    Pointing

    Raises
    ------
    InputError
        A keyword is missing or not finite (its name is given), or VA_SCALE is not positive.
    """
    values = {path: getattr(model.meta.wcsinfo, path.rsplit(".", 1)[1]) for path in POINTING}
    bad = [keyword_of(model, path) for path, value in values.items() if value is None or not np.isfinite(value)]
    if bad:
        raise InputError(
            f"the pointing keyword{'s' * (len(bad) > 1)} {', '.join(bad)} of {model.meta.filename or 'the model'} cannot be used: "
            "missing or not a number. Download the product again, or set it on the model (model.meta.wcsinfo…)."
        )
    scale = model.meta.velocity_aberration.scale_factor
    if scale is not None and not scale > 0:
        raise InputError(f"VA_SCALE is {scale}; the plate scale that it stands for must be positive (about 1).")
    ra, dec, roll, v2, v3 = (float(value) for value in values.values())
    return Pointing(ra, dec, roll, v2, v3, aberration_scale=scale)


def imaging_frames() -> ImagingFrames:
    """Return the frames detector (pixels), v2v3 and v2v3vacorr (arcsec), and world (ICRS, degrees)."""
    telescope = {"axes_order": (0, 1), "axes_names": ("v2", "v3"), "unit": (units.arcsec, units.arcsec)}
    return ImagingFrames(
        coordinate_frames.Frame2D(name="detector", axes_order=(0, 1), unit=(units.pix, units.pix)),
        coordinate_frames.Frame2D(name="v2v3", **telescope),
        coordinate_frames.Frame2D(name="v2v3vacorr", **telescope),
        coordinate_frames.CelestialFrame(name="world", reference_frame=coordinates.ICRS()),
    )


def telescope_to_sky(pointing: Pointing) -> Model:
    """Return the rotation from V2V3 (arcsec) to right ascension and declination (degrees).

    Parameters
    ----------
    pointing : Pointing
        Of the exposure.

    Returns
    -------
    Model
        ``v23tosky``: V2 is taken from -180 to 180 degrees, right ascension comes out from 0 to 360.
    """
    angles = (pointing.v2 / 3600, -pointing.v3 / 3600, pointing.roll, pointing.dec, -pointing.ra)
    rotation = RotationSequence3D(np.array(angles), axes_order="zyxyz")
    to_degrees = Scale(1 / 3600) & Scale(1 / 3600)
    sky = to_degrees | SphericalToCartesian(wrap_lon_at=180) | rotation | CartesianToSpherical(wrap_lon_at=360)
    sky.name = "v23tosky"
    return sky


def aberration(pointing: Pointing) -> Model:
    """Return the correction of V2V3 for differential velocity aberration.

    Parameters
    ----------
    pointing : Pointing
        Of the exposure. The reference point stays where it is; distances from it are multiplied by ``aberration_scale``.

    Returns
    -------
    Model
        The identity where the scale is 1 or unknown.
    """
    scale = pointing.aberration_scale
    if scale is None or scale == 1:
        return Identity(2)
    stretch = Scale(scale, name="dva_scale_v2") & Scale(scale, name="dva_scale_v3")
    if pointing.v2 == 0 and pointing.v3 == 0:
        return stretch
    rest = [(1 - scale) * place for place in (pointing.v2, pointing.v3)]
    correction = stretch | Shift(rest[0], name="dva_v2_shift") & Shift(rest[1], name="dva_v3_shift")
    correction.name = "DVA_Correction"
    return correction


def subarray_shift(model: JwstDataModel) -> "Model | None":
    """Return the shift from the pixels of a subarray (or cutout) to those of the full detector, or None where there is none."""
    corner = [model.meta.subarray.xstart, model.meta.subarray.ystart]
    shifts = [Identity(1) if start in (None, 1) else Shift(start - 1) for start in corner]
    if all(isinstance(shift, Identity) for shift in shifts):
        return None
    return shifts[0] & shifts[1]


def image_box(shape: tuple[int, ...]) -> Box:
    """Return the bounding box ((x0, x1), (y0, y1)) to the outer edges of an image whose last axes are y and x."""
    return (-0.5, shape[-1] - 0.5), (-0.5, shape[-2] - 0.5)


def shifted(wcs: Any, x0: int, y0: int, shape: tuple[int, int]) -> gwcs.WCS:
    """Return the WCS of a piece of an image: the pixels keep the sky positions that they had.

    Parameters
    ----------
    wcs : gwcs.WCS
        Of the whole image; it is not changed.
    x0, y0 : int
        Column and row of the whole at which the piece begins.
    shape : (int, int)
        Rows and columns of the piece.
    """
    first, *rest = wcs.pipeline
    moved = (Shift(float(x0)) & Shift(float(y0))) | first.transform
    # The box of the whole belongs to the whole's transform, and its pixels are numbered otherwise.
    piece = gwcs.WCS([(first.frame, moved), *((step.frame, step.transform) for step in rest)])
    piece.bounding_box = _moved_box(wcs.bounding_box, x0, y0, shape)
    return piece


def _moved_box(box: Any, x0: int, y0: int, shape: tuple[int, int]) -> Box:
    """Return the part of a bounding box that lies in a piece, in the piece's pixels."""
    (left, right), (low, high) = image_box(shape)
    if box is None:
        return (left, right), (low, high)
    (x_low, x_high), (y_low, y_high) = box.bounding_box(order="F")
    return (max(left, x_low - x0), min(right, x_high - x0)), (max(low, y_low - y0), min(high, y_high - y0))


def footprint(wcs: Any) -> npt.NDArray[np.float64]:
    """Return the sky positions of the corners of a WCS's bounding box.

    Parameters
    ----------
    wcs : gwcs.WCS
        With right ascension and declination first among its outputs.

    Returns
    -------
    (4, 2) float64
        Right ascension (0 to 360) and declination, in degrees, of the outer corners lower left, upper left, upper right and lower right.
    """
    (x0, x1), (y0, y1) = wcs.bounding_box.bounding_box(order="F")
    ra, dec, *_ = wcs(np.array([x0, x0, x1, x1], dtype=float), np.array([y0, y1, y1, y0], dtype=float))
    return np.column_stack([np.mod(ra, 360), dec])


def polygon(corners: npt.NDArray[np.float64]) -> str | None:
    """Return corners as the value of S_REGION, or None where one is not finite."""
    if not np.isfinite(corners).all():
        return None
    return "POLYGON ICRS  " + " ".join(f"{value:.9f}" for value in corners.ravel())
