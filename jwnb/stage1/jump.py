"""Cosmic rays in ramps."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from stdatamodels.jwst.datamodels import GainModel, RampModel, ReadnoiseModel

from jwnb import dq
from jwnb.errors import InputError
from jwnb.kernels.jumps import JumpRules, Method, find_jumps, flag_after_jumps, flag_neighbors, prepare
from jwnb.step import Param, Reference, SkipStep, halo, note, share, step

__all__ = ["jump"]


@step("jump", scope=halo(1), status="jump", needs=("meta.exposure.nframes", "meta.exposure.group_time"))
def jump(
    ramp: RampModel,
    *,
    gain: GainModel = Reference("gain", finite=True),
    readnoise: ReadnoiseModel = Reference("readnoise", finite=True),
    rejection_threshold: Annotated[float, Param(min=0, unit="sigma")] = 4.0,
    three_group_rejection_threshold: Annotated[float, Param(min=0, unit="sigma")] = 6.0,
    four_group_rejection_threshold: Annotated[float, Param(min=0, unit="sigma")] = 5.0,
    flag_4_neighbors: bool = True,
    max_jump_to_flag_neighbors: Annotated[float, Param(min=0, unit="sigma")] = 1000.0,
    min_jump_to_flag_neighbors: Annotated[float, Param(min=0, unit="sigma")] = 10.0,
    after_jump_flag_dn1: Annotated[float, Param(min=0, unit="DN")] = 0.0,
    after_jump_flag_time1: Annotated[float, Param(min=0, unit="s")] = 0.0,
    after_jump_flag_dn2: Annotated[float, Param(min=0, unit="DN")] = 0.0,
    after_jump_flag_time2: Annotated[float, Param(min=0, unit="s")] = 0.0,
    min_diffs_single_pass: Annotated[int, Param(min=0)] = 10,
    minimum_groups: Annotated[int, Param(min=1)] = 3,
    minimum_sigclip_groups: Annotated[int, Param(min=1)] = 100,
    only_use_ints: bool = True,
) -> RampModel:
    """Flag the groups at which a ramp jumps.

    The difference of each two neighbouring groups is compared with the pixel's median difference, over all integrations; where it
    is off by more than so many times its noise (Poisson noise of the median and read noise), the later group gets JUMP_DET.

    Parameters
    ----------
    ramp : RampModel
        Ramps in DN, ``data`` of shape (nints, ngroups, ny, nx). Groups that are DO_NOT_USE, SATURATED or NaN make no difference.
    gain : GainModel, path or None
        Electrons per DN. Pixels where it is NaN, 0 or less get NO_GAIN_VALUE and DO_NOT_USE.
    readnoise : ReadnoiseModel, path or None
        Read noise of a difference of two frames, in DN. Where it is NaN, no jump is found.
    rejection_threshold : float
        Smallest jump, for pixels with at least four usable differences.
    three_group_rejection_threshold : float
        The same for pixels with two usable differences (three groups).
    four_group_rejection_threshold : float
        The same for pixels with three usable differences (four groups).
    flag_4_neighbors : bool
        Flag also the pixels left, right, above and below a jump, in the same group.
    max_jump_to_flag_neighbors : float
        Jumps as large as this or larger do not flag their neighbours.
    min_jump_to_flag_neighbors : float
        Jumps as small as this or smaller do not flag their neighbours.
    after_jump_flag_dn1 : float
        A jump that is larger than the median difference by this …
    after_jump_flag_time1 : float
        … also flags the groups that begin within this time after it; 0 is none.
    after_jump_flag_dn2 : float
        A second pair of such limits: the size …
    after_jump_flag_time2 : float
        … and the time.
    min_diffs_single_pass : int
        With at least so many usable differences in an integration all jumps are flagged at once; with fewer the largest is
        flagged and left out, and the others are judged again.
    minimum_groups : int
        With fewer usable groups in an integration the step is skipped.
    minimum_sigclip_groups : int
        From so many on, jumps are found by clipping differences at `rejection_threshold` standard deviations instead: so many
        integrations where `only_use_ints` is set, else usable groups in all.
    only_use_ints : bool
        When clipping, compare each group only with the same group of other integrations.

    Returns
    -------
    RampModel
        With new ``groupdq``, and ``pixeldq`` where the gain is bad; all else is shared. The rate of primary jumps, per 1000 pixels and
        second, is in ``meta.exposure.primary_cosmic_rays``.

    Raises
    ------
    InputError
        NFRAMES or TGROUP is not positive.

    Notes
    -----
    Source: Anderson & Gordon 2011, PASP 123, 1237; manual, "Jump Detection". What depends on more than a pixel and its neighbours: if a
    group is DO_NOT_USE in all pixels (it does not count as usable); the median gain by which `after_jump_flag_dn1` and
    `after_jump_flag_dn2` are converted; and, when clipping, that a group in which every pixel is flagged loses its jumps.
    """
    if ramp.data.shape[1] <= 2:
        raise SkipStep(f"it takes more than 2 groups, and there are {ramp.data.shape[1]}")
    nframes, group_time = _positive(ramp, "nframes"), _positive(ramp, "group_time")
    rules = JumpRules(
        rejection_threshold, four_group_rejection_threshold, three_group_rejection_threshold,
        min_jump_to_flag_neighbors, max_jump_to_flag_neighbors, nframes,
        dq.GROUP["DO_NOT_USE"], dq.GROUP["SATURATED"], dq.GROUP["JUMP_DET"],
    )  # fmt: skip
    ramps = prepare(ramp.data, ramp.groupdq, gain=gain.data, readnoise=readnoise.data, do_not_use=rules.do_not_use)
    method = _method(
        ramps.usable,
        min_diffs_single_pass=min_diffs_single_pass,
        minimum_groups=minimum_groups,
        minimum_sigclip_groups=minimum_sigclip_groups,
        only_use_ints=only_use_ints,
    )
    found = find_jumps(ramps, rules, method=method)
    if flag_4_neighbors:
        flag_neighbors(found, rules)
    following = int(after_jump_flag_time1 // group_time), int(after_jump_flag_time2 // group_time)
    if any(following):
        factor = _median(ramps.gain)
        large = float(after_jump_flag_dn1 * factor), float(after_jump_flag_dn2 * factor)
        flag_after_jumps(found, ramps, rules, electrons=large, groups=following)
    out = share(ramp)
    out.groupdq = found.groupdq
    out.pixeldq = _without_gain(ramp.pixeldq, ramps.gain)
    _record_rates(out, ramps.usable, primary=int(found.jumps.sum()), group_time=group_time)
    _note_flagged(found.groupdq, rules.jump)
    return out


def _positive(ramp: RampModel, name: str) -> float:
    value = float(getattr(ramp.meta.exposure, name))
    if not value > 0:
        raise InputError(f"jump needs a positive meta.exposure.{name}; it is {value:g} in {ramp.meta.filename or 'the model'}.")
    return value


def _method(
    usable: NDArray[np.bool_], *, min_diffs_single_pass: int, minimum_groups: int, minimum_sigclip_groups: int, only_use_ints: bool
) -> Method:
    """Return how to look for jumps in this many usable groups, or raise `SkipStep`."""
    clipped = len(usable) if only_use_ints else int(usable.sum())
    if clipped >= minimum_sigclip_groups:
        return "clip_integrations" if only_use_ints else "clip"
    fewest = int(usable.sum(axis=1).min())
    if fewest < minimum_groups:
        raise SkipStep(f"an integration has {fewest} usable groups, and minimum_groups is {minimum_groups}")
    return "once" if fewest - 1 >= min_diffs_single_pass else "iterate"


def _median(gain: NDArray[np.float32]) -> np.float32:
    known = gain[~np.isnan(gain)]
    return np.float32(np.median(known)) if known.size else np.float32(np.nan)


def _without_gain(pixeldq: NDArray[np.uint32], gain: NDArray[np.float32]) -> NDArray[np.uint32]:
    bad = ~(gain > 0.0)
    if not bad.any():
        return pixeldq
    return pixeldq | np.where(bad, dq.pixel("NO_GAIN_VALUE", "DO_NOT_USE"), np.uint32(0))


def _record_rates(out: RampModel, usable: NDArray[np.bool_], *, primary: int, group_time: float) -> None:
    """Write the rate of jumps per 1000 pixels and second; of extended events none are looked for here."""
    differences = int(usable.sum()) - len(usable)
    if differences >= 1:
        out.meta.exposure.primary_cosmic_rays = 1000 * primary / (group_time * differences * out.data[0, 0].size)
        out.meta.exposure.extended_emission_events = 0.0


def _note_flagged(groupdq: NDArray[np.uint8], jump_det: np.uint8) -> None:
    flagged = sum(int(np.count_nonzero(plane & jump_det)) for integration in groupdq for plane in integration)
    note(f"{flagged} groups flagged as jumps, {100 * flagged / groupdq.size:.3g} % of all")
