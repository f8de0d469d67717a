"""Figures of what the steps on several exposures found: residuals of alignment, sky levels, outliers."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb import dq
from jwnb.display.mosaics import INK, SOFT, Images, exposures_of, nice, short_name, tangent_offsets
from jwnb.errors import InputError, ParameterError
from jwnb.models import Exposures
from jwnb.record import ledger, node

__all__ = ["alignment", "outliers", "sky_levels"]

Floats = npt.NDArray[np.float64]
CutOut = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]

_BLUE, _ORANGE, _UNKNOWN = "#0072b2", "#d55e00", "#a9c8e0"
_MAS = 1000.0
_ARROW = 0.05  # of the width of a panel, for the largest rms
_WIDEST = 8  # cut-outs in a row


def alignment(images: Images, *, number: int = 12) -> Figure:
    """Draw what `tweakreg` left between the stars of each exposure and those that it was aligned with.

    Of each exposure: its stars on the sky, those matched with an arrow for the residual (reference less star), all arrows on the same
    scale; beside them histograms of the residuals. The title says what was fitted, with how many stars, and the rms before and after.

    Parameters
    ----------
    images : Products of image3, models and paths
        Exposures after `tweakreg`; no pixel is read.
    number : int
        How many exposures at most: first those that were not aligned, then those with the largest rms.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        There is no result of `tweakreg`.
    """
    exposures, heads, told = _records(images, "tweakreg")
    shown = sorted(sorted(range(len(told)), key=lambda k: _badness(told[k]))[: _positive(number)])
    spread = max((record.get("rms_after", 0.0) for record in told), default=0.0) or 1e-3
    across = 1 if len(shown) <= 3 else 2
    down = -(-len(shown) // across)
    figure = Figure(figsize=(6.2 * across, 2.9 * down + 0.4), layout="constrained")
    figure.suptitle(_shown("alignment", len(shown), len(told), "those worst aligned"), fontsize=11, color=INK)
    parts = np.ravel(figure.subfigures(down, across, squeeze=False))
    for k, part in zip(shown, parts, strict=False):
        record = told[k]
        part.suptitle(f"{k + 1}  {short_name(exposures.names[k])}\n{_said(record)}", fontsize=8.5, color=INK)
        field, histogram = part.subplots(1, 2, width_ratios=(1, 1.1))
        _residuals_on_sky(field, heads[k], record, spread)
        _residual_histogram(histogram, record, spread)
    return figure


def sky_levels(images: Images) -> Figure:
    """Draw the sky levels that `skymatch` found, and the steps between overlapping exposures before and after.

    Parameters
    ----------
    images : Products of image3, models and paths
        Exposures after `skymatch`; no pixel is read.

    Returns
    -------
    Figure
        On the left the level of each exposure; on the right how far its sky lies above that of each exposure that it overlaps (where
        they were not matched, above the median of all). Without measurements, as with levels given by the user, only the left.

    Raises
    ------
    InputError
        There is no result of `skymatch`.
    """
    exposures, heads, told = _records(images, "skymatch")
    levels = np.array([np.nan if record["level"] is None else float(record["level"]) for record in told])
    before, after = _steps(exposures.names, told, levels)
    unit = heads[0].meta.bunit_data or "units of the image"
    figure = Figure(figsize=(8.6 if before else 4.6, 3.6), layout="constrained")
    panels = figure.subplots(1, 2 if before else 1, squeeze=False)[0]
    numbers = np.arange(1, len(told) + 1)
    panels[0].axhline(0, color=SOFT, lw=0.8)
    panels[0].vlines(numbers, 0, levels, color=_BLUE, lw=1.4)
    panels[0].plot(numbers, levels, "o", color=_BLUE, ms=5)
    for number in numbers[np.isnan(levels)]:
        panels[0].annotate("none", (number, 0), ha="center", va="bottom", fontsize=7, color=_ORANGE, rotation=90)
    method = heads[0].meta.background.method or told[0]["method"]
    state = "subtracted" if any(record["subtracted"] for record in told) else "not subtracted"
    panels[0].set_title(f"level ({method}; {state})", fontsize=10, color=INK)
    panels[0].set_ylabel(f"sky level ({unit})")
    if before:
        _draw_steps(panels[1], before, after, unit)
    for axes in panels:
        axes.set_xlabel("exposure")
        axes.set_xlim(0.4, len(told) + 0.6)
        if len(told) <= 20:
            axes.set_xticks(numbers)
    return figure


def outliers(images: Images, *, number: int = 4, size: int = 21, before: Images | None = None) -> Figure:
    """Draw cut-outs round the strongest outliers, of every exposure at that place of the sky, flagged pixels outlined.

    A row is an outlier, on one grey scale with the sky levels taken off; the exposure that has it is framed. What is there in
    one exposure and in no other is a cosmic ray or a bad pixel; what is there in all of them is the sky, and should not be outlined.

    Parameters
    ----------
    images : Products of image3, models and paths
        Exposures after `outlier_detection`, two or more. They are read one at a time.
    number : int
        How many outliers, at most one in a place.
    size : int
        Side of a cut-out in pixels.
    before : models and paths, optional
        The same exposures before `outlier_detection`. Without them flagged pixels, which are NaN now, are drawn with the values that
        were kept (of the 200 strongest of each exposure). Pixels without a value are light blue.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        There is no result of `outlier_detection`, nothing was flagged, or `before` does not fit.
    """
    exposures, heads, told = _records(images, "outlier_detection")
    if any("plane" in record for record in told):
        raise InputError("these are cubes of integrations; the figure compares images of one field.")
    earlier = None if before is None else exposures_of(before)
    if earlier is not None and len(earlier) != len(exposures):
        raise InputError(f"before= has {len(earlier)} exposures and there are {len(exposures)}; the same ones are needed.")
    size = _positive(size)
    strongest = _strongest(told, _positive(number), apart=size / 2)
    if not strongest:
        raise InputError(f"no outlier was flagged in any of the {len(told)} exposures, so there is nothing to draw.")
    places = [_places(heads, *one[:3]) for one in strongest]
    cells = _cut_outs(exposures, earlier, told, places, size)

    rows = [_chosen(one[0], len(heads), [k for k in range(len(heads)) if (row, k) in cells]) for row, one in enumerate(strongest)]
    across = max(map(len, rows))
    figure = Figure(figsize=(1.45 * across + 1.0, 1.6 * len(rows) + 0.7), layout="constrained")
    figure.suptitle("the strongest outliers, and the other exposures there (number above)", fontsize=10, color=INK)
    grid = figure.subplots(len(rows), across, squeeze=False)
    for row, (axes_row, shown, (owner, x, y, sigma)) in enumerate(zip(grid, rows, strongest, strict=True)):
        limits = _limits([np.where(cells[row, k][1], np.nan, cells[row, k][0]) for k in shown if (row, k) in cells])
        for axes, k in zip(axes_row, shown, strict=False):
            _draw_cut_out(axes, cells.get((row, k)), limits, number=k + 1, framed=k == owner)
        for axes in axes_row[len(shown) :]:
            axes.set_visible(False)
        text = f"in {owner + 1} at\nx={x}, y={y}\n{sigma:+.0f} errors"
        axes_row[0].set_ylabel(text, fontsize=7.5, color=INK, rotation=0, ha="right", va="center")
    return figure


def _records(images: Images, step: str) -> tuple[Exposures, list[JwstDataModel], list[dict[str, Any]]]:
    """Return exposures, their models without images, and what a step remembered of each; raise where one has nothing."""
    exposures = exposures_of(images, step)
    heads = [exposures.take(k) for k in range(len(exposures))]
    for head, name in zip(heads, exposures.names, strict=True):
        if head.meta.cal_step.resample == "COMPLETE":
            raise InputError(
                f"{name or 'this'} is a mosaic; the figure is of the exposures that it was made of (crf of image3's products)."
            )
    told = [node(head).get(step) for head in heads]
    without = [k for k, record in enumerate(told) if record is None]
    if without:
        entry = next((e for e in reversed(ledger(heads[without[0]])) if e["step"] == step), None)
        why = f"{step} was {entry['status'].lower()}: {entry['reason']}" if entry else f"run jwnb.{step} on all of them together, or image3"
        first = short_name(exposures.names[without[0]])
        raise InputError(f"{len(without)} of {len(told)} exposures ({first} …) have no result of {step} to draw; {why}.")
    return exposures, heads, [dict(record) for record in told if record is not None]


def _positive(number: int) -> int:
    if number < 1:
        raise ParameterError(f"{number} is too few to draw: at least 1.")
    return number


def _badness(record: dict[str, Any]) -> tuple[int, float]:
    return {"kept": 0, "aligned": 1, "reference": 2}[record["status"]], -record.get("rms_after", 0.0)


def _shown(what: str, shown: int, total: int, which: str) -> str:
    return f"{what} of {total} exposures" if shown == total else f"{what} of {shown} among {total} exposures: {which}"


def _said(record: dict[str, Any]) -> str:
    if record["status"] == "reference":
        return "the reference of the others"
    if record["status"] == "kept":
        return f"WCS kept as it was ({record['nmatches']} matches)"
    rms = f"rms {record['rms_before'] * _MAS:.3g} → {record['rms_after'] * _MAS:.2g} mas"
    pixels = f"{record['rms_before_pixels']:.2g} → {record['rms_after_pixels']:.2g} pixels"
    return f"{record['geometry']}, {record['nfitted']} stars fitted, {rms} ({pixels})"


def _residuals_on_sky(axes: Axes, head: JwstDataModel, record: dict[str, Any], spread: float) -> None:
    from jwnb.wcs.frames import footprint

    corners = footprint(head.meta.wcs)
    middle = float(np.degrees(np.angle(np.exp(1j * np.radians(corners[:, 0])).mean())) % 360), float(corners[:, 1].mean())
    outline = tangent_offsets(corners, middle)
    axes.plot(*np.vstack([outline, outline[:1]]).T, color=SOFT, lw=0.8)
    x, y = (np.asarray(record["catalog"][name], float) for name in ("x", "y"))
    if x.size:
        stars = tangent_offsets(np.column_stack(head.meta.wcs(x, y, with_bounding_box=False)), middle)
        axes.plot(*stars.T, ".", color=SOFT, ms=3, label="stars")
    dx, dy = (np.asarray(record[f"residual_{name}"], float) for name in "xy")
    if dx.size:
        matched = tangent_offsets(np.column_stack([record["reference_ra"], record["reference_dec"]]), middle)
        arrows = axes.quiver(
            *matched.T, dx, dy, angles="xy", scale_units="width", scale=spread / _ARROW, color=_ORANGE, width=0.008, zorder=3
        )  # fmt: skip
        key = nice(spread * _MAS * 1.5)
        axes.quiverkey(arrows, 0.1, 0.94, key / _MAS, f"{key:g} mas", labelpos="E", coordinates="axes", fontproperties={"size": 7})
    axes.set_aspect("equal")
    axes.margins(0.1)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.14 * (high - low))  # room for the key
    axes.invert_xaxis()
    axes.set_xlabel("east (arcsec)", fontsize=8)
    axes.set_ylabel("north (arcsec)", fontsize=8)
    axes.tick_params(labelsize=7)


def _residual_histogram(axes: Axes, record: dict[str, Any], spread: float) -> None:
    dx, dy = (np.asarray(record[f"residual_{name}"], float) * _MAS for name in "xy")
    if not dx.size:
        text = record["reason"] or ("the others are aligned with this one" if record["status"] == "reference" else "no matches")
        axes.text(0.5, 0.5, textwrap.fill(text, 34), ha="center", va="center", fontsize=8, color=SOFT, transform=axes.transAxes)
        axes.set_axis_off()
        return
    reach = max(3.5 * spread * _MAS, float(np.abs([dx, dy]).max()))
    bins = np.linspace(-reach, reach, 22).tolist()
    axes.axvline(0, color=SOFT, lw=0.8)
    for values, colour, line, word in ((dx, _BLUE, "-", "east"), (dy, _ORANGE, "--", "north")):
        axes.hist(values, bins=bins, histtype="step", color=colour, ls=line, lw=1.4, label=_mean_and_scatter(word, values))
    axes.set_xlabel("reference less star (mas)", fontsize=8)
    axes.set_ylabel("stars", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.35)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.legend(frameon=False, fontsize=7, loc="upper left")


def _mean_and_scatter(word: str, values: Floats) -> str:
    return f"{word}: {round(float(values.mean()), 1) + 0.0:+.1f} ± {values.std():.1f}"  # -0.0 + 0.0 is 0.0


def _steps(names: Sequence[str], told: Sequence[dict[str, Any]], levels: Floats) -> tuple[list[Floats], list[Floats]]:
    """Return of each exposure how far its sky lies above that of the others, before and after the levels are taken off; or nothing."""
    short = [short_name(name) for name in names]
    off = np.nan_to_num(levels)
    if any(record["overlaps"] for record in told):
        before = [np.array([pair["sky"] - pair["other_sky"] for pair in record["overlaps"]]) for record in told]
        others = [[_place_of(pair["exposure"][0], short) for pair in record["overlaps"]] for record in told]
        after = [steps - (off[k] - off[others[k]]) for k, steps in enumerate(before)]
        return before, after
    wholes = np.array([np.nan if record.get("whole") is None else float(record["whole"]) for record in told])
    if not np.isfinite(wholes).any():
        return [], []
    return list(np.transpose([wholes - np.nanmedian(wholes)])), list(np.transpose([wholes - off - np.nanmedian(wholes - off)]))


def _place_of(name: str, short: Sequence[str]) -> int:
    """Return which exposure bears a name, which may have got another suffix since, with an identifier before it."""
    root = short_name(name)
    for k, one in enumerate(short):
        if one == root or one.startswith(f"{root}_"):
            return k
    raise InputError(f"skymatch matched {root} too, which is not among these exposures; give all that were matched together.")


def _draw_steps(axes: Axes, before: list[Floats], after: list[Floats], unit: str) -> None:
    axes.axhline(0, color=SOFT, lw=0.8)
    for steps, shift, colour, marker, fill, word in (
        (before, -0.12, _ORANGE, "o", "none", "before"),
        (after, 0.12, _BLUE, "D", "full", "after"),
    ):
        x = np.concatenate([np.full(len(s), k + 1 + shift) for k, s in enumerate(steps)])
        y = np.concatenate(steps)
        label = f"{word}: rms {np.sqrt(np.mean(y**2)):.2g}"
        axes.plot(x, y, ls="none", color=colour, marker=marker, fillstyle=fill, ms=4.5, label=label)
    axes.set_title("steps to the other exposures", fontsize=10, color=INK)
    axes.set_ylabel(f"difference of sky ({unit})")
    axes.margins(y=0.22)
    axes.legend(frameon=False, fontsize=8, loc="upper center", ncols=2)


def _strongest(told: Sequence[dict[str, Any]], number: int, *, apart: float) -> list[tuple[int, int, int, float]]:
    """Return exposure, x, y and errors of the strongest outliers, of those near one another the strongest only."""
    listed = [
        (k, int(x), int(y), float(sigma))
        for k, record in enumerate(told)
        for x, y, sigma in zip(*(np.asarray(record[name]) for name in ("x", "y", "sigma")), strict=True)
        if np.isfinite(sigma)
    ]
    chosen: list[tuple[int, int, int, float]] = []
    for k, x, y, sigma in sorted(listed, key=lambda one: -abs(one[3])):
        if len(chosen) == number:
            break
        if all(other != k or np.hypot(x - x0, y - y0) > apart for other, x0, y0, _ in chosen):
            chosen.append((k, x, y, sigma))
    return chosen


def _places(heads: Sequence[JwstDataModel], owner: int, x: int, y: int) -> list[tuple[int, int] | None]:
    """Return the pixel of each exposure that looks where a pixel of one looks, None where it lies outside."""
    ra, dec = heads[owner].meta.wcs(x, y, with_bounding_box=False)
    found: list[tuple[int, int] | None] = []
    for k, head in enumerate(heads):
        wcs = head.meta.wcs
        u, v = (x, y) if k == owner else (float(part) for part in wcs.invert(ra, dec, with_bounding_box=False))
        (x0, x1), (y0, y1) = wcs.bounding_box.bounding_box(order="F")
        found.append((round(u), round(v)) if x0 <= u <= x1 and y0 <= v <= y1 else None)
    return found


def _chosen(owner: int, count: int, covering: list[int]) -> list[int]:
    """Return which exposures are drawn: all, or where they are many the owner and the first others that cover the place."""
    if count <= _WIDEST:
        return list(range(count))
    return sorted([owner, *[k for k in covering if k != owner][: _WIDEST - 1]])


def _cut_outs(
    exposures: Exposures,
    earlier: Exposures | None,
    told: Sequence[dict[str, Any]],
    places: Sequence[Sequence[tuple[int, int] | None]],
    size: int,
) -> dict[tuple[int, int], CutOut]:
    """Return, by row and exposure, cut-outs with the sky level off, and which of their pixels are flagged."""
    cells = {}
    for k in range(len(exposures)):
        if all(row[k] is None for row in places):
            continue
        with exposures.taken(k, "data", "dq") as model:
            flags = (np.asarray(model.dq) & dq.PIXEL["OUTLIER"]) > 0
            background = model.meta.background
            sky = 0.0 if background.subtracted else background.level or 0.0
            if earlier is None:
                data = np.array(model.data, np.float32)
                data[np.asarray(told[k]["y"], int), np.asarray(told[k]["x"], int)] = np.asarray(told[k]["value"], np.float32)
            else:
                with earlier.taken(k, "data") as one:
                    data = np.array(one.data, np.float32)
                if data.shape != flags.shape:
                    raise InputError(f"before= has {data.shape} pixels in exposure {k + 1}, which has {flags.shape}.")
        for row, place in enumerate(places):
            if (here := place[k]) is not None:
                cells[row, k] = _cut(data, here, size, np.nan) - np.float32(sky), _cut(flags, here, size, np.False_)
    return cells


def _cut(array: npt.NDArray[Any], place: tuple[int, int], size: int, fill: Any) -> npt.NDArray[Any]:
    """Return a square about a pixel, with `fill` beyond the edges."""
    out = np.full((size, size), fill, array.dtype)
    x, y = (part - size // 2 for part in place)
    y0, y1, x0, x1 = max(y, 0), min(y + size, array.shape[0]), max(x, 0), min(x + size, array.shape[1])
    out[y0 - y : y1 - y, x0 - x : x1 - x] = array[y0:y1, x0:x1]
    return out


def _limits(cut_outs: Sequence[npt.NDArray[np.float32]]) -> tuple[float, float]:
    """Return where black and white lie for cut-outs in which outliers do not count."""
    values = np.concatenate([part[np.isfinite(part)] for part in cut_outs])
    if not values.size:
        return 0.0, 1.0
    low, middle, high = np.percentile(values, [1, 50, 99])
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    return float(low), max(float(high), float(middle) + 8 * spread, float(low) + 1e-6)


def _draw_cut_out(axes: Axes, cell: CutOut | None, limits: tuple[float, float], *, number: int, framed: bool) -> None:
    if cell is None:
        axes.set_facecolor("#f2f3f5")
        axes.set_box_aspect(1)
        axes.text(0.5, 0.5, "outside", ha="center", va="center", fontsize=7.5, color=SOFT, transform=axes.transAxes)
    else:
        data, flags = cell
        grey = colormaps["gray"].with_extremes(bad=_UNKNOWN)
        axes.imshow(data, origin="lower", cmap=grey, vmin=limits[0], vmax=limits[1], interpolation="nearest")
        axes.add_collection(LineCollection(_borders(flags), colors=_ORANGE, linewidths=1.2))
    axes.set_title(str(number), fontsize=8, color=_ORANGE if framed else INK, weight="bold" if framed else "normal", pad=2)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_edgecolor(_ORANGE if framed else SOFT)
        spine.set_linewidth(2.0 if framed else 0.6)


def _borders(flags: npt.NDArray[np.bool_]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return the edges between pixels that are flagged and those that are not, as pairs of points."""
    padded = np.pad(flags, 1)
    up, across = (np.argwhere(np.diff(padded, axis=axis)) for axis in (0, 1))
    lying = [((x - 1.5, y - 0.5), (x - 0.5, y - 0.5)) for y, x in up]
    standing = [((x - 0.5, y - 1.5), (x - 0.5, y - 0.5)) for y, x in across]
    return [*lying, *standing]
