"""Dividing by a flat and multiplying by a flux conversion, with NaN and DO_NOT_USE kept together, in one pass."""

import numba
import numpy as np
import numpy.typing as npt

from jwnb.kernels import parallel_jit

__all__ = ["divide_by_flat", "divide_by_flat_without_variances", "scale_together", "usable_flat"]

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.uint32]


def usable_flat(flat: Floats, dq: Flags, *, do_not_use: np.uint32, no_flat_field: np.uint32) -> tuple[Floats, Flags]:
    """Return a flat that can be divided by and the flags that go with it.

    Parameters
    ----------
    flat : (ny, nx) float32
        Relative response. NaN and 0 are no response.
    dq : (ny, nx) uint32
        The flat's own flags.
    do_not_use, no_flat_field : uint32
        The bits to work with.

    Returns
    -------
    (ny, nx) float32, (ny, nx) uint32
        The flat, 1 where it must not be used; the flags, with both bits where there is no response and DO_NOT_USE wherever
        NO_FLAT_FIELD is set. Neither shares memory with the input.
    """
    usable, flags = np.empty(flat.shape, np.float32), np.empty(flat.shape, np.uint32)
    _fill_usable(flat, dq, do_not_use, no_flat_field, usable, flags)
    return usable, flags


@parallel_jit
def _fill_usable(flat: Floats, dq: Flags, do_not_use: np.uint32, no_flat_field: np.uint32, usable: Floats, flags: Flags) -> None:
    rows, columns = flat.shape
    for y in numba.prange(rows):
        for x in range(columns):
            value, bits = flat[y, x], dq[y, x]
            if np.isnan(value) or value == 0:
                bits |= no_flat_field
            if (bits & no_flat_field) != 0:
                bits |= do_not_use
            usable[y, x] = np.float32(1) if (bits & do_not_use) != 0 else value
            flags[y, x] = bits


@parallel_jit
def divide_by_flat(
    data: Floats,
    var_poisson: Floats,
    var_rnoise: Floats,
    dq: Flags,
    flat: Floats,
    flat_err: Floats,
    flat_dq: Flags,
    inverse: bool,
    do_not_use: np.uint32,
    out_data: Floats,
    out_err: Floats,
    out_poisson: Floats,
    out_rnoise: Floats,
    out_flat: Floats,
    out_dq: Flags,
) -> None:
    """Flat-field planes of a rate and its variances, all (n, ny, nx), with one (ny, nx) flat.

    With F the flat and s its error: S' = S / F, var' = var / F^2, var_flat = S'^2 / F^2 * s^2 and err is the root of the sum of
    the three. With `inverse` the flat is multiplied in and var_flat is 0. A pixel with a NaN in any result, or
    DO_NOT_USE in either DQ, comes out NaN everywhere and DO_NOT_USE. All arithmetic is in float32, in this order.
    """
    planes, rows, columns = data.shape
    nothing = np.float32(0)
    nan = np.float32(np.nan)
    for job in numba.prange(planes * rows):
        k = job // rows
        y = job % rows
        for x in range(columns):
            f = flat[y, x]
            squared = f * f
            flags = dq[k, y, x] | flat_dq[y, x]
            if inverse:
                value = data[k, y, x] * f
                poisson = var_poisson[k, y, x] * squared
                rnoise = var_rnoise[k, y, x] * squared
                var_flat = nothing
                err = np.sqrt(poisson + rnoise)
            else:
                value = data[k, y, x] / f
                poisson = var_poisson[k, y, x] / squared
                rnoise = var_rnoise[k, y, x] / squared
                var_flat = value * value / squared * (flat_err[y, x] * flat_err[y, x])
                err = np.sqrt(poisson + rnoise + var_flat)
            # err is NaN where any of the variances is (or their sum is negative)
            if (flags & do_not_use) != 0 or np.isnan(value) or np.isnan(err):
                flags |= do_not_use
                value = poisson = rnoise = var_flat = err = nan
            out_data[k, y, x] = value
            out_err[k, y, x] = err
            out_poisson[k, y, x] = poisson
            out_rnoise[k, y, x] = rnoise
            out_flat[k, y, x] = var_flat
            out_dq[k, y, x] = flags


@parallel_jit
def divide_by_flat_without_variances(
    data: Floats,
    err: Floats,
    flat: Floats,
    flat_err: Floats,
    inverse: bool,
    out_data: Floats,
    out_err: Floats,
) -> None:
    """Flat-field planes (n, ny, nx) that have an error but no variances (the guider's).

    S' = S / F and err' = sqrt((err / F)^2 + S'^2 / F^2 * s^2). With `inverse`: S' = S F, err' = err |F|. NaN in either result is NaN
    in both.
    """
    planes, rows, columns = data.shape
    nan = np.float32(np.nan)
    for job in numba.prange(planes * rows):
        k = job // rows
        y = job % rows
        for x in range(columns):
            f = flat[y, x]
            if inverse:
                value = data[k, y, x] * f
                error = err[k, y, x] * abs(f)
            else:
                value = data[k, y, x] / f
                scaled = err[k, y, x] / f
                error = np.sqrt(scaled * scaled + value * value / (f * f) * (flat_err[y, x] * flat_err[y, x]))
            if np.isnan(value) or np.isnan(error):
                value = error = nan
            out_data[k, y, x] = value
            out_err[k, y, x] = error


@parallel_jit
def scale_together(
    arrays: tuple[Floats, ...],
    factors: npt.NDArray[np.float64],
    dq: Flags,
    inverse: bool,
    do_not_use: np.uint32,
    out: tuple[Floats, ...],
    out_dq: Flags,
) -> None:
    """Multiply (or, `inverse`, divide) each array by its factor; NaN in one of them, or DO_NOT_USE, is NaN in all and DO_NOT_USE.

    Parameters
    ----------
    arrays : tuple of (n, ny, nx) float32
        Data, errors, variances.
    factors : (len(arrays),) float64
        One for each array. The product is made in float64 and rounded once.
    dq : (n, ny, nx) uint32
        Flags of the pixels.
    inverse : bool
        Divide.
    do_not_use : uint32
        The bit to read and set.
    out, out_dq : as `arrays` and `dq`
        Written.
    """
    planes, rows, columns = dq.shape
    for job in numba.prange(planes * rows):
        k = job // rows
        y = job % rows
        lost = np.empty(columns, np.bool_)
        for x in range(columns):
            lost[x] = (dq[k, y, x] & do_not_use) != 0
        # Whole rows at a time: looking an array up in the tuple costs more than the multiplication.
        for i in range(len(arrays)):
            source, target, factor = arrays[i][k, y], out[i][k, y], factors[i]
            if inverse:
                for x in range(columns):
                    target[x] = source[x] / factor
            else:
                for x in range(columns):
                    target[x] = source[x] * factor
            for x in range(columns):
                lost[x] |= np.isnan(target[x])
        for x in range(columns):
            out_dq[k, y, x] = dq[k, y, x] | do_not_use if lost[x] else dq[k, y, x]
        for i in range(len(arrays)):
            target = out[i][k, y]
            for x in range(columns):
                target[x] = np.float32(np.nan) if lost[x] else target[x]
