"""Flags where the detector or its A/D converter left the range in which counts mean light."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from stdatamodels.jwst.datamodels import RampModel, SaturationModel, SuperBiasModel

from jwnb.errors import InputError
from jwnb.kernels.saturation import flag_ramps, usable_thresholds, zero_saturated
from jwnb.stage1.readout import has_zeroframe, irs2_rows
from jwnb.step import Param, Reference, halo, share, step

__all__ = ["saturation"]


# A neighbour of a saturated group may be found partly saturated, and its neighbours are flagged: twice n_pix_grow_sat.
@step("saturation", scope=lambda options: halo(2 * options["n_pix_grow_sat"]), status="saturation")
def saturation(
    ramp: RampModel,
    *,
    saturation: SaturationModel = Reference("saturation"),
    superbias: SuperBiasModel | None = Reference("superbias", optional=True),
    n_pix_grow_sat: Annotated[int, Param(min=0, unit="pixel")] = 1,
    use_readpatt: bool = True,
) -> RampModel:
    """Flag saturated groups, and those at the floor of the A/D converter.

    A group at or above the pixel's threshold is SATURATED, and so are all later groups and the neighbours of each. A group at
    or below 0 DN is AD_FLOOR and DO_NOT_USE. NaN is neither.

    Parameters
    ----------
    ramp : RampModel
        Raw counts in DN, ``data`` of shape (nints, ngroups, ny, nx), before anything is subtracted.
    saturation : SaturationModel, path or None
        Threshold of each pixel in DN, and flags. Where it is NaN, or the flag NO_SAT_CHECK is set, only counts beyond the
        converter's range are flagged.
    superbias : SuperBiasModel, path or None
        Counts of a pixel that has collected nothing, to foresee the third group from the first (see `use_readpatt`). Without
        one for the exposure, zero is taken; where it is NaN, the second group is not examined.
    n_pix_grow_sat : int
        How many layers of pixels round a saturated one are flagged with it, because charge spills over: 1 flags 8 neighbours.
    use_readpatt : bool
        Where groups are averages of several frames, also find groups in which only the last frames saturated, from what the
        group after them shows. They become DO_NOT_USE, with neighbours.

    Returns
    -------
    RampModel
        With new ``groupdq`` and ``pixeldq`` (the threshold's flags, and NO_SAT_CHECK where it is NaN, are added). In ZEROFRAME,
        where there is one, what is saturated (with neighbours) or at the floor becomes 0, which stands for no value.

    Raises
    ------
    InputError
        `use_readpatt` is on and NFRAMES is not given.
    WrongExposureError
        A piece of an IRS2 readout.

    Notes
    -----
    Row B-82. In NIRSpec's IRS2 readout only ordinary pixels are looked at, neighbours are counted among them, and of averaged
    groups the second alone is examined and becomes SATURATED.
    """
    nframes = _frames_averaged(ramp) if use_readpatt else 1
    rows = irs2_rows(ramp)
    thresholds, checked, flags = usable_thresholds(saturation.data, saturation.dq)
    bias = None if superbias is None else superbias.data
    out = share(ramp)
    out.groupdq = flag_ramps(
        ramp.data, ramp.groupdq, thresholds, checked, grow=n_pix_grow_sat, nframes=nframes, rows=rows,
        bias=bias[rows] if bias is not None and rows is not None else bias,
    )  # fmt: skip
    out.pixeldq = _with_flags(ramp.pixeldq, flags, rows)
    if has_zeroframe(ramp):
        out.zeroframe = zero_saturated(ramp.zeroframe, thresholds, grow=n_pix_grow_sat, rows=rows)
    return out


def _frames_averaged(ramp: RampModel) -> int:
    nframes = ramp.meta.exposure.nframes
    if nframes is None:
        raise InputError(
            "saturation with use_readpatt needs NFRAMES, the frames averaged in a group, and it is missing. Set meta.exposure.nframes, "
            "or pass use_readpatt=False."
        )
    return int(nframes)


def _with_flags(pixeldq: NDArray[np.uint32], flags: NDArray[np.uint32], rows: NDArray[np.intp] | None) -> NDArray[np.uint32]:
    if rows is None:
        return pixeldq | flags
    out = pixeldq.copy()
    out[rows] |= flags
    return out
