"""Outliers that were found in an exposure, kept as packed bits, and how they are written into its arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb import dq, record
from jwnb.kernels.outliers import add_nan, blanked, marked
from jwnb.stage2.planes import planes

__all__ = ["Outliers", "found_in"]

Array = npt.NDArray[Any]

_FLOATS = ("data", "err", "var_poisson", "var_rnoise", "var_flat")
_LISTED = 200


@dataclass(frozen=True)
class Outliers:
    """The outliers of one exposure. Calling it with a model that the caller owns flags them there.

    Attributes
    ----------
    bits : (n,) uint8
        One bit a pixel, packed.
    shape : tuple of int
        Of the exposure.
    table : dict
        ``n_flagged``, ``n_pixels``, and columns for the strongest: ``x``, ``y``, of a cube ``plane``; ``value``, the ``median`` there (of
        a time series that of all integrations), their ``difference`` and this over the error (``sigma``).
    new_flags : bool
        The exposure has no DQ of its own, so that it gets one.
    """

    bits: Array
    shape: tuple[int, ...]
    table: dict[str, Any]
    new_flags: bool = False

    @property
    def found(self) -> Array:
        """The outliers, bool of `shape`."""
        return np.unpackbits(self.bits, count=int(np.prod(self.shape))).view(bool).reshape(self.shape)

    def __call__(self, model: JwstDataModel) -> None:
        """Set OUTLIER and DO_NOT_USE, and NaN in what there is of SCI, ERR and the variances.

        As everywhere from flat_field on, what is NaN in one of them or DO_NOT_USE already becomes so in all.
        """
        found = planes(self.found, bool)
        invalid = found.copy()
        tree = model.instance
        arrays = {name: planes(tree[name], np.float32) for name in _FLOATS if np.shape(tree.get(name)) == self.shape}
        for array in arrays.values():
            add_nan(invalid, array)
        flags = tree.get("dq")
        if flags is None and self.new_flags:
            flags = np.zeros(self.shape, np.uint32)
        if np.shape(flags) == self.shape:
            bits = dq.PIXEL["OUTLIER"], dq.PIXEL["DO_NOT_USE"]
            tree["dq"] = marked(planes(flags, np.uint32), found, invalid, *bits).reshape(self.shape)
        for name, array in arrays.items():
            tree[name] = blanked(array, invalid).reshape(self.shape)
        record.remember(model, "outlier_detection", self.table)


def found_in(model: JwstDataModel, found: Array, expected: Array) -> Outliers:
    """Pack outliers, with a table of those that differ most.

    Parameters
    ----------
    model : JwstDataModel
        The exposure, with ``data`` and ``err``.
    found : (..., ny, nx) bool
        The outliers.
    expected : (..., ny, nx) or (ny, nx) float
        What the exposure was compared with.
    """
    where = np.nonzero(found)
    value = np.asarray(model.instance["data"])[where]
    median = expected[where[-expected.ndim :]]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        difference = value - median
        sigma = difference / np.asarray(model.instance["err"])[where]
    # Pixels beside an outlier may have no value of their own.
    rank = np.nan_to_num(np.abs(sigma), nan=-1.0)
    strongest = np.sort(np.argsort(-rank, kind="stable")[:_LISTED])
    columns = dict(zip(("x", "y", "plane"), where[::-1], strict=False))
    table: dict[str, Any] = {"n_flagged": int(value.size), "n_pixels": int(found.size)}
    table |= {name: column[strongest].astype(np.int32) for name, column in columns.items()}
    table |= {
        name: column[strongest].astype(np.float32)
        for name, column in {"value": value, "median": median, "difference": difference, "sigma": sigma}.items()
    }
    return Outliers(np.packbits(found), found.shape, table, model.instance.get("dq") is None)
