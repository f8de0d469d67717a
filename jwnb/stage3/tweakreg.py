"""tweakreg: align exposures with each other and with a catalogue of the sky."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from astropy.time import Time
from stdatamodels.jwst.datamodels import ImageModel, JwstDataModel
from tweakwcs.correctors import JWSTWCSCorrector

from jwnb.errors import InputError, MissingFileError, WrongExposureError
from jwnb.models import Exposures, keyword_of
from jwnb.parameters import nearest
from jwnb.stage3.align_fit import Fitting, Limits, Matching
from jwnb.stage3.align_overlap import angular_reach, directions
from jwnb.stage3.align_results import Seen, change_of, report
from jwnb.stage3.alignment import Group, Reference, StarList, align_absolute, align_relative
from jwnb.stage3.catalogs import CATALOGUES, at_epoch, query_gaia, read_catalog, read_catfile, read_reference_catalog
from jwnb.stage3.resample import group_of
from jwnb.stage3.star_finding import find_stars
from jwnb.step import Param, SkipStep, note, step
from jwnb.wcs.frames import footprint

__all__ = ["tweakreg"]

Floats = npt.NDArray[np.float64]

_POINTING = ("meta.wcsinfo.roll_ref", "meta.wcsinfo.v2_ref", "meta.wcsinfo.v3_ref")

Geometry = Literal["shift", "rshift", "rscale", "general"]


@step("tweakreg", scope="frame", status="tweakreg", needs=_POINTING)
def tweakreg(
    images: Exposures,
    *,
    use_custom_catalogs: bool = False,
    catfile: str | Path = "",
    starfinder: Literal["dao", "iraf", "segmentation"] = "iraf",
    snr_threshold: Annotated[float, Param(min=0.0)] = 10.0,
    kernel_fwhm: Annotated[float, Param(min=0.0, unit="pixel")] = 2.5,
    bkg_boxsize: Annotated[int, Param(min=1, unit="pixel")] = 400,
    minsep_fwhm: Annotated[float, Param(min=0.0)] = 0.0,
    sigma_radius: Annotated[float, Param(min=0.0, exclusive=True)] = 1.5,
    sharplo: Annotated[float, Param(min=-100.0, max=100.0)] = 0.5,
    sharphi: Annotated[float, Param(min=-100.0, max=100.0)] = 2.0,
    roundlo: Annotated[float, Param(min=-100.0, max=100.0)] = 0.0,
    roundhi: Annotated[float, Param(min=-100.0, max=100.0)] = 0.2,
    brightest: Annotated[int | None, Param(min=1)] = 200,
    peakmax: Annotated[float | None, Param(min=0.0)] = None,
    npixels: Annotated[int, Param(min=1, unit="pixel")] = 10,
    connectivity: Literal[4, 8, "4", "8"] = 8,
    nlevels: Annotated[int, Param(min=1)] = 32,
    contrast: Annotated[float, Param(min=0.0, max=1.0)] = 0.001,
    multithresh_mode: Literal["exponential", "linear", "sinh"] = "exponential",
    localbkg_width: Annotated[int, Param(min=0, unit="pixel")] = 0,
    apermask_method: Literal["correct", "mask", "none"] = "correct",
    kron_params: tuple[float, ...] | None = None,
    deblend: bool = True,
    group_by: Literal["exposure", "guide star"] = "exposure",
    enforce_user_order: bool = False,
    expand_refcat: bool = False,
    minobj: Annotated[int, Param(min=1)] = 15,
    fitgeometry: Geometry = "rshift",
    nclip: Annotated[int, Param(min=0)] = 3,
    sigma: Annotated[float, Param(min=0.0, exclusive=True)] = 3.0,
    searchrad: Annotated[float, Param(min=0.0, unit="arcsec", exclusive=True)] = 2.0,
    use2dhist: bool = True,
    separation: Annotated[float, Param(min=0.0, unit="arcsec", exclusive=True)] = 1.0,
    tolerance: Annotated[float, Param(min=0.0, unit="arcsec", exclusive=True)] = 0.7,
    xoffset: Annotated[float, Param(min=-3600.0, max=3600.0, unit="arcsec")] = 0.0,
    yoffset: Annotated[float, Param(min=-3600.0, max=3600.0, unit="arcsec")] = 0.0,
    abs_refcat: str | Path | None = "",
    abs_minobj: Annotated[int, Param(min=1)] = 15,
    abs_fitgeometry: Geometry = "rshift",
    abs_nclip: Annotated[int, Param(min=0)] = 3,
    abs_sigma: Annotated[float, Param(min=0.0, exclusive=True)] = 3.0,
    abs_searchrad: Annotated[float, Param(min=0.0, unit="arcsec", exclusive=True)] = 6.0,
    abs_use2dhist: bool = True,
    abs_separation: Annotated[float, Param(min=0.0, unit="arcsec", exclusive=True)] = 1.0,
    abs_tolerance: Annotated[float, Param(min=0.0, unit="arcsec", exclusive=True)] = 0.7,
    max_shift: Annotated[float, Param(min=0.0, unit="arcsec", exclusive=True)] = 2.0,
    max_rotation: Annotated[float, Param(min=0.0, max=180.0, unit="deg")] = 0.3,
    max_scale: Annotated[float, Param(min=0.0)] = 0.005,
    max_rms: Annotated[float, Param(min=0.0, unit="arcsec", exclusive=True)] = 0.2,
    sip_approx: bool = True,
    sip_max_pix_error: Annotated[float, Param(min=0.0, unit="pixel")] = 0.01,
    sip_degree: Annotated[int | None, Param(min=1, max=6)] = None,
    sip_max_inv_pix_error: Annotated[float, Param(min=0.0, unit="pixel")] = 0.01,
    sip_inv_degree: Annotated[int | None, Param(min=1, max=6)] = None,
    sip_npoints: Annotated[int, Param(min=8)] = 12,
) -> Exposures:
    """Align exposures with each other and, where one is given, with a catalogue of the sky.

    The stars of each exposure are found; the detectors of one exposure move together. One group is the reference: each other
    one's stars are matched with its stars, and the displacement is fitted and put into the WCS. With `abs_refcat` all are then
    matched with the catalogue and moved together.

    A fit has to pass gates: enough matches, a small rms, a plausible shift, rotation and scale, and as many stars on the reference as
    before. Where it does not, the simpler geometries are tried (general, rscale, rshift, shift); where none passes, the
    WCS stays as it was. So a WCS never comes out worse. Pixels are not touched.

    Parameters
    ----------
    images : image, path, or a list of them
        2-D calibrated images with a WCS.
    use_custom_catalogs : bool
        Take the stars from catalogues with columns x and y (0-based pixels) instead of finding them: those that `catfile` names, or
        else ``meta.tweakreg_catalog`` of each image. Where an image has none its stars are found.
    catfile : str or Path
        Text file of two columns: the name of an image's file, and its catalogue, relative to the text file's folder.
    starfinder : str
        How stars are found: by IRAF's starfind, DAOFIND, or as segments.
    snr_threshold : float
        Threshold above the background in units of its noise.
    kernel_fwhm : float
        Full width at half maximum of the Gaussian that is looked for.
    bkg_boxsize : int
        Side of the boxes in which the background is measured.
    minsep_fwhm : float
        Least distance of two stars, in units of `kernel_fwhm` (dao, iraf).
    sigma_radius : float
        Where the Gaussian is cut off, in units of its sigma (dao, iraf).
    sharplo, sharphi : float
        Range of sharpness of what is a star (dao, iraf).
    roundlo, roundhi : float
        Range of roundness of what is a star (dao, iraf).
    brightest : int, optional
        Keep so many of the brightest (dao, iraf); None for all.
    peakmax : float, optional
        Leave out what has a brighter peak (dao, iraf).
    npixels : int
        Least number of connected pixels (segmentation).
    connectivity : int
        Whether pixels connect at their sides only (4) or also at their corners (8) (segmentation).
    nlevels : int
        Thresholds of deblending (segmentation).
    contrast : float
        Share of the flux that a deblended source must have (segmentation).
    multithresh_mode : str
        Spacing of the thresholds of deblending (segmentation).
    localbkg_width : int
        Width of the ring of local background; 0 for none (segmentation).
    apermask_method : str
        What is done about neighbours in the aperture (segmentation).
    kron_params : tuple of float, optional
        Of the Kron aperture (segmentation).
    deblend : bool
        Take blended sources apart (segmentation).
    group_by : str
        What moves together: the detectors of one exposure, or all exposures of a visit on one guide star, which share its error.
    enforce_user_order : bool
        Align in the order given, with the first as the reference, even with `expand_refcat`.
    expand_refcat : bool
        Add the stars of what is aligned to the reference, and align in the order of the area shared. Always so before a catalogue.
    minobj : int
        Matches needed.
    fitgeometry : str
        The freest geometry to fit: shift; with rotation (rshift); and one scale (rscale); or any linear map (general).
    nclip : int
        Rounds of clipping in the fit.
    sigma : float
        Where it clips, in units of the rms.
    searchrad : float
        Largest common offset that is looked for.
    use2dhist : bool
        Find the common offset in a histogram; else it is `xoffset`, `yoffset`.
    separation : float
        Stars closer to each other than this are not told apart; more than 1.414 times `tolerance`.
    tolerance : float
        Largest distance of a match after the common offset.
    xoffset, yoffset : float
        Stars minus reference, east and north; only without `use2dhist`.
    abs_refcat : str or Path, optional
        A catalogue of the sky: a file with columns RA, DEC and, if it has them, weight, pmra, pmdec and epoch; or GAIADR3, GAIADR2,
        GAIADR1 or GAIAREFCAT from the archive's service. Proper motions are applied up to the date of the first image.
    abs_minobj : int
        As `minobj`, for the catalogue.
    abs_fitgeometry : str
        As `fitgeometry`, for the catalogue.
    abs_nclip : int
        As `nclip`, for the catalogue.
    abs_sigma : float
        As `sigma`, for the catalogue.
    abs_searchrad : float
        As `searchrad`, for the catalogue.
    abs_use2dhist : bool
        As `use2dhist`, for the catalogue; without it the common offset is taken as 0.
    abs_separation : float
        As `separation`, for the catalogue.
    abs_tolerance : float
        As `tolerance`, for the catalogue.
    max_shift : float
        Largest shift that is believed, beyond `xoffset`, `yoffset` where these are used.
    max_rotation : float
        Largest rotation and skew that is believed.
    max_scale : float
        Largest change of scale that is believed.
    max_rms : float
        Largest rms of what is left between stars and reference; at most 0.4 times the tolerance, since stars that are matched by
        chance have 0.7 times it.
    sip_approx : bool
        Also renew the FITS approximation of the WCS in the header.
    sip_max_pix_error : float
        Largest error of the forward approximation; the lowest degree that meets it is used.
    sip_degree : int, optional
        Degree of the forward polynomial; `None` takes the lowest of 1 to 5 that meets the error.
    sip_max_inv_pix_error : float
        Largest error of the inverse approximation; 0 leaves the inverse out.
    sip_inv_degree : int, optional
        Degree of the inverse polynomial; `None` takes the lowest of 1 to 5 that meets the error.
    sip_npoints : int
        Points along a side of the image to fit.

    Returns
    -------
    Exposures
        Where a fit passed: ``meta.wcs`` with a correction between v2v3 and the sky, S_REGION and the keywords of the approximation. Of
        every exposure ``meta.jwnb.tweakreg`` tells: ``group``; ``status`` (aligned, reference, or kept, with the ``reason``); ``geometry``;
        ``rungs``, what was tried and why it was rejected; ``nmatches``; ``rms_before`` and ``rms_after`` of the pairs fitted in arcsec
        (``…_pixels`` in pixels); ``shift_east``, ``shift_north`` (arcsec), ``rotation`` (degrees, north through east) and ``scale`` of the
        whole correction; ``catalog`` (``x``, ``y``, ``flux``); ``matched``, the rows of it that were fitted; of these
        ``residual_x``, ``residual_y``, reference minus star in arcsec east and north, and ``reference_ra``, ``reference_dec`` in degrees.

    Raises
    ------
    InputError
        An image has no WCS, or one that cannot be corrected; a catalogue cannot be used.
    MissingFileError
        A catalogue is not there.
    ParameterError
        `separation` is too small for `tolerance`.
    WrongExposureError
        An input is not a 2-D image.

    Notes
    -----
    Matching and fitting are those of `tweakwcs`. The step is skipped for fewer than two groups without a catalogue, and, with a
    warning, where nothing could be aligned. With `abs_refcat` a group that no fit to the catalogue passes for keeps the WCS that
    it came with, whether or not it was aligned with the others.
    """
    relative = Matching(searchrad, separation, tolerance, use2dhist, (xoffset, yoffset))
    absolute = Matching(abs_searchrad, abs_separation, abs_tolerance, abs_use2dhist)
    limits = Limits(max_shift, max_rotation, max_scale, max_rms)
    relative.check()
    catalogue = str(abs_refcat or "").strip()
    title = Path(catalogue).name
    heads = [images.take(k) for k in range(len(images))]
    names = _group_names(heads, group_by)
    if catalogue:
        absolute.check("abs_")
        _check_catalogue(catalogue)
    elif len(set(names)) < 2:
        raise SkipStep("there is one group of exposures: nothing to align it with, and no catalogue (abs_refcat)")
    catfiles = _catalogue_files(catfile) if use_custom_catalogs else None
    finder = {
        "starfinder": starfinder, "snr_threshold": snr_threshold, "kernel_fwhm": kernel_fwhm, "bkg_boxsize": bkg_boxsize,
        "minsep_fwhm": minsep_fwhm, "sigma_radius": sigma_radius, "sharplo": sharplo, "sharphi": sharphi, "roundlo": roundlo,
        "roundhi": roundhi, "brightest": brightest, "peakmax": peakmax, "npixels": npixels, "connectivity": int(connectivity),
        "nlevels": nlevels, "contrast": contrast, "multithresh_mode": multithresh_mode, "localbkg_width": localbkg_width,
        "apermask_method": apermask_method, "kron_params": kron_params, "deblend": deblend,
    }  # fmt: skip
    seen = [_look(images, k, head, finder, catfiles) for k, head in enumerate(heads)]
    groups = [Group(name, [one.stars for one, its in zip(seen, names, strict=True) if its == name]) for name in dict.fromkeys(names)]
    if sum(len(group) > 0 for group in groups) > 1:
        align_relative(
            groups, matching=relative, fitting=Fitting(fitgeometry, minobj, nclip, sigma), limits=limits,
            enforce_user_order=enforce_user_order, expand_refcat=expand_refcat or bool(catalogue),
        )  # fmt: skip
    if catalogue:
        reference = _reference(catalogue, heads[0], seen, margin=abs_searchrad)
        how = Fitting(abs_fitgeometry, abs_minobj, abs_nclip, abs_sigma)
        align_absolute(groups, reference, matching=absolute, fitting=how, limits=limits)
    skipped = report(groups, catalogue=title)
    approximation = {
        "max_pix_error": sip_max_pix_error, "degree": sip_degree, "max_inv_pix_error": sip_max_inv_pix_error, "inv_degree": sip_inv_degree,
        "npoints": sip_npoints,
    }  # fmt: skip
    of = {id(stars): group for group in groups for stars in group.lists}
    return images.changed([
        change_of(head, one, of[id(one.stars)], catalogue=title, approximation=approximation if sip_approx else None, skipped=skipped)
        for head, one in zip(heads, seen, strict=True)
    ])  # fmt: skip


def _group_names(heads: Sequence[JwstDataModel], by: str) -> list[str]:
    """Return what each exposure has in common with those that it moves with."""
    names = []
    for k, head in enumerate(heads):
        name = group_of(head) if by == "exposure" else _guide_star_of(head)
        if name is None and by != "exposure":
            note(f"{head.meta.filename} has no guide star (GDSTARID): it moves with the detectors of its exposure", degraded=True)
            name = group_of(head)
        names.append(name or f"exposure{k + 1:04d}")
    return names


def _guide_star_of(model: JwstDataModel) -> str | None:
    where, star = model.meta.observation, model.meta.guidestar.gs_id
    visit = (where.program_number, where.observation_number, where.visit_number)
    return None if star is None or None in visit else f"jw{''.join(visit)} on guide star {star}"


def _check_catalogue(name: str) -> None:
    if name.upper() not in CATALOGUES and not Path(name).is_file():
        raise MissingFileError(
            f"abs_refcat={name!r} is neither a file nor a catalogue of the archive's service ({', '.join(CATALOGUES)})."
            f"{nearest(name.upper(), CATALOGUES)}"
        )


def _catalogue_files(catfile: str | Path) -> dict[str, Path | None] | None:
    """Return which catalogue each image has, or None where stars have to be found."""
    if not str(catfile).strip():
        return {}
    files: dict[str, Path | None] = read_catfile(catfile)
    if not files:
        note(f"{catfile} names no catalogue: stars are found in the images", degraded=True)
        return None
    return files


def _look(images: Exposures, k: int, head: JwstDataModel, finder: Mapping[str, Any], catfiles: Mapping[str, Path | None] | None) -> Seen:
    """Find the stars of an exposure, or read them, and make ready to correct its WCS."""
    name = head.meta.filename or f"exposure {k + 1}"
    if not isinstance(head, ImageModel):
        raise WrongExposureError(f"tweakreg aligns 2-D images; {name} is a {type(head).__name__}.")
    wcs, info = head.meta.wcs, head.meta.wcsinfo
    if wcs is None:
        raise InputError(f"{name} has no WCS. Run assign_wcs (or image2) first.")
    path = None if catfiles is None else catfiles.get(name, head.meta.tweakreg_catalog or None)
    if path is None:
        with images.taken(k, "data", "dq") as model:
            table = find_stars(model, **finder)
    else:
        table = read_catalog(path, shape=_shape(wcs))
    x, y = (np.asarray(table[name], np.float64) for name in ("x", "y"))
    weight = np.asarray(table["weight"], np.float64) if "weight" in table.colnames else None
    good = _inside(wcs, x, y)
    pointing = {key: getattr(info, key) for key in ("roll_ref", "v2_ref", "v3_ref")}
    if missing := [keyword_of(head, f"meta.wcsinfo.{key}") for key, value in pointing.items() if value is None]:
        raise InputError(f"{name} lacks {', '.join(missing)}, which the correction of a WCS needs. Set it in the header, or on the model.")
    try:
        corrector = JWSTWCSCorrector(wcs, pointing)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"the WCS of {name} cannot be corrected ({error}); tweakreg is for images with frames v2v3 and sky.") from error
    rows = np.flatnonzero(good)
    stars = StarList(k, corrector, x[good], y[good], None if weight is None else weight[good], rows)
    flux = np.asarray(table["flux"], np.float64) if "flux" in table.colnames else np.full(len(x), np.nan)
    return Seen(stars, {"x": x, "y": y, "flux": flux}, footprint(wcs), _pixel_size(corrector, wcs))


def _inside(wcs: Any, x: Floats, y: Floats) -> npt.NDArray[np.bool_]:
    """Return which pixels lie inside the bounding box of a WCS; those that are not numbers do not."""
    if wcs.bounding_box is None:
        return np.isfinite(x) & np.isfinite(y)
    (x0, x1), (y0, y1) = wcs.bounding_box.bounding_box(order="F")
    inside: npt.NDArray[np.bool_] = (x > x0) & (x < x1) & (y > y0) & (y < y1)
    return inside


def _shape(wcs: Any) -> tuple[int, int] | None:
    """Return rows and columns of the image that a WCS is for, or None where it has no bounding box."""
    if wcs.bounding_box is None:
        return None
    (_, right), (_, top) = wcs.bounding_box.bounding_box(order="F")
    return round(top + 0.5), round(right + 0.5)


def _pixel_size(corrector: JWSTWCSCorrector, wcs: Any) -> float:
    """Return the size, in arcsec, of a pixel in the middle of an image."""
    (x0, x1), (y0, y1) = wcs.bounding_box.bounding_box(order="F")
    return float(corrector.tanp_pixel_scale((x0 + x1) / 2, (y0 + y1) / 2))


def _reference(name: str, first: JwstDataModel, seen: Sequence[Seen], *, margin: float) -> Reference:
    """Return the catalogue of the sky at the date of the first image."""
    date = first.meta.observation.date
    year = None if date is None else float(Time(date).decimalyear)
    if name.upper() in CATALOGUES:
        middle, reach = angular_reach(np.concatenate([directions(*one.corners.T) for one in seen]))
        ra, dec = np.degrees(np.arctan2(middle[1], middle[0])) % 360, np.degrees(np.arcsin(middle[2]))
        table = query_gaia(float(ra), float(dec), reach + margin / 3600, catalog=name.upper(), epoch=year)
    else:
        table = read_reference_catalog(name)
        if year is None:
            note(f"the first image has no date: the positions of {Path(name).name} are taken as they are", degraded=True)
        else:
            table = at_epoch(table, year)
            note(f"{Path(name).name}: proper motions {table.meta['motion']}")
    weight = np.asarray(table["weight"], np.float64) if "weight" in table.colnames else None
    return Reference(np.asarray(table["RA"], np.float64), np.asarray(table["DEC"], np.float64), weight)
