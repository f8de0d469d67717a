"""Arrays of images and cubes as the kernels want them: (planes, rows, columns), native float32 or uint32, contiguous."""

from typing import Any

import numpy as np
import numpy.typing as npt
from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb.errors import InputError

__all__ = ["flags_of", "floats_of", "planes", "put"]


def planes(array: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array as (planes, rows, columns) of `dtype`; a view where it is that already."""
    whole = np.ascontiguousarray(array, dtype=dtype)
    return whole.reshape(-1, *whole.shape[-2:])


def floats_of(model: JwstDataModel, name: str) -> npt.NDArray[np.float32]:
    """Return a float array of a model in planes.

    Raises
    ------
    InputError
        The model has no such array, or it is not of the shape of ``data``.
    """
    array = getattr(model, name, None)
    if array is None or array.shape != model.data.shape:
        what = "has no" if array is None else f"has, for data of shape {model.data.shape}, a {array.shape}"
        raise InputError(f"{model.meta.filename or 'the model'} {what} {name!r} array; calibrate it again from its uncal.")
    return planes(array, np.float32)


def flags_of(model: JwstDataModel) -> npt.NDArray[np.uint32]:
    """Return the flags of a model in planes of the shape of ``data``; zeros where it has none."""
    dq = np.zeros(model.data.shape, np.uint32) if model.dq is None else model.dq
    return planes(np.broadcast_to(dq, model.data.shape), np.uint32)


def put(model: JwstDataModel, **arrays: npt.NDArray[Any]) -> None:
    """Give a model that the caller owns new arrays of the shape of its data.

    They have the types that the schema asks for; assigning them as attributes would read the schema from disk once for each (20 ms).
    """
    shape = model.data.shape
    for name, array in arrays.items():
        model.instance[name] = array.reshape(shape)
