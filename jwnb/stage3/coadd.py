"""Adding images onto one grid: drizzled science, weight, context and variances (Fruchter & Hook 2002, PASP 114, 144).

Drizzling itself is the `drizzle` library's. Each image is drizzled alone, onto the part of the grid that it covers, so that several
processes can do it, and its planes are added here. Variances are drizzled as standard deviations, as jwst 3.0.0 does.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb.errors import InputError
from jwnb.kernels import coadd as kernels
from jwnb.stage3.drizzling import drizzle_context, drizzle_flags, fill_value
from jwnb.wcs.pixelmap import bounding_box_of
from jwnb.workers import Job

__all__ = ["VARIANCES", "Coadd", "Frame", "Options", "bytes_needed", "exposure_weight", "used_section"]

Array = npt.NDArray[Any]

# In the order in which they are added up to the error.
VARIANCES = ("var_rnoise", "var_flat", "var_poisson")
_BITS = 32
_NONE = np.zeros((0, 0), np.float32)
_NO_BITS = np.zeros((0, 0), np.uint32)
_ANYWHERE = np.zeros((0, 0), np.bool_)
_NO_CONTEXT = np.zeros((0, 0), np.int32)
# Kernels with weights of both signs, whose sums may be near 0: two of them are not taken from one call.
_SIGNED = ("lanczos2", "lanczos3")
# Output pixels beyond the mapped centres that a pixel's light may reach, at one input pixel to an output pixel.
_REACH = 5


@dataclass(frozen=True)
class Options:
    """How images are added: see `jwnb.resample`."""

    pixfrac: float = 1.0
    kernel: str = "square"
    fillval: str = "NAN"
    pixel_scale_ratio: float = 1.0
    weight_type: str = "ivm"
    unusable: int = 0
    context: bool = True
    variances: bool = True
    flags: bool = False

    @property
    def fill(self) -> float:
        """What output pixels without data hold."""
        return fill_value(self.fillval)


@dataclass(frozen=True)
class Frame:
    """One image that is to be added: the calls of `drizzle_alone` that it takes, and what becomes of their results."""

    number: int
    corner: tuple[int, int]
    shape: tuple[int, int]
    jobs: list[Job]
    took_part: Array
    kinds: tuple[int, ...]
    pair: tuple[int, int] | None
    by_variance: bool
    constant: float


def bytes_needed(shape: tuple[int, int], inputs: int, options: Options) -> int:
    """Return the memory that the output arrays and the sums behind them will take.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the output.
    inputs : int
        Number of images that will be added.
    options : Options
        Which arrays there will be.
    """
    planes = 2 + (-(-inputs // _BITS) if options.context else 0) + (2 * len(VARIANCES) + 1 if options.variances else 0)
    if options.flags:
        planes += 1
    planes += 7 if options.variances else 2  # one input's own, while it is added
    return 4 * planes * shape[0] * shape[1]


def used_section(wcs: Any, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return first and last column and row of an image that its WCS is good for, inclusive."""
    ny, nx = shape
    box = bounding_box_of(wcs)
    if box is None:
        return 0, nx - 1, 0, ny - 1
    (left, right), (low, high) = box
    x0, y0 = max(0, int(left + 0.5)), max(0, int(low + 0.5))
    return x0, max(x0, min(nx - 1, int(right + 0.5))), y0, max(y0, min(ny - 1, int(high + 0.5)))


def exposure_weight(model: JwstDataModel) -> float | None:
    """Return the time that weights an exposure: measured, or else the exposure time."""
    exposure = model.meta.exposure
    return exposure.exposure_time if exposure.measurement_time is None else exposure.measurement_time


class Coadd:
    """Images added one at a time onto one grid.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the output.
    inputs : int
        Number of images that will be added: their bits in the context.
    options : Options
        How.

    Attributes
    ----------
    data, weight : (NY, NX) float32
        Weighted mean and sum of weights.
    context : (planes, NY, NX) int32 or None
        Bit k of plane p is set where image 32·p + k took part.
    flags : (NY, NX) uint32 or None
        The DQ bits of all input pixels that took part.
    """

    def __init__(self, shape: tuple[int, int], inputs: int, options: Options) -> None:
        self.options = options
        self.inputs = 0
        self.data, self.weight = np.zeros((2, *shape), np.float32)
        self.context = np.zeros((-(-inputs // _BITS), *shape), np.int32) if options.context else None
        self.flags = np.zeros(shape, np.uint32) if options.flags else None
        kinds = len(VARIANCES) if options.variances else 0
        self._sums = np.zeros((kinds, *shape), np.float32)
        self._totals = np.zeros((kinds, *shape), np.float32)

    def prepared(self, model: JwstDataModel, pixmap: Array) -> Frame:
        """Return what it takes to add the next image.

        Parameters
        ----------
        model : JwstDataModel
            With 2-D data and, as far as there are any, DQ, errors and variances of the same shape.
        pixmap : (ny, nx, 2) float64
            0-based output x and y of each pixel; NaN where it has none. It is taken over.
        """
        section = used_section(model.meta.wcs, model.data.shape)
        corner, shape = self._covered(pixmap, section)
        kernels.shift(pixmap, float(corner[1]), float(corner[0]))
        kinds = tuple(k for k, name in enumerate(VARIANCES) if self.options.variances and _array(model, name).size)
        weight, background = self._weights(model), model.meta.background
        level = 0.0 if background.subtracted else background.level or 0.0
        planes, pair = _deviations([_array(model, VARIANCES[k]) for k in kinds], weight, together=self.options.kernel not in _SIGNED)
        planes = [(_plane(model.data) - np.float32(level), weight), *planes]
        how: dict[str, Any] = {
            "shape": shape, "kernel": self.options.kernel, "pixfrac": self.options.pixfrac, "section": section,
            "pixel_scale_ratio": self.options.pixel_scale_ratio,
        }  # fmt: skip
        if self.flags is not None and model.dq is not None and min(shape) > 0:
            self.flags[_box(corner, shape)] |= drizzle_flags(_plane(model.dq, np.uint32), weight, pixmap, **how)
        jobs: list[Job] = [((data, w, pixmap), how) for data, w in planes] if min(shape) > 0 else []
        took_part = _ANYWHERE
        if jobs and self.context is not None and self.options.kernel in _SIGNED:
            took_part = drizzle_context(*planes[0], pixmap, **how)
        by_variance = self.options.weight_type == "ivm" and 0 in kinds
        constant = float(exposure_weight(model) or 0.0) if self.options.weight_type == "exptime" else 1.0
        self.inputs += 1
        return Frame(self.inputs - 1, corner, shape, jobs, took_part, kinds, pair, by_variance, constant)

    def add(self, frame: Frame, results: list[tuple[Array, Array]]) -> None:
        """Add an image: `results` are those of its jobs, in order."""
        if not results:
            return
        (image, weight), *rest = results
        box = _box(frame.corner, frame.shape)
        context = _NO_CONTEXT if self.context is None else self.context[frame.number // _BITS][box]
        bit = np.uint32(1 << frame.number % _BITS).astype(np.int32)
        kernels.add_image(image, weight, self.data[box], self.weight[box], frame.took_part, context, bit)
        if not frame.kinds:
            return
        deviations = []
        if frame.pair is not None:
            ratio, first = rest.pop(0)
            deviations = list(kernels.parted(ratio, first, weight))
        deviations += [one for one, _ in rest]
        order = [*(frame.pair or ()), *(k for k in range(len(frame.kinds)) if k not in (frame.pair or ()))]
        planes = tuple(deviations[order.index(k)] for k in range(len(frame.kinds)))
        kinds = np.array(frame.kinds)
        sums, totals = self._sums[:, *box], self._totals[:, *box]
        kernels.add_variances(weight, planes, kinds, frame.by_variance, frame.constant, sums, totals)

    def finish(self, scale: float) -> tuple[Array, dict[str, Array]]:
        """Put the fill value where there is nothing; return the error and the variances, which take the place of the sums.

        Nothing can be added afterwards.

        Parameters
        ----------
        scale : float
            Applied to every variance.
        """
        self.data[self.weight == 0] = self.options.fill
        if not self.options.variances:
            return _NONE, {}
        error = kernels.combine_variances(self._sums, self._totals, scale)
        return error, dict(zip(VARIANCES, self._sums, strict=True))

    def _covered(self, pixmap: Array, section: tuple[int, int, int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return first row and column, and numbers of rows and columns, of the part of the output that an image can reach."""
        x0, x1, y0, y1 = section
        low, high = kernels.extent(pixmap[y0 : y1 + 1, x0 : x1 + 1])
        reach = int(np.ceil(_REACH * max(1.0, 1.0 / self.options.pixel_scale_ratio)))
        begin, end = [], []
        for size, least, most in zip(self.data.shape, low, high, strict=True):
            known = np.isfinite(least)
            begin.append(min(size, max(0, int(least) - reach)) if known else 0)
            end.append(max(begin[-1], min(size, int(most) + reach + 1)) if known else 0)
        return (begin[0], begin[1]), (end[0] - begin[0], end[1] - begin[1])

    def _weights(self, model: JwstDataModel) -> Array:
        options, constant = self.options, 1.0
        variance = _array(model, "var_rnoise") if options.weight_type == "ivm" else _NONE
        if options.weight_type == "exptime":
            time = exposure_weight(model)
            if time is None:
                raise InputError(f"{model.meta.filename} has neither TMEASURE nor EFFEXPTM: weight_type='exptime' needs one.")
            constant = time
        others = tuple(_array(model, name) for name in ("err", *VARIANCES))
        flags = _NO_BITS if model.dq is None else _plane(model.dq, np.uint32)
        return kernels.weights(_plane(model.data), flags, others, variance, np.uint32(options.unusable), np.float32(constant))


def _deviations(variances: list[Array], weight: Array, *, together: bool) -> tuple[list[tuple[Array, Array]], tuple[int, int] | None]:
    """Return what to drizzle, as (data, weight), to have the weighted mean of each standard deviation, and which two share a call.

    Drizzling sums weight · overlap, and that times the data. With weights w·a and data b/a the two sums are those of a and of b,
    each with the weight w, so one call gives both. It takes an `a` that is nowhere 0.
    """
    for first in range(len(variances) if together and len(variances) > 1 else 0):
        second = 1 if first == 0 else 0
        ratio, scaled, possible = kernels.pair(variances[first], variances[second], weight)
        if possible:
            rest = [k for k in range(len(variances)) if k not in (first, second)]
            return [(ratio, scaled), *((np.sqrt(variances[k]), weight) for k in rest)], (first, second)
    return [(np.sqrt(v), weight) for v in variances], None


def _box(corner: tuple[int, int], shape: tuple[int, int]) -> tuple[slice, slice]:
    return slice(corner[0], corner[0] + shape[0]), slice(corner[1], corner[1] + shape[1])


def _plane(array: Array, dtype: Any = np.float32) -> Array:
    return np.require(array, dtype, ["C", "W"])


def _array(model: JwstDataModel, name: str) -> Array:
    """Return one of a model's planes, empty where it has none of the shape of its data."""
    array = getattr(model, name, None)
    return _NONE if array is None or array.shape != model.data.shape else _plane(array)
