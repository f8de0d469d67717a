"""Sky matching: the background of each exposure, measured or made to agree where exposures overlap."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from spherical_geometry.polygon import SphericalPolygon
from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb import dq
from jwnb.errors import InputError, MissingFileError, ParameterError, WrongExposureError
from jwnb.exposure import check_exposure
from jwnb.kernels.sky_statistics import usable
from jwnb.models import Exposures, check_file, product_name
from jwnb.record import remember
from jwnb.stage3.resample import group_of
from jwnb.stage3.sky_levels import Level, Pair, Statistic, matching_levels, measure
from jwnb.stage3.sky_overlap import Outline, covered, intersection, outline, whole
from jwnb.step import Param, SkipStep, note, skip_exposure, step

__all__ = ["skymatch"]

Array = npt.NDArray[Any]
Method = Literal["local", "global", "match", "global+match", "user"]

_NO_FLAGS = np.zeros((0, 0), np.uint32)
_ARCSEC = np.degrees(1.0) * 3600


@step("skymatch", scope="frame", status="skymatch")
def skymatch(
    images: Exposures,
    *,
    skymethod: Method = "match",
    match_down: bool = True,
    subtract: bool = False,
    skylist: str | Path | Mapping[str, float] | None = None,
    stepsize: Annotated[int | None, Param(min=1, unit="pixel")] = None,
    skystat: Literal["median", "midpt", "mean", "mode"] = "mode",
    dqbits: str | int | None = "~DO_NOT_USE+NON_SCIENCE",
    lower: float | None = None,
    upper: float | None = None,
    nclip: Annotated[int, Param(min=0)] = 5,
    lsigma: Annotated[float, Param(min=0.0, exclusive=True, unit="sigma")] = 4.0,
    usigma: Annotated[float, Param(min=0.0, exclusive=True, unit="sigma")] = 4.0,
    binwidth: Annotated[float, Param(min=0.0, exclusive=True, unit="sigma")] = 0.1,
) -> Exposures:
    """Measure the sky of each exposure, or what has to be subtracted to make exposures agree where they overlap.

    The level is written to BKGLEVEL, and taken from SCI only where `subtract` says so; later steps allow for a level that was not
    subtracted. Detectors of one exposure get one level. Images given as paths are read one at a time.

    Parameters
    ----------
    images : image, path, or a list of them
        2-D calibrated images, with a WCS where they are to be matched.
    skymethod : str
        "local": the sky of each exposure, the lowest of its detectors; "global": the lowest of all exposures, for all of them;
        "match": levels whose differences are those seen in overlaps; "global+match": these, and the lowest sky that is left then;
        "user": those of `skylist`.
    match_down : bool
        Matched levels count from the exposure with the lowest sky, which gets 0; otherwise from that with the highest.
    subtract : bool
        Take the level from SCI. NaN stays NaN; errors and flags are not changed.
    skylist : path or mapping, optional
        Name and level of each image, for "user": a text file of two columns, or a mapping. Product suffixes do not matter.
    stepsize : int, optional
        Pixels between the vertices of the outline of an image; its corners only by default.
    skystat : str
        The sky of a region: "median", "mean", the peak of a histogram ("mode"), or the middle of one ("midpt").
    dqbits : str, int or None
        DQ flags that do not keep a pixel from being used: names or numbers joined by "+" or ",", after "~" those that do;
        None: no flag does. Pixels that are not finite are never used.
    lower, upper : float, optional
        Pixels beyond are not used, in the units of SCI. The median looks at neither where `nclip` is 0.
    nclip : int
        How often pixels far from the mean are clipped.
    lsigma, usigma : float
        What is far, below and above.
    binwidth : float
        Of the histograms.

    Returns
    -------
    Exposures
        With the level under ``meta.background``; that and what was found in overlaps under ``meta.jwnb.skymatch``. An exposure of which
        no level can be found is marked SKIPPED and stays as it was.

    Raises
    ------
    InputError
        An image has no WCS; what it says of an earlier subtraction does not fit in itself or with `subtract`.
    ParameterError
        `dqbits`, `lower` and `upper`, or `skylist` cannot be used.
    WrongExposureError
        An input is not a 2-D image.

    Notes
    -----
    Each pair of overlapping exposures gives an equation for the difference of their levels, weighted with the pixels used; they are
    solved by least squares. Images are not resampled: overlaps are polygons on the sky.
    """
    if lower is not None and upper is not None and lower > upper:
        raise ParameterError(f"skymatch: lower={lower} is above upper={upper}, so no pixel could be used.")
    if skymethod == "user":
        return _given_levels(images, skylist, subtract=subtract)
    statistic = Statistic(skystat, lower, upper, nclip, lsigma, usigma, binwidth)
    described = [_described(images, k, subtract=subtract) for k in range(len(images))]
    look = _Look(images, statistic, dq.not_good(dqbits, option="skymatch: dqbits"), described)
    units = _units(look.frames)
    matched, wanted_globally = "match" in skymethod, "match" not in skymethod or "global" in skymethod
    skies = _Skies([frame.level for frame in look.frames], units)
    if matched:
        measured = look.overlaps(units, stepsize, also_whole=wanted_globally and not subtract)
        skies.add(_match(measured.pairs, units, look.frames, match_down=match_down))
    else:
        measured = _Measured(wholes=look.wholes())
    if wanted_globally:
        if matched and subtract:  # the statistics are those of what is left
            measured.wholes = look.wholes([skies.change[k] for k in range(len(images))])
        left = [_lowest(measured.wholes, unit, skies.change if matched and not subtract else None) for unit in units]
        skies.add(_everywhere(left, skies, look.frames) if "global" in skymethod else left)
    _say_what_is_not_had(skies, look.frames)
    tables = _tables(measured, units, look.frames)
    return images.changed([
        functools.partial(_write, level=skies.level[k] if skies.valid[k] else None, change=skies.change[k], method=skymethod,
                          subtract=subtract, table=tables[k])
        for k in range(len(images))
    ])  # fmt: skip


@dataclass(frozen=True)
class _Frame:
    """What is known of an image without its pixels."""

    name: str
    group: str
    shape: tuple[int, int]
    wcs: Any
    level: float  # subtracted earlier


@dataclass
class _Measured:
    """Sky levels of an image as a whole, and of units of images where they overlap."""

    wholes: list[Level | None] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    areas: dict[tuple[int, int], float] = field(default_factory=dict)  # steradian


class _Skies:
    """The levels as they add up; those of a unit's images change together."""

    def __init__(self, before: Sequence[float], units: Sequence[Sequence[int]]) -> None:
        self.level = list(before)
        self.change = [0.0] * len(before)
        self.valid = [False] * len(before)
        self.units = units

    def add(self, changes: Sequence[float | None]) -> None:
        """Add a change for each unit, where there is one; what is known of a unit does not become unknown."""
        for unit, change in zip(self.units, changes, strict=True):
            for k in unit if change is not None else ():
                self.level[k] += float(change or 0.0)
                self.change[k] += float(change or 0.0)
                self.valid[k] = True


class _Look:
    """Looks at the pixels of the images, of one at a time."""

    def __init__(self, images: Exposures, statistic: Statistic, bad: np.uint32 | None, frames: list[_Frame]) -> None:
        self.images, self.statistic, self.bad, self.frames = images, statistic, bad, frames

    def values(self, k: int) -> Array:
        with self.images.taken(k, *(("data",) if self.bad is None else ("data", "dq"))) as model:
            check_exposure(model)
            flags = None if self.bad is None else model.instance.get("dq")
            flags = _NO_FLAGS if flags is None else np.asarray(flags, np.uint32)
            return np.asarray(usable(np.asarray(model.data, np.float32), flags, np.uint32(self.bad or 0)))

    def wholes(self, changes: Sequence[float] | None = None) -> list[Level | None]:
        """Measure each image as a whole, after subtraction of `changes`."""
        found = []
        for k, frame in enumerate(self.frames):
            values = self.values(k)
            if changes is not None:
                values -= np.float32(changes[k])
            found += measure(values, [whole(frame.shape)], self.statistic)
        return found

    def overlaps(self, units: Sequence[Sequence[int]], stepsize: int | None, *, also_whole: bool) -> _Measured:
        """Measure each unit of images where it overlaps another; each image is looked at once."""
        shared = _shared_areas(self.frames, units, stepsize)
        sums: dict[tuple[int, int], list[Level]] = {}
        measured = _Measured()
        for u, unit in enumerate(units):
            for k in unit:
                others = [v for v in range(len(units)) if (k, v) in shared]
                values, frame = self.values(k), self.frames[k]
                regions = covered(frame.wcs, [shared[k, v] for v in others], frame.shape)
                levels = measure(values, [*regions, *([whole(frame.shape)] if also_whole else [])], self.statistic)
                measured.wholes += levels[len(others) :]
                for v, level in zip(others, levels, strict=False):
                    if level is not None:
                        sums.setdefault((u, v), []).append(level)
                        area = sum(abs(polygon.area()) for polygon in shared[k, v])
                        measured.areas[u, v] = measured.areas.get((u, v), 0.0) + area
                del values
        measured.wholes = _in_order(measured.wholes, units)
        both = sorted((u, v) for u, v in sums if u < v and (v, u) in sums)
        measured.pairs = [Pair(u, v, _mean(sums[u, v]), _mean(sums[v, u])) for u, v in both]
        return measured


def _in_order(levels: list[Level | None], units: Sequence[Sequence[int]]) -> list[Level | None]:
    """Return what was collected unit after unit in the order of the images."""
    places = [k for unit in units for k in unit]
    return [levels[places.index(k)] for k in range(len(levels))]


def _mean(levels: Sequence[Level]) -> Level:
    pixels = sum(level.pixels for level in levels)
    return Level(sum(level.value * level.pixels for level in levels) / pixels, pixels)


def _described(images: Exposures, k: int, *, subtract: bool) -> _Frame:
    model = images.take(k)
    name = images.names[k] or f"image {k + 1}"
    shape = _shape(images, k, model)
    if len(shape) != 2:
        raise WrongExposureError(f"skymatch takes 2-D images; {name} is a {type(model).__name__} of shape {shape}.")
    wcs = model.meta.wcs if model.meta.hasattr("wcs") else None
    return _Frame(name, group_of(model) or f"image {k}", (shape[0], shape[1]), wcs, _subtracted_before(model, name, subtract=subtract))


def _shape(images: Exposures, k: int, model: JwstDataModel) -> tuple[int, ...]:
    """Return the shape of an image, of a file by its header."""
    data = model.instance.get("data")
    if data is None and Path(images.items[k]).suffix == ".fits":
        check_file(Path(images.items[k]))  # it was there earlier
        with fits.open(images.items[k]) as hdus:
            return tuple(hdus["SCI"].shape) if "SCI" in hdus else ()
    return () if data is None else tuple(data.shape)


def _subtracted_before(model: JwstDataModel, name: str, *, subtract: bool) -> float:
    """Return the sky that was taken from an image earlier, or raise where what it says of that does not fit."""
    background = model.meta.background
    if (background.subtracted is None) != (background.level is None):
        there, missing = ("BKGLEVEL", "BKGSUB") if background.subtracted is None else ("BKGSUB", "BKGLEVEL")
        raise InputError(f"{name} has {there} and no {missing}, so it is unknown whether its sky was subtracted. Set both, or neither.")
    if background.subtracted is None:
        return 0.0
    if background.subtracted != subtract:
        done = "was subtracted" if background.subtracted else "was measured and not subtracted"
        raise InputError(f"the sky of {name} {done} earlier; with subtract={subtract} the two would be mixed. Use subtract={not subtract}.")
    return float(background.level) if subtract else 0.0


def _units(frames: Sequence[_Frame]) -> list[list[int]]:
    """Return the images that get one level: the detectors of each exposure."""
    units: dict[str, list[int]] = {}
    for k, frame in enumerate(frames):
        units.setdefault(frame.group, []).append(k)
    return list(units.values())


def _shared_areas(
    frames: Sequence[_Frame], units: Sequence[Sequence[int]], stepsize: int | None
) -> dict[tuple[int, int], list[SphericalPolygon]]:
    """Return, for an image and another unit that overlaps it, the polygons that it shares with that unit's images."""
    outlines = [_outline_of(frame, stepsize) for frame in frames]
    shared: dict[tuple[int, int], list[SphericalPolygon]] = {}
    for v, unit in enumerate(units):
        for u, earlier in enumerate(units[:v]):
            for i in earlier:
                for j in unit:
                    common = intersection(outlines[i], outlines[j])
                    for k, other in ((i, v), (j, u)):
                        # Where the library cannot tell, outlines nearly coincide.
                        polygon = outlines[k].polygon if common is None else common
                        if polygon.area() != 0.0:
                            shared.setdefault((k, other), []).append(polygon)
    return shared


def _outline_of(frame: _Frame, stepsize: int | None) -> Outline:
    if frame.wcs is None:
        raise InputError(f"{frame.name} has no WCS, so its overlaps are unknown: run assign_wcs first (image2 does).")
    return outline(frame.wcs, frame.shape, stepsize)


def _match(pairs: Sequence[Pair], units: Sequence[Sequence[int]], frames: Sequence[_Frame], *, match_down: bool) -> list[float | None]:
    """Return the level that each unit needs to agree with the others, None where it overlaps none."""
    levels, sets = matching_levels(len(units), pairs)
    known = np.isfinite(levels)
    if known.any():
        levels -= levels[known].min() if match_down else levels[known].max()
        parts = [[frames[units[u][0]].name for u in np.flatnonzero(known & (sets == one)).tolist()] for one in np.unique(sets[known])]
        if len(parts) > 1:
            note(
                f"{len(parts)} sets of exposures do not overlap one another and are matched each in itself only, beginning with "
                f"{', '.join(part[0] for part in parts)}",
                degraded=True,
            )
    return [float(level) if np.isfinite(level) else None for level in levels]


def _lowest(wholes: Sequence[Level | None], unit: Sequence[int], change: Sequence[float] | None) -> float | None:
    """Return the lowest sky among the images of a unit, less what will be subtracted from it."""
    found = [(level.value, k) for k in unit if (level := wholes[k]) is not None]
    if not found:
        return None
    value, k = min(found)
    return value - change[k] if change is not None else value


def _everywhere(left: Sequence[float | None], skies: _Skies, frames: Sequence[_Frame]) -> list[float | None]:
    """Return the lowest sky of all, for all units."""
    known = [value for value in left if value is not None]
    if not known:
        return [None] * len(left)
    without = [frames[unit[0]].name for unit, value in zip(skies.units, left, strict=True) if value is None]
    if without:
        note(f"no pixel can be used in {', '.join(without)}: the lowest sky is that of the others")
    return [min(known)] * len(left)


def _say_what_is_not_had(skies: _Skies, frames: Sequence[_Frame]) -> None:
    without = [frame.name for frame, valid in zip(frames, skies.valid, strict=True) if not valid]
    if len(without) == len(frames):
        raise SkipStep("no exposure has pixels to measure the sky with, where it overlaps another or, not matched, at all")
    if without:
        note(f"no sky level for {', '.join(without)}: no overlap, or no pixel to use there; left as it was", degraded=True)


def _tables(measured: _Measured, units: Sequence[Sequence[int]], frames: Sequence[_Frame]) -> list[dict[str, Any]]:
    """Return what viewers may want to know of each image: its exposure's overlaps, and the sky in them."""
    tables: list[dict[str, Any]] = [{"together": [], "overlaps": []} for _ in frames]
    for u, unit in enumerate(units):
        for k in unit:
            tables[k]["together"] = [frames[other].name for other in unit if other != k]
            for pair in measured.pairs:
                if u not in (pair.i, pair.j):
                    continue
                own, other, v = (pair.first, pair.second, pair.j) if u == pair.i else (pair.second, pair.first, pair.i)
                tables[k]["overlaps"].append({
                    "exposure": [frames[n].name for n in units[v]], "sky": own.value, "other_sky": other.value,
                    "pixels": own.pixels, "area_arcsec2": float(measured.areas[u, v] * _ARCSEC**2),
                })  # fmt: skip
    for k, level in enumerate(measured.wholes):
        tables[k]["whole"] = None if level is None else level.value
    return tables


def _write(model: JwstDataModel, *, level: float | None, change: float, method: str, subtract: bool, table: Mapping[str, Any]) -> None:
    """Put the level on an image and, where it is to be subtracted, take the change from its pixels if they are there."""
    remember(model, "skymatch", {"level": level, "method": method, "subtracted": subtract and level is not None, **table})
    if level is None:
        skip_exposure(model, "no sky level: no overlap, or no pixel to use")
        return
    model.meta.background.method = method
    model.meta.background.level = level
    model.meta.background.subtracted = subtract
    if subtract and change and model.instance.get("data") is not None:
        model.data = model.data - np.float32(change)


def _given_levels(images: Exposures, skylist: Any, *, subtract: bool) -> Exposures:
    levels = _levels_of(skylist)
    if len(levels) != len(images):
        raise ParameterError(f"skymatch: skylist has {len(levels)} levels for {len(images)} images; one for each is expected.")
    changes: list[Callable[[JwstDataModel], None]] = []
    for k, name in enumerate(images.names):
        if (level := levels.get(_stem(name))) is None:
            raise ParameterError(f"skymatch: skylist has no level for {name!r}. It has: {', '.join(levels)}.")
        if subtract and images.take(k).meta.background.subtracted:
            note(f"a sky was taken from {name} earlier; BKGLEVEL now holds only what is taken now", degraded=True)
        table: dict[str, Any] = {"together": [], "overlaps": []}
        changes.append(functools.partial(_write, level=level, change=level, method="user", subtract=subtract, table=table))
    return images.changed(changes)


def _levels_of(skylist: Any) -> dict[str, float]:
    """Return the levels of a list by names without suffix."""
    if isinstance(skylist, Mapping):
        rows = [(str(name), str(level)) for name, level in skylist.items()]
    elif isinstance(skylist, str | Path):
        if not Path(skylist).is_file():
            raise MissingFileError(f"skymatch: there is no file {skylist} with sky levels (skylist).")
        lines = (line.split("#")[0].split() for line in Path(skylist).read_text(encoding="utf-8").splitlines())
        rows = [(line[0], " ".join(line[1:])) for line in lines if line]
    else:
        raise ParameterError('skymatch: skymethod="user" needs skylist: a file of names and levels, or a mapping of them.')
    levels: dict[str, float] = {}
    for name, text in rows:
        try:
            level = float(text)
        except ValueError:
            level = np.nan
        if not np.isfinite(level):
            raise ParameterError(f"skymatch: the level of {name!r} in skylist is {text!r}; a number was expected.")
        if _stem(name) in levels:
            raise ParameterError(f"skymatch: skylist has more than one level for {name!r}.")
        levels[_stem(name)] = level
    return levels


def _stem(name: str) -> str:
    """Return a file's name without folder, product suffix and extension."""
    return product_name(name, "", extension="").removesuffix("_")
