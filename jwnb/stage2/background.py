"""background: subtract the mean of exposures of blank sky; subtract_images: the difference of two exposures."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from stdatamodels.jwst.datamodels import CubeModel, IFUImageModel, ImageModel, JwstDataModel

from jwnb import record
from jwnb.dq import PIXEL
from jwnb.errors import InputError, ParameterError
from jwnb.exposure import check_exposure
from jwnb.kernels.clipping import mean_and_error, mean_plane
from jwnb.models import Exposures, keyword_of, product_name
from jwnb.references.frames import exposure_frame
from jwnb.stage2.planes import flags_of, floats_of, put
from jwnb.step import Param, SkipStep, note, share, step

__all__ = ["background", "combined_background", "forget_combined_background", "subtract_images"]

Array = npt.NDArray[Any]
_COMBINED = "combined_background"
_RATES = (ImageModel, CubeModel, IFUImageModel)
_IDENTITY = ("telescope", "program", "target", "visit", "observation", "exposure", "instrument", "subarray", "aperture", "asn")
_TILT_TOLERANCE = 1e-8  # of the grating wheel's sensors
# Of the same pixels in the same unit, or a difference means nothing.
_SAME = ("meta.instrument.name", "meta.instrument.detector", "meta.bunit_data")
# What decides how bright the sky is.
_LIKE = ("meta.instrument.filter", "meta.instrument.pupil", "meta.instrument.grating")
_SCALED = {
    "NIS_SOSS": "its background is a template scaled in two pieces",
    **dict.fromkeys(("NIS_WFSS", "NRC_WFSS", "MIR_WFSS"), "its background is a reference image scaled where no source disperses"),
}


def _with_a_template(model: JwstDataModel) -> str | None:
    kind = model.meta.exposure.type
    return f"{_SCALED[kind]} ({kind}), which is not in this version; leave the step out" if kind in _SCALED else None


@step("background", scope="pixel", status="bkg_subtract", exposures=_with_a_template)
def background(
    rate: ImageModel | CubeModel | IFUImageModel,
    *,
    bkg_list: str | Path | JwstDataModel | tuple[str | Path | JwstDataModel, ...] | None = None,
    sigma: Annotated[float, Param(min=0.0, exclusive=True)] = 3.0,
    maxiters: Annotated[int | None, Param(min=1)] = None,
    save_combined_background: bool = False,
) -> ImageModel | CubeModel | IFUImageModel:
    """Subtract the mean of background exposures, made without what stands out in one of them.

    A background with several integrations is averaged over these first, pixel by pixel, values and squared errors each clipped by
    themselves. The images are then averaged pixel by pixel: with the median m and the standard deviation s, values outside m ± `sigma` s
    are left out, again and again. The error of the mean is sqrt(Σ ERR²) / n of the n values used.

    Parameters
    ----------
    rate : ImageModel, CubeModel or IFUImageModel
        A rate or rateints in DN/s, (ny, nx) or (nints, ny, nx); the same background is taken off every integration.
    bkg_list : path, model, or several
        The background exposures, rate or rateints of the same detector; opened one at a time. None or none: SKIPPED. They may be of
        another subarray: each counts for the pixels that it has.
    sigma : float
        Distance from the median, in standard deviations, beyond which a value is left out.
    maxiters : int, optional
        How often to clip at most; by default until nothing more goes.
    save_combined_background : bool
        Hold on to the mean background: `combined_background` gives it, and image2 makes it a product.

    Returns
    -------
    same class as `rate`
        SCI less the background, and DQ with the flags of all of them. ERR is as it was. A value that is NaN or infinite in a background is
        not used; where no background has any, nothing is subtracted, with a warning if the pixel is good otherwise.

    Raises
    ------
    InputError
        A background is of another detector or in another unit, has no SCI or ERR, is no rate, or none has a pixel in common.
    WrongExposureError
        A slitless spectrum: its background is found otherwise.

    Notes
    -----
    Row B-18 of the manual; the clipping is that of `astropy.stats.sigma_clip`. Among n values none can lie sqrt(n + 2) standard deviations
    from their median: with the default `sigma` of 3, sources in fewer than 8 backgrounds are not left out. Choose a smaller one there.
    """
    members = Exposures(() if bkg_list is None else _several(bkg_list))
    if not len(members):
        raise SkipStep("no background members were given")
    _check_members(rate, members)
    stack = _stacked(rate, members, sigma, maxiters or 0)
    mean, error, number = mean_and_error(stack.data, stack.variance, sigma, maxiters or 0)
    out = share(rate)
    dq = flags_of(rate) | stack.dq
    put(out, data=rate.data - mean, dq=dq)
    if 1 < len(members) <= sigma**2 - 2:
        note(f"one of {len(members)} values cannot lie {sigma:g} standard deviations from their median, so nothing is left out")
    bare = int(np.count_nonzero(np.isfinite(out.data) & (number == 0) & (out.dq & PIXEL["DO_NOT_USE"] == 0)))
    if bare:
        note(f"{bare} good pixels have no value in any background: nothing is subtracted there", degraded=True)
    note(f"mean of {len(members)} background{'s' * (len(members) > 1)}: {', '.join(members.names)}")
    if save_combined_background:
        record.remember(out, _COMBINED, {"data": mean, "err": error, "dq": stack.dq, "unit": rate.meta.bunit_data})
    return out


def combined_background(image: JwstDataModel) -> ImageModel | None:
    """Return the mean background that was subtracted from an image.

    Parameters
    ----------
    image : JwstDataModel
        What ``background(…, save_combined_background=True)`` gave, or what later steps made of it.

    Returns
    -------
    ImageModel or None
        SCI and ERR in the unit of the rate (0 where no background had a value) and DQ, (ny, nx), with what identifies the exposure;
        None where it was not kept.
    """
    kept = record.node(image).get(_COMBINED)
    if kept is None:
        return None
    made = ImageModel(data=kept["data"], err=kept["err"], dq=kept["dq"])
    meta = image.instance["meta"]
    for group in _IDENTITY:
        if group in meta:
            made.instance["meta"][group] = copy.deepcopy(meta[group])
    made.meta.bunit_data = made.meta.bunit_err = kept["unit"]
    made.meta.filename = product_name(image.meta.filename or "exposure.fits", "combinedbackground")
    for line in record.ledger(image):
        if line["step"] == "background":
            record.write(made, line)
    return made


def forget_combined_background(image: JwstDataModel) -> None:
    """Take the mean background out of the record of a model that the caller owns."""
    kept = record.node(image)
    if kept.pop(_COMBINED, None) is not None:
        image.instance["meta"]["jwnb"] = kept


@step("subtract_images", scope="pixel")
def subtract_images(
    image: ImageModel | CubeModel | IFUImageModel,
    *,
    subtract: str | Path | JwstDataModel | None = None,
) -> ImageModel | CubeModel | IFUImageModel:
    """Subtract one exposure from another, pixel by pixel.

    Parameters
    ----------
    image : ImageModel, CubeModel or IFUImageModel
        What to subtract from, in any unit, (ny, nx) or (nints, ny, nx).
    subtract : path or model
        What to subtract: of the same detector and unit, with at least the same pixels. An image is taken off every integration; of
        integrations there must be as many as `image` has.

    Returns
    -------
    same class as `image`
        SCI is the difference, ERR the root of the sum of the squares, each VAR array the sum, DQ the flags of both. NaN in one is NaN in
        the difference.

    Raises
    ------
    ParameterError
        `subtract` is not given.
    InputError
        The two do not fit together.

    Notes
    -----
    Row B-20 of the manual. The variances are added too, since later steps make ERR of them anew.
    """
    if subtract is None:
        raise ParameterError("subtract_images needs what to subtract: subtract= a path or a model.")
    other = Exposures((subtract,))[0]
    _check_alike(image, other)
    place = _place(image, other)
    frame = exposure_frame(image)
    if place is None or (place.rows, place.columns) != (slice(0, frame.ysize), slice(0, frame.xsize)):
        raise InputError(f"{_name(other)} has {exposure_frame(other)}, not all pixels of {_name(image)} with {frame}.")
    if other.data.ndim == 3 and other.data.shape[0] != (image.data.shape[0] if image.data.ndim == 3 else None):
        raise InputError(
            f"{_name(other)} has {other.data.shape[0]} integrations and {_name(image)} the shape {image.data.shape}: "
            "subtract a rate, or the integrations of as many."
        )
    out = share(image)
    new = {"data": image.data - _part(other, "data", place), "dq": image.dq | _part(other, "dq", place)}
    if image.instance.get("err") is not None:
        new["err"] = np.hypot(image.err, _part(other, "err", place))
    for name in ("var_poisson", "var_rnoise", "var_flat"):
        if image.instance.get(name) is not None and other.instance.get(name) is not None:
            new[name] = image.instance[name] + _part(other, name, place)
    put(out, **new)
    return out


@dataclass(frozen=True)
class _Stack:
    """The backgrounds where the exposure lies: (n, ny, nx) values and variances, NaN where there is none; flags of all, (ny, nx)."""

    data: Array
    variance: Array
    dq: Array


@dataclass(frozen=True)
class _Place:
    """Where pixels of one exposure lie in the array of another (`rows`, `columns`), and in its own (`own_rows`, `own_columns`)."""

    rows: slice
    columns: slice
    own_rows: slice
    own_columns: slice


def _several(given: Any) -> Sequence[Any]:
    return given if isinstance(given, tuple | list) else (given,)


def _check_members(rate: JwstDataModel, members: Exposures) -> None:
    """Look at the headers of all backgrounds before any of their pixels are read."""
    for k in range(len(members)):
        member = members.take(k)
        _check_alike(rate, member)
        other = [(a, _value(rate, a), _value(member, a)) for a in _LIKE]
        unlike = [f"{keyword_of(rate, a)} {theirs}, not {ours}" for a, ours, theirs in other if ours and theirs and ours != theirs]
        if unlike:
            note(f"the background {_name(member)} was taken with {', '.join(unlike)}", degraded=True)
        if _name(member) == _name(rate) and rate.meta.filename:
            note(f"the background {_name(member)} is the exposure itself: its sources are subtracted too", degraded=True)
        if member.meta.cal_step.bkg_subtract == "COMPLETE":
            note(f"the background {_name(member)} has its own background subtracted already", degraded=True)
        _check_tilt(rate, member)


def _check_alike(image: JwstDataModel, other: JwstDataModel) -> None:
    if not isinstance(other, _RATES):
        raise InputError(
            f"{_name(other)} is a {type(other).__name__}; images or integrations, such as rate and rateints, can be subtracted."
        )
    for attribute in _SAME:
        ours, theirs = _value(image, attribute), _value(other, attribute)
        if ours and theirs and str(ours).replace(" ", "") != str(theirs).replace(" ", ""):
            raise InputError(
                f"{_name(other)} cannot be subtracted from {_name(image)}: its {keyword_of(image, attribute)} is {theirs}, not {ours}. "
                "Give an exposure of the same detector at the same stage."
            )


def _check_tilt(rate: JwstDataModel, member: JwstDataModel) -> None:
    """Skip NIRSpec exposures whose grating wheel stood otherwise than that of the background: the spectra lie elsewhere."""
    if rate.meta.instrument.name != "NIRSPEC":
        return
    for axis in ("gwa_xtilt", "gwa_ytilt"):
        ours, theirs = getattr(rate.meta.instrument, axis), getattr(member.meta.instrument, axis)
        if ours is None or theirs is None:
            raise InputError(f"{_name(rate if ours is None else member)} has no {axis.upper()[:8]}; set meta.instrument.{axis}.")
        if abs(ours - theirs) > _TILT_TOLERANCE:
            raise SkipStep(f"the grating wheel of the background {_name(member)} is tilted otherwise ({axis} {theirs}, not {ours})")


def _stacked(rate: JwstDataModel, members: Exposures, sigma: float, rounds: int) -> _Stack:
    """Read the backgrounds one at a time and put each where it lies on the detector."""
    shape = rate.data.shape[-2:]
    data, variance = np.empty((2, len(members), *shape), np.float32)
    dq = np.zeros(shape, np.uint32)
    seen = False
    for k in range(len(members)):
        member = members.take(k, "data", "err", "dq")
        check_exposure(member)
        place = _place(rate, member)
        if place is None or (place.rows, place.columns) != (slice(0, shape[0]), slice(0, shape[1])):
            data[k] = variance[k] = np.nan
        if place is None:
            note(f"the background {_name(member)} has no pixels in common with the exposure", degraded=True)
            continue
        seen = True
        values, squares, flags = _one_image(member, place, sigma, rounds)
        data[k, place.rows, place.columns] = values
        variance[k, place.rows, place.columns] = squares
        dq[place.rows, place.columns] |= flags
    if not seen:
        raise InputError(
            f"none of the backgrounds ({', '.join(members.names)}) has a pixel in common with {_name(rate)}, {exposure_frame(rate)}. "
            "Give backgrounds of the same subarray or of the full frame."
        )
    return _Stack(data, variance, dq)


def _one_image(member: JwstDataModel, place: _Place, sigma: float, rounds: int) -> tuple[Array, Array, Array]:
    """Return values, squared errors and flags of one background; of several integrations the means and all flags."""
    box = np.s_[:, place.own_rows, place.own_columns]
    data, err, dq = floats_of(member, "data")[box], floats_of(member, "err")[box], flags_of(member)[box]
    if member.data.ndim == 2:
        return data[0], err[0] * err[0], dq[0]
    means = [mean_plane(np.ascontiguousarray(array), power, sigma, rounds) for array, power in ((data, 1), (err, 2))]
    return means[0], means[1], np.bitwise_or.reduce(dq, axis=0)


def _place(image: JwstDataModel, other: JwstDataModel) -> _Place | None:
    """Return where the pixels that two exposures have in common lie in each, or None."""
    ours, theirs = exposure_frame(image), exposure_frame(other)
    rows = _span(ours.ystart, ours.ysize, theirs.ystart, theirs.ysize)
    columns = _span(ours.xstart, ours.xsize, theirs.xstart, theirs.xsize)
    if rows is None or columns is None:
        return None
    return _Place(rows[0], columns[0], rows[1], columns[1])


def _span(ours: int, our_size: int, theirs: int, their_size: int) -> tuple[slice, slice] | None:
    """Return what two runs of pixels have in common, as a slice of each."""
    first, last = max(ours, theirs), min(ours + our_size, theirs + their_size)
    return (slice(first - ours, last - ours), slice(first - theirs, last - theirs)) if first < last else None


def _part(model: JwstDataModel, name: str, place: _Place) -> Array:
    array = model.instance.get(name)
    if array is None:
        raise InputError(f"{_name(model)} has no {name.upper()}; calibrate it again from its uncal.")
    part: Array = array[..., place.own_rows, place.own_columns]
    return part


def _value(model: JwstDataModel, attribute: str) -> Any:
    value: Any = model
    for part in attribute.split("."):
        value = getattr(value, part)
    return value


def _name(model: JwstDataModel) -> str:
    return model.meta.filename or f"the {type(model).__name__}"
