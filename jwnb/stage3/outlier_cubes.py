"""Outliers among the integrations of one exposure, which all look at the same place: coronagraphy and time series."""

from typing import Any

import numpy as np
import numpy.typing as npt
from stdatamodels.jwst.datamodels import CubeModel

from jwnb.errors import InputError
from jwnb.kernels.medians import median_plane
from jwnb.kernels.outliers import far_from, far_from_rolling, grown
from jwnb.stage2.planes import flags_of
from jwnb.stage3.outlier_flags import Outliers, found_in

__all__ = ["compare_integrations"]

Array = npt.NDArray[Any]


def compare_integrations(
    cube: CubeModel, *, width: int | None, unusable: int, snr: float, grow: float = 0.0, drop_low: int = 0, drop_high: int = 0
) -> Outliers:
    """Compare each integration with the median of all, or of those about it.

    Parameters
    ----------
    cube : CubeModel
        With ``data``, ``err`` and ``dq``, (n, ny, nx).
    width : int or None
        Integrations in the moving window. None, below 2, or as many as there are or more: the median of all.
    unusable : int
        Values with a bit of this are left out of the median. A moving median is NaN where one of its values is, so that
        nothing is found there.
    snr : float
        An outlier differs by more than this many errors.
    grow : float
        Pixels within this distance of an outlier, in the same integration, are flagged too.
    drop_low, drop_high : int
        How many of the lowest and highest values are left out of the median of all.

    Returns
    -------
    Outliers

    Raises
    ------
    InputError
        There is no ERR.
    """
    data, err = (cube.instance.get(name) for name in ("data", "err"))
    if err is None:
        raise InputError(f"{cube.meta.filename} has no ERR array, by which outliers are judged. Calibrate it again from its uncal.")
    data, err = (np.ascontiguousarray(a, np.float32) for a in (data, err))
    flags = flags_of(cube)
    if width is not None and 1 < width < len(data):
        found = grown(far_from_rolling(data, err, flags, np.uint32(unusable), width, np.float32(snr)), grow)
        hit = found.any(axis=0)
        median = np.full(hit.shape, np.nan, np.float32)
        series = (np.ascontiguousarray(array[:, None, hit]) for array in (data, flags))
        median[hit] = median_plane(*series, np.uint32(unusable), 0, 0)[0][0]  # for the table
    else:
        median, _ = median_plane(data, flags, np.uint32(unusable), drop_low, drop_high)
        found = grown(far_from(data, err, median, np.float32(snr)), grow)
    return found_in(cube, found, median)
