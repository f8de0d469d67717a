"""From light to numbers: what a NIRCam detector and its electronics do to the photons.

The order is the reverse of the pipeline's: charge with its cosmic rays, non-linearity and full wells, the average of the
frames, bias, capacitance between pixels, read noise, 1/f noise and offsets of the amplifiers, and the converter.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from jwnb.errors import ParameterError
from jwnb.kernels.accumulation import accumulate_ramps
from jwnb.sim.geometry import Detector, Subarray

__all__ = [
    "HIT", "PATTERNS", "Electronics", "Readout", "build_electronics", "cosmic_ray_hits", "expose", "group_of_frame", "ipc_kernels",
]  # fmt: skip

Image = NDArray[np.float32]

# frames averaged in a group, frames dropped between groups
PATTERNS: dict[str, tuple[int, int]] = {
    "RAPID": (1, 0), "BRIGHT1": (1, 1), "BRIGHT2": (2, 0), "SHALLOW2": (2, 3), "SHALLOW4": (4, 1),
    "MEDIUM2": (2, 8), "MEDIUM8": (8, 2), "DEEP2": (2, 18), "DEEP8": (8, 12),
}  # fmt: skip

HIT = np.dtype([("integration", "i4"), ("group", "i4"), ("frame", "i4"), ("y", "i4"), ("x", "i4"), ("electrons", "f4")])

PIXEL_CM = 18e-4
IPC_SIDE, IPC_CORNER = 0.0055, 0.0003  # share of the charge that each neighbour shows
FLICKER = 2.0  # DN, rms of the 1/f noise of a frame
DRIFT = 1.0  # DN, rms of the offset that all pixels of an output share, of a frame
ODD_EVEN = 6.0  # DN, half the difference between odd and even columns
CONVERTER_TOP = 65535


@dataclass(frozen=True)
class Readout:
    """How an exposure is read: the pattern, and how often."""

    pattern: str
    nints: int
    ngroups: int
    nframes: int
    groupgap: int
    frame_time: float

    @classmethod
    def named(cls, pattern: str, *, nints: int, ngroups: int, frame_time: float) -> "Readout":
        """Look a pattern up; `ParameterError` for one that NIRCam does not have, or for impossible numbers."""
        if pattern not in PATTERNS:
            raise ParameterError(f"no NIRCam readout pattern {pattern!r}; there are {', '.join(PATTERNS)}")
        if nints < 1 or ngroups < 1:
            raise ParameterError(f"nints={nints} and ngroups={ngroups} must both be at least 1")
        nframes, gap = PATTERNS[pattern]
        return cls(pattern, int(nints), int(ngroups), nframes, gap, frame_time)

    @property
    def group_time(self) -> float:
        """Seconds from one group to the next."""
        return (self.nframes + self.groupgap) * self.frame_time

    @property
    def frames(self) -> int:
        """Frames from the reset of an integration to its last read."""
        return self.ngroups * self.nframes + (self.ngroups - 1) * self.groupgap

    @property
    def integration_time(self) -> float:
        """Seconds from the reset of an integration to its last read."""
        return self.frames * self.frame_time

    @property
    def duration(self) -> float:
        """Seconds of the whole exposure, with one frame of reset between integrations."""
        return self.nints * self.integration_time + (self.nints - 1) * self.frame_time


@dataclass(frozen=True)
class Electronics:
    """The properties of every pixel of a window; the reference files say the same.

    Attributes
    ----------
    gain : ndarray
        Electrons per DN.
    read_noise : ndarray
        Of one frame, DN.
    bias : ndarray
        DN.
    coeffs : ndarray
        Polynomial that straightens DN above bias (5, ny, nx), lowest power first.
    full_well : ndarray
        DN above bias at which a pixel stops.
    saturation : ndarray
        DN, bias included, from which a pixel counts as saturated.
    dark : ndarray
        Dark current, electrons per second.
    response : ndarray
        Relative sensitivity; its mean over good pixels is one.
    border, dead, hot : ndarray of bool
        Reference pixels; pixels that see next to nothing; pixels with much dark current.
    """

    gain: Image
    read_noise: Image
    bias: Image
    coeffs: Image
    full_well: Image
    saturation: Image
    dark: Image
    response: Image
    border: NDArray[np.bool_]
    dead: NDArray[np.bool_]
    hot: NDArray[np.bool_]


def build_electronics(det: Detector, subarray: Subarray, rng: np.random.Generator) -> Electronics:
    """Draw a detector's pixels.

    Parameters
    ----------
    det, subarray : Detector, Subarray
        Which pixels.
    rng : numpy.random.Generator
        Random numbers.

    Returns
    -------
    Electronics
        Arrays of the subarray's shape.
    """
    shape = subarray.shape
    border = subarray.border()
    y, x = np.ogrid[: shape[0], : shape[1]]
    y, x = y + subarray.ystart - 1, x + subarray.xstart - 1
    amplifier = x // 512 if subarray.noutputs == 4 else np.zeros_like(x)

    def scatter() -> Image:
        return rng.standard_normal(shape, dtype=np.float32)

    long = det.channel == "LONG"
    gain = np.float32(1.82 if long else 2.05) * (1 + 0.01 * rng.standard_normal(4)[amplifier] + 0.01 * scatter())
    read_noise = np.float32(5.6) * (1 + 0.12 * np.abs(scatter()))
    wave = 60 * np.sin(y / 310.0 + 1) * np.cos(x / 450.0)
    columns = 25 * rng.standard_normal(2048)[x]
    bias = 9000 + 700 * rng.standard_normal(4)[amplifier] + wave + columns + 120 * scatter()
    coeffs = np.zeros((5, *shape), np.float32)
    coeffs[1] = 1
    curvature = 1 + 0.06 * scatter()
    for power, size in ((2, 6e-7), (3, 1.5e-12), (4, 1e-17)):
        coeffs[power] = np.where(border, 0, size * curvature)
    full_well = (52000 + 900 * scatter()).astype(np.float32)
    dark = (0.034 if long else 0.0025) * (1 + 0.25 * scatter()).clip(0.1)
    hot = (rng.random(shape) < 0.002) & ~border
    dark = np.where(hot, rng.lognormal(np.log(1.5), 1.0, shape), dark)
    dark[border] = 0
    smooth = 1 + 0.02 * np.cos(2 * np.pi * (x - 900) / 2300.0) * np.cos(2 * np.pi * (y - 1100) / 1900.0)
    response = smooth * (1 + 0.008 * scatter())
    dead = (rng.random(shape) < 0.001) & ~border & ~hot
    response[dead] = 0.01
    response[border] = 0
    return Electronics(
        gain=gain.astype(np.float32), read_noise=read_noise.astype(np.float32), bias=bias.astype(np.float32), coeffs=coeffs,
        full_well=full_well, saturation=np.minimum(bias + 0.95 * full_well, 0.99 * CONVERTER_TOP).astype(np.float32),
        dark=dark.astype(np.float32), response=response.astype(np.float32), border=border, dead=dead, hot=hot,
    )  # fmt: skip


def cosmic_ray_hits(readout: Readout, border: NDArray[np.bool_], *, per_cm2_s: float, rng: np.random.Generator) -> NDArray[np.void]:
    """Draw the charge that cosmic rays leave: straight tracks with charge that spreads over the neighbours.

    Parameters
    ----------
    readout : Readout
        How long the exposure is.
    border : NDArray[np.bool_]
        Reference pixels, which keep no charge (ny, nx).
    per_cm2_s : float
        Rate of the particles, per cm² and second (about 5 at L2).
    rng : numpy.random.Generator
        Random numbers.

    Returns
    -------
    NDArray
        Structured array `HIT`: `frame` is counted through the exposure without its resets, dropped frames included;
        `group` is the first group that shows the charge. One row per pixel and frame, at least 1 electron.
    """
    ny, nx = border.shape
    per_integration = readout.ngroups * (readout.nframes + readout.groupgap)
    seconds = readout.nints * readout.frames * readout.frame_time
    number = rng.poisson(per_cm2_s * ny * nx * PIXEL_CM**2 * seconds)
    integration = rng.integers(0, readout.nints, number)
    frame = integration * per_integration + rng.integers(0, readout.frames, number)
    y, x = rng.uniform(-0.5, ny - 0.5, number), rng.uniform(-0.5, nx - 0.5, number)
    angle, length = rng.uniform(0, 2 * np.pi, number), rng.exponential(2.0, number).clip(max=25)
    charge = rng.lognormal(np.log(1400), 0.9, number)
    steps = np.ceil(2 * length).astype(int) + 1
    which = np.repeat(np.arange(number), steps)
    along = (np.arange(which.size) - np.repeat(np.cumsum(steps) - steps, steps)) / 2
    py, px = y[which] + along * np.sin(angle[which]), x[which] + along * np.cos(angle[which])
    q = charge[which] / steps[which]
    iy, ix = np.floor(py).astype(int), np.floor(px).astype(int)
    fy, fx = py - iy, px - ix
    # Each point of a track is shared by the four pixels round it.
    rows = np.concatenate([iy, iy, iy + 1, iy + 1])
    cols = np.concatenate([ix, ix + 1, ix, ix + 1])
    electrons = np.concatenate([q * (1 - fy) * (1 - fx), q * (1 - fy) * fx, q * fy * (1 - fx), q * fy * fx])
    frames = np.tile(frame[which], 4)
    inside = (rows >= 0) & (rows < ny) & (cols >= 0) & (cols < nx)
    rows, cols, electrons, frames = rows[inside], cols[inside], electrons[inside], frames[inside]
    key = (frames.astype(np.int64) * ny + rows) * nx + cols
    order = np.argsort(key, kind="stable")
    key, first = np.unique(key[order], return_index=True)
    total = np.add.reduceat(electrons[order], first) if key.size else np.zeros(0)
    hits = np.zeros(key.size, HIT)
    hits["x"], hits["y"], hits["frame"] = key % nx, key // nx % ny, key // (nx * ny)
    hits["electrons"] = total
    hits["integration"], hits["group"] = group_of_frame(readout, hits["frame"])
    return hits[(total >= 1) & ~border[hits["y"], hits["x"]]]


def group_of_frame(readout: Readout, frame: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Return the integration and the first group that show what happened in a frame (a dropped one shows in the next group)."""
    integration, within = np.divmod(frame, readout.ngroups * (readout.nframes + readout.groupgap))
    group, part = np.divmod(within, readout.nframes + readout.groupgap)
    return integration, group + (part >= readout.nframes)


def ipc_kernels() -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the coupling between pixels (3, 3), and the kernel that undoes it (5, 5), which the ipc step applies."""
    coupling = np.full((3, 3), IPC_CORNER)
    coupling[[0, 1, 1, 2], [1, 0, 2, 1]] = IPC_SIDE
    coupling[1, 1] = 1 - 4 * (IPC_SIDE + IPC_CORNER)
    wide = np.zeros((33, 33))
    wide[:3, :3] = coupling
    inverse = np.real(np.fft.ifft2(1 / np.fft.fft2(np.roll(wide, (-1, -1), (0, 1)))))
    undo = np.roll(inverse, (2, 2), (0, 1))[:5, :5]
    return coupling, (undo / undo.sum()).astype(np.float32)


def expose(
    light: Image, electronics: Electronics, *, readout: Readout, subarray: Subarray, det: Detector, hits: NDArray[np.void],
    ipc: bool, correlated_noise: float = 1.0, rng: np.random.Generator,
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:  # fmt: skip
    """Expose a detector to light and read it out.

    Parameters
    ----------
    light : NDArray[np.float32]
        Electrons per second that light makes (ny, nx).
    electronics : Electronics
        The pixels.
    readout : Readout
        The pattern.
    subarray, det : Subarray, Detector
        For the order in which pixels are read.
    hits : NDArray
        Cosmic rays, from `cosmic_ray_hits`.
    ipc : bool
        Whether neighbours couple.
    correlated_noise : float
        Times the usual 1/f noise and drift of the outputs.
    rng : numpy.random.Generator
        Random numbers.

    Returns
    -------
    groups : NDArray[np.uint16]
        DN (nints, ngroups, ny, nx).
    first : NDArray[np.uint16]
        The first frame of each integration, DN (nints, ny, nx).
    """
    signal, early = accumulate_ramps(
        light + electronics.dark, gain=electronics.gain, coeffs=electronics.coeffs, full_well=electronics.full_well,
        frame_time=readout.frame_time, nints=readout.nints, ngroups=readout.ngroups, nframes=readout.nframes,
        groupgap=readout.groupgap, hits=hits, seed=rng.integers(0, 2**32, subarray.ysize),
    )  # fmt: skip
    groups, first = np.empty(signal.shape, np.uint16), np.empty(early.shape, np.uint16)
    side = _odd_even(subarray)
    nframes = readout.nframes
    for i in range(readout.nints):
        offset = rng.normal(0, 20, 4)  # of the outputs, for one integration
        for g in range(readout.ngroups):
            if g > 0:
                noise = _read_noise(electronics, nframes, rng)
            else:
                # The first frame is one of those averaged in the first group: its noise is part of the group's.
                alone = _read_noise(electronics, 1, rng)
                noise = alone / np.float32(nframes)
                if nframes > 1:
                    noise += _read_noise(electronics, nframes - 1, rng) * np.float32((nframes - 1) / nframes)
                frame = _with_bias(early[i], electronics, ipc=ipc) + alone + side
                frame += _amplifier_noise(subarray, det, offset, 1, rng, scale=correlated_noise)
                first[i] = _converted(frame)
            plane = _with_bias(signal[i, g], electronics, ipc=ipc) + noise + side
            plane += _amplifier_noise(subarray, det, offset, nframes, rng, scale=correlated_noise)
            groups[i, g] = _converted(plane)
    return groups, first


def _with_bias(signal: Image, electronics: Electronics, *, ipc: bool) -> Image:
    total = signal + electronics.bias
    if not ipc:
        return total
    coupling, _ = ipc_kernels()
    rows, cols = np.flatnonzero(~electronics.border.all(axis=1)), np.flatnonzero(~electronics.border.all(axis=0))
    inner = (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
    total[inner] = ndimage.convolve(total[inner], coupling.astype(np.float32), mode="nearest")
    return total


def _read_noise(electronics: Electronics, nframes: int, rng: np.random.Generator) -> Image:
    """Draw the read noise of the mean of some frames."""
    return rng.standard_normal(electronics.gain.shape, dtype=np.float32) * electronics.read_noise / np.float32(np.sqrt(nframes))


def _odd_even(subarray: Subarray) -> Image:
    column = np.arange(subarray.xsize) + subarray.xstart - 1
    return np.where(column % 2, ODD_EVEN, -ODD_EVEN).astype(np.float32)[None, :]


def _amplifier_noise(
    subarray: Subarray, det: Detector, offset: NDArray[np.float64], nframes: int, rng: np.random.Generator, *, scale: float
) -> Image:
    """Draw what the outputs add to a mean of frames: an offset, a drift, and 1/f noise in the order of reading."""
    outputs = subarray.noutputs
    width = subarray.xsize // outputs
    parts = []
    shared = _one_over_f(subarray.ysize, width, rng)
    for k in range(outputs):
        own = _one_over_f(subarray.ysize, width, rng) if outputs > 1 else shared
        noise = FLICKER * (0.8 * shared + 0.6 * own if outputs > 1 else shared)
        parts.append(scale * (noise + rng.normal(0, DRIFT)) / np.sqrt(nframes) + offset[k])
    plane = np.concatenate([p[:, ::-1] for p in parts] if det.fastaxis < 0 else parts, axis=1)
    return (plane[::-1] if det.slowaxis < 0 else plane).astype(np.float32)


def _one_over_f(rows: int, width: int, rng: np.random.Generator) -> Image:
    """Draw noise of unit rms whose power falls as 1/f, sampled as pixels are read: 12 clocks of pause after every row."""
    clocks = rows * (width + 12)
    length = fft.next_fast_len(clocks, real=True)
    count = length // 2 + 1
    spectrum = rng.standard_normal(2 * count, dtype=np.float32).view(np.complex64)
    frequency = np.arange(count, dtype=np.float32)
    frequency[0] = np.inf  # no mean: the drift is drawn apart
    spectrum /= np.sqrt(frequency)
    scale = np.sqrt(4 * np.sum(1 / frequency[1:], dtype=float)) / length
    series = fft.irfft(spectrum, n=length)[:clocks] / np.float32(scale)
    return np.asarray(series.reshape(rows, width + 12)[:, :width], np.float32)


def _converted(counts: Image) -> NDArray[np.uint16]:
    return np.clip(np.rint(counts), 0, CONVERTER_TOP).astype(np.uint16)
