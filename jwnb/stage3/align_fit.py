"""Matching stars with a reference and fitting how they are displaced: a ladder of geometries, each rung with its gates.

Positions are arcsec in a plane tangent to the sky. Matching and fitting are those of `tweakwcs`.
"""

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from scipy.spatial import KDTree
from tweakwcs.linearfit import NotEnoughPointsError, SingularMatrixError, iter_linear_fit
from tweakwcs.matchutils import XYXYMatch

from jwnb.errors import ParameterError

__all__ = ["GEOMETRIES", "Fitting", "Limits", "Matching", "Positions", "Rung", "Solution", "rms", "rotation_of", "said_once", "solve"]

# A library that says "warning" where nobody has set up logging prints it.
for _name in ("tweakwcs", "stcal"):
    logging.getLogger(_name).addHandler(logging.NullHandler())

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# From the freest to the stiffest.
GEOMETRIES = ("general", "rscale", "rshift", "shift")
# Stars matched by chance fill the circle of the tolerance: the rms of their distances is 0.7 of its radius.
_BY_CHANCE = 0.4
# Stars that lay on the reference before must not lie this many times, and this part of a pixel, farther from it after a fit.
_WORSE, _CENTROID = 1.5, 0.1


@dataclass(frozen=True)
class Positions:
    """Places in the tangent plane.

    Attributes
    ----------
    xy : (n, 2) float64
        East and north, in arcsec.
    weight : (n,) float64 or None
        Of each in the fit; all alike where there is none.
    """

    xy: Floats
    weight: Floats | None = None

    def __len__(self) -> int:
        return len(self.xy)


@dataclass(frozen=True)
class Matching:
    """How stars are matched; all in arcsec.

    Attributes
    ----------
    searchrad : float
        Largest offset that is looked for.
    separation : float
        Stars closer to each other than this are not told apart.
    tolerance : float
        Largest distance of a match once the common offset is taken out.
    use2dhist : bool
        Find the common offset in a histogram of all differences, and else take it as given.
    offset : (float, float)
        The offset where it is given.
    """

    searchrad: float
    separation: float
    tolerance: float
    use2dhist: bool = True
    offset: tuple[float, float] = (0.0, 0.0)

    def check(self, prefix: str = "") -> None:
        """Raise `ParameterError` where neighbours could be taken for each other."""
        if self.separation <= math.sqrt(2) * self.tolerance:
            raise ParameterError(
                f"{prefix}separation={self.separation:g} must be more than 1.414 times {prefix}tolerance={self.tolerance:g}, "
                "or neighbouring stars are taken for each other."
            )

    @property
    def reach(self) -> float:
        """How far from a star its match can be, in arcsec, with room to spare."""
        given = 0.0 if self.use2dhist else math.hypot(*self.offset)
        return max(60.0, 5 * (self.searchrad + self.separation + self.tolerance + given))

    def indices(self, stars: Floats, reference: Floats, pixel: float) -> tuple[Ints, Ints]:
        """Return which star is which reference: indices of both. `pixel` is the size of a pixel, the histogram's bin."""
        matcher = XYXYMatch(self.searchrad, self.separation, self.use2dhist, *self.offset, self.tolerance)
        tables = [Table({"TPx": xy[:, 0], "TPy": xy[:, 1]}) for xy in (reference, stars)]
        of_reference, of_stars = matcher(*tables, tp_pscale=pixel, tp_units="arcsec")
        return np.asarray(of_stars, np.int64), np.asarray(of_reference, np.int64)


@dataclass(frozen=True)
class Fitting:
    """What is fitted: the geometry asked for, the matches needed, rounds of clipping, and where it clips in units of the rms."""

    geometry: str
    minobj: int
    nclip: int
    sigma: float

    @property
    def rungs(self) -> tuple[str, ...]:
        """The geometry asked for and the simpler ones."""
        return GEOMETRIES[GEOMETRIES.index(self.geometry) :]


@dataclass(frozen=True)
class Limits:
    """What a fit may not exceed: shift (arcsec), rotation and skew (degrees), change of scale, rms (arcsec)."""

    shift: float
    rotation: float
    scale: float
    rms: float


@dataclass(frozen=True)
class Rung:
    """A geometry that was tried, and why it was rejected; "" where it was taken."""

    geometry: str
    reason: str = ""


@dataclass(frozen=True)
class Solution:
    """What came of matching and fitting.

    Attributes
    ----------
    geometry : str
        That of the fit taken, or "none".
    rungs : tuple of Rung
        What was tried, in order.
    reason : str
        Why there is none; "" where there is.
    matched : (n,) int64
        Indices of the stars that were matched.
    matrix, shift : (2, 2) and (2,) float64
        Where a star at x belongs: matrix x + shift.
    stars, references : (n,) int64
        Indices of the pairs that were fitted.
    offsets, residuals : (n, 2) float64
        Reference minus star, east and north in arcsec, before the fit and after it.
    displacement : (float, float)
        How far the fit moves the middle of the stars east and north, in arcsec.
    rotation, scale : float
        North through east, in degrees; the factor.
    """

    geometry: str = "none"
    rungs: tuple[Rung, ...] = ()
    reason: str = ""
    matched: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    matrix: Floats = field(default_factory=lambda: np.eye(2))
    shift: Floats = field(default_factory=lambda: np.zeros(2))
    stars: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    references: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    offsets: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    residuals: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    displacement: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0
    scale: float = 1.0

    @property
    def accepted(self) -> bool:
        """Whether there is a fit to apply."""
        return self.geometry != "none"

    @property
    def nmatches(self) -> int:
        """How many stars were matched."""
        return len(self.matched)


def solve(stars: Positions, reference: Positions, *, pixel: float, matching: Matching, fitting: Fitting, limits: Limits) -> Solution:
    """Match stars with a reference, and fit the freest geometry, of those up to the one asked for, that passes the gates.

    A fit passes where enough stars are matched, the pairs lie close enough together after it, the stars are not shifted, turned
    or stretched beyond the limits, and as many stars as before lie on a reference, no farther from it.

    Parameters
    ----------
    stars, reference : Positions
        In one tangent plane.
    pixel : float
        Size of a pixel in arcsec.
    matching, fitting, limits : Matching, Fitting, Limits
        How.

    Returns
    -------
    Solution
    """
    if len(stars) == 0 or len(reference) == 0:
        return Solution(reason="there is nothing to match")
    try:
        of_stars, of_reference = matching.indices(stars.xy, reference.xy, pixel)
    except RuntimeError as error:  # xyxymatch: more pairs than stars
        return Solution(reason=f"stars cannot be told apart ({error}); lower the tolerance or raise the separation")
    found = len(of_stars)
    if found < fitting.minobj:
        return Solution(reason=f"{found} match{'es' * (found != 1)}, and {fitting.minobj} are needed", matched=of_stars)
    rungs: list[Rung] = []
    for geometry in fitting.rungs:
        tried = _fit(stars, reference, (of_stars, of_reference), geometry, fitting)
        if isinstance(tried, Solution):
            reason = _objection(tried, stars.xy, reference.xy, matching, limits, pixel=pixel)
            rungs.append(Rung(geometry, reason))
            if not reason:
                return replace(tried, rungs=tuple(rungs))
        else:
            rungs.append(Rung(geometry, tried))
    return Solution(reason=said_once((rung.reason, rung.geometry) for rung in rungs), rungs=tuple(rungs), matched=of_stars)


def said_once(reasons: Iterable[tuple[str, str]]) -> str:
    """Return "what, what: why; …" for pairs of why and what, each reason once."""
    by_reason: dict[str, list[str]] = {}
    for why, what in reasons:
        by_reason.setdefault(why, []).append(what)
    return "; ".join(f"{', '.join(what)}: {why}" for why, what in by_reason.items())


def _fit(stars: Positions, reference: Positions, pairs: tuple[Ints, Ints], geometry: str, how: Fitting) -> Solution | str:
    """Return the fit of one geometry to matched pairs, or why there is none."""
    of_stars, of_reference = pairs
    here, there = stars.xy[of_stars], reference.xy[of_reference]
    weights = [None if p.weight is None else p.weight[k] for p, k in ((reference, of_reference), (stars, of_stars))]
    try:
        fit: dict[str, Any] = iter_linear_fit(there, here, *weights, fitgeom=geometry, nclip=how.nclip, sigma=(how.sigma, "rmse"))
    except (NotEnoughPointsError, SingularMatrixError, ValueError) as error:
        return f"cannot be fitted ({error})"
    # The fit turns about the mean of the stars; here it is written as turning about the origin.
    matrix = np.asarray(fit["matrix"], np.float64)
    shift = np.asarray(fit["shift_ld"] + fit["center_ld"] - np.dot(fit["center_ld"], fit["matrix_ld"].T), np.float64)
    used = np.asarray(fit["fitmask"], bool)
    middle = here[used].mean(axis=0)
    moved = matrix @ middle + shift - middle
    return Solution(
        geometry=geometry, matched=of_stars, matrix=matrix, shift=shift, stars=of_stars[used], references=of_reference[used],
        offsets=there[used] - here[used], residuals=there[used] - (here[used] @ matrix.T + shift),
        displacement=(float(moved[0]), float(moved[1])), rotation=rotation_of(matrix), scale=float(math.sqrt(abs(np.linalg.det(matrix)))),
    )  # fmt: skip


def _objection(fit: Solution, stars: Floats, reference: Floats, matching: Matching, limits: Limits, *, pixel: float) -> str:
    """Return which gate a fit does not pass, with the numbers, or "" where it passes all."""
    largest = min(limits.rms, _BY_CHANCE * matching.tolerance)
    left = rms(fit.residuals)
    if not left <= largest:
        return f"the stars lie {left:.3g} arcsec (rms) from the reference after it; up to {largest:.3g} is believed"
    given = (0.0, 0.0) if matching.use2dhist else matching.offset
    shift = math.hypot(fit.displacement[0] + given[0], fit.displacement[1] + given[1])
    if not shift <= limits.shift:
        return f"it shifts by {shift:.3g} arcsec; up to {limits.shift:g} is believed"
    angles, factors = _of_axes(fit.matrix)
    turn = max(map(abs, angles))
    if not turn <= limits.rotation:
        return f"it turns by {turn:.3g} degrees; up to {limits.rotation:g} is believed"
    stretch = max(abs(factor - 1) for factor in factors)
    if not stretch <= limits.scale:
        return f"it changes the scale by {stretch:.3g}; up to {limits.scale:g} is believed"
    near_before, near_after = (_coincidences(xy, reference, largest) for xy in (stars, stars @ fit.matrix.T + fit.shift))
    before, after = len(near_before), len(near_after)
    if after < before - 2 * math.sqrt(before):
        return f"{after} stars lie within {largest:.3g} arcsec of the reference after it, and {before} did before"
    # With a dense reference pairs of a star and its neighbour can spoil a fit to stars that lay on it already.
    if before and before >= after - 2 * math.sqrt(after):
        apart, apart_before = float(np.median(near_after)), float(np.median(near_before))
        if apart > max(_WORSE * apart_before, apart_before + _CENTROID * pixel):
            return f"stars lie {apart:.3g} arcsec (median) from the reference after it, and {apart_before:.3g} before"
    return ""


def _coincidences(stars: Floats, reference: Floats, radius: float) -> Floats:
    """Return the distances of the stars that lie within a radius of the reference."""
    distance, _ = KDTree(reference).query(stars, distance_upper_bound=radius)
    return np.asarray(distance[np.isfinite(distance)])


def rms(offsets: Floats) -> float:
    """Return the root of the mean squared length of vectors (n, 2); NaN where there is none."""
    return float(np.sqrt(np.mean(np.sum(offsets**2, axis=1)))) if len(offsets) else math.nan


def rotation_of(matrix: Floats) -> float:
    """Return the rotation of a matrix on (east, north), from north through east, in degrees."""
    return math.degrees(math.atan2(matrix[0, 1] - matrix[1, 0], matrix[0, 0] + matrix[1, 1]))


def _of_axes(matrix: Floats) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return by how much each axis is turned (degrees) and stretched."""
    (a, b), (c, d) = matrix
    angles = (math.degrees(math.atan2(-c, a)), math.degrees(math.atan2(b, d)))
    return angles, (math.hypot(a, c), math.hypot(b, d))
