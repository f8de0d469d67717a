"""Drawing sums of Gaussians on a pixel grid, integrated over pixels, the flux kept."""

import math

import numpy as np
from numba import prange
from numpy.typing import NDArray

from jwnb.kernels import jit, parallel_jit

__all__ = ["draw_gaussians"]

REACH = 5.5  # standard deviations; what lies beyond is 3e-7 of the flux
NARROW = 0.5  # variance in pixels² below which pixel integration needs the error function


@jit
def _one_row(row, y, x0, y0, flux, cxx, cyy, cxy):
    """Add one Gaussian to one row of pixels; covariance in pixels², positions in pixels."""
    nx = row.size
    dy = y - y0
    if cxy == 0.0:
        sy = math.sqrt(2.0 * cyy)
        share = 0.5 * flux * (math.erf((dy + 0.5) / sy) - math.erf((dy - 0.5) / sy))
        reach = REACH * math.sqrt(cxx) + 1.0
        first, last = max(0, math.ceil(x0 - reach)), min(nx - 1, math.floor(x0 + reach))
        if first > last:
            return
        sx = math.sqrt(2.0 * cxx)
        left = math.erf((first - 0.5 - x0) / sx)
        for x in range(first, last + 1):
            right = math.erf((x + 0.5 - x0) / sx)
            row[x] += 0.5 * share * (right - left)
            left = right
        return
    # A tilted one: the mean over a pixel is, to fourth order, the value of the Gaussian widened by the pixel's own variance.
    vx, vy = cxx + 1.0 / 12.0, cyy + 1.0 / 12.0
    det = vx * vy - cxy * cxy
    peak = flux / (2.0 * math.pi * math.sqrt(det))
    middle = x0 + cxy / vy * dy
    across = dy * dy / vy
    if across > REACH * REACH:
        return
    reach = math.sqrt((REACH * REACH - across) * det / vy)
    for x in range(max(0, math.ceil(middle - reach)), min(nx - 1, math.floor(middle + reach)) + 1):
        dx = x - middle
        row[x] += peak * math.exp(-0.5 * (across + dx * dx * vy / det))


@parallel_jit
def _draw(image, components, rows):
    for y in prange(image.shape[0]):
        for k in range(components.shape[0]):
            if rows[k, 0] <= y <= rows[k, 1]:
                c = components[k]
                _one_row(image[y], float(y), c[0], c[1], c[2], c[3], c[4], c[5])


def draw_gaussians(shape: tuple[int, int], components: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw Gaussians on an image.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image.
    components : NDArray[np.float64]
        One row per Gaussian: x, y (0-based pixels), flux, and the covariance xx, yy, xy in pixels². One that is
        narrower than 0.7 pixels somewhere is drawn without its tilt, so that its flux is exact.

    Returns
    -------
    NDArray[np.float64]
        Flux in each pixel. Sources may lie outside; what falls on the image is drawn. NaN in, NaN out.
    """
    parts = np.ascontiguousarray(components, dtype=np.float64).reshape(-1, 6).copy()
    middle, half = (parts[:, 3] + parts[:, 4]) / 2, np.hypot((parts[:, 3] - parts[:, 4]) / 2, parts[:, 5])
    parts[middle - half < NARROW, 5] = 0.0
    reach = REACH * np.sqrt(parts[:, 4] + 1.0 / 12.0) + 1.0
    rows = np.stack([np.floor(parts[:, 1] - reach), np.ceil(parts[:, 1] + reach)], axis=1)
    visible = (rows[:, 1] >= 0) & (rows[:, 0] < shape[0])
    image = np.zeros(shape)
    _draw(image, parts[visible], rows[visible])
    return image
