"""Resampling: one image on one grid from one exposure or many."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from gwcs import WCS
from stdatamodels.jwst.datamodels import ImageModel, JwstDataModel

from jwnb import dq
from jwnb.errors import InputError, WrongExposureError
from jwnb.exposure import check_exposure
from jwnb.models import Exposures, product_name
from jwnb.stage3.blend import Blend
from jwnb.stage3.coadd import VARIANCES, Coadd, Frame, Options, bytes_needed, exposure_weight
from jwnb.stage3.drizzling import drizzle_alone, fill_text
from jwnb.stage3.output_grid import (
    POINTING_OF_GRID,
    Grid,
    combined_region,
    given_grid,
    grid_around,
    is_imaging,
    mean_pixel_area,
    memory_free,
    write_keywords,
)
from jwnb.step import Param, note, step
from jwnb.wcs.frames import footprint, polygon
from jwnb.wcs.pixelmap import image_to_image
from jwnb.workers import spread

__all__ = ["group_of", "planned_output", "region_of", "resample"]

_GIB = 2**30
# Pixels of an image for which it pays to start processes.
_WORTHWHILE = 2**20
_OF_GRID = ("output_wcs", "pixel_scale", "pixel_scale_ratio", "output_shape", "rotation", "crpix", "crval")
_PLANES = ("data", "dq", "err", *VARIANCES)
# Set from the grid or left to the caller, so they are not combined.
_NOT_BLENDED = ("meta.photometry.pixelarea_steradians", "meta.photometry.pixelarea_arcsecsq", "meta.filename")
_NOT_CONSERVING = ("gaussian", "lanczos2", "lanczos3")
_GROUP = ("program_number", "observation_number", "visit_number", "visit_group", "sequence_id", "activity_id", "exposure_number")


def _pointing_needed(model: JwstDataModel, options: Mapping[str, Any]) -> tuple[str, ...]:
    if options.get("output_wcs") or not isinstance(model, ImageModel):
        return ()
    return tuple(f"meta.wcsinfo.{name}" for name in POINTING_OF_GRID)


@step("resample", scope="frame", status="resample", needs=_pointing_needed)
def resample(
    images: Exposures,
    *,
    pixfrac: Annotated[float, Param(min=0.0, max=1.0)] = 1.0,
    kernel: Literal["square", "gaussian", "point", "turbo", "lanczos2", "lanczos3"] = "square",
    fillval: str | float = "NAN",
    weight_type: Literal["ivm", "exptime"] = "ivm",
    good_bits: str | int | None = "~DO_NOT_USE+NON_SCIENCE",
    output_shape: Annotated[tuple[int, int] | None, Param(min=1, unit="pixel")] = None,
    crpix: Annotated[tuple[float, float] | None, Param(unit="pixel")] = None,
    crval: Annotated[tuple[float, float] | None, Param(unit="deg")] = None,
    rotation: Annotated[float | None, Param(unit="deg")] = None,
    pixel_scale_ratio: Annotated[float, Param(min=0.0, exclusive=True)] = 1.0,
    pixel_scale: Annotated[float | None, Param(min=0.0, unit="arcsec", exclusive=True)] = None,
    output_wcs: str | Path | WCS | None = None,
    blendheaders: bool = True,
    enable_ctx: bool = True,
    enable_err: bool = True,
    report_var: bool = True,
    propagate_dq: bool = False,
    pixmap_tolerance: Annotated[float, Param(min=0.0, max=0.1, unit="pixel")] = 1e-3,
    memory_limit: Annotated[float | None, Param(min=0.0, unit="GiB", exclusive=True)] = None,
) -> ImageModel:
    """Drizzle calibrated images onto one undistorted grid.

    The value of an output pixel is the mean of the input pixels that overlap it, weighted with their overlap and their weight.
    Surface brightness stays surface brightness. A pixel is used unless it is NaN in SCI, ERR or a VAR array, or flagged.
    Inputs given as paths are opened one at a time, so that memory does not grow with their number.

    Parameters
    ----------
    images : image, path, or a list of them
        2-D calibrated images with a WCS.
    pixfrac : float
        Side of the square onto which a pixel's light is shrunk before it is spread, in input pixels; up to 0.001 it is a point,
        whatever the kernel. The Lanczos kernels know no other size.
    kernel : str
        How a pixel's light is spread. The Gaussian and Lanczos kernels do not conserve flux.
    fillval : str or float
        What output pixels without data hold; "NAN" or "INDEF" for NaN.
    weight_type : str
        "ivm": the inverse of VAR_RNOISE (1 where an image has none); "exptime": the measurement time, or else the exposure time.
    good_bits : str, int or None
        DQ flags that do not keep a pixel from being used: names or numbers joined by "+" or ",", after "~" those that do;
        None: no flag does. NaN pixels and those flagged DO_NOT_USE are never used.
    output_shape : (int, int), optional
        Columns and rows of the output; what holds all inputs by default.
    crpix : (float, float), optional
        0-based x and y of the pixel that lies at `crval`.
    crval : (float, float), optional
        Right ascension and declination of the reference pixel; the middle of the inputs by default.
    rotation : float, optional
        Position angle of the output's y axis, north through east; that of the first input by default.
    pixel_scale_ratio : float
        Output over input pixel scale; not looked at where `pixel_scale` is given.
    pixel_scale : float, optional
        Side of an output pixel.
    output_wcs : path or gwcs.WCS, optional
        The output grid itself: an ASDF file with it under ``wcs``, or the object. Of the other options on the grid only
        `output_shape` is looked at then.
    blendheaders : bool
        Combine the metadata of all inputs by the rules of their schema, and list them in HDRTAB. Of one that
        is given by itself, not in a list, they are simply taken over.
    enable_ctx : bool
        Make CON, which tells which inputs are in a pixel.
    enable_err : bool
        Make ERR and the variances.
    report_var : bool
        Keep the variances, not ERR alone.
    propagate_dq : bool
        Make DQ, the flags of all pixels that went into an output pixel.
    pixmap_tolerance : float
        Largest error of the pixel maps, which are interpolated between exact positions; 0 computes every pixel's.
    memory_limit : float, optional
        Largest size of the output and what is needed to make it; what the machine has free by default.

    Returns
    -------
    ImageModel
        SCI, ERR, CON, WHT and VAR arrays on the output grid. SCI is `fillval`, the others NaN or 0 where there is no data.

    Raises
    ------
    InputError
        An input has no WCS or pointing; a time is missing; the output is larger than the memory allows.
    ParameterError
        An option is not possible.
    WrongExposureError
        An input is not a 2-D image.

    Notes
    -----
    Drizzling is that of Fruchter & Hook (2002, PASP 114, 144). Each input's standard deviations are drizzled with its data's
    weights; the variances are then added with the squares of the inputs' weights. Neighbouring output pixels are correlated
    (Casertano et al. 2000, AJ 120, 2747, appendix A).
    """
    unusable = (dq.not_good(good_bits, option="resample: good_bits") or np.uint32(0)) | dq.PIXEL["DO_NOT_USE"]
    regions = [region_of(images, k) for k in range(len(images))]
    first = _checked(images.take(0, "data"))
    grid, ratio = _grid(
        regions, first, output_wcs=output_wcs, pixel_scale=pixel_scale, pixel_scale_ratio=pixel_scale_ratio,
        output_shape=output_shape, rotation=rotation, crpix=crpix, crval=crval,
    )  # fmt: skip
    if kernel in _NOT_CONSERVING:
        note(f"the {kernel} kernel does not conserve flux")
    if kernel.startswith("lanczos") and pixfrac != 1.0:
        note(f"the {kernel} kernel knows no pixfrac; {pixfrac} is not looked at")
    fill = fill_text(fillval, option="resample: fillval")
    options = Options(
        pixfrac=pixfrac, kernel=kernel, fillval=fill, pixel_scale_ratio=ratio, weight_type=weight_type,
        unusable=int(unusable), context=enable_ctx, variances=enable_err, flags=propagate_dq,
    )  # fmt: skip
    _check_memory(grid, len(images), options, memory_limit)
    product, many_pixels = _product(first, images, grid), first.data.size >= _WORTHWHILE
    coadd, blend, times = Coadd(grid.shape, len(images), options), Blend(_NOT_BLENDED), _Times()
    blended = blendheaders and not images.alone

    def frames() -> Iterator[tuple[Frame, list[Any]]]:
        for k in range(len(images)):
            with images.taken(k, *_PLANES) as image:
                to_grid = image_to_image(_checked(image).meta.wcs, grid.wcs, image.data.shape, tolerance=pixmap_tolerance)
                frame = coadd.prepared(image, to_grid.full())
                times.add(image)
                if blended:
                    blend.add(image)
            yield frame, frame.jobs

    for frame, results in spread(drizzle_alone, frames(), worthwhile=many_pixels):
        coadd.add(frame, results)
    if blended:
        blend.finish(product)
    _fill_product(product, coadd, grid, ratio, report_var=report_var)
    times.write(product)
    write_keywords(product, grid.wcs)
    product.meta.wcsinfo.s_region = combined_region(regions, grid.wcs)
    return product


def group_of(model: JwstDataModel) -> str | None:
    """Return what the detectors of one exposure have in common, or None where the keywords do not tell."""
    if model.meta.hasattr("group_id"):
        return str(model.meta.group_id)
    node = model.meta.observation.instance
    if any(node.get(key) is None for key in _GROUP):
        return None
    program, observation, visit, group, sequence, activity, exposure = (node[key] for key in _GROUP)
    return f"jw{program}{observation}{visit}_{group}{sequence}{activity}_{exposure}"


class _Times:
    """Exposure times of the pointings: detectors that were exposed together count once."""

    def __init__(self) -> None:
        self.groups: set[str] = set()
        self.start: list[float] = []
        self.end: list[float] = []
        self.exposure = self.duration = self.measured = 0.0
        self.all_measured = True
        self.inputs = 0

    def add(self, model: JwstDataModel) -> None:
        self.inputs += 1
        group = group_of(model) or f"exposure{self.inputs:04d}"
        if group in self.groups:
            return
        self.groups.add(group)
        exposure = model.meta.exposure
        self.start += [t for t in (exposure.start_time,) if t is not None]
        self.end += [t for t in (exposure.end_time,) if t is not None]
        self.exposure += exposure.exposure_time or 0.0
        self.duration += exposure.duration or 0.0
        self.measured += exposure_weight(model) or 0.0
        self.all_measured &= exposure.measurement_time is not None

    def write(self, product: ImageModel) -> None:
        product.meta.resample.pointings = len(self.groups)
        exposure = product.meta.exposure
        exposure.exposure_time = exposure.effective_exposure_time = self.exposure
        exposure.start_time = min(self.start, default=None)
        exposure.end_time = max(self.end, default=None)
        exposure.duration = exposure.elapsed_exposure_time = self.duration
        exposure.measurement_time = self.measured if self.all_measured else None


def _checked(model: JwstDataModel) -> ImageModel:
    name = model.meta.filename or type(model).__name__
    if getattr(model, "data", None) is None or model.data.ndim != 2:
        raise WrongExposureError(f"resample takes 2-D images; {name} is a {type(model).__name__}.")
    if not model.meta.hasattr("wcs") or model.meta.wcs is None:
        raise InputError(f"{name} has no WCS: run assign_wcs first (image2 does).")
    if not is_imaging(model.meta.wcs):
        raise WrongExposureError(f"resample is for images; the WCS of {name} is not one of two sky coordinates.")
    check_exposure(model)
    return model


def region_of(images: Exposures, index: int) -> str:
    """Return the S_REGION of an exposure, made from its WCS where it has none.

    Raises
    ------
    InputError
        It has no WCS, or one that gives no positions.
    """
    model = images.take(index)
    region = model.meta.wcsinfo.s_region or polygon(footprint(_checked(images.take(index, "data")).meta.wcs))
    if region is None:
        raise InputError(f"{model.meta.filename} has no S_REGION, and its WCS gives no positions at the corners.")
    return str(region)


def planned_output(images: Exposures, **options: Any) -> None:
    """Raise what `resample`, called with these options, would raise before it makes an array; no pixel of a file is read.

    Raises
    ------
    InputError
        An image has no WCS; the output is larger than the memory allows.
    """
    chosen = {name: p.default for name, p in inspect.signature(resample).parameters.items()} | options
    regions = [region_of(images, k) for k in range(len(images))]
    grid, _ = _grid(regions, _checked(images.take(0, "data")), **{name: chosen[name] for name in _OF_GRID})
    how = Options(context=chosen["enable_ctx"], variances=chosen["enable_err"], flags=chosen["propagate_dq"])
    _check_memory(grid, len(images), how, chosen["memory_limit"])


def _grid(regions: Sequence[str], first: ImageModel, *, output_wcs: Any, output_shape: Any, **pointing: Any) -> tuple[Grid, float]:
    """Return the grid of the output, and the ratio of its scale to that of the first image."""
    if output_wcs is None or output_wcs == "":
        grid = grid_around(regions, first, output_shape=output_shape, **pointing)
    else:
        grid = given_grid(output_wcs, output_shape)
    return grid, grid.pixel_scale_ratio if grid.pixel_scale_ratio is not None else _ratio_to(first, grid)


def _ratio_to(first: ImageModel, grid: Grid) -> float:
    """Return the scale of a given grid over that of the first input, by its nominal pixel area where it has one."""
    area = first.meta.photometry.pixelarea_steradians
    if not area or area <= 0:
        area = mean_pixel_area(first.meta.wcs, first.data.shape)
    return float(grid.pixel_scale / (3600.0 * np.degrees(np.sqrt(area))))


def _check_memory(grid: Grid, inputs: int, options: Options, limit: float | None) -> None:
    needed = bytes_needed(grid.shape, inputs, options) / _GIB
    size = f"{grid.shape[1]} x {grid.shape[0]} pixels at {grid.pixel_scale:.5g} arcsec, {needed:.3g} GiB"
    allowed = memory_free() if limit is None else limit
    if allowed is not None and needed > allowed:
        raise InputError(
            f"the output image would have {size}; {'memory_limit is' if limit is not None else 'there are free'} {allowed:.3g} GiB. "
            "Give a smaller output_shape, a larger pixel_scale, or fewer images; enable_err=False and enable_ctx=False save memory. "
            "Are all images of one field?"
        )
    note(f"output image of {size}")


def _product(first: ImageModel, images: Exposures, grid: Grid) -> ImageModel:
    product = ImageModel()
    product.update(first)
    product.meta.wcs = grid.wcs
    product.meta.filename = product_name(images.names[0] or "exposure.fits", "i2d")
    return product


def _fill_product(product: ImageModel, coadd: Coadd, grid: Grid, ratio: float, *, report_var: bool) -> None:
    options = coadd.options
    product.data, product.wht = coadd.data, coadd.weight
    if not coadd.weight.any():
        note("no input pixel could be used, so the image holds no data", degraded=True)
    if coadd.context is not None:
        product.con = coadd.context
    if coadd.flags is not None:
        product.dq = coadd.flags
    error, variances = coadd.finish(1.0 / ratio**2)
    if options.variances:
        product.err = error
        for name, array in variances.items() if report_var else ():
            setattr(product, name, array)
    elif product.meta.hasattr("bunit_err"):
        del product.meta.bunit_err  # it is a keyword of ERR
    meta = product.meta
    meta.photometry.pixelarea_arcsecsq = grid.pixel_scale**2
    meta.photometry.pixelarea_steradians = grid.pixel_scale**2 / np.degrees(3600.0) ** 2
    meta.resample.pixel_scale_ratio = ratio
    meta.resample.pixfrac, meta.resample.kernel = options.pixfrac, options.kernel
    meta.resample.fillval, meta.resample.weight_type = options.fillval, options.weight_type
    meta.background.level = meta.background.subtracted = None
