"""What is asked of exposures before they are made into one image: one filter, one place, an output that fits into memory."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from stdatamodels.jwst.datamodels import ImageModel, JwstDataModel

from jwnb.errors import InputError, WrongExposureError
from jwnb.models import Exposures
from jwnb.stage3.output_grid import outlines
from jwnb.stage3.resample import planned_output, region_of
from jwnb.wcs.frames import footprint

__all__ = ["check_calibrated", "check_field", "filters_of", "footprint_sketch"]

Array = npt.NDArray[Any]

_MARKS = "123456789abcdefghijklmnopqrstuvwxyz"
_WIDTH, _HEIGHT = 64, 16  # characters; one is about twice as high as it is wide
_ALONE = 3.0  # an image this many times farther from the middle than half of them is named


def check_calibrated(images: Exposures) -> None:
    """Raise where something is not a calibrated image with a place on the sky, or not of the others' kind; nothing but headers is read.

    Parameters
    ----------
    images : Exposures
        What is to be combined.

    Raises
    ------
    InputError
        An image has no WCS, or S_REGION lies elsewhere; it is a mosaic itself; instruments or units differ.
    WrongExposureError
        Something is not a 2-D image.
    """
    instruments, units = [], []
    for k in range(len(images)):
        model, name = images.take(k), images.names[k] or f"image {k + 1}"
        if not isinstance(model, ImageModel):
            raise WrongExposureError(f"image3 takes 2-D images; {name} is a {type(model).__name__}.")
        if model.meta.cal_step.resample == "COMPLETE":
            raise InputError(f"{name} has been through resample already; image3 starts from cal images.")
        if not model.meta.hasattr("wcs") or model.meta.wcs is None:
            raise InputError(f"{name} has no WCS: run assign_wcs first (image2 does).")
        _check_region(model, name)
        instruments.append(str(model.meta.instrument.name))
        units.append(model.meta.bunit_data or "no unit")
    _check_alike("of different instruments", instruments, images, "Combine one at a time.")
    _check_alike("in different units", units, images, "Calibrate all of them to the same product (image2 makes cal images, in MJy/sr).")


def check_field(images: Exposures, resample_options: Mapping[str, Any], *, mix_filters: bool) -> None:
    """Raise `InputError` where images cannot, or should not, be combined; nothing but headers is read.

    Parameters
    ----------
    images : Exposures
        Calibrated images.
    resample_options : mapping
        The options that the mosaic will be made with.
    mix_filters : bool
        Take images through different filters.

    Raises
    ------
    InputError
        Different filters; an output larger than the memory allows. The message has a sketch of where the images lie.
    """
    if not mix_filters:
        remedy = "Combine one filter at a time, or give mix_filters=True (--mix-filters)."
        _check_alike("through different filters", filters_of(images), images, remedy)
    try:
        planned_output(images, **resample_options)
    except InputError as error:
        if len(images) == 1:
            raise
        raise InputError(f"{error}\n{footprint_sketch([region_of(images, k) for k in range(len(images))], images.names)}") from None


def filters_of(images: Exposures) -> list[str]:
    """Return the filter of each image, with what is in the pupil wheel where that counts."""
    seen = []
    for k in range(len(images)):
        instrument = images.take(k).meta.instrument
        seen.append("/".join(str(part) for part in (instrument.filter, instrument.pupil) if part not in (None, "CLEAR")) or "no filter")
    return seen


def _check_alike(what: str, seen: list[str], images: Exposures, remedy: str) -> None:
    """Raise `InputError` where images differ in something, naming one of those that are fewest."""
    counts = Counter(seen)
    if len(counts) > 1:
        rarest = min(counts, key=lambda which: counts[which])
        found = ", ".join(f"{which} ({n})" for which, n in counts.most_common())
        raise InputError(f"the images are {what}: {found}; {rarest} is that of {images.names[seen.index(rarest)]}. {remedy}")


def _check_region(model: JwstDataModel, name: str) -> None:
    """Raise `InputError` where S_REGION, by which the output is laid out, and the WCS put an image on places that do not overlap."""
    region, corners = model.meta.wcsinfo.s_region, footprint(model.meta.wcs)
    if not region or not np.isfinite(corners).all():
        return
    stated = np.concatenate(outlines(region))
    middles = _middle(stated), _middle(corners)
    reach = [np.degrees(np.arccos(np.clip(_unit(c) @ m, -1, 1)).max()) for c, m in zip((stated, corners), middles, strict=True)]
    apart = float(np.degrees(np.arctan2(np.linalg.norm(np.cross(*middles)), middles[0] @ middles[1])))
    if apart > sum(reach):
        raise InputError(
            f"S_REGION and WCS of {name} put it on places {_angle(apart)} apart; one of them is wrong. Run assign_wcs, which makes both."
        )


def footprint_sketch(regions: list[str], names: list[str]) -> str:
    """Return a picture in characters of where images lie on the sky, north up and east left, and which lie apart.

    Parameters
    ----------
    regions : list of str
        S_REGION of each image.
    names : list of str
        What they are called.
    """
    corners = [np.concatenate(outlines(region)) for region in regions]
    middles = np.array([_middle(c) for c in corners])
    centre = _median_direction(middles)
    offsets = [_tangent(c, centre) for c in corners]
    low, high = np.min([o.min(axis=0) for o in offsets], axis=0), np.max([o.max(axis=0) for o in offsets], axis=0)
    size = float(max((high - low).max(), 1e-9))
    canvas = [[" "] * _WIDTH for _ in range(_HEIGHT)]
    for k, offset in enumerate(offsets):
        x = ((high[0] - offset[:, 0]) / size * (_WIDTH - 1)).astype(int)
        y = ((high[1] - offset[:, 1]) / size * (_HEIGHT - 1)).astype(int)
        for column, row in zip(x, y, strict=True):
            canvas[row][column] = "."
        canvas[int(y.mean())][int(x.mean())] = _MARKS[k % len(_MARKS)]
    picture = [line.rstrip() for line in ("".join(row) for row in canvas)]
    lines = [f"Where they lie (north up, east left; {_angle(size)} across):", *(line for line in picture if line)]
    distance = np.degrees([np.arccos(np.clip(m @ centre, -1, 1)) for m in middles])
    usual = max(float(np.median(distance)), size * 1e-3)
    apart = [k for k in np.argsort(-distance) if distance[k] > _ALONE * usual]
    lines += [f"{_MARKS[k % len(_MARKS)]}: {names[k]} lies {_angle(distance[k])} from the middle of the others" for k in apart[:5]]
    return "\n".join(lines)


def _angle(degrees: float) -> str:
    for unit, scale in (("deg", 1.0), ("arcmin", 60.0)):
        if degrees * scale >= 1:
            return f"{degrees * scale:.3g} {unit}"
    return f"{degrees * 3600:.3g} arcsec"


def _unit(corners: Array) -> Array:
    lon, lat = np.radians(corners).T
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def _middle(corners: Array) -> Array:
    vector = _unit(corners).sum(axis=0)
    return np.asarray(vector / np.linalg.norm(vector))


def _median_direction(vectors: Array) -> Array:
    """Return the direction that most of them have: one far away does not move it."""
    middle = np.median(vectors, axis=0)
    return np.asarray(middle / max(float(np.linalg.norm(middle)), 1e-12))


def _tangent(corners: Array, centre: Array) -> Array:
    """Return offsets to the east and north in degrees, true in direction and distance from the centre."""
    east = np.cross([0.0, 0.0, 1.0], centre)
    east = east / max(float(np.linalg.norm(east)), 1e-12)
    north = np.cross(centre, east)
    vectors = _unit(corners)
    along = np.column_stack([vectors @ east, vectors @ north])
    sine = np.linalg.norm(along, axis=1)
    angle = np.degrees(np.arctan2(sine, vectors @ centre))
    return np.asarray(along * (angle / np.maximum(sine, 1e-300))[:, None])
