"""photom: from counts to surface brightness."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from astropy import units
from stdatamodels.jwst.datamodels import (
    CubeModel,
    FgsImgPhotomModel,
    ImageModel,
    JwstDataModel,
    NisImgPhotomModel,
    NrcImgPhotomModel,
    PixelAreaModel,
)

from jwnb.dq import PIXEL
from jwnb.errors import InputError, MissingReferenceError
from jwnb.kernels.scaling import scale_together
from jwnb.stage2.planes import flags_of, floats_of, put
from jwnb.step import Reference, SkipStep, note, share, step

__all__ = ["find_row", "photom", "throughput"]

# EXP_TYPE to the columns that select a row. (NIRCam's newer tables have a subarray column as well.)
_WHEELS = ("filter", "pupil")
_SELECTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("NRC_IMAGE", "NRC_TSIMAGE", "NRC_CORON", "NRC_FOCUS", "NRC_TACQ", "NRC_TACONFIRM"), (*_WHEELS, "subarray")),
    **dict.fromkeys(("NIS_IMAGE", "NIS_AMI", "NIS_FOCUS", "NIS_TACQ", "NIS_TACONFIRM"), _WHEELS),
    **dict.fromkeys(("FGS_IMAGE", "FGS_FOCUS"), ()),
}
_PER_SQUARE_ARCSEC = (units.megajansky / units.steradian).to(units.microjansky / units.arcsecond**2)
_AREAS_DIFFER = 1e-3  # fraction by which the pixel areas of two references may differ without a note
_SCALED = ("data", "err", "var_poisson", "var_rnoise", "var_flat")


def _selecting_keywords(image: JwstDataModel, _: Mapping[str, Any]) -> tuple[str, ...]:
    wanted = {"filter": "meta.instrument.filter", "pupil": "meta.instrument.pupil"}
    return tuple(wanted[column] for column in _SELECTS.get(image.meta.exposure.type or "", ()) if column in wanted)


@step("photom", scope="pixel", status="photom", exposures=frozenset(_SELECTS), needs=_selecting_keywords)
def photom(
    image: ImageModel | CubeModel,
    *,
    photom: NrcImgPhotomModel | NisImgPhotomModel | FgsImgPhotomModel = Reference("photom"),
    area: PixelAreaModel = Reference("area", optional=True),
    inverse: bool = False,
    source_type: Literal["POINT", "EXTENDED", "UNKNOWN"] | None = None,
    apply_time_correction: bool = True,
) -> ImageModel | CubeModel:
    """Convert an image from DN/s to surface brightness in MJy/sr.

    Parameters
    ----------
    image : ImageModel or CubeModel
        A flat-fielded product in DN/s.
    photom : NrcImgPhotomModel, NisImgPhotomModel or FgsImgPhotomModel
        Table of conversion factors, and of their decline with time where known. The row is found by FILTER and PUPIL (and
        SUBARRAY where NIRCam's table has it); FGS has one.
    area : PixelAreaModel, optional
        Map of relative pixel areas, which becomes the AREA extension, and the nominal area (PIXAR_SR, PIXAR_A2).
    inverse : bool
        Divide by the factor, to undo the step.
    source_type : {"POINT", "EXTENDED", "UNKNOWN"}, optional
        In place of SRCTYPE. It matters only where a table gives a flux (column photmj): a point source then stays a flux, in
        MJy, and anything else is divided by the pixel area. Imaging tables give surface brightness.
    apply_time_correction : bool
        Use the table's time coefficients.

    Returns
    -------
    ImageModel or CubeModel
        SCI and ERR in MJy/sr (BUNIT), the variances in its square; PHOTMJSR, PHOTUJA2, PIXAR_SR, PIXAR_A2; AREA. A pixel that is NaN
        in one array or DO_NOT_USE is NaN in all, and DO_NOT_USE. SKIPPED where the table has no row for the exposure.

    Raises
    ------
    MissingReferenceError
        The table is missing or empty, or more than one row fits.
    InputError
        FILTER or PUPIL is missing where the table is selected by it; the table changes with time and the exposure lacks EXPMID.
    WrongExposureError
        There is no imaging table for this EXP_TYPE.
    """
    if image.meta.instrument.name == "NIRISS" and isinstance(image, CubeModel):
        raise SkipStep("the conversion of NIRISS is for images, and this is a cube of integrations")
    if photom.phot_table is None or not len(photom.phot_table):
        raise MissingReferenceError("the photom reference has no table, or an empty one; pass another photom reference.")
    row = find_row(image, photom.phot_table)
    correction = throughput(photom, row, image.meta.exposure.mid_time) if apply_time_correction else 1.0
    out = share(image)
    _attach_area(out, photom, area)
    factor, unit = _conversion(photom.phot_table, row, out, source_type)
    if correction != 1.0:
        note(f"divided the conversion by the relative throughput {correction:.6g}")
        factor = np.float64(factor) / correction
    out.meta.photometry.conversion_megajanskys = float(factor)
    out.meta.photometry.conversion_microjanskys = float(factor * _PER_SQUARE_ARCSEC)
    _scale(out, factor, inverse=inverse)
    out.meta.bunit_data = out.meta.bunit_err = "DN/s" if inverse else unit
    return out


def find_row(model: JwstDataModel, table: npt.NDArray[Any]) -> int:
    """Return the index of the table's row for an imaging exposure.

    Parameters
    ----------
    model : JwstDataModel
        The exposure.
    table : structured array
        ``phot_table`` of a photom reference.

    Returns
    -------
    int

    Raises
    ------
    SkipStep
        No row fits.
    MissingReferenceError
        Several do.
    """
    columns = [c for c in _SELECTS[model.meta.exposure.type] if c != "subarray" or "subarray" in (table.dtype.names or ())]
    if not columns:
        return 0
    wanted = {
        "filter": model.meta.instrument.filter,
        "pupil": model.meta.instrument.pupil,
        "subarray": model.meta.subarray.name,
    }
    fits = np.ones(len(table), bool)
    for column in columns:
        fits &= np.char.upper(np.char.strip(np.asarray(table[column], dtype=str))) == str(wanted[column] or "").upper()
    said = ", ".join(f"{column.upper()}={wanted[column]}" for column in columns)
    rows = np.flatnonzero(fits)
    if len(rows) > 1:
        raise MissingReferenceError(f"the photom reference has {len(rows)} rows for {said}; one was expected.")
    if not len(rows):
        note(f"the photom reference has no row for {said}: the image stays in DN/s", degraded=True)
        raise SkipStep(f"the photom reference has no row for {said}")
    return int(rows[0])


def throughput(reference: JwstDataModel, row: int, mid_time: float | None) -> float:
    """Return how much light a mode records relative to the reference's day zero.

    Parameters
    ----------
    reference : JwstDataModel
        A photom reference; of ``timecoeff_linear``, ``timecoeff_exponential`` and ``timecoeff_powerlaw`` those that it has are multiplied.
    row : int
        The row of ``phot_table``, and of each.
    mid_time : float or None
        Middle of the exposure (EXPMID), MJD in days.

    Returns
    -------
    float
        1 without time coefficients.

    Raises
    ------
    InputError
        There are coefficients and no time, or the tables differ in length.
    """
    relative = 1.0
    for name, law in (("linear", _linear), ("exponential", _exponential), ("powerlaw", _powerlaw)):
        if not reference.hasattr(f"timecoeff_{name}"):
            continue
        table = getattr(reference, f"timecoeff_{name}")
        if len(table) != len(reference.phot_table):
            raise InputError(
                f"the photom reference has {len(reference.phot_table)} rows and {len(table)} of timecoeff_{name}; they go together."
            )
        if mid_time is None:
            raise InputError("the photom reference changes with time and EXPMID (meta.exposure.mid_time) is missing in the exposure.")
        # A slice and not a number: numpy rounds float32 powers of arrays and of scalars differently.
        relative *= float(law({column: table[column][row : row + 1] for column in table.dtype.names}, mid_time)[0])
    return relative


def _linear(c: Any, time: float) -> Any:
    return 1.0 - c["lossperyear"] * (time - c["t0"]) / 365.0


def _exponential(c: Any, time: float) -> Any:
    return c["amplitude"] * np.exp(-(time - c["t0"]) / c["tau"]) + c["const"]


def _powerlaw(c: Any, time: float) -> Any:
    return (time - c["t0"] + c["tsoft"]) ** c["alpha"] / ((365.0 + c["tsoft"]) ** c["alpha"] / c["year1value"])


def _conversion(table: npt.NDArray[Any], row: int, out: ImageModel | CubeModel, source_type: str | None) -> tuple[Any, str]:
    """Return the factor of a table row and the unit that it leads to."""
    if "photmjsr" in (table.dtype.names or ()):
        return table["photmjsr"][row], "MJy/sr"
    flux = table["photmj"][row]
    if (source_type or out.meta.target.source_type) == "POINT":
        return flux, "MJy"
    solid_angle = out.meta.photometry.pixelarea_steradians
    if solid_angle is None:
        note("no reference gives the pixel area (PIXAR_SR): the flux cannot be made a surface brightness", degraded=True)
        return flux, "MJy"
    return flux / solid_angle, "MJy/sr"


def _attach_area(out: ImageModel | CubeModel, table: JwstDataModel, area: PixelAreaModel | None) -> None:
    """Write the pixel area map and the nominal areas; those of the photom table where the map has none."""
    for name, keyword in (("pixelarea_steradians", "PIXAR_SR"), ("pixelarea_arcsecsq", "PIXAR_A2")):
        stated = getattr(table.meta.photometry, name, None)
        mapped = None if area is None else getattr(area.meta.photometry, name, None)
        if stated and mapped and abs(stated / mapped - 1) > _AREAS_DIFFER:
            note(f"{keyword} is {mapped:g} in the area reference and {stated:g} in the photom reference: the former is used")
        value = stated if mapped is None else mapped
        setattr(out.meta.photometry, name, None if value is None else float(value))
    if area is not None:
        out.instance["area"] = np.asarray(area.data, dtype=np.float32)


def _scale(out: ImageModel | CubeModel, factor: Any, *, inverse: bool) -> None:
    names = [name for name in _SCALED if getattr(out, name, None) is not None and np.size(getattr(out, name))]
    arrays = tuple(floats_of(out, name) for name in names)
    # The square is rounded to the type of the factor, as the factor itself is.
    factors = np.array([factor * factor if name.startswith("var") else factor for name in names], dtype=float)
    dq = flags_of(out)
    scaled = tuple(np.empty_like(array) for array in arrays)
    new_dq = np.empty_like(dq)
    scale_together(arrays, factors, dq, inverse, PIXEL["DO_NOT_USE"], scaled, new_dq)
    put(out, dq=new_dq, **dict(zip(names, scaled, strict=True)))
