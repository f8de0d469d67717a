"""Sky levels: one number for each region of an image, and the levels that make overlapping images agree."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components

from jwnb.errors import ParameterError
from jwnb.kernels.sky_statistics import (
    COUNT,
    DONE,
    HIGH,
    LOW,
    MEAN,
    SPREAD,
    clip,
    clip_tails,
    core_sums,
    first_pixels,
    gather,
    histograms,
    tails,
)
from jwnb.stage3.sky_overlap import Region

__all__ = ["Level", "Pair", "Statistic", "matching_levels", "measure"]

Array = npt.NDArray[Any]
Runs = tuple[Array, Array, Array]

_FLOAT32 = np.finfo(np.float32)
# Below this a bin, or the range of the data, is taken for nothing; an absolute number, as in imagestats.
_NO_WIDTH = np.float32(10.0) * _FLOAT32.eps
_MANY_BINS, _MOST_BINS = 1_000_000, 20_000_000  # each takes 16 bytes in a block
_BINS_OF_MEDIAN = 1024  # four tables of them stay in the processor's first cache
_BLOCKS = 4
# Half the width of the core of the distribution, in standard deviations and in those where clipping is asked for.
_CORE, _CORE_OF_CLIP = 3.0, 0.7
_SAMPLE = 128  # rows and columns looked at to find the core


@dataclass(frozen=True)
class Statistic:
    """How a sky level is measured.

    Attributes
    ----------
    name : str
        "median", "midpt" (the median of a histogram), "mean" or "mode" (the peak of a histogram).
    lower, upper : float or None
        Values outside never count.
    nclip : int
        How often to clip.
    lsigma, usigma : float
        Where, in standard deviations from the mean.
    binwidth : float
        Of histograms, in standard deviations.
    """

    name: Literal["median", "midpt", "mean", "mode"] = "mode"
    lower: float | None = None
    upper: float | None = None
    nclip: int = 5
    lsigma: float = 4.0
    usigma: float = 4.0
    binwidth: float = 0.1


@dataclass(frozen=True)
class Level:
    """A sky level.

    Attributes
    ----------
    value : float
        In the units of the image.
    pixels : int
        How many are left after clipping.
    """

    value: float
    pixels: int


@dataclass(frozen=True)
class Pair:
    """The levels of two images where they overlap.

    Attributes
    ----------
    i, j : int
        Which images.
    first, second : Level
        Of each in the overlap.
    """

    i: int
    j: int
    first: Level
    second: Level

    @property
    def weight(self) -> float:
        """The mean number of pixels."""
        return 0.5 * (self.first.pixels + self.second.pixels)


def measure(values: Array, regions: Sequence[Region], statistic: Statistic) -> list[Level | None]:
    """Measure the sky in regions of one image.

    Parameters
    ----------
    values : (ny, nx) float32
        The image; what must not be used is NaN.
    regions : sequence of Region
        Where. They may overlap.
    statistic : Statistic
        What to measure.

    Returns
    -------
    list of Level or None
        None where no pixel is left.

    Notes
    -----
    The clipping, the mode and the midpoint are those of `stsci.imagestats`, which follow IRAF's imstatistics.
    """
    levels: list[Level | None] = [None] * len(regions)
    filled = [k for k, region in enumerate(regions) if region.pixels]
    if not filled:
        return levels
    runs = _joined([regions[k] for k in filled])
    left = _clipped(values, runs, statistic)
    found = _OF_NAME[statistic.name](values, runs, left, statistic)
    for k, row, value in zip(filled, left, found, strict=True):
        if row[COUNT] > 0 and np.isfinite(value):
            levels[k] = Level(float(value), int(row[COUNT]))
    return levels


def matching_levels(count: int, pairs: Sequence[Pair]) -> tuple[Array, Array]:
    """Return the levels that bring images to the same sky where they overlap, by weighted least squares.

    Parameters
    ----------
    count : int
        How many images there are.
    pairs : sequence of Pair
        Their overlaps.

    Returns
    -------
    (count,) float64
        The levels, up to a constant for each set of images that hang together; NaN for an image in no pair.
    (count,) int
        The number of the set that each image is in.
    """
    levels = np.full(count, np.nan)
    links = np.zeros((count, count), dtype=bool)
    links[[p.i for p in pairs], [p.j for p in pairs]] = True
    _, sets = connected_components(links, directed=False)
    if not pairs:
        return levels, sets
    rows = np.arange(len(pairs))
    weights = np.array([p.weight for p in pairs])
    equations = np.zeros((len(pairs), count))
    equations[rows, [p.i for p in pairs]] = weights
    equations[rows, [p.j for p in pairs]] = -weights
    differences = weights * np.array([p.first.value - p.second.value for p in pairs])
    used = np.unique([(p.i, p.j) for p in pairs])
    # The solution of least norm: no set of images has a level of its own.
    levels[used] = (np.linalg.pinv(equations, rcond=1e-12) @ differences)[used]
    return levels, sets


def _joined(regions: Sequence[Region]) -> Runs:
    """Return the runs of several regions one after the other, as the kernels take them."""
    begins = np.cumsum([0, *(region.starts.size for region in regions)])[:-1]
    first = np.stack([region.first + begin for region, begin in zip(regions, begins, strict=True)])
    return first, np.concatenate([r.starts for r in regions]), np.concatenate([r.stops for r in regions])


def _clipped(values: Array, runs: Runs, statistic: Statistic) -> Array:
    """Return what clipping leaves of each region."""
    lower = -np.inf if statistic.lower is None else statistic.lower
    upper = np.inf if statistic.upper is None else statistic.upper
    how = (float(lower), float(upper), statistic.nclip, statistic.lsigma, statistic.usigma)
    core = _core(values, statistic)
    if core is None:
        return np.asarray(clip(values, np.arange(len(runs[0])), *runs, *how))
    sums, offsets = core_sums(values, *core, *runs)
    far, columns = tails(values, *core, offsets)
    left = np.asarray(clip_tails(far, columns, offsets, *runs, sums, core, first_pixels(values, *runs), *how))
    again = np.flatnonzero(left[:, DONE] == 0)
    if again.size:
        left[again] = clip(values, again, *runs, *how)
    return left


def _core(values: Array, statistic: Statistic) -> tuple[np.float32, np.float32] | None:
    """Return limits between which no pixel is likely to be clipped, from a sample of the image."""
    steps = [max(1, n // _SAMPLE) for n in values.shape]
    sample = values[:: steps[0], :: steps[1]]
    sample = sample[np.isfinite(sample)]
    if sample.size < _SAMPLE:
        return None
    low, middle, high = np.percentile(sample, [15.87, 50.0, 84.13])
    half = min(_CORE, _CORE_OF_CLIP * min(statistic.lsigma, statistic.usigma)) * (high - low) / 2
    limits = np.float32(middle - half), np.float32(middle + half)
    return limits if limits[0] < limits[1] else None


def _means(values: Array, runs: Runs, left: Array, statistic: Statistic) -> Array:
    return np.asarray(left[:, MEAN])


def _medians(values: Array, runs: Runs, left: Array, statistic: Statistic) -> list[float]:
    """Return exact medians: a histogram tells in which bin each lies, and only that bin's pixels are sorted."""
    if statistic.nclip == 0:  # then neither limit holds for the median in imagestats
        everything = Statistic(nclip=0)
        left = np.where(left[:, [COUNT]] > 0, _clipped(values, runs, everything), left)
    zero, top = left[:, LOW].astype(np.float32), left[:, HIGH].astype(np.float32)
    with np.errstate(divide="ignore", over="ignore"):
        scale = np.float32(_BINS_OF_MEDIAN) / (top - zero)
    scale[~np.isfinite(scale)] = 0
    offsets = (_BINS_OF_MEDIAN + 2) * np.arange(len(left) + 1)
    counts = histograms(values, *runs, zero, scale, top, np.zeros(len(left), bool), offsets, _BLOCKS)
    cumulative = counts.reshape(len(left), -1).cumsum(axis=1)
    ranks = ((cumulative[:, -1:] + [-1, 0]) // 2).clip(0)  # 0-based, of the two in the middle
    ends = np.array([np.searchsorted(c, r, side="right") for c, r in zip(cumulative, ranks, strict=True)])
    before = np.array([c[b - 1] if b else 0 for c, b in zip(cumulative, ends[:, 0], strict=True)])
    sizes = [c[min(b, c.size - 1)] - n for c, b, n in zip(cumulative, ends[:, 1], before, strict=True)]
    places = np.cumsum([0, *sizes])
    # Nearly all pixels are seen not to be in the bins by their values alone.
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.fmax(zero, (zero + (ends[:, 0] - 1) / scale).astype(np.float32))
        high = np.fmin(top, (zero + (ends[:, 1] + 2) / scale).astype(np.float32))
    near = gather(values, *runs, low, high, zero, scale, ends, places)
    medians = []
    for k, (a, b) in enumerate(ranks - before[:, None]):
        mine = np.partition(near[places[k] : places[k + 1]], [a, b]) if sizes[k] else np.full(1, np.nan, np.float32)
        medians.append(float(np.mean(mine[[a, b]])) if sizes[k] else np.nan)
    return medians


@dataclass(frozen=True)
class _Histogram:
    low: float
    span: float
    width: float
    counts: Array


def _histograms(values: Array, runs: Runs, left: Array, statistic: Statistic) -> list[_Histogram]:
    """Count the pixels of each region in bins of `binwidth` standard deviations from the lowest value that is left.

    Up to one bin beyond the highest value left pixels are counted though they were clipped, as in imagestats.
    """
    widths = statistic.binwidth * left[:, SPREAD]
    ranges = left[:, HIGH] - left[:, LOW]
    bins = np.ones(len(left), np.int64)
    for k, (width, span) in enumerate(zip(widths, ranges, strict=True)):
        if left[k, COUNT] > 0 and np.float32(width) >= _NO_WIDTH and span >= _NO_WIDTH and width <= span:
            bins[k] = int(span / width) + 1
    if bins.sum() > _MOST_BINS:
        raise ParameterError(f"skymatch: binwidth={statistic.binwidth} makes {bins.sum():.3g} bins; give a larger one.")
    zero = left[:, LOW].astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        step = np.where(bins > 1, ranges / (bins - 1), 1.0).astype(np.float32)
        scale = np.float32(1) / step
        edge = zero + step * bins.astype(np.float32)
        whole = (scale * (edge - zero)).astype(np.int64) == bins
    top = np.where(whole, np.minimum(edge, edge * (np.float32(1) - _FLOAT32.eps)), edge)
    offsets = np.cumsum(np.append(0, bins))
    blocks = _BLOCKS if bins.sum() < _MANY_BINS else 1
    counts = histograms(values, *runs, zero, scale, top, ~whole, offsets, blocks)
    return [_Histogram(*row) for row in zip(left[:, LOW], ranges, widths, np.split(counts, offsets[1:-1]), strict=True)]


def _modes(values: Array, runs: Runs, left: Array, statistic: Statistic) -> list[float]:
    return [_mode(h) for h in _histograms(values, runs, left, statistic)]


def _mode(histogram: _Histogram) -> float:
    """Return where a parabola through the highest bin and its neighbours has its peak; the middle of a bin at either end."""
    low, width, counts = histogram.low, histogram.width, histogram.counts
    if counts.size == 2 and counts[0] == counts[1]:
        return float(low + width)
    peak = int(np.argmax(counts))
    if counts.size < 3 or peak in (0, counts.size - 1):
        return float(low + (peak + 0.5) * width)
    left, right = counts[peak] - counts[peak - 1], counts[peak] - counts[peak + 1]
    shift = 0.5 * (left - right) / (left + right) if left + right else 0.0
    return float(low + (peak + 0.5 + shift) * width)


def _midpoints(values: Array, runs: Runs, left: Array, statistic: Statistic) -> list[float]:
    return [_midpoint(h) for h in _histograms(values, runs, left, statistic)]


def _midpoint(histogram: _Histogram) -> float:
    """Return where half of the pixels of a histogram lie below, taken as even within a bin; the middle of the range in one bin."""
    low, width, counts = histogram.low, histogram.width, histogram.counts
    if counts.size == 1:
        return float(low + 0.5 * histogram.span) if np.isfinite(width) else np.nan
    share = counts.cumsum().astype(np.float32)
    share /= share[-1]
    half = int(np.argmax(share >= np.float32(0.5)))
    before = share[half - 1] if half else np.float32(0)
    return float(low + half * width + (np.float32(0.5) - before) / (share[half] - before) * np.float32(width))


_OF_NAME: dict[str, Callable[[Array, Runs, Array, Statistic], Sequence[float] | Array]] = {
    "mean": _means,
    "median": _medians,
    "mode": _modes,
    "midpt": _midpoints,
}
