"""Aligning groups of exposures with each other and with a catalogue of the sky.

The order in which groups are taken and what is matched with what are those of `tweakwcs.align_wcs`; what a group gains is decided by
`jwnb.stage3.align_fit`. A WCS is corrected where its group has passed the gates, and only there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from tweakwcs.correctors import JWSTWCSCorrector

from jwnb.stage3.align_fit import Fitting, Limits, Matching, Positions, Solution, rms, solve
from jwnb.stage3.align_overlap import angular_reach, directions, first_pair, outline, total_shared

__all__ = ["Group", "Outcome", "Reference", "StarList", "align_absolute", "align_relative"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass
class StarList:
    """The stars of one exposure.

    Attributes
    ----------
    index : int
        Which exposure.
    corrector : JWSTWCSCorrector
        With a copy of its WCS, which is what is corrected.
    x, y : (n,) float64
        0-based pixels, all inside the bounding box.
    weight : (n,) float64 or None
        Of each in the fit.
    rows : (n,) int64
        Which rows of its catalogue these are.
    """

    index: int
    corrector: JWSTWCSCorrector
    x: Floats
    y: Floats
    weight: Floats | None
    rows: Ints
    _sky: tuple[Floats, Floats] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def sky(self) -> tuple[Floats, Floats]:
        """Return right ascension and declination with the WCS as it is now."""
        if self._sky is None:
            places = self.corrector.det_to_world(self.x, self.y) if len(self) else (np.zeros(0), np.zeros(0))
            self._sky = np.asarray(places[0], np.float64), np.asarray(places[1], np.float64)
        return self._sky

    def correct(self, solution: Solution, plane: JWSTWCSCorrector) -> None:
        """Correct its WCS by a solution in the tangent plane of another."""
        self.corrector.set_correction(solution.matrix, solution.shift, ref_tpwcs=plane)
        self._sky = None


@dataclass(frozen=True)
class Outcome:
    """What came of aligning some exposures together.

    Attributes
    ----------
    solution : Solution
        Its star indices count through the lists.
    lists : list of StarList
        What was aligned.
    ra, dec : (n,) float64
        Where the reference has the stars that were fitted.
    frame : (n,) int64
        Which frame that is of each.
    """

    solution: Solution
    lists: Sequence[StarList] = ()
    ra: Floats = field(default_factory=lambda: np.zeros(0))
    dec: Floats = field(default_factory=lambda: np.zeros(0))
    frame: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def part(self, index: int) -> tuple[Ints, Ints]:
        """Return which of the fitted pairs are those of one exposure, and which rows of its catalogue they are."""
        begin = 0
        for one in self.lists:
            if one.index == index:
                stars = self.solution.stars
                mine = np.flatnonzero((stars >= begin) & (stars < begin + len(one)))
                return mine, one.rows[stars[mine] - begin]
            begin += len(one)
        return np.zeros(0, np.int64), np.zeros(0, np.int64)


@dataclass
class Group:
    """Exposures that move together, and what came of aligning them.

    Attributes
    ----------
    name : str
        What they have in common.
    lists : list of StarList
        Of each exposure; the first gives the tangent plane.
    relative, absolute : Outcome or None
        With the other groups, with the catalogue; None where it was not tried.
    is_reference : bool
        The others were aligned with it.
    frame : int
        Groups of the same number lie in one frame: they were aligned with each other.
    """

    name: str
    lists: list[StarList]
    relative: Outcome | None = None
    absolute: Outcome | None = None
    is_reference: bool = False
    frame: int = -1

    def __len__(self) -> int:
        return sum(map(len, self.lists))

    @property
    def tied(self) -> bool:
        """Whether it lies in a frame with others."""
        return self.is_reference or (self.relative is not None and self.relative.solution.accepted)

    def sky(self) -> tuple[Floats, Floats]:
        """Return right ascension and declination of all stars, list by list."""
        parts = [one.sky() for one in self.lists]
        return np.concatenate([ra for ra, _ in parts]), np.concatenate([dec for _, dec in parts])

    def weight(self) -> Floats | None:
        """Return the weights of all stars, or None where a list has none."""
        parts = [one.weight for one in self.lists if len(one)]
        return np.concatenate([w for w in parts if w is not None]) if parts and all(w is not None for w in parts) else None

    def outlines(self) -> list[Floats]:
        """Return the outline of each list's stars on the sky."""
        return [outline(directions(*one.sky())) for one in self.lists]

    def correct(self, solution: Solution) -> None:
        """Correct the WCS of each exposure; the first, in whose tangent plane the solution is, comes last."""
        plane = self.lists[0].corrector
        for one in reversed(self.lists):
            one.correct(solution, plane)


@dataclass
class Reference:
    """What groups are aligned with: places on the sky, and the frame that each belongs to."""

    ra: Floats
    dec: Floats
    weight: Floats | None = None
    frame: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        if len(self.frame) != len(self.ra):
            self.frame = np.zeros(len(self.ra), np.int64)

    def __len__(self) -> int:
        return len(self.ra)

    @classmethod
    def of(cls, group: Group) -> "Reference":
        """Make a reference of a group's stars."""
        ra, dec = group.sky()
        return cls(ra, dec, group.weight(), np.full(len(ra), group.frame))

    def only(self, which: npt.NDArray[Any]) -> "Reference":
        """Return those of its places that an index or mask names."""
        weight = None if self.weight is None else self.weight[which]
        return Reference(self.ra[which], self.dec[which], weight, self.frame[which])

    def near(self, ra: Floats, dec: Floats, margin: float) -> "Reference":
        """Return the places that lie within the circle around these, widened by a margin in arcsec."""
        middle, reach = angular_reach(directions(ra, dec))
        distance = 2 * np.arcsin(np.clip(np.linalg.norm(directions(self.ra, self.dec) - middle, axis=1) / 2, 0, 1))
        return self.only(np.degrees(distance) <= reach + margin / 3600)

    def with_more(self, other: "Reference") -> "Reference":
        """Return it with the places of another; where only one has weights, the other's are 1."""
        weight = None
        if self.weight is not None or other.weight is not None:
            weight = np.concatenate([np.ones(len(r)) if r.weight is None else r.weight for r in (self, other)])
        ra, dec, frame = (np.concatenate([getattr(r, name) for r in (self, other)]) for name in ("ra", "dec", "frame"))
        return Reference(ra, dec, weight, frame)


def align_relative(
    groups: Sequence[Group], *, matching: Matching, fitting: Fitting, limits: Limits, enforce_user_order: bool, expand_refcat: bool
) -> None:
    """Align groups with one of them, and write on each what came of it.

    Parameters
    ----------
    groups : sequence of Group
        At least two with stars; those without are passed over.
    matching, fitting, limits : Matching, Fitting, Limits
        How.
    enforce_user_order : bool
        Take them in the order given, even with `expand_refcat`.
    expand_refcat : bool
        Add the stars of each group aligned, and of those that lie on no other, to the reference. The order is then by
        the area shared with the reference.
    """
    by_area = expand_refcat and not enforce_user_order
    for group in groups:
        if len(group) == 0:
            group.relative = Outcome(Solution(reason="it has no stars"))
    waiting = [group for group in groups if len(group)]
    outlines = {id(group): group.outlines() for group in waiting} if expand_refcat else {}
    first = waiting[0]
    if by_area and len(waiting) > 2:
        i, j, others = first_pair([outlines[id(group)] for group in waiting])
        first, waiting = waiting[i], [waiting[k] for k in (i, j, *others)]
    waiting.remove(first)
    _begin_frame(first, 0)
    reference, frames, is_next = Reference.of(first), 1, True
    while waiting:
        shared = _shared(reference, waiting if by_area else waiting[:1], outlines) if expand_refcat else [np.nan]
        k = 0 if is_next or not by_area else int(np.argmax(shared))
        group, area, is_next = waiting.pop(k), shared[k], False
        group.relative = _solved(group, reference, matching, fitting, limits)
        if group.tied:
            group.correct(group.relative.solution)
            group.frame = int(np.bincount(group.relative.frame).argmax())
        elif area == 0:
            _begin_frame(group, frames)
            frames += 1
        if expand_refcat and group.tied:
            reference = reference.with_more(_unmatched(group))


def align_absolute(groups: Sequence[Group], reference: Reference, *, matching: Matching, fitting: Fitting, limits: Limits) -> None:
    """Align groups with a catalogue, those of one frame together, and write on each what came of it.

    Parameters
    ----------
    groups : sequence of Group
        After `align_relative`, or as they are.
    reference : Reference
        The catalogue.
    matching, fitting, limits : Matching, Fitting, Limits
        How.

    Notes
    -----
    Groups that were not aligned with each other have errors of pointing of their own. Those of them that cannot be aligned alone are
    tried together, since few stars on each may be enough on all; that counts only where all of them agree on it.
    """
    frames: dict[int, list[Group]] = {}
    for k, group in enumerate(groups):
        frames.setdefault(group.frame if group.tied else -1 - k, []).append(group)
    rest = []
    for members in frames.values():
        outcome = _solved(_joined(members), reference, matching, fitting, limits)
        _settle(members, outcome)
        if not outcome.solution.accepted:
            rest.append(members)
    if len(rest) > 1:
        together = [group for members in rest for group in members]
        outcome = _solved(_joined(together), reference, matching, fitting, limits)
        if outcome.solution.accepted and not _disagreement(outcome, rest):
            _settle(together, outcome)


def _settle(groups: Sequence[Group], outcome: Outcome) -> None:
    """Write an outcome on groups, and correct them where there is a fit."""
    if outcome.solution.accepted:
        _joined(groups).correct(outcome.solution)
    for group in groups:
        group.absolute = outcome


def _disagreement(outcome: Outcome, frames: Sequence[Sequence[Group]]) -> bool:
    """Return whether a common fit leaves the stars of a frame off the reference by more than chance, or without a match."""
    solution = outcome.solution
    for members in frames:
        parts = [outcome.part(one.index)[0] for group in members for one in group.lists]
        pairs = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        if len(pairs) == 0:
            return True
        off = float(np.linalg.norm(solution.residuals[pairs].mean(axis=0)))
        if off > 3 * rms(solution.residuals) / np.sqrt(len(pairs)):
            return True
    return False


def _joined(groups: Sequence[Group]) -> Group:
    """Return one group of all lists, in the order of the exposures."""
    return Group("all", sorted((one for group in groups for one in group.lists), key=lambda one: one.index))


def _begin_frame(group: Group, frame: int) -> None:
    group.is_reference, group.frame, group.relative = True, frame, None


def _shared(reference: Reference, waiting: Sequence[Group], outlines: dict[int, list[Floats]]) -> list[float]:
    whole = [outline(directions(reference.ra, reference.dec))]
    return [total_shared(whole, outlines[id(group)]) for group in waiting]


def _unmatched(group: Group) -> Reference:
    """Return the stars of a group that were matched with no star of the reference, where they are now."""
    stars = Reference.of(group)
    new = np.ones(len(stars), bool)
    if group.relative is not None:
        new[group.relative.solution.matched] = False
    return stars.only(new)


def _solved(group: Group, reference: Reference, matching: Matching, fitting: Fitting, limits: Limits) -> Outcome:
    """Match a group with the part of a reference that lies near it, and fit."""
    if len(group) == 0:
        return Outcome(Solution(reason="it has no stars"))
    plane = group.lists[0].corrector
    ra, dec = group.sky()
    there = reference.near(ra, dec, matching.reach)
    if len(there) == 0:
        return Outcome(Solution(reason="nothing of the reference lies in its field"))
    stars = Positions(_in_plane(plane, ra, dec), group.weight())
    places = Positions(_in_plane(plane, there.ra, there.dec), there.weight)
    solution = solve(stars, places, pixel=_pixel(plane), matching=matching, fitting=fitting, limits=limits)
    paired = there.only(solution.references)
    return Outcome(solution, group.lists, paired.ra, paired.dec, paired.frame)


def _in_plane(plane: JWSTWCSCorrector, ra: Floats, dec: Floats) -> Floats:
    return np.column_stack([np.asarray(v, np.float64) for v in plane.world_to_tanp(ra, dec)])


def _pixel(plane: JWSTWCSCorrector) -> float:
    """Return the size of a pixel in arcsec, or 1 where the WCS cannot be inverted."""
    try:
        return float(plane.tanp_center_pixel_scale)
    except NotImplementedError:
        return 1.0
