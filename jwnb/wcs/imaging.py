"""The WCS of imaging exposures: detector to V2V3 by the distortion reference, then to the sky by the pointing."""

from collections.abc import Sequence
from typing import Any

from astropy.modeling import Model, bind_bounding_box
from astropy.modeling.models import Shift
from gwcs.wcs import WCS
from stdatamodels.jwst.datamodels import DistortionModel, FilteroffsetModel, JwstDataModel

from jwnb.errors import MissingReferenceError
from jwnb.step import note
from jwnb.wcs.frames import Box, aberration, image_box, imaging_frames, pointing_of, subarray_shift, telescope_to_sky

__all__ = ["build", "filter_shift"]


def build(model: JwstDataModel, distortion: DistortionModel, filteroffset: FilteroffsetModel | None) -> WCS:
    """Build the WCS of a NIRCam, NIRISS or FGS image.

    Parameters
    ----------
    model : ImageModel or CubeModel
        ``meta.subarray`` says which part of the detector it is; the pixel positions of the WCS are 0-based in ``data``.
    distortion : DistortionModel
        Detector pixels (0-based, full frame) to V2V3 in arcsec. Not changed.
    filteroffset : FilteroffsetModel or None
        Shifts in pixels by filter and pupil.

    Returns
    -------
    gwcs.WCS
        Frames detector, v2v3, v2v3vacorr, world, with the image as its bounding box (for a full-frame image where the
        distortion has a bounding box of its own, what they have in common).

    Raises
    ------
    InputError
        A pointing keyword is missing.
    MissingReferenceError
        The distortion file holds no transform, or the offsets have two rows for this filter.
    """
    pointing = pointing_of(model)
    if not isinstance(distortion.model, Model):
        raise MissingReferenceError("the distortion reference holds no transform (its tree has no usable 'model').")
    to_v2v3 = distortion.model.copy()
    box = image_box(model.data.shape)
    own = _own_box(to_v2v3)
    if filteroffset is not None and (offset := filter_shift(model, filteroffset)) is not None:
        to_v2v3 = offset | to_v2v3
    if (corner := subarray_shift(model)) is not None:
        to_v2v3 = corner | to_v2v3
    elif own is not None:
        box = _overlap(own, box)
    # gWCS wants x first: order="F".
    bind_bounding_box(to_v2v3, box, order="F")
    frames = imaging_frames()
    return WCS(
        [
            (frames.detector, to_v2v3),
            (frames.v2v3, aberration(pointing)),
            (frames.v2v3vacorr, telescope_to_sky(pointing)),
            (frames.world, None),
        ]
    )


def filter_shift(model: JwstDataModel, filteroffset: FilteroffsetModel) -> "Model | None":
    """Return the pixel shift of the exposure's filter and pupil, or None where the reference has no such row.

    Parameters
    ----------
    model : JwstDataModel
        The exposure.
    filteroffset : FilteroffsetModel
        Rows with ``filter``, ``pupil``, ``column_offset``, ``row_offset``.

    Returns
    -------
    Model or None

    Raises
    ------
    MissingReferenceError
        More than one row fits.
    """
    wheel = (model.meta.instrument.filter, model.meta.instrument.pupil)
    rows = [row for row in _rows(filteroffset) if (row.get("filter"), row.get("pupil")) == wheel]
    if len(rows) > 1:
        raise MissingReferenceError(
            f"the filteroffset reference has {len(rows)} rows for FILTER={wheel[0]}, PUPIL={wheel[1]}; one was expected."
        )
    if not rows:
        note(f"no filter offset for FILTER={wheel[0]}, PUPIL={wheel[1]}: none applied")
        return None
    column, line = rows[0].get("column_offset", "N/A"), rows[0].get("row_offset", "N/A")
    return None if "N/A" in (column, line) else Shift(column) & Shift(line)


def _rows(filteroffset: FilteroffsetModel) -> Sequence[Any]:
    return filteroffset.instance.get("filters") or []


def _own_box(transform: Model) -> Box | None:
    try:
        x, y = transform.bounding_box.bounding_box(order="F")
    except NotImplementedError:  # how astropy says that there is none
        return None
    return (float(x[0]), float(x[1])), (float(y[0]), float(y[1]))


def _overlap(a: Box, b: Box) -> Box:
    (ax, ay), (bx, by) = a, b
    return (max(ax[0], bx[0]), min(ax[1], bx[1])), (max(ay[0], by[0]), min(ay[1], by[1]))
