"""Outliers among dithered images: the median of all of them on one grid, or pixel by pixel, and what differs from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from drizzle.resample import blot_image
from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb.errors import InputError
from jwnb.kernels.coadd import shift, weights
from jwnb.kernels.medians import clipped_mean
from jwnb.kernels.outliers import core_contrast, core_counts, far_from, far_from_blotted, grown, in_blocks, nearest
from jwnb.models import Exposures
from jwnb.stage3.coadd import exposure_weight, used_section
from jwnb.stage3.drizzling import drizzle_alone, fill_value
from jwnb.stage3.median_stack import MedianStack
from jwnb.stage3.outlier_flags import Outliers, found_in
from jwnb.stage3.output_grid import Grid
from jwnb.wcs.pixelmap import PixelMap, image_to_image
from jwnb.workers import Job, spread

__all__ = ["Combining", "Comparing", "Median", "blotted", "compare", "median_of_pixels", "median_on_grid"]

Array = npt.NDArray[Any]

_NONE = np.zeros((0, 0), np.float32)
_NO_BITS = np.zeros((0, 0), np.uint32)
# Weights far from the others (a few pixels with hardly any read noise, the seams of detectors) do not decide on what is a low weight.
_SIGMA, _ROUNDS = 3.0, 5
_WORTHWHILE = 2**20  # pixels of the grid for which it pays to start processes
_MARGIN = 16  # output pixels round an image's own: more than any kernel reaches
_COARSE = 1.0  # output pixels to which the outline of an image need be known
_ROWS = 256  # of an image whose map is in memory at once
# Maxima of the median that stand out by this many errors are looked at to see whether outliers sit on sources.
_BRIGHT = np.float32(20)
_FEWEST = 3  # images that a maximum must be the median of, so as not to be an outlier itself


@dataclass(frozen=True)
class Combining:
    """How the median is made: see `jwnb.outlier_detection`."""

    kernel: str = "square"
    pixfrac: float = 1.0
    fillval: str = "NAN"
    weight_type: str = "ivm"
    unusable: int = 0
    maskpt: float = 0.7
    drop_low: int = 0
    drop_high: int = 0
    tolerance: float = 1e-3

    @property
    def arrays(self) -> tuple[str, ...]:
        """The arrays of an image that the median needs."""
        return ("data", "dq", "var_rnoise") if self.weight_type == "ivm" else ("data", "dq")

    @property
    def fill(self) -> float:
        """What pixels of the grid without data hold."""
        return fill_value(self.fillval)


@dataclass(frozen=True)
class Comparing:
    """How images are compared with the median: see `jwnb.outlier_detection`."""

    snr: tuple[float, float] = (5.0, 4.0)
    scale: tuple[float, float] = (1.2, 0.7)
    backg: float = 0.0
    grow: float = 0.0


@dataclass(frozen=True)
class Median:
    """The median of images and where it lies.

    Attributes
    ----------
    image : (NY, NX) float32
        NaN where no image has enough weight.
    counts : (NY, NX) uint16
        How many images it is the median of.
    grid : Grid or None
        Where its pixels lie; None: where those of the images are.
    maps : tuple of PixelMap or None
        Where each image's pixels lie on the grid; None where the map is too large to be kept.
    """

    image: Array
    counts: Array
    grid: Grid | None = None
    maps: tuple[PixelMap | None, ...] = ()


def median_on_grid(images: Exposures, grid: Grid, how: Combining, *, groups: Sequence[str]) -> Median:
    """Drizzle each exposure alone onto a common grid and take the median; detectors of one exposure go together.

    Parameters
    ----------
    images : Exposures
        2-D images with a WCS.
    grid : Grid
        The common one.
    how : Combining
        Options.
    groups : sequence of str
        The same for images that go together.
    """
    maps: list[PixelMap | None] = [None] * len(images)
    image = weight = _NONE
    with MedianStack(grid.shape) as stack:
        jobs = _jobs(images, grid, how, maps, groups)
        for (box, begins, ends), results in spread(drizzle_alone, jobs, worthwhile=grid.shape[0] * grid.shape[1] > _WORTHWHILE):
            image, weight = results[0] if begins else _merged((image, weight), results[0])
            if ends:
                image = np.require(image, requirements=["W"])
                limit = _mask(image, weight, how.maskpt)
                stack.add(image, row=box[0], column=box[2], outside=np.nan if limit > 0 else how.fill)
            del results
        return Median(*stack.median(drop_low=how.drop_low, drop_high=how.drop_high), grid, tuple(maps))


def median_of_pixels(images: Exposures, how: Combining) -> Median:
    """Take the median of images pixel by pixel.

    Raises
    ------
    InputError
        The images are not of one shape.
    """
    shape = _data(images.take(0, "data")).shape
    with MedianStack(shape) as stack:
        for k in range(len(images)):
            with images.taken(k, *how.arrays) as model:
                data = _data(model)
                if data.shape != shape:
                    raise InputError(
                        f"without resampling images are compared pixel by pixel, but {images.names[k]} is of shape {data.shape} "
                        f"and {images.names[0]} of {shape}. Use resample_data=True."
                    )
                image = data.copy()
                _mask(image, _weights(model, how), how.maskpt)
            stack.add(image)
        return Median(*stack.median(drop_low=how.drop_low, drop_high=how.drop_high))


def compare(images: Exposures, median: Median, how: Comparing, *, tolerance: float) -> tuple[list[Outliers], Array]:
    """Compare each image with the median, brought back to its own pixels where it lies on a grid.

    Parameters
    ----------
    images : Exposures
        The images.
    median : Median
        Of them.
    how : Comparing
        Options; without a grid only the first of `snr` counts.
    tolerance : float
        Of maps that have to be made again.

    Returns
    -------
    list of Outliers
        Of each image.
    (5,) int64
        Pixels on cores of compact sources, outliers among them, pixels elsewhere, outliers among them; outliers among eight others.
    """
    results, counts = [], np.zeros(5, np.int64)
    snr, scale = np.array(how.snr, np.float32), np.array(how.scale, np.float32)
    peaks = core_contrast(median.image, median.counts, _FEWEST)
    for k in range(len(images)):
        with images.taken(k, "data", "err", "dq") as model:
            data, err = _data(model), _errors(model)
            if median.grid is None:
                expected, contrast = median.image, peaks
                found = far_from(data[None], err[None], expected, snr[0])[0]
            else:
                pixmap = median.maps[k] or _map(model, median.grid, tolerance)
                expected, contrast = blotted(median.image, peaks, pixmap)
                level = _level(model)
                found = far_from_blotted(data, err, expected, snr, scale, np.float32(how.backg if level is None else level))
            counts[:4] += core_counts(data, err, contrast, found, _BRIGHT).sum(axis=0)
            counts[4] += in_blocks(found).sum()
            results.append(found_in(model, grown(found, how.grow), expected))
            del data, err, expected, contrast, found
    return results, counts


def blotted(median: Array, peaks: Array, pixmap: PixelMap) -> tuple[Array, Array]:
    """Bring two images on a grid to the pixels of an exposure.

    Parameters
    ----------
    median, peaks : (NY, NX) float32
        What to interpolate linearly, and what to take from the nearest pixel.
    pixmap : PixelMap
        Where the exposure's pixels lie on the grid.

    Returns
    -------
    (ny, nx) float32, (ny, nx) float32
        The median, NaN outside and beside NaN; the peaks, 0 outside.
    """
    out, near = np.full(pixmap.shape, np.nan, np.float32), np.zeros(pixmap.shape, np.float32)
    for start in range(0, len(out), _ROWS):
        rows = slice(start, min(start + _ROWS, len(out)))
        places = pixmap.rows(rows.start, rows.stop)
        nearest(peaks, places, near[rows])
        places[np.isnan(places)] = -1.0  # outside: the library takes no NaN
        out[rows] = blot_image(median, places, fillval=np.nan, iscale=1.0, interp="linear")
    return out, near


def _map(model: JwstDataModel, grid: Grid, tolerance: float) -> PixelMap:
    return image_to_image(model.meta.wcs, grid.wcs, _data(model).shape, tolerance=tolerance)


def _box(maps: Sequence[PixelMap], shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the rows and columns (start, stop, start, stop) of the grid that the images are in, with a margin."""
    x, y = (np.concatenate([m.nodes[c].ravel() for m in maps]) for c in (0, 1))
    box = []
    for places, size in ((y, shape[0]), (x, shape[1])):
        finite = places[np.isfinite(places)]
        low, high = (finite.min(), finite.max()) if finite.size else (0, 0)
        start = int(np.clip(np.floor(low) - _MARGIN, 0, size - 1))
        box += [start, int(np.clip(np.ceil(high) + _MARGIN + 1, start + 1, size))]
    return box[0], box[1], box[2], box[3]


def _jobs(
    images: Exposures, grid: Grid, how: Combining, maps: list[PixelMap | None], groups: Sequence[str]
) -> Iterator[tuple[tuple[tuple[int, int, int, int], bool, bool], list[Job]]]:
    """Yield what to drizzle for each image, with the box of its group, and whether it is the first and the last of that; fill in `maps`."""
    together: dict[str, list[int]] = {}
    for k, group in enumerate(groups):
        together.setdefault(group, []).append(k)
    for members in together.values():
        box = (0, 0, 0, 0)
        for k in members:
            with images.taken(k, *how.arrays) as model:
                data, level = _data(model), _level(model)
                pixmap = _map(model, grid, how.tolerance)
                maps[k] = pixmap if pixmap.error > 0 else None
                if k == members[0]:
                    box = _box([pixmap, *(_map(images.take(j, "data"), grid, _COARSE) for j in members[1:])], grid.shape)
                places = pixmap.full()
                shift(places, float(box[2]), float(box[0]))
                given = (data if level is None else data - np.float32(level), _weights(model, how), places)
                options = {
                    "shape": (box[1] - box[0], box[3] - box[2]), "kernel": how.kernel, "pixfrac": how.pixfrac, "fillval": how.fillval,
                    "section": used_section(model.meta.wcs, data.shape),
                }  # fmt: skip
            jobs: list[Job] = [(given, options)]
            del data, pixmap, places, given
            yield (box, k == members[0], k == members[-1]), jobs


def _merged(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return the weighted mean of two images on one box, and the sum of their weights."""
    (a, weight_a), (b, weight_b) = first, second
    weight = weight_a + weight_b
    both = (weight_a != 0) & (weight_b != 0)
    image = np.where(weight_b != 0, b, a)
    image[both] = (a[both] * weight_a[both] + b[both] * weight_b[both]) / weight[both]
    return image, weight


def _mask(image: Array, weight: Array, maskpt: float) -> float:
    """Set what has a low weight to NaN, in place, and return the limit."""
    limit = np.float64(clipped_mean(weight.ravel(), _SIGMA, _ROUNDS) * maskpt)
    image[weight < limit] = np.nan
    return float(limit)


def _weights(model: JwstDataModel, how: Combining) -> Array:
    constant: float | None = 1.0
    if how.weight_type == "exptime":
        constant = exposure_weight(model)
        if constant is None:
            raise InputError(f"{model.meta.filename} has neither TMEASURE nor EFFEXPTM: weight_type='exptime' needs one.")
    variance = _plane(model, "var_rnoise", np.float32) if how.weight_type == "ivm" else None
    flags = _plane(model, "dq", np.uint32)
    return weights(
        _data(model), _NO_BITS if flags is None else flags, (_NONE,) * 4, _NONE if variance is None else variance,
        np.uint32(how.unusable), np.float32(constant),
    )  # fmt: skip


def _level(model: JwstDataModel) -> float | None:
    """Return the sky level that was measured and is still in the image."""
    background = model.meta.background
    return None if background.subtracted else background.level


def _data(model: JwstDataModel) -> Array:
    data = _plane(model, "data", np.float32)
    if data is None or data.ndim != 2:
        raise InputError(f"{model.meta.filename} is no 2-D image, and cannot be compared with images.")
    return data


def _errors(model: JwstDataModel) -> Array:
    err = _plane(model, "err", np.float32)
    if err is None:
        raise InputError(f"{model.meta.filename} has no ERR array, by which outliers are judged. Calibrate it again from its uncal.")
    return err


def _plane(model: JwstDataModel, name: str, dtype: Any) -> Array | None:
    array = model.instance.get(name)
    shape = np.shape(model.instance["data"]) if "data" in model.instance else None
    return np.require(array, dtype, ["C"]) if array is not None and (shape is None or np.shape(array) == shape) else None
