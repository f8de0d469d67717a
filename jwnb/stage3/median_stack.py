"""The median of images on parts of one grid, without holding them: they wait in a temporary file and come back a few rows at a time."""

import tempfile
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from jwnb.errors import InputError
from jwnb.kernels.medians import median_plane

__all__ = ["MedianStack"]

Array = npt.NDArray[Any]

_BLOCK = 48 * 2**20  # bytes of all images together that are in memory at once
_NO_FLAGS = np.zeros((0, 0, 0), np.uint32)


@dataclass(frozen=True)
class _Part:
    """Where an image lies in the file and in the grid, and what stands for it outside."""

    offset: int
    row: int
    column: int
    shape: tuple[int, int]
    outside: float


class MedianStack:
    """Images on parts of a grid, of which the median is wanted. Use it in a ``with`` block: the file is gone after it.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the grid.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._parts: list[_Part] = []
        # No memory map: the system counts that as memory of this process. It has no name, so that a killed process leaves nothing behind.
        self._file = tempfile.TemporaryFile(prefix="jwnb-")
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def add(self, image: Array, *, row: int = 0, column: int = 0, outside: float = np.nan) -> None:
        """Add an image.

        Parameters
        ----------
        image : (ny, nx) float32
            NaN is left out of the median.
        row, column : int
            Where in the grid its first pixel lies.
        outside : float
            What it is taken to be in the rest of the grid.

        Raises
        ------
        InputError
            The disk is full.
        """
        plane = np.ascontiguousarray(image, np.float32)
        try:
            self._file.seek(self._size)
            self._file.write(plane.data)
        except OSError as error:
            raise InputError(
                f"the temporary folder {tempfile.gettempdir()} does not take {plane.nbytes / 1e6:.0f} MB more: {error.strerror}. "
                "Make room, or set TMPDIR to a folder on a larger disk."
            ) from error
        self._parts.append(_Part(self._size, row, column, plane.shape, outside))
        self._size += plane.nbytes

    def median(self, *, drop_low: int = 0, drop_high: int = 0) -> tuple[Array, Array]:
        """Return the median of all images, (NY, NX) float32, NaN where none has a value, and how many have one, (NY, NX) uint16.

        Parameters
        ----------
        drop_low, drop_high : int
            How many of a pixel's lowest and highest values to leave out, where it has more than both together.
        """
        height, width = self.shape
        out, counts = np.empty(self.shape, np.float32), np.empty(self.shape, np.uint16)
        rows = max(1, _BLOCK // (4 * width * max(1, len(self._parts))))
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            touching = [p for p in self._parts if not np.isnan(p.outside) or (p.row < stop and p.row + p.shape[0] > start)]
            stack = np.empty((len(touching), stop - start, width), np.float32)
            for plane, part in zip(stack, touching, strict=True):
                self._read(part, start, plane)
            out[start:stop], counts[start:stop] = median_plane(stack, _NO_FLAGS, np.uint32(0), drop_low, drop_high)
        return out, counts

    def _read(self, part: _Part, start: int, plane: Array) -> None:
        """Fill `plane` with an image's rows from `start` of the grid on."""
        plane[:] = part.outside
        first, last = max(start, part.row), min(start + len(plane), part.row + part.shape[0])
        if last <= first:
            return
        rows = np.empty((last - first, part.shape[1]), np.float32)
        self._file.seek(part.offset + 4 * part.shape[1] * (first - part.row))
        self._file.readinto(rows.data)
        plane[first - start : last - start, part.column : part.column + part.shape[1]] = rows
