"""Where each pixel of one image lies in another, or on the sky: exact on a coarse grid, interpolated between, and checked.

Evaluating a gWCS at every pixel of a detector is the dearest part of resampling, and detector distortions are smooth. The transform
is evaluated exactly on a grid, interpolated by tensor-product cubics, and compared with exact values at the middle of every
cell and of every cell's edges, where a cubic's error is largest. The grid is refined until the largest difference is within the tolerance.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jwnb.errors import InputError, ParameterError
from jwnb.kernels.gridmap import cubic_at, cubic_rows, cubic_weights

__all__ = ["PixelMap", "image_to_image", "pixel_map", "sky_map"]

Array = npt.NDArray[np.float64]
Transform = Callable[[Array, Array], Sequence[Any]]
Box = tuple[tuple[float, float], tuple[float, float]]

# How much larger the error may be than in the middles of cells and edges: 7 % in the outermost cells, where the four nodes lie
# to one side, and some for a fourth derivative that changes within a cell.
_BEYOND_MIDDLE = 1.25


@dataclass(frozen=True)
class PixelMap:
    """Coordinates of the pixels of an image, kept as a coarse grid and expanded a block of rows at a time.

    Attributes
    ----------
    nodes : (components, gy, gx) float64
        Exact values; the corners of the grid are the centres of the image's corner pixels.
    shape : (int, int)
        Rows and columns of the image.
    error : float
        Largest error to be expected at any pixel, in the units of the tolerance (pixels); 0 where every pixel is a node.
    bounding_box : ((x0, x1), (y0, y1)) or None
        Pixels outside it are NaN.
    on_sphere : bool
        The nodes are unit vectors, and are given out as right ascension (0 to 360) and declination in degrees.
    """

    nodes: Array
    shape: tuple[int, int]
    error: float
    bounding_box: Box | None = None
    on_sphere: bool = False

    @property
    def step(self) -> tuple[float, float]:
        """Pixels between nodes along y and x."""
        _, rows, columns = self.nodes.shape
        return (self.shape[0] - 1) / (rows - 1), (self.shape[1] - 1) / (columns - 1)

    def rows(self, start: int, stop: int) -> Array:
        """Return the coordinates of the pixels of rows `start` to `stop` (exclusive): (rows, columns, 2) float64."""
        y = np.arange(start, stop, dtype=float)
        x = np.arange(self.shape[1], dtype=float)
        if self.nodes.shape[1:] == self.shape:
            out = np.ascontiguousarray(np.moveaxis(self.nodes[:, start:stop], 0, -1))
        else:
            out = np.empty((y.size, x.size, self.nodes.shape[0]))
            (step_y, step_x), (_, count_y, count_x) = self.step, self.nodes.shape
            cubic_rows(self.nodes, *cubic_weights(y, step_y, count_y), *cubic_weights(x, step_x, count_x), out)
        if self.on_sphere:
            out = np.stack(_angles(*np.moveaxis(out, -1, 0)), axis=-1)
        if self.bounding_box is not None:
            (x0, x1), (y0, y1) = self.bounding_box
            out[(y < y0) | (y > y1)] = np.nan
            out[:, (x < x0) | (x > x1)] = np.nan
        return out

    def full(self) -> Array:
        """Return the coordinates of every pixel: (ny, nx, 2) float64, as `drizzle` takes a ``pixmap``."""
        return self.rows(0, self.shape[0])


def pixel_map(
    transform: Transform,
    shape: tuple[int, int],
    *,
    tolerance: float = 1e-3,
    step: int = 128,
    bounding_box: Box | None = None,
) -> PixelMap:
    """Map every pixel of an image through a smooth transform.

    Parameters
    ----------
    transform : callable
        Takes arrays x and y of 0-based pixel positions and returns one array a component.
    shape : (int, int)
        Rows and columns of the image.
    tolerance : float
        Largest error allowed, in the units that the transform returns; 0 evaluates it exactly at every pixel.
    step : int
        Pixels between nodes to begin with. It is halved until the tolerance is met, and where that takes a step under 4 (or an exact value
        in the image is not finite) every pixel is evaluated.
    bounding_box : ((x0, x1), (y0, y1)), optional
        Pixels whose centre lies outside are NaN in the result. The transform is still evaluated there.

    Returns
    -------
    PixelMap

    Raises
    ------
    ParameterError
        The shape, tolerance or step is not positive (the tolerance may be 0).
    """
    return _refined(transform, shape, tolerance, step, bounding_box, on_sphere=False, scale=1.0)


def sky_map(wcs: Any, shape: tuple[int, int], *, tolerance: float = 1e-3, step: int = 128) -> PixelMap:
    """Map every pixel of an image to the sky.

    Parameters
    ----------
    wcs : gwcs.WCS
        Its output is right ascension and declination in degrees. Outside its bounding box the map is NaN.
    shape : (int, int)
        Rows and columns of the image.
    tolerance : float
        Largest error allowed, in pixels (by the pixel scale at the centre of the image).
    step : int
        Pixels between nodes to begin with.

    Returns
    -------
    PixelMap
        Of right ascension and declination. Nothing special happens at 0 hours or at the poles.
    """

    def vectors(x: Array, y: Array) -> Sequence[Any]:
        return _vectors(*wcs(x, y, with_bounding_box=False))

    x, y = (np.array([0.0, 1.0, 0.0]) + (n - 1) / 2 for n in shape[::-1])
    middle = np.array(vectors(x, np.roll(y, 1)))
    scale = float(np.linalg.norm(middle[:, 1] - middle[:, 0]))
    return _refined(vectors, shape, tolerance, step, bounding_box_of(wcs), on_sphere=True, scale=scale)


def image_to_image(source: Any, target: Any, shape: tuple[int, int], *, tolerance: float = 1e-3, step: int = 128) -> PixelMap:
    """Map every pixel of one image to pixel positions in another by way of the sky.

    Parameters
    ----------
    source, target : gwcs.WCS
        With the same frame on the sky. Outside the bounding box of `source` the map is NaN; that of `target` is ignored.
    shape : (int, int)
        Rows and columns of the source image.
    tolerance : float
        Largest error allowed, in pixels of the target.
    step : int
        Pixels between nodes to begin with.

    Returns
    -------
    PixelMap
        0-based x and y in the target.
    """

    def transform(x: Array, y: Array) -> Sequence[Any]:
        return tuple(target.invert(*source(x, y, with_bounding_box=False), with_bounding_box=False))

    return pixel_map(transform, shape, tolerance=tolerance, step=step, bounding_box=bounding_box_of(source))


def bounding_box_of(wcs: Any) -> Box | None:
    """Return ((x0, x1), (y0, y1)) of an imaging gWCS, or None where it has no bounding box."""
    if wcs.bounding_box is None:
        return None
    x, y = wcs.bounding_box.bounding_box(order="F")
    return (float(x[0]), float(x[1])), (float(y[0]), float(y[1]))


def _refined(
    transform: Transform,
    shape: tuple[int, int],
    tolerance: float,
    step: int,
    box: Box | None,
    *,
    on_sphere: bool,
    scale: float,
) -> PixelMap:
    ny, nx = (int(n) for n in shape)
    if min(ny, nx) < 1 or not tolerance >= 0 or step < 1:
        raise ParameterError(f"a pixel map needs shape, tolerance and step above 0; got {shape}, {tolerance}, {step}.")
    while step >= 4 and tolerance > 0 and min(ny, nx) > 4:
        nodes = _evaluate(transform, _places(ny, step), _places(nx, step))
        error = _largest_error(transform, nodes, (ny, nx)) / scale
        if error <= tolerance:
            return PixelMap(nodes, (ny, nx), error, box, on_sphere)
        step = 1 if np.isnan(error) else step // 2
    return PixelMap(_evaluate(transform, np.arange(ny, dtype=float), np.arange(nx, dtype=float)), (ny, nx), 0.0, box, on_sphere)


def _places(size: int, step: int) -> Array:
    """Spread at least four nodes over the pixel centres of one axis, at most `step` apart."""
    return np.linspace(0, size - 1, max(4, 1 + -(-(size - 1) // step)))


def _evaluate(transform: Transform, y: Array, x: Array) -> Array:
    grid_x, grid_y = np.meshgrid(x, y)
    values = [np.asarray(v, dtype=float) for v in transform(grid_x.ravel(), grid_y.ravel())]
    if any(v.shape != (grid_x.size,) for v in values):
        raise InputError("the transform of a pixel map must return one array of the shape of x for each coordinate.")
    return np.ascontiguousarray(np.reshape(values, (len(values), *grid_x.shape)))


def _largest_error(transform: Transform, nodes: Array, shape: tuple[int, int]) -> float:
    """Compare with exact values at the middles of cells and of their edges: the largest distance (NaN where one is not finite)."""
    _, count_y, count_x = nodes.shape
    step_y, step_x = (shape[0] - 1) / (count_y - 1), (shape[1] - 1) / (count_x - 1)
    node_y, node_x = np.arange(count_y) * step_y, np.arange(count_x) * step_x
    mid_y, mid_x = node_y[:-1] + step_y / 2, node_x[:-1] + step_x / 2
    pairs = ((mid_y, mid_x), (mid_y, node_x), (node_y, mid_x))
    y = np.concatenate([np.repeat(a, b.size) for a, b in pairs])
    x = np.concatenate([np.tile(b, a.size) for a, b in pairs])
    guess = cubic_at(nodes, *cubic_weights(y, step_y, count_y), *cubic_weights(x, step_x, count_x))
    exact = np.array([np.asarray(v, dtype=float) for v in transform(x, y)])
    return float(np.sqrt(((guess - exact) ** 2).sum(axis=0)).max()) * _BEYOND_MIDDLE


def _vectors(lon: Array, lat: Array) -> tuple[Array, Array, Array]:
    lon, lat = np.radians(lon), np.radians(lat)
    return np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)


def _angles(x: Array, y: Array, z: Array) -> tuple[Array, Array]:
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))
