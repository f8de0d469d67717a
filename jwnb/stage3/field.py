"""What is asked of exposures before they are made into one image: one filter, one place, an output that fits into memory."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from jwnb.errors import InputError
from jwnb.models import Exposures
from jwnb.stage3.output_grid import outlines
from jwnb.stage3.resample import planned_output, region_of

__all__ = ["check_field", "footprint_sketch"]

Array = npt.NDArray[Any]

_MARKS = "123456789abcdefghijklmnopqrstuvwxyz"
_WIDTH, _HEIGHT = 64, 16  # characters; one is about twice as high as it is wide
_ALONE = 3.0  # an image this many times farther from the middle than half of them is named


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
        _check_filters(images)
    try:
        planned_output(images, **resample_options)
    except InputError as error:
        if len(images) == 1:
            raise
        raise InputError(f"{error}\n{footprint_sketch([region_of(images, k) for k in range(len(images))], images.names)}") from None


def _check_filters(images: Exposures) -> None:
    seen = []
    for k in range(len(images)):
        instrument = images.take(k).meta.instrument
        seen.append("/".join(str(part) for part in (instrument.filter, instrument.pupil) if part not in (None, "CLEAR")) or "no filter")
    counts = Counter(seen)
    if len(counts) > 1:
        rarest = min(counts, key=lambda which: counts[which])
        found = ", ".join(f"{which} ({n})" for which, n in counts.most_common())
        raise InputError(
            f"the images are through different filters: {found}; {images.names[seen.index(rarest)]} is through {rarest}. "
            "Combine one filter at a time, or give mix_filters=True."
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
