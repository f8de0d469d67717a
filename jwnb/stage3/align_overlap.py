"""Which star lists lie on each other: convex outlines on the sky and the areas that they share."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError

__all__ = ["angular_reach", "directions", "first_pair", "outline", "shared_area", "total_shared"]

Floats = npt.NDArray[np.float64]


def directions(ra: Any, dec: Any) -> Floats:
    """Return unit vectors (n, 3) for right ascensions and declinations in degrees."""
    longitude, latitude = np.radians(np.asarray(ra, np.float64)), np.radians(np.asarray(dec, np.float64))
    return np.column_stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)])


def angular_reach(points: Floats) -> tuple[Floats, float]:
    """Return the mean direction of points on the sky and the angle, in degrees, to the farthest of them."""
    middle = points.mean(axis=0)
    middle /= np.linalg.norm(middle)
    return middle, float(np.degrees(np.max(2 * np.arcsin(np.clip(np.linalg.norm(points - middle, axis=1) / 2, 0, 1)))))


def outline(points: Floats) -> Floats:
    """Return the corners of the convex hull of points on the sky.

    Parameters
    ----------
    points : (n, 3) float64
        Unit vectors, within 90 degrees of their mean.

    Returns
    -------
    (m, 3) float64
        The corners in order, counter-clockwise as seen from outside the sphere; none (m = 0) for fewer than three points, or points
        on one line.
    """
    if len(points) < 3:
        return np.empty((0, 3))
    middle, _ = angular_reach(points)
    first = np.cross(middle, np.eye(3)[np.argmin(np.abs(middle))])
    first /= np.linalg.norm(first)
    plane = points @ np.column_stack([first, np.cross(middle, first)]) / (points @ middle)[:, None]
    try:
        return points[ConvexHull(plane - plane.mean(axis=0)).vertices]
    except QhullError:
        return np.empty((0, 3))


def shared_area(one: Floats, other: Floats) -> float:
    """Return the area, in steradians, that two convex outlines share.

    The first is cut along the great circle through each side of the other in turn (Sutherland & Hodgman 1974, CACM 17, 32). What
    is left is taken as flat, which is exact enough for ranking outlines smaller than some degrees.
    """
    if len(one) == 0 or len(other) == 0:
        return 0.0
    left = one
    for begin, end in zip(other, np.roll(other, -1, axis=0), strict=True):
        height = left @ np.cross(begin, end)
        left = _cut(left, height)
        if len(left) < 3:
            return 0.0
    return float(np.linalg.norm(np.cross(left - left[0], np.roll(left, -1, axis=0) - left[0]).sum(axis=0)) / 2)


def _cut(corners: Floats, height: Floats) -> Floats:
    """Return the part of a polygon with positive height above the plane of a great circle."""
    kept: list[Floats] = []
    for k, here in enumerate(height):
        before = height[k - 1]
        if (here > 0) != (before > 0):
            crossing = corners[k - 1] + (corners[k] - corners[k - 1]) * (before / (before - here))
            kept.append(crossing / np.linalg.norm(crossing))
        if here > 0:
            kept.append(corners[k])
    return np.array(kept).reshape(-1, 3)


def total_shared(some: Iterable[Floats], others: Iterable[Floats]) -> float:
    """Return the area that the outlines of one group share with those of another."""
    others = list(others)
    return sum(shared_area(one, other) for one in some for other in others)


def first_pair(outlines: Sequence[Sequence[Floats]]) -> tuple[int, int, list[int]]:
    """Choose which of several groups to begin with.

    Parameters
    ----------
    outlines : sequence of sequences
        The outlines of each group's members.

    Returns
    -------
    int, int, list of int
        The reference, its partner, and the others by the area that they share with the reference, largest first. These two have the
        largest common area, and of the two the reference is the one that shares more with all.
    """
    count = len(outlines)
    areas = np.zeros((count, count))
    for i in range(count):
        for j in range(i + 1, count):
            areas[i, j] = areas[j, i] = total_shared(outlines[i], outlines[j])
    i, j = (int(k) for k in np.unravel_index(areas.argmax(), areas.shape))
    if areas[i].sum() < areas[j].sum():
        i, j = j, i
    rest = np.array([k for k in range(count) if k not in (i, j)], dtype=int)
    return i, j, [int(k) for k in rest[np.argsort(areas[i][rest])[::-1]]]
