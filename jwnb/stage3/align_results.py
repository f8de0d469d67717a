"""What alignment gives each exposure, and what it says."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb.record import remember
from jwnb.stage3.align_fit import rms, rotation_of, said_once
from jwnb.stage3.align_overlap import directions
from jwnb.stage3.alignment import Group, Outcome, StarList
from jwnb.step import note, skip_exposure
from jwnb.wcs import sip
from jwnb.wcs.frames import footprint, polygon

__all__ = ["Change", "Seen", "change_of", "displacement", "report"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What was seen of one exposure.

    Attributes
    ----------
    stars : StarList
        Those to align with, and the WCS to correct.
    catalogue : dict
        ``x``, ``y`` and ``flux`` of all its stars.
    corners : (4, 2) float64
        Of its footprint with the WCS that it came with, degrees.
    pixel : float
        Size of a pixel in arcsec.
    """

    stars: StarList
    catalogue: dict[str, Floats]
    corners: Floats
    pixel: float


@dataclass(frozen=True)
class Change:
    """What one exposure gets; it holds no image."""

    record: Mapping[str, Any]
    wcs: Any = None
    region: str | None = None
    keywords: Mapping[str, Any] | None = None
    skipped: str = ""

    def __call__(self, model: JwstDataModel) -> None:
        """Write it on a model that the caller owns."""
        if self.wcs is not None:
            model.meta.instance["wcs"] = self.wcs
        if self.region is not None:
            model.meta.wcsinfo.s_region = self.region
        if self.keywords is not None:
            sip.replace_linear_terms(model, dict(self.keywords))
        remember(model, "tweakreg", copy.deepcopy(dict(self.record)))
        if self.skipped:
            skip_exposure(model, self.skipped)


def report(groups: Sequence[Group], *, catalogue: str) -> str:
    """Note what was not as asked for, and return why nothing at all was aligned, or "".

    Parameters
    ----------
    groups : sequence of Group
        After alignment.
    catalogue : str
        The name of the catalogue of the sky, or "".
    """
    final = {id(group): _final(group, catalogue) for group in groups}
    if not any(outcome is not None and outcome.solution.accepted for outcome in final.values()):
        reasons = said_once((why, group.name) for group in groups if (why := _why_kept(group, catalogue)))
        why = f"nothing could be aligned{f' with {catalogue}' if catalogue else ''}, and every WCS is as it was ({reasons})"
        note(why, degraded=True)
        return why
    for group in groups:
        for outcome, with_what in ((group.relative, "the other exposures"), (group.absolute, catalogue)):
            if outcome is not None and outcome.solution.accepted and len(outcome.solution.rungs) > 1:
                refused = said_once((rung.reason, rung.geometry) for rung in outcome.solution.rungs[:-1])
                note(f"{group.name} was aligned with {with_what} by {outcome.solution.geometry} only ({refused})", degraded=True)
        if catalogue and group.relative is not None and not group.relative.solution.accepted and group.tied is False:
            note(f"{group.name} was not aligned with the other exposures: {group.relative.solution.reason}")
        outcome = final[id(group)]
        if (outcome is None or not outcome.solution.accepted) and not (group.is_reference and not catalogue):
            note(f"{group.name} keeps its WCS: {_why_kept(group, catalogue)}", degraded=True)
    frames = [group.name for group in groups if group.is_reference]
    if len(frames) > 1 and not catalogue:
        note(f"the exposures lie in {len(frames)} parts without common stars, each aligned in itself; they begin with {', '.join(frames)}")
    return ""


def change_of(
    model: JwstDataModel, seen: Seen, group: Group, *, catalogue: str, approximation: Mapping[str, Any] | None, skipped: str = ""
) -> Change:
    """Return what an exposure gets.

    Parameters
    ----------
    model : JwstDataModel
        The exposure, whose images need not be there; it is not changed.
    seen : Seen
        What was seen of it.
    group : Group
        That it belongs to, after alignment.
    catalogue : str
        The name of the catalogue of the sky, or "".
    approximation : mapping, optional
        Options of `jwnb.wcs.sip.approximate`; None leaves the keywords as they are.
    skipped : str
        Why nothing at all was aligned; the exposure is marked SKIPPED then.
    """
    outcome = _final(group, catalogue)
    record = _record(seen, group, outcome, catalogue)
    if outcome is None or not outcome.solution.accepted:
        return Change(record, skipped=skipped)
    wcs = seen.stars.corrector.wcs
    if catalogue:
        wcs.name = f"FIT-LVL3-{catalogue}"
    corners = footprint(wcs)
    region = polygon(corners)
    if region is None:
        note(f"{group.name}: the footprint is not finite, and S_REGION is left as it was", degraded=True)
    shift, rotation, scale = displacement(seen.corners, corners)
    record |= {"shift_east": shift[0], "shift_north": shift[1], "rotation": rotation, "scale": scale}
    return Change(record, wcs, region, None if approximation is None else _keywords(model, wcs, approximation))


def displacement(before: Floats, after: Floats) -> tuple[tuple[float, float], float, float]:
    """Return how corners on the sky, (n, 2) in degrees, were moved: shift (east, north; arcsec), rotation (degrees), scale."""
    here, there = directions(*before.T), directions(*after.T)
    middle = here.mean(axis=0) / np.linalg.norm(here.mean(axis=0))
    east = np.array([-middle[1], middle[0], 0.0]) / np.hypot(middle[0], middle[1])
    basis = np.column_stack([east, np.cross(middle, east)])
    old, new = (np.degrees(points @ basis / (points @ middle)[:, None]) * 3600 for points in (here, there))
    matrix, *_ = np.linalg.lstsq(old - old.mean(axis=0), new - new.mean(axis=0), rcond=None)
    shift = (new - old).mean(axis=0)
    return (float(shift[0]), float(shift[1])), rotation_of(matrix.T), float(np.sqrt(abs(np.linalg.det(matrix))))


def _keywords(model: JwstDataModel, wcs: Any, how: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the keywords of the FITS approximation, or None where none can be fitted."""
    try:
        keywords = sip.approximate(model, wcs=wcs, **how)
    except (ValueError, RuntimeError) as error:
        note(f"the SIP approximation of {model.meta.filename} was not renewed: {error}", degraded=True)
        return None
    forward = how["max_pix_error"] if how["degree"] is None else None
    inverse = how["max_inv_pix_error"] if how["inv_degree"] is None else None
    for miss in sip.shortcomings(keywords, forward=forward, inverse=inverse):
        note(f"{model.meta.filename}: {miss}", degraded=True)
    return keywords


def _final(group: Group, catalogue: str) -> Outcome | None:
    return group.absolute if catalogue else group.relative


def _why_kept(group: Group, catalogue: str) -> str:
    outcome = _final(group, catalogue)
    if outcome is not None:
        return outcome.solution.reason
    return "" if group.is_reference else "there is no other group with stars" if len(group) else "it has no stars"


def _record(seen: Seen, group: Group, outcome: Outcome | None, catalogue: str) -> dict[str, Any]:
    """Return what is remembered of an exposure, as plain data."""
    aligned = outcome is not None and outcome.solution.accepted
    status = "aligned" if aligned else "reference" if group.is_reference and not catalogue else "kept"
    record: dict[str, Any] = {
        "group": group.name,
        "status": status,
        "reason": "" if status != "kept" else _why_kept(group, catalogue),
        "geometry": outcome.solution.geometry if outcome is not None else "none",
        "rungs": [
            {"stage": stage, "geometry": rung.geometry, "reason": rung.reason}
            for stage, tried in (("relative", group.relative), ("absolute", group.absolute))
            if tried is not None
            for rung in tried.solution.rungs
        ],
        "nmatches": 0 if outcome is None else outcome.solution.nmatches,
        "shift_east": 0.0, "shift_north": 0.0, "rotation": 0.0, "scale": 1.0,
        "catalog": dict(seen.catalogue),
    }  # fmt: skip
    pairs, rows = outcome.part(seen.stars.index) if outcome is not None and aligned else (np.zeros(0, int), np.zeros(0, int))
    record |= {"matched": rows, "residual_x": np.zeros(0), "residual_y": np.zeros(0)}
    record |= {"reference_ra": np.zeros(0), "reference_dec": np.zeros(0), "nfitted": len(rows)}
    if outcome is not None and aligned:
        solution = outcome.solution
        before, after = rms(solution.offsets[pairs]), rms(solution.residuals[pairs])
        record |= {"residual_x": solution.residuals[pairs, 0], "residual_y": solution.residuals[pairs, 1]}
        record |= {"reference_ra": outcome.ra[pairs], "reference_dec": outcome.dec[pairs]}
        record |= {"rms_before": before, "rms_after": after}
        record |= {"rms_before_pixels": before / seen.pixel, "rms_after_pixels": after / seen.pixel}
    return record
