"""flat_field: divide out the pixel-to-pixel response."""

import numpy as np
from stdatamodels.jwst.datamodels import CubeModel, FlatModel, GuiderCalModel, IFUImageModel, ImageModel, JwstDataModel

from jwnb.dq import PIXEL
from jwnb.errors import InputError
from jwnb.kernels.scaling import Flags, Floats, divide_by_flat, divide_by_flat_without_variances, usable_flat
from jwnb.stage2.planes import flags_of, floats_of, planes, put
from jwnb.step import Reference, SkipStep, note, share, step

__all__ = ["flat_field"]

NIRSPEC_IMAGING = frozenset(
    {
        "NRS_CONFIRM", "NRS_FOCUS", "NRS_IMAGE", "NRS_MIMF", "NRS_MSATA", "NRS_TACONFIRM", "NRS_TACQ", "NRS_TASLIT", "NRS_WATA",
    }
)  # fmt: skip


def _no_single_flat(model: JwstDataModel) -> str | None:
    kind = model.meta.exposure.type
    if model.meta.instrument.name == "NIRSPEC" and kind not in NIRSPEC_IMAGING and model.meta.instrument.lamp_mode != "IMAGE":
        return f"it is for exposures with one 2-D flat, and {kind} of NIRSpec has none"
    return None


@step("flat_field", scope="pixel", status="flat_field", exposures=_no_single_flat)
def flat_field(
    image: ImageModel | CubeModel | IFUImageModel | GuiderCalModel,
    *,
    reference: FlatModel = Reference("flat"),
    inverse: bool = False,
) -> ImageModel | CubeModel | IFUImageModel | GuiderCalModel:
    """Divide an exposure by its flat and propagate the flat's error.

    With S the signal, F the flat and s its error: S' = S / F, VAR_POISSON and VAR_RNOISE are divided by F², VAR_FLAT = S'² s² / F²,
    and ERR is the root of their sum. Guide star data have no variances: ERR' = sqrt((ERR / F)² + S'² s² / F²).

    Parameters
    ----------
    image : ImageModel, CubeModel, IFUImageModel or GuiderCalModel
        A rate product in DN/s, the last two axes rows and columns; every plane is divided by the same flat.
    reference : FlatModel
        Relative response, of order 1, of the same part of the detector.
    inverse : bool
        Multiply by the flat instead, to undo the step; VAR_FLAT is then 0.

    Returns
    -------
    same class as `image`
        New SCI, ERR, VAR_POISSON, VAR_RNOISE, VAR_FLAT and DQ. Where the flat is NaN or 0, or flagged NO_FLAT_FIELD or DO_NOT_USE, it
        counts as 1; the pixel gets the flat's flags (both of these where there is no response). From here on a pixel that is
        NaN in one array or DO_NOT_USE is NaN in all, and DO_NOT_USE (not in guide star data, whose DQ has no integration axis).

    Raises
    ------
    InputError
        The exposure lacks a variance array, or the flat's arrays have different shapes.
    WrongExposureError
        NIRSpec spectra.
    """
    if image.meta.cal_step.extract_2d == "COMPLETE":
        raise SkipStep("its spectra are cut out already (extract_2d); the flat belongs before that")
    response, response_err, response_dq = _flat_arrays(reference)
    out = share(image)
    if isinstance(image, GuiderCalModel):
        data, err = floats_of(image, "data"), floats_of(image, "err")
        new_data, new_err = np.empty_like(data), np.empty_like(err)
        divide_by_flat_without_variances(data, err, response, response_err, inverse, new_data, new_err)
        put(out, data=new_data, err=new_err)
        out.instance["dq"] = response_dq if image.dq is None else image.dq | response_dq
        return out
    given = [floats_of(image, name) for name in ("data", "var_poisson", "var_rnoise")]
    dq = flags_of(image)
    new = {name: np.empty_like(given[0]) for name in ("data", "err", "var_poisson", "var_rnoise", "var_flat")}
    new_dq = np.empty_like(dq)
    divide_by_flat(*given, dq, response, response_err, response_dq, inverse, PIXEL["DO_NOT_USE"], *new.values(), new_dq)
    put(out, dq=new_dq, **new)
    return out


def _flat_arrays(flat: FlatModel) -> tuple[Floats, Floats, Flags]:
    """Return a flat that can be divided by, its error and its flags, each (ny, nx)."""
    response = planes(flat.data, np.float32)[0]
    dq = np.zeros(response.shape, np.uint32) if flat.dq is None else flat.dq
    err = flat.err
    if err is None:
        note("the flat has no error: VAR_FLAT is 0")
        err = np.zeros(response.shape, np.float32)
    shapes = {flat.data.shape, err.shape, dq.shape}
    if len(shapes) != 1 or flat.data.ndim != 2:
        raise InputError(
            f"the SCI, ERR and DQ of the flat must be images of one shape; they are {flat.data.shape}, {err.shape}, {dq.shape}."
        )
    usable, flags = usable_flat(
        response, np.ascontiguousarray(dq, dtype=np.uint32), do_not_use=PIXEL["DO_NOT_USE"], no_flat_field=PIXEL["NO_FLAT_FIELD"]
    )
    return usable, np.ascontiguousarray(err, dtype=np.float32), flags
