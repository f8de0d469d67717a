"""Count rates of guide star exposures, by correlated double sampling."""

import numpy as np
from numpy.typing import NDArray
from stdatamodels.jwst.datamodels import GainModel, GuiderCalModel, GuiderRawModel, ReadnoiseModel

from jwnb.errors import InputError, MissingReferenceError
from jwnb.exposure import GUIDING
from jwnb.references.frames import cut_for, exposure_frame, reference_frame
from jwnb.step import Reference, note, step

__all__ = ["guider_cds"]

_TABLES = ("planned_star_table", "flight_star_table", "pointing_table", "centroid_table", "track_sub_table")
_FINE_GROUPS = 4  # averaged at each end of a fine guidance ramp


@step("guider_cds", scope="pixel", status="guider_cds", exposures=GUIDING, needs=("meta.exposure.group_time",))
def guider_cds(
    exposure: GuiderRawModel,
    *,
    gain: GainModel = Reference("gain", whole=True),
    readnoise: ReadnoiseModel = Reference("readnoise", whole=True),
) -> GuiderCalModel:
    """Make count rates of a guide star exposure: late minus early groups, over the group time.

    Acquisition and track (ACQ1, ACQ2, TRACK) take the second group minus the first; fine guidance the mean of the last four
    minus the mean of the first four; identification (ID), whose two integrations show the same field, the smaller of their
    two differences, so that a cosmic ray in one of them does not count. The error is the root of 2 (readnoise / t)² and, where it
    is positive, difference / (gain t), with t the group time.

    Parameters
    ----------
    exposure : GuiderRawModel
        Counts in DN, ``data`` of shape (nints, ngroups, ny, nx). NaN stays NaN.
    gain : GainModel, path or None
        Electrons per DN, shape (ny, nx).
    readnoise : ReadnoiseModel, path or None
        Noise of a group in DN, shape (ny, nx).

    Returns
    -------
    GuiderCalModel
        ``data`` and ``err`` in DN/s, of shape (nints, ny, nx), (1, ny, nx) for identification; ``dq``, tables and unknown
        extensions as they were. Where the gain is 0 the error is infinite or NaN.

    Raises
    ------
    InputError
        Too few groups or integrations for the guide mode.
    MissingReferenceError
        A reference does not cover the exposure. For the stacked strips of FGS_ID-STACK, which do not lie on the detector as they
        are stored, its mean is taken instead.

    Notes
    -----
    Row B-48.
    """
    kind, seconds = exposure.meta.exposure.type, exposure.meta.exposure.group_time
    _check_shape(exposure.data.shape, kind)
    difference = _difference(exposure.data, kind)
    noise = 2 * (_of_exposure(readnoise, exposure, "readnoise") / seconds) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):  # no gain: the error says so
        photons = difference / (_of_exposure(gain, exposure, "gain") * seconds)
    out = GuiderCalModel()
    out.update(exposure)
    if unknown := {name: part for name, part in exposure.instance.get("extra_fits", {}).items() if "data" in part}:
        out.instance["extra_fits"] = unknown
    out.data = difference / seconds
    out.err = np.sqrt(noise + np.where(photons < 0, np.float32(0), photons))
    out.dq = exposure.dq
    for name in _TABLES:
        if exposure.hasattr(name):
            setattr(out, name, getattr(exposure, name))
    out.meta.bunit_data = "DN/s"
    return out


def _check_shape(shape: tuple[int, ...], kind: str) -> None:
    nints, ngroups = shape[:2]
    if ngroups < 2:
        raise InputError(
            f"guider_cds takes differences of groups, and {kind} has {ngroups} in SCI of shape {shape}; 2 are needed at least."
        )
    if kind.startswith("FGS_ID") and nints < 2:
        raise InputError(f"guider_cds compares two integrations of {kind}, and there is {nints} in SCI of shape {shape}.")


def _difference(data: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """Return late minus early counts, shape (nints, ny, nx)."""
    if kind == "FGS_FINEGUIDE":
        return data[:, -_FINE_GROUPS:].mean(axis=1) - data[:, :_FINE_GROUPS].mean(axis=1)
    difference = data[:, 1] - data[:, 0]
    if kind.startswith("FGS_ID"):
        return np.minimum(difference[1], difference[0])[np.newaxis]
    return difference


def _of_exposure(reference: GainModel | ReadnoiseModel, exposure: GuiderRawModel, reftype: str) -> NDArray[np.float32]:
    """Return a reference's values at the exposure's pixels."""
    wanted = exposure_frame(exposure)
    frame = reference_frame(reference.meta, [reference.data.shape], wanted)
    if frame is None:
        raise MissingReferenceError(f"the {reftype} reference has the shape {reference.data.shape}, which is not of the detector.")
    if exposure.meta.exposure.type == "FGS_ID-STACK" and not frame.contains(wanted):
        note(f"the strips of FGS_ID-STACK are not where they lie on the detector: the mean {reftype} is used")
        return np.full(wanted.shape, np.mean(reference.data), dtype=np.float32)
    return cut_for(frame, exposure, lambda: f"the {reftype} reference").of(reference.data)
