"""Pixels that stand above all others near them."""

import numba
import numpy as np

from jwnb.kernels import parallel_jit

__all__ = ["local_peaks"]


@parallel_jit
def local_peaks(image, masked, threshold, radius):
    """Find the pixels above a threshold that no pixel within a circle exceeds.

    Parameters
    ----------
    image : float32 (ny, nx)
        A NaN is no peak and hides none. Beyond the border the image counts as zero.
    masked : bool (ny, nx)
        Pixels that are no peaks; they may still hide others.
    threshold : float
        A peak is greater than this.
    radius : int
        Of the circle, in pixels. Pixels of equal value do not hide each other.

    Returns
    -------
    bool (ny, nx)
    """
    ny, nx = image.shape
    found = np.zeros((ny, nx), np.bool_)
    for y in numba.prange(ny):
        for x in range(nx):
            value = image[y, x]
            if not value > threshold or masked[y, x]:
                continue
            highest = True
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    if dx * dx + dy * dy > radius * radius:
                        continue
                    other = np.float32(0)
                    if 0 <= y + dy < ny and 0 <= x + dx < nx:
                        other = image[y + dy, x + dx]
                    if other > value:
                        highest = False
                        break
                if not highest:
                    break
            found[y, x] = highest
    return found
