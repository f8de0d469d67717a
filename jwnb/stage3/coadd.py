"""Adding images onto one grid: drizzled science, weight, context and variances (Fruchter & Hook 2002, PASP 114, 144).

Drizzling itself is the `drizzle` library's. Variances are drizzled as standard deviations, one plane at a time, as jwst 3.0.0 does.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from drizzle.resample import Drizzle
from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb.errors import InputError
from jwnb.kernels import coadd as kernels
from jwnb.wcs.pixelmap import bounding_box_of

__all__ = ["VARIANCES", "Coadd", "Options", "bytes_needed", "exposure_weight", "used_section"]

Array = npt.NDArray[Any]

# In the order in which they are added up to the error.
VARIANCES = ("var_rnoise", "var_flat", "var_poisson")
_BITS = 32
_NONE = np.zeros((0, 0), np.float32)
_NO_BITS = np.zeros((0, 0), np.uint32)
# The library takes pixels that are shrunk to this or less for points.
_POINT = 1e-3


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
    def library_kernel(self) -> str:
        """The kernel to ask the library for."""
        return self.kernel if self.pixfrac > _POINT else "point"

    @property
    def fill(self) -> float:
        """What output pixels without data hold."""
        return np.nan if self.fillval.strip().upper() in {"", "INDEF", "NAN"} else float(self.fillval)


@dataclass(frozen=True)
class _Frame:
    """One image as it is spread: what is used of it, from where, and with what weight."""

    data: Array
    weight: Array
    level: float
    variances: tuple[Array, ...]
    dq: Array | None
    section: tuple[int, int, int, int]


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
    planes += 5 if options.variances else 0  # one input's own, while it is added
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
        self._library = Drizzle(
            kernel=options.library_kernel,
            fillval=options.fillval,
            out_shape=shape,
            max_ctx_id=inputs - 1,
            disable_ctx=not options.context,
        )
        self.data, self.weight, self.context = self._library.out_img, self._library.out_wht, self._library.out_ctx
        self.flags = np.zeros(shape, np.uint32) if options.flags else None
        kinds = len(VARIANCES) if options.variances else 0
        self._sums = np.zeros((kinds, *shape), np.float32)
        self._totals = np.zeros((kinds, *shape), np.float32)

    def add(self, model: JwstDataModel, pixmap: Array) -> None:
        """Add the next image.

        Parameters
        ----------
        model : JwstDataModel
            With 2-D data and, as far as there are any, DQ, errors and variances of the same shape.
        pixmap : (ny, nx, 2) float64
            0-based output x and y of each pixel; NaN where it has none.
        """
        kinds = [k for k, name in enumerate(VARIANCES) if self.options.variances and _array(model, name).size]
        background = model.meta.background
        frame = _Frame(
            data=_plane(model.data),
            weight=self._weights(model),
            level=0.0 if background.subtracted else background.level or 0.0,
            variances=tuple(_array(model, VARIANCES[k]) for k in kinds),
            dq=None if model.dq is None or self.flags is None else _plane(model.dq, np.uint32),
            section=used_section(model.meta.wcs, model.data.shape),
        )
        planes = self._spread(frame, pixmap)
        if kinds:
            by_variance = self.options.weight_type == "ivm" and VARIANCES[kinds[0]] == "var_rnoise"
            constant = float(exposure_weight(model) or 0.0) if self.options.weight_type == "exptime" else 1.0
            inverse = 1 if by_variance else 0
            kernels.add_variances(planes, np.array(kinds), inverse, constant, self._sums, self._totals)

    def finish(self, scale: float) -> tuple[Array, dict[str, Array]]:
        """Return the error and the variances, which take the place of the sums: nothing can be added afterwards.

        Parameters
        ----------
        scale : float
            Applied to every variance.
        """
        error = kernels.combine_variances(self._sums, self._totals, scale)
        return error, dict(zip(VARIANCES, self._sums, strict=True))

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

    def _spread(self, frame: _Frame, pixmap: Array) -> Array:
        """Add a frame to image, weight, context and flags; return its own weight and standard deviations in the output."""
        options, shape = self.options, self.data.shape
        how = dict(zip(("xmin", "xmax", "ymin", "ymax"), frame.section, strict=True)) | {
            "exptime": 1.0,  # only scales counts, and the data are rates
            "pixmap": pixmap,
            "weight_map": frame.weight,
            "pixfrac": options.pixfrac,
            "pixel_scale_ratio": options.pixel_scale_ratio,
        }
        planes = np.zeros((*shape, 4) if frame.variances else (0, 0, 4), np.float32)
        with np.errstate(invalid="ignore"), warnings.catch_warnings():
            # The step says in the ledger what kernels do not do; a warning made an error would break the library off.
            warnings.simplefilter("ignore")
            self._library.add_image(frame.data - np.float32(frame.level), dq=frame.dq, **how)
            for k, variance in enumerate(frame.variances):
                one = Drizzle(kernel=options.library_kernel, fillval="NAN", out_shape=shape, disable_ctx=True)
                one.add_image(np.sqrt(variance), **how)
                planes[..., 0], planes[..., k + 1] = one.out_wht, one.out_img
        if frame.dq is not None:
            self.flags = self._library.out_dq
        return planes


def _plane(array: Array, dtype: Any = np.float32) -> Array:
    return np.require(array, dtype, ["C", "W"])


def _array(model: JwstDataModel, name: str) -> Array:
    """Return one of a model's planes, empty where it has none of the shape of its data."""
    array = getattr(model, name, None)
    return _NONE if array is None or array.shape != model.data.shape else _plane(array)
