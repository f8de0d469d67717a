"""Which pixels of an image see the sky that another image sees too.

Outlines on the sky, their areas and intersections are those of the library `spherical_geometry`. Its intersection of any two
polygons costs 20 ms; those of two convex ones are put together here from the arcs' crossings, and all doubtful cases are left to it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from spherical_geometry import great_circle_arc
from spherical_geometry.polygon import MalformedPolygonError, SphericalPolygon

from jwnb.errors import InputError

__all__ = ["Outline", "Region", "covered", "intersection", "outline", "region", "whole"]

Array = npt.NDArray[Any]

# Radians from an edge within which a corner may count as lying on it; the library's own limit is 3e-11. It is 1e-3 of a NIRCam pixel.
_DOUBTFUL = 1e-10
# Outlines larger than this (radians) are left to the library: on a small piece of the sphere two great circles cross once.
_SMALL = 0.5


@dataclass(frozen=True)
class Outline:
    """The outer edge of an image on the sky.

    Attributes
    ----------
    polygon : SphericalPolygon
        Whose sides are great circles.
    corners : (n, 3) float64
        Unit vectors of its vertices, each once.
    inward : (n, 3) float64 or None
        Unit normals of the sides, to the inside; None where the polygon is not convex, or not small.
    centre : (3,) float64
        Unit vector to its middle.
    radius : float
        Angle from there to the farthest corner, in radians.
    """

    polygon: SphericalPolygon
    corners: Array
    inward: Array | None
    centre: Array
    radius: float


@dataclass(frozen=True)
class Region:
    """Pixels of an image, as runs along its rows in order, no two of which touch a pixel twice.

    Attributes
    ----------
    first : (ny + 1,) int64
        Where the runs of each row begin in `starts` and `stops`.
    starts, stops : (runs,) int32
        First column, and the one after the last.
    """

    first: Array
    starts: Array
    stops: Array

    @property
    def pixels(self) -> int:
        """How many there are."""
        return int((self.stops - self.starts).sum())


def outline(wcs: Any, shape: tuple[int, int], stepsize: int | None = None) -> Outline:
    """Return the outer edge of an image on the sky.

    Parameters
    ----------
    wcs : gwcs.WCS
        To right ascension and declination in degrees; it is asked outside its bounding box as well.
    shape : (int, int)
        Rows and columns of the image.
    stepsize : int, optional
        Pixels between vertices, at most (nearly); by default the four outer corners only.

    Raises
    ------
    InputError
        A vertex has no position on the sky.
    """
    ny, nx = shape
    counts = (2, 2) if stepsize is None else tuple(max(2, -(-(n + 1) // stepsize)) for n in (ny, nx))
    along_y, along_x = np.linspace(-0.5, ny - 0.5, counts[0]), np.linspace(-0.5, nx - 0.5, counts[1])
    # Round the image from its lower left corner: each side without its last point.
    low_x, high_x, low_y, high_y = np.full(along_y.size - 1, -0.5), np.full(along_y.size - 1, nx - 0.5), -0.5, ny - 0.5
    x = np.concatenate([along_x[:-1], high_x, along_x[:0:-1], low_x])
    y = np.concatenate([np.full(along_x.size - 1, low_y), along_y[:-1], np.full(along_x.size - 1, high_y), along_y[:0:-1]])
    ra, dec, *_ = (np.asarray(v, dtype=float) for v in wcs(x, y, with_bounding_box=False))
    if not (np.isfinite(ra).all() and np.isfinite(dec).all()):
        raise InputError("the WCS gives no position on the sky for a corner of the image. Run assign_wcs again.")
    return _outline(SphericalPolygon.from_radec(np.append(ra, ra[0]), np.append(dec, dec[0])))


def _outline(polygon: SphericalPolygon) -> Outline:
    corners = next(iter(polygon.points))[:-1]
    centre = _unit(corners.mean(axis=0))
    radius = float(np.arccos(np.clip((corners @ centre).min(), -1.0, 1.0)))
    inward = _unit(np.cross(corners, np.roll(corners, -1, axis=0)))
    if (inward @ centre).sum() < 0:
        inward = -inward
    heights = inward @ corners.T
    number = np.arange(len(corners))
    heights[number, number] = heights[number, (number + 1) % len(corners)] = np.inf  # a side's own corners
    convex = radius < _SMALL and bool((heights > _DOUBTFUL).all())
    return Outline(polygon, corners, inward if convex else None, centre, radius)


def intersection(a: Outline, b: Outline) -> SphericalPolygon | None:
    """Return what two outlines have in common: a polygon of no parts where that is nothing, None where the library cannot tell.

    Parameters
    ----------
    a, b : Outline
        Of two images.
    """
    if np.arccos(np.clip(a.centre @ b.centre, -1.0, 1.0)) > a.radius + b.radius + _DOUBTFUL:
        return SphericalPolygon([])
    common = _of_convex(a, b)
    if common is not None:
        return common
    try:
        return a.polygon.intersection(b.polygon)
    except MalformedPolygonError:
        return None


def _of_convex(a: Outline, b: Outline) -> SphericalPolygon | None:
    """Return the common part of two convex outlines, or None where one is not, or a corner lies on a side of the other."""
    if a.inward is None or b.inward is None:
        return None
    a_over_b, b_over_a = b.inward @ a.corners.T, a.inward @ b.corners.T  # heights of corners over the other's sides
    if min(np.abs(a_over_b).min(), np.abs(b_over_a).min()) < _DOUBTFUL:
        return None
    a_sides = (a_over_b > 0) != np.roll(a_over_b > 0, -1, axis=1)  # whether side i of a has its ends on both sides of side j of b
    b_sides = (b_over_a > 0) != np.roll(b_over_a > 0, -1, axis=1)
    j, i = np.nonzero(a_sides & b_sides.T)
    parts = [a.corners[(a_over_b > 0).all(axis=0)], b.corners[(b_over_a > 0).all(axis=0)]]
    if i.size:
        ends = a.corners, np.roll(a.corners, -1, axis=0), b.corners, np.roll(b.corners, -1, axis=0)
        parts.append(great_circle_arc.intersection(ends[0][i], ends[1][i], ends[2][j], ends[3][j]))
    points = np.concatenate(parts)
    if not len(points):
        return SphericalPolygon([])
    if len(points) < 3 or not np.isfinite(points).all():
        return None
    middle = _unit(points.mean(axis=0))
    right = _unit(np.cross([0.0, 0.0, 1.0] if abs(middle[2]) < 0.9 else [1.0, 0.0, 0.0], middle))
    order = np.argsort(np.arctan2(points @ np.cross(middle, right), points @ right))
    return SphericalPolygon(points[np.append(order, order[0])], inside=middle)


def covered(wcs: Any, areas: Sequence[Sequence[SphericalPolygon]], shape: tuple[int, int]) -> list[Region]:
    """Return, for each area on the sky, the pixels of an image that it covers.

    Parameters
    ----------
    wcs : gwcs.WCS
        Of the image. It is asked once for all areas.
    areas : sequence of sequences of SphericalPolygon
        Each is all that its polygons cover together.
    shape : (int, int)
        Rows and columns of the image.

    Raises
    ------
    InputError
        The WCS gives no pixel for a vertex.
    """
    parts = [[part for polygon in area for part in polygon.to_radec() if len(part[0]) > 3] for area in areas]
    sizes = [len(part[0]) for some in parts for part in some]
    if not sizes:
        return [region((), shape) for _ in areas]
    ra, dec = (np.concatenate([np.asarray(part[k]) for some in parts for part in some]) for k in (0, 1))
    x, y = wcs.invert(ra, dec, with_bounding_box=False)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("the WCS gives no pixel for a place on the sky that the image sees. Run assign_wcs again.")
    ends = np.cumsum(sizes)[:-1]
    pieces = iter(zip(np.split(x, ends), np.split(y, ends), strict=True))
    return [region([next(pieces) for _ in some], shape) for some in parts]


def region(polygons: Iterable[tuple[Array, Array]], shape: tuple[int, int]) -> Region:
    """Return the pixels of an image that lie in one or more closed polygons of pixel positions.

    Parameters
    ----------
    polygons : iterable of (x, y)
        Vertices, the last of which is the first. They are rounded to whole pixels; the border belongs to the inside.
    shape : (int, int)
        Rows and columns of the image.

    Notes
    -----
    A scan-line fill with the conventions of `gwcs.region.Polygon`, which fills the same pixels.
    """
    runs = [_runs(x, y, shape) for x, y in polygons]
    rows, starts, stops = (np.concatenate([run[k] for run in runs]) if runs else np.zeros(0, np.int64) for k in range(3))
    order = np.lexsort((starts, rows))
    # On one line, row after row, runs that meet are joined: one begins where no earlier one reaches.
    line = 2 * (shape[1] + 1)
    begin, end = (rows * line + starts)[order], np.maximum.accumulate((rows * line + stops)[order])
    new = np.ones(begin.size, dtype=bool)
    new[1:] = begin[1:] > end[:-1]
    last = np.append(np.flatnonzero(new)[1:] - 1, begin.size - 1)[: int(new.sum())]
    row = begin[new] // line
    first = np.searchsorted(row, np.arange(shape[0] + 1))
    return Region(first.astype(np.int64), (begin[new] - row * line).astype(np.int32), (end[last] - row * line).astype(np.int32))


def whole(shape: tuple[int, int]) -> Region:
    """Return all pixels of an image."""
    ny, nx = shape
    return Region(np.arange(ny + 1, dtype=np.int64), np.zeros(ny, np.int32), np.full(ny, nx, np.int32))


def _runs(x: Array, y: Array, shape: tuple[int, int]) -> tuple[Array, Array, Array]:
    """Return row, first column and the one after the last of each run of pixels in one polygon."""
    nothing = np.zeros(0, np.int64)
    left, low = min(float(x.min()), 0.0), min(float(y.min()), 0.0)
    # Vertices are rounded after a polygon that reaches beyond the corner has been moved into it, and moved back by whole pixels.
    px, py = np.rint(x - left).astype(np.int64), np.rint(y - low).astype(np.int64)
    columns, rows = int(np.rint(left)), int(np.rint(low))
    if px.max() == px.min() or py.max() == py.min():
        return nothing, nothing, nothing
    line = np.arange(max(py.min(), -rows), min(py.max(), shape[0] - 1 - rows) + 1)[:, None]
    x0, y0, x1, y1 = px[:-1], py[:-1], px[1:], py[1:]
    slanted = y0 != y1
    x0, y0, x1, y1 = x0[slanted], y0[slanted], x1[slanted], y1[slanted]
    # A side counts from its lowest line up to the one before its highest; the polygon's last line takes the sides of the one before.
    seen = np.minimum(line, py.max() - 1)
    active = (np.minimum(y0, y1) <= seen) & (seen < np.maximum(y0, y1))
    width = px.max() - px.min()
    crossing = np.ceil((width * (y0 - line)) / (-(y1 - y0) * width) * (x1 - x0) + x0)
    crossing = np.sort(np.where(active, crossing, np.inf), axis=1)
    start, stop = crossing[:, 0::2][:, : crossing.shape[1] // 2], crossing[:, 1::2]
    row, k = np.nonzero(np.isfinite(stop))
    begin = np.maximum(start[row, k] + columns, 0).astype(np.int64)
    end = np.minimum(stop[row, k] + columns + 1, shape[1]).astype(np.int64)
    kept = end > begin
    return line[row[kept], 0] + rows, begin[kept], end[kept]


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
