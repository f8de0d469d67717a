"""Arrays to pictures: stretch, shrink, encode."""

import base64
import io
from typing import Any

import numpy as np
from astropy.visualization import AsinhStretch, ImageNormalize, ZScaleInterval

__all__ = ["plane_of", "png_bytes", "png_uri", "shrink", "stretch"]


def plane_of(array: np.ndarray) -> np.ndarray:
    """Return the 2-D plane that stands for an array: of a ramp its last group less its first, of a cube its first plane."""
    if array.ndim == 4 and array.shape[1] > 1:
        return np.asarray(array[0, -1], np.float32) - np.asarray(array[0, 0], np.float32)
    while array.ndim > 2:
        array = array[0]
    return np.asarray(array, np.float32)


def shrink(image: np.ndarray, pixels: int) -> np.ndarray:
    """Return `image` averaged over blocks so that no side is longer than `pixels`; NaN are left out of the averages."""
    block = -(-max(image.shape) // pixels)
    if block <= 1:
        return image
    ny, nx = (s // block * block for s in image.shape)
    if not (ny and nx):  # a strip thinner than a block: take every block-th pixel
        return image[::block, ::block]
    blocks = image[:ny, :nx].reshape(ny // block, block, nx // block, block)
    good = np.isfinite(blocks)
    total = np.where(good, blocks, 0).sum(axis=(1, 3))
    with np.errstate(invalid="ignore"):
        return (total / good.sum(axis=(1, 3))).astype(np.float32)


def stretch(image: np.ndarray) -> np.ndarray:
    """Return `image` as uint8 grey, asinh between zscale limits; NaN become black."""
    good = image[np.isfinite(image)]
    if good.size == 0:
        return np.zeros(image.shape, np.uint8)
    low, high = ZScaleInterval().get_limits(good)
    high = max(high, float(np.percentile(good, 99.5)))
    if not high > low:
        low, high = low - 0.5, low + 0.5
    normed = ImageNormalize(vmin=low, vmax=high, stretch=AsinhStretch(0.1), clip=True)(
        np.nan_to_num(image, nan=low, posinf=high, neginf=low)
    )
    return np.asarray(np.ma.filled(normed, 0) * 255, np.uint8)


def png_bytes(image: np.ndarray) -> bytes:
    """Return a uint8 image, row 0 at the bottom, as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image[::-1])).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def png_uri(image: np.ndarray, pixels: int) -> str:
    """Return a stretched thumbnail as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(stretch(shrink(image, pixels)))).decode()


def in_memory(model: Any, name: str) -> np.ndarray | None:
    """Return an array that the model holds already; nothing is loaded or made."""
    array = model.instance.get(name)
    return array if isinstance(array, np.ndarray) and array.dtype.names is None else None
