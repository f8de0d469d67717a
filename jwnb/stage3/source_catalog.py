"""source_catalog: the sources of a mosaic, their light and their shape."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray
from stdatamodels.jwst.datamodels import (
    ABVegaOffsetModel,
    FgsImgApcorrModel,
    ImageModel,
    MirImgApcorrModel,
    NisImgApcorrModel,
    NrcImgApcorrModel,
    SegmentationMapModel,
)

from jwnb.errors import InputError, MissingReferenceError, ParameterError
from jwnb.models import product_name
from jwnb.stage3.correlated_noise import correlation_of
from jwnb.stage3.source_detection import KRON, Detected, Segmentation, StarFinding, find_segments, find_stars_of
from jwnb.stage3.source_table import Apertures, Measured, catalogue, no_sources
from jwnb.step import Param, Reference, SkipStep, note, step

__all__ = ["SourceCatalog", "source_catalog"]

UNIT = "MJy/sr"
# What selects a row of the references, by instrument: column and metadata.
_FILTER, _PUPIL, _SUBARRAY = ("filter", "meta.instrument.filter"), ("pupil", "meta.instrument.pupil"), ("subarray", "meta.subarray.name")
_APCORR_ROWS = {"NIRCAM": (_FILTER, _PUPIL), "NIRISS": (_FILTER, _PUPIL), "MIRI": (_FILTER, _SUBARRAY), "FGS": ()}
_VEGA_ROWS = {**_APCORR_ROWS, "MIRI": (_FILTER,), "FGS": (("detector", "meta.instrument.detector"),)}


@dataclass(frozen=True)
class SourceCatalog:
    """What `source_catalog` gives.

    Attributes
    ----------
    cat : QTable
        A row for each source.
    segm : SegmentationMapModel or None
        The label of each pixel, 0 for none. None where the finder makes no segments.
    """

    cat: QTable
    segm: SegmentationMapModel | None


def _needed(model: ImageModel, _: Mapping[str, Any]) -> tuple[str, ...]:
    rows = _APCORR_ROWS.get(model.meta.instrument.name or "", ())
    return ("meta.photometry.pixelarea_steradians", *(attribute for _, attribute in rows))


def _not_for(model: ImageModel) -> str | None:
    name = model.meta.instrument.name
    return None if name in _APCORR_ROWS else f"it is for images of {', '.join(_APCORR_ROWS)}, and this is of {name}"


@step("source_catalog", scope="frame", status="source_catalog", exposures=_not_for, needs=_needed)
def source_catalog(
    image: ImageModel,
    *,
    apcorr: NrcImgApcorrModel | NisImgApcorrModel | MirImgApcorrModel | FgsImgApcorrModel = Reference("apcorr"),
    abvegaoffset: ABVegaOffsetModel = Reference("abvegaoffset", optional=True),
    aperture_ee1: Annotated[int, Param(min=1, max=99, unit="%")] = 30,
    aperture_ee2: Annotated[int, Param(min=1, max=99, unit="%")] = 50,
    aperture_ee3: Annotated[int, Param(min=1, max=99, unit="%")] = 70,
    ci1_star_threshold: Annotated[float, Param(min=0.0)] = 2.0,
    ci2_star_threshold: Annotated[float, Param(min=0.0)] = 1.8,
    starfinder: Literal["dao", "iraf", "segmentation"] = "segmentation",
    snr_threshold: Annotated[float, Param(min=0.0, unit="sigma")] = 3.0,
    bkg_boxsize: Annotated[int, Param(min=1, unit="pixel")] = 1000,
    kernel_fwhm: Annotated[float, Param(min=0.0, exclusive=True, unit="pixel")] = 2.0,
    minsep_fwhm: Annotated[float, Param(min=0.0, unit="FWHM")] = 0.0,
    sigma_radius: Annotated[float, Param(min=0.0, exclusive=True, unit="sigma")] = 1.5,
    sharplo: Annotated[float, Param(min=-1e6, max=1e6)] = 0.5,
    sharphi: Annotated[float, Param(min=-1e6, max=1e6)] = 2.0,
    roundlo: Annotated[float, Param(min=-1e6, max=1e6)] = 0.0,
    roundhi: Annotated[float, Param(min=-1e6, max=1e6)] = 0.2,
    brightest: Annotated[int | None, Param(min=1)] = 200,
    peakmax: Annotated[float | None, Param(min=0.0, unit="Jy")] = None,
    npixels: Annotated[int, Param(min=1, unit="pixel")] = 25,
    connectivity: Literal[4, 8, "4", "8"] = 8,
    nlevels: Annotated[int, Param(min=1)] = 32,
    contrast: Annotated[float, Param(min=0.0, max=1.0)] = 0.001,
    multithresh_mode: Literal["exponential", "linear", "sinh"] = "exponential",
    localbkg_width: Annotated[int, Param(min=0, unit="pixel")] = 0,
    apermask_method: Literal["correct", "mask", "none"] = "correct",
    kron_params: tuple[float, ...] | None = None,
    deblend: bool = True,
    kron: bool = False,
) -> SourceCatalog:
    """Find the sources of a mosaic and measure their light and shape.

    The sky is measured in boxes and taken off, the image smoothed, and connected pixels above the threshold are a source; blends are
    taken apart at their saddles. Flux is summed over the segment and, above the sky in a ring, in circles that hold given parts of a
    star's light.

    Parameters
    ----------
    image : ImageModel
        A drizzled image in MJy/sr with ERR, and WHT (0 where there are no data). It is not changed.
    apcorr : NrcImgApcorrModel, NisImgApcorrModel, MirImgApcorrModel or FgsImgApcorrModel
        Radii of circles by encircled energy, what their light is multiplied by to have all of a star's, and the ring for the sky.
    abvegaoffset : ABVegaOffsetModel, optional
        AB minus Vega magnitude. Without it, or without a row for the filter, Vega magnitudes are NaN.
    aperture_ee1, aperture_ee2, aperture_ee3 : int
        Encircled energies, increasing, of the circles; rows of the apcorr reference.
    ci1_star_threshold, ci2_star_threshold : float
        A source is extended where the flux in the second circle over that in the first, and that in the third over that in the
        second, are both greater.
    starfinder : str
        "segmentation": connected pixels; "dao", "iraf": DAOFIND and IRAF's starfind, which measure no shapes and make no segmentation map.
    snr_threshold : float
        How far above the sky, in units of its noise.
    bkg_boxsize : int
        Side of the boxes in which sky and noise are measured.
    kernel_fwhm : float
        Full width at half maximum of the Gaussian by which the image is smoothed.
    minsep_fwhm : float
        "dao", "iraf": least distance of two stars; never less than two pixels.
    sigma_radius : float
        "dao", "iraf": where the Gaussian is cut off.
    sharplo, sharphi, roundlo, roundhi : float
        "dao", "iraf": ranges of sharpness and roundness.
    brightest : int, optional
        "dao", "iraf": keep so many.
    peakmax : float, optional
        "dao", "iraf": leave out stars with pixels as bright.
    npixels : int
        "segmentation": least number of connected pixels.
    connectivity : int
        "segmentation": 8 where pixels that touch at a corner are connected, 4 where not; a word in parameter references.
    nlevels : int
        "segmentation": number of levels at which is looked whether a source falls apart.
    contrast : float
        "segmentation": part of the flux that a piece must have to be a source of its own.
    multithresh_mode : str
        "segmentation": spacing of the levels.
    localbkg_width : int
        "segmentation": width of the rectangular ring in which more sky is measured and taken off the isophotal and Kron fluxes; 0 for none.
    apermask_method : str
        With `kron`: what to do with neighbours in the ellipse: take the pixel opposite, mask, or nothing.
    kron_params : tuple, optional
        With `kron`: how many Kron radii the ellipse has, its least radius, and the least radius of a circle instead of it;
        (2.5, 1.4, 0) by default.
    deblend : bool
        "segmentation": take blends apart.
    kron : bool
        "segmentation": add ``kron_flux``, ``kron_flux_err`` and ``kron_radius``.

    Returns
    -------
    SourceCatalog
        ``cat``, with the columns of `jwst`, their units and descriptions, and after them ``…_flux_err_corr``; and ``segm``. Without
        sources the table is empty and the map 0, with a warning. Fluxes are in Jy. Pixels without weight or whose ERR is NaN belong to
        no source.

    Raises
    ------
    InputError
        The image is not in MJy/sr, or has no WCS or ERR.
    NoResult
        The apcorr reference has no row for the image. A pipeline marks the step SKIPPED and goes on.
    MissingReferenceError
        The rows of the apcorr reference contradict each other.
    ParameterError
        The encircled energies do not increase or are not in the reference.

    Notes
    -----
    Row B-85. Errors of `jwst`'s columns add the variances of pixels as if they were independent, and those of circles leave out the
    error of the sky. Drizzling makes neighbours alike: ``…_flux_err_corr`` add the covariances that its kernel, PIXFRAC and pixel
    scale make (`jwnb.stage3.correlated_noise`) and, for circles, the error of the sky, from ERR as `resample` writes it. Noise that is
    correlated before drizzling, as 1/f noise, is not in them. Isophotal errors, of either kind, are those of the sum over the pixels of the
    segment as they are; that noise moves its border, too, is not in them.
    """
    if (image.meta.bunit_data, image.meta.bunit_err) != (UNIT, UNIT):
        raise InputError(
            f"source_catalog takes an image with SCI and ERR in {UNIT}; BUNIT of {image.meta.filename} is {image.meta.bunit_data!r} and "
            f"{image.meta.bunit_err!r}. Run photom first."
        )
    wcs = image.meta.wcs
    if wcs is None:
        raise InputError(
            f"{image.meta.filename} has no WCS; source_catalog needs it for sky coordinates. Run assign_wcs or resample first."
        )
    if image.err is None:
        raise InputError(f"{image.meta.filename} has no ERR; source_catalog needs it. Run resample with enable_err=True.")
    apertures = _apertures(image, apcorr, (aperture_ee1, aperture_ee2, aperture_ee3))
    offset = _vega_offset(image, abvegaoffset)
    to_jansky = 1e6 * image.meta.photometry.pixelarea_steradians
    data, err = (np.ascontiguousarray(plane, np.float32) * np.float32(1) * to_jansky for plane in (image.data, image.err))
    masked = np.isnan(err) if image.wht is None else np.isnan(err) | (image.wht == 0)
    if starfinder == "segmentation":
        how = Segmentation(
            npixels, int(connectivity), deblend, nlevels, contrast, multithresh_mode, localbkg_width, apermask_method,
            tuple(kron_params or KRON), kron,
        )  # fmt: skip
        found = find_segments(data, err, masked, wcs, boxsize=bkg_boxsize, snr_threshold=snr_threshold, fwhm=kernel_fwhm, how=how)
    else:
        separation = max(2, int(minsep_fwhm * kernel_fwhm + 0.5))
        choice = StarFinding(starfinder, separation, sigma_radius, (sharplo, sharphi), (roundlo, roundhi), peakmax, brightest)
        found = find_stars_of(data, masked, boxsize=bkg_boxsize, snr_threshold=snr_threshold, fwhm=kernel_fwhm, how=choice)
    if found is None:
        why = "no pixel has data" if masked.all() or np.isnan(data).all() else f"nothing stands {snr_threshold:g} sigma out of the sky"
        note(f"no sources were found: {why}; the catalogue is empty", degraded=True)
        found = no_sources(starfinder)
    measured = Measured.of(
        found, data, err, apertures, correlation_of(image), fwhm=kernel_fwhm, star=(ci1_star_threshold, ci2_star_threshold)
    )
    table = catalogue(image, measured, offset)
    table.meta["filename"] = product_name(image.meta.filename or "image.fits", "cat", extension=".ecsv")
    return SourceCatalog(table, _map(image, found, starfinder, table.meta["filename"]))


def _map(image: ImageModel, found: Detected, starfinder: str, table: str) -> SegmentationMapModel | None:
    if starfinder != "segmentation":
        return None
    shape = image.data.shape
    labels = np.zeros(shape, np.uint32) if found.segments is None else found.segments.astype(np.uint32)
    segm = SegmentationMapModel(labels, validate_on_assignment=False)  # what an image has is valid
    segm.update(image, only="PRIMARY")
    segm.meta.wcs, segm.meta.wcsinfo = image.meta.wcs, dict(image.meta.wcsinfo.instance)
    segm.meta.source_catalog = table
    segm.meta.filename = product_name(image.meta.filename or "image.fits", "segm")
    return segm


def _apertures(image: ImageModel, reference: Any, energies: tuple[int, int, int]) -> Apertures:
    """Read the circles from the apcorr reference; radii are in pixels of the image."""
    if not energies[0] < energies[1] < energies[2]:
        raise ParameterError(f"aperture_ee1, aperture_ee2 and aperture_ee3 must increase; they are {', '.join(map(str, energies))}.")
    table = np.asarray(reference.apcorr_table)
    rows, said = _rows(image, table, _APCORR_ROWS[image.meta.instrument.name])
    if not rows.any():
        raise SkipStep(f"the apcorr reference has no row for {said}; pass another one as apcorr=")
    table = table[rows]
    percent = np.round(table["eefraction"] * 100)
    chosen = [np.flatnonzero(percent == energy) for energy in energies]
    if any(len(rows) != 1 for rows in chosen):
        raise ParameterError(
            f"the apcorr reference must have one row for each of aperture_ee {', '.join(map(str, energies))} %; for {said} "
            f"it has {', '.join(f'{p:g}' for p in percent)}."
        )
    table = table[np.concatenate(chosen)]
    lengths = {name: table[name].astype(np.float32) for name in ("radius", "apcorr", "skyin", "skyout")}  # in native byte order
    if len(np.unique(table["skyin"])) > 1 or len(np.unique(table["skyout"])) > 1:
        raise MissingReferenceError(f"the apcorr reference has different rings for the sky for {said}; pass another apcorr reference.")
    ratio = image.meta.resample.pixel_scale_ratio
    if ratio is None:
        note("the image does not say its pixel scale ratio; that of the detector is taken")
    ratio = ratio or 1.0
    return Apertures(
        np.array(energies), lengths["radius"] / ratio, lengths["apcorr"], lengths["skyin"][0] / ratio, lengths["skyout"][0] / ratio
    )


def _vega_offset(image: ImageModel, reference: ABVegaOffsetModel | None) -> float:
    """Return AB minus Vega magnitude, or NaN."""
    if reference is None:
        note("there is no abvegaoffset reference: Vega magnitudes are NaN", degraded=True)
        return np.nan
    table = reference.abvega_offset
    rows, said = _rows(image, table, _VEGA_ROWS[image.meta.instrument.name])
    found = np.asarray(table["abvega_offset"])[rows]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise MissingReferenceError(f"the abvegaoffset reference has {len(found)} rows for {said}; one was expected.")
    note(f"the abvegaoffset reference has no row for {said}: Vega magnitudes are NaN", degraded=True)
    return np.nan


def _rows(image: ImageModel, table: Any, selecting: tuple[tuple[str, str], ...]) -> tuple[NDArray[np.bool_], str]:
    """Return which rows of a reference's table are for the image, and what they were asked for."""
    rows, said = np.ones(len(table), bool), []
    for column, attribute in selecting:
        wanted = image[attribute]
        rows &= np.array([_text(value) == str(wanted) for value in table[column]], bool)
        said.append(f"{column} {wanted}")
    return rows, ", ".join(said) or "this instrument"


def _text(value: Any) -> str:
    return (value.decode() if isinstance(value, bytes) else str(value)).strip()
