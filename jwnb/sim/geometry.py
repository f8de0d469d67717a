"""Where NIRCam's detectors look: pixels to telescope angles to sky, from a table extracted from the aperture file.

Pixels are 0-based in the science (DMS) orientation of the whole 2048 x 2048 frame, pixel centres at integers. V2 and V3 are
in arcsec, RA and Dec in degrees. The conventions are those of the Science Instrument Aperture File (Cox & Lallo, JWST-STScI-001550):
a fifth order polynomial gives ideal angles, a rotation and a shift give V2 and V3.
"""

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jwnb.errors import ParameterError

if TYPE_CHECKING:
    from astropy.modeling import Model

__all__ = ["DETECTORS", "Detector", "Pointing", "Subarray", "detector", "distortion_transform"]

Array = NDArray[np.float64]

DETECTORS = (
    "NRCA1", "NRCA2", "NRCA3", "NRCA4", "NRCALONG", "NRCB1", "NRCB2", "NRCB3", "NRCB4", "NRCBLONG",
)  # fmt: skip


@dataclass(frozen=True)
class Subarray:
    """A window of a detector: `xstart` and `ystart` count from 1, `x_ref` and `y_ref` from 1 inside the window."""

    name: str
    aperture: str
    xstart: int
    ystart: int
    xsize: int
    ysize: int
    x_ref: float
    y_ref: float
    v2_ref: float
    v3_ref: float
    v3_yangle: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.ysize, self.xsize

    @property
    def noutputs(self) -> int:
        """Amplifiers used: four for the whole width, one for a window."""
        return 4 if self.xsize == 2048 else 1

    @property
    def frame_time(self) -> float:
        """Seconds between frames: 10 µs a pixel, with 12 clocks added to every row and one or two rows to the frame."""
        columns = self.xsize // self.noutputs + 12
        clocks = columns * (self.ysize + 1) + 1 if self.noutputs == 4 else columns * (self.ysize + 2)
        return round(clocks * 1e-5, 6)

    def border(self) -> NDArray[np.bool_]:
        """Return which pixels are reference pixels, i.e. lie in the four rows and columns at the frame's edges."""
        y = np.arange(self.ysize) + self.ystart - 1
        x = np.arange(self.xsize) + self.xstart - 1
        return ((y < 4) | (y >= 2044))[:, None] | ((x < 4) | (x >= 2044))[None, :]


@dataclass(frozen=True)
class Detector:
    """One NIRCam detector: its distortion and its subarrays."""

    name: str
    fastaxis: int
    slowaxis: int
    vparity: int
    x_ref: float
    y_ref: float
    v2_ref: float
    v3_ref: float
    v3_yangle: float
    degree: int
    ideal_x: tuple[float, ...]
    ideal_y: tuple[float, ...]
    inverse_degree: int
    pixel_x: tuple[float, ...]
    pixel_y: tuple[float, ...]
    subarrays: dict[str, Subarray]

    @property
    def channel(self) -> str:
        """SHORT or LONG."""
        return "LONG" if self.name.endswith("LONG") else "SHORT"

    @property
    def module(self) -> str:
        """A or B."""
        return self.name[3]

    def subarray(self, name: str) -> Subarray:
        """Return a subarray by its keyword value; `ParameterError` if this detector has none of that name."""
        if name not in self.subarrays:
            raise ParameterError(f"{self.name} has no subarray {name!r} here; it has {', '.join(self.subarrays)}")
        return self.subarrays[name]

    def to_ideal(self, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
        """Map pixels to ideal angles, arcsec."""
        u, v = np.asarray(x, float) + 1 - self.x_ref, np.asarray(y, float) + 1 - self.y_ref
        return _polynomial(self.ideal_x, self.degree, u, v), _polynomial(self.ideal_y, self.degree, u, v)

    def to_v2v3(self, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
        """Map pixels to V2 and V3, arcsec."""
        return self.ideal_to_v2v3(*self.to_ideal(x, y))

    def ideal_to_v2v3(self, xi: ArrayLike, yi: ArrayLike) -> tuple[Array, Array]:
        """Map ideal angles to V2 and V3, arcsec."""
        c, s = np.cos(np.radians(self.v3_yangle)), np.sin(np.radians(self.v3_yangle))
        a, b = self.vparity * np.asarray(xi, float), np.asarray(yi, float)
        return self.v2_ref + a * c + b * s, self.v3_ref - a * s + b * c

    def to_pixel(self, v2: ArrayLike, v3: ArrayLike) -> tuple[Array, Array]:
        """Map V2 and V3 to pixels: the table's inverse polynomial, then Newton's method on the forward one."""
        c, s = np.cos(np.radians(self.v3_yangle)), np.sin(np.radians(self.v3_yangle))
        a, b = np.asarray(v2, float) - self.v2_ref, np.asarray(v3, float) - self.v3_ref
        xi, yi = self.vparity * (a * c - b * s), a * s + b * c
        x = _polynomial(self.pixel_x, self.inverse_degree, xi, yi) + self.x_ref - 1
        y = _polynomial(self.pixel_y, self.inverse_degree, xi, yi) + self.y_ref - 1
        for _ in range(3):
            fx, fy = self.to_ideal(x, y)
            xx, xy, yx, yy = self._jacobian(x, y)
            det = xx * yy - xy * yx
            x = x - ((fx - xi) * yy - (fy - yi) * xy) / det
            y = y - ((fy - yi) * xx - (fx - xi) * yx) / det
        return x, y

    def pixel_area(self, x: ArrayLike, y: ArrayLike) -> Array:
        """Return the solid angle of pixels, arcsec²."""
        xx, xy, yx, yy = self._jacobian(x, y)
        return np.abs(xx * yy - xy * yx)

    def _jacobian(self, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array, Array, Array]:
        x, y = np.asarray(x, float), np.asarray(y, float)
        right, left = self.to_ideal(x + 0.5, y), self.to_ideal(x - 0.5, y)
        up, down = self.to_ideal(x, y + 0.5), self.to_ideal(x, y - 0.5)
        return right[0] - left[0], up[0] - down[0], right[1] - left[1], up[1] - down[1]


@dataclass(frozen=True)
class Pointing:
    """An attitude: the point (v2_ref, v3_ref) of the telescope looks at (ra, dec), with V3 at position angle `roll` there.

    `va_scale` is the stretch of the field by the observatory's velocity, about the reference point.
    """

    v2_ref: float
    v3_ref: float
    ra: float
    dec: float
    roll: float
    va_scale: float = 1.0

    def to_sky(self, v2: ArrayLike, v3: ArrayLike) -> tuple[Array, Array]:
        """Map V2 and V3, arcsec, to RA and Dec, degrees."""
        stretched = (
            self.v2_ref + self.va_scale * (np.asarray(v2, float) - self.v2_ref),
            self.v3_ref + self.va_scale * (np.asarray(v3, float) - self.v3_ref),
        )
        lon, lat = (np.radians(a / 3600) for a in stretched)
        s = np.tensordot(self._matrix(), _unit_vector(lon, lat), axes=1)
        return np.degrees(np.arctan2(s[1], s[0])) % 360, np.degrees(np.arcsin(np.clip(s[2], -1, 1)))

    def from_sky(self, ra: ArrayLike, dec: ArrayLike) -> tuple[Array, Array]:
        """Map RA and Dec, degrees, to V2 and V3, arcsec."""
        v = np.tensordot(self._matrix().T, _unit_vector(np.radians(ra), np.radians(dec)), axes=1)
        v2, v3 = np.degrees(np.arctan2(v[1], v[0])) * 3600, np.degrees(np.arcsin(np.clip(v[2], -1, 1))) * 3600
        return self.v2_ref + (v2 - self.v2_ref) / self.va_scale, self.v3_ref + (v3 - self.v3_ref) / self.va_scale

    def at(self, v2: float, v3: float) -> "Pointing":
        """Describe the same attitude by another point of the telescope (velocity aberration left out)."""
        matrix = self._matrix()
        lon, lat = np.radians(v2 / 3600), np.radians(v3 / 3600)
        s = matrix @ _unit_vector(lon, lat)
        upward = matrix @ np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
        ra, dec = np.arctan2(s[1], s[0]), np.arcsin(np.clip(s[2], -1, 1))
        north = np.array([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)])
        east = np.array([-np.sin(ra), np.cos(ra), 0.0])
        roll = np.degrees(np.arctan2(upward @ east, upward @ north)) % 360
        return Pointing(v2, v3, float(np.degrees(ra) % 360), float(np.degrees(dec)), float(roll), self.va_scale)

    def _matrix(self) -> Array:
        angles = np.radians([-self.v2_ref / 3600, self.v3_ref / 3600, -self.roll, -self.dec, self.ra])
        turns = [_turn(axis, angle) for axis, angle in zip("zyxyz", angles, strict=True)]
        return functools.reduce(lambda total, turn: turn @ total, turns)


@functools.cache
def detector(name: str) -> Detector:
    """Return a NIRCam detector by its keyword value, e.g. ``"NRCA1"`` or ``"NRCBLONG"``.

    Raises
    ------
    ParameterError
        If there is no such detector.
    """
    table = _table()["detectors"]
    if name not in table:
        raise ParameterError(f"no NIRCam detector {name!r}; there are {', '.join(DETECTORS)}")
    entry = dict(table[name])
    subarrays = {key: Subarray(name=key, **value) for key, value in entry.pop("subarrays").items()}
    entry.pop("inverse_residual")
    for key in ("ideal_x", "ideal_y", "pixel_x", "pixel_y"):
        entry[key] = tuple(entry[key])
    return Detector(name=name, subarrays=subarrays, **entry)


def distortion_transform(det: Detector) -> "Model":
    """Build the model of a DISTORTION reference: 0-based whole-frame pixels to V2 and V3 in arcsec, with its inverse.

    Parameters
    ----------
    det : Detector
        The detector.

    Returns
    -------
    astropy.modeling.Model
        Shifts, two polynomials and a rotation, made only of parts that every reader of such references knows.
    """
    from astropy.modeling.models import Mapping, Polynomial2D, Shift

    c, s = np.cos(np.radians(det.v3_yangle)), np.sin(np.radians(det.v3_yangle))

    def plane(a: float, b: float) -> Polynomial2D:
        return Polynomial2D(1, c0_0=0.0, c1_0=a, c0_1=b)

    def pair(first: Polynomial2D, second: Polynomial2D) -> "Model":
        return Mapping((0, 1, 0, 1)) | (first & second)

    p = det.vparity
    # The centre in two shifts, as in the archive's files: to 1-based pixels, then to the reference pixel.
    forward = (
        (Shift(1.0) & Shift(1.0)) | (Shift(-det.x_ref) & Shift(-det.y_ref))
        | pair(_astropy_polynomial(det.ideal_x, det.degree), _astropy_polynomial(det.ideal_y, det.degree))
        | pair(plane(p * c, s), plane(-p * s, c)) | (Shift(det.v2_ref) & Shift(det.v3_ref))
    )  # fmt: skip
    inverse_x = _astropy_polynomial(det.pixel_x, det.inverse_degree)
    inverse_y = _astropy_polynomial(det.pixel_y, det.inverse_degree)
    forward.inverse = (
        (Shift(-det.v2_ref) & Shift(-det.v3_ref)) | pair(plane(p * c, -p * s), plane(s, c))
        | pair(inverse_x, inverse_y)
        | (Shift(det.x_ref) & Shift(det.y_ref)) | (Shift(-1.0) & Shift(-1.0))
    )  # fmt: skip
    return forward


@functools.cache
def _table() -> dict[str, Any]:
    text = resources.files("jwnb.sim").joinpath("nircam_geometry.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def _polynomial(coefficients: tuple[float, ...], degree: int, x: Array, y: Array) -> Array:
    """Sum c x**(n-j) y**j over n = 0 … degree and j = 0 … n, which is the order of the table."""
    grid = np.zeros((degree + 1, degree + 1))
    k = 0
    for n in range(degree + 1):
        for j in range(n + 1):
            grid[n - j, j] = coefficients[k]
            k += 1
    return np.asarray(np.polynomial.polynomial.polyval2d(x, y, grid), dtype=np.float64)


def _astropy_polynomial(coefficients: tuple[float, ...], degree: int) -> "Model":
    from astropy.modeling.models import Polynomial2D

    names = [f"c{n - j}_{j}" for n in range(degree + 1) for j in range(n + 1)]
    return Polynomial2D(degree, **dict(zip(names, coefficients, strict=True)))


def _unit_vector(lon: ArrayLike, lat: ArrayLike) -> Array:
    lon, lat = np.asarray(lon, float), np.asarray(lat, float)
    return np.stack(np.broadcast_arrays(np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)))


def _turn(axis: str, angle: float) -> Array:
    """Rotate a vector about an axis by an angle in radians, counter-clockwise."""
    c, s = np.cos(angle), np.sin(angle)
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]
