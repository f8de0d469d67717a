"""Drizzling one image onto one grid: arrays in, arrays out, so that any process can do it."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from drizzle.resample import Drizzle

from jwnb.errors import ParameterError

__all__ = ["drizzle_alone", "drizzle_context", "drizzle_flags", "fill_text", "fill_value"]

Array = npt.NDArray[Any]

# The library takes pixels that are shrunk to this or less for points.
_POINT = 1e-3


def drizzle_alone(
    data: Array,
    weight: Array,
    pixmap: Array,
    *,
    shape: tuple[int, int],
    kernel: str = "square",
    pixfrac: float = 1.0,
    fillval: str = "NAN",
    section: tuple[int, int, int, int],
    pixel_scale_ratio: float = 1.0,
) -> tuple[Array, Array]:
    """Drizzle an image with nothing else.

    Parameters
    ----------
    data, weight : (ny, nx) float32
        Values, as surface brightness or rate, and their weights; 0 is not used.
    pixmap : (ny, nx, 2) float64
        0-based output x and y of each pixel; NaN where it has none.
    shape : (int, int)
        Rows and columns of the output.
    kernel : str
        How a pixel's light is spread: a kernel of the `drizzle` library.
    pixfrac : float
        Side of the square onto which a pixel's light is shrunk before, in input pixels.
    fillval : str
        What output pixels without data hold: a number, "NAN" or "INDEF" (NaN).
    section : (int, int, int, int)
        First and last column and first and last row of the input to use, inclusive.
    pixel_scale_ratio : float
        Output over input pixel scale, on which the sizes of some kernels depend.

    Returns
    -------
    (NY, NX) float32, (NY, NX) float32
        Image and weight.
    """
    library = _drizzled(
        data, weight, pixmap, shape=shape, kernel=kernel, pixfrac=pixfrac, fillval=fillval, section=section,
        pixel_scale_ratio=pixel_scale_ratio,
    )  # fmt: skip
    return library.out_img, library.out_wht


def drizzle_flags(dq: Array, weight: Array, pixmap: Array, **how: Any) -> Array:
    """Return the flags, (NY, NX) uint32, of the pixels that `drizzle_alone`, called with the same arguments, would spread."""
    flags: Array = _drizzled(np.zeros(dq.shape, np.float32), weight, pixmap, dq=dq, fillval="NAN", **how).out_dq
    return flags


def drizzle_context(data: Array, weight: Array, pixmap: Array, **how: Any) -> Array:
    """Return where, (NY, NX) bool, `drizzle_alone`, called with the same arguments, spreads something with a weight above 0."""
    context: Array = _drizzled(data, weight, pixmap, fillval="NAN", context=True, **how).out_ctx
    return context[0] != 0


def fill_text(value: str | float, *, option: str) -> str:
    """Return what output pixels without data shall hold as the library takes it, or raise `ParameterError`."""
    text = str(value)
    if text.strip().upper() not in {"", "INDEF"}:
        try:
            float(text)
        except ValueError as error:
            raise ParameterError(f"{option}={value!r} is neither a number nor 'NAN' nor 'INDEF'.") from error
    return text


def fill_value(text: str) -> float:
    """Return what `fill_text` gave as a number."""
    return np.nan if text.strip().upper() in {"", "INDEF"} else float(text)


def _drizzled(
    data: Array,
    weight: Array,
    pixmap: Array,
    *,
    shape: tuple[int, int],
    kernel: str,
    pixfrac: float,
    fillval: str,
    section: tuple[int, int, int, int],
    pixel_scale_ratio: float,
    dq: Array | None = None,
    context: bool = False,
) -> Drizzle:
    x0, x1, y0, y1 = section
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        # Some kernels conserve no flux, and the library says so each time.
        warnings.simplefilter("ignore")
        library = Drizzle(kernel=kernel if pixfrac > _POINT else "point", fillval=fillval, out_shape=shape, disable_ctx=not context)
        library.add_image(
            data, exptime=1.0, pixmap=pixmap, weight_map=weight, dq=dq, pixfrac=pixfrac, pixel_scale_ratio=pixel_scale_ratio,
            xmin=x0, xmax=x1, ymin=y0, ymax=y1,
        )  # fmt: skip
    return library
