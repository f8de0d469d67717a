"""Work that one thread of Python cannot share with another, spread over processes.

The `drizzle` library holds Python's global lock, so threads gain nothing. The processes are those of `loky`, which starts clean ones
(nothing is forked, and no script is run again) and keeps them for the next call.
"""

import functools
import os
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from jwnb import settings

__all__ = ["Job", "number_of_workers", "spread"]

Tag = TypeVar("Tag")
Job = tuple[tuple[Any, ...], dict[str, Any]]

_MOST = 4  # each has Python and its libraries in memory, and an output plane
_LARGE = 2**20  # bytes; smaller arrays are sent, larger ones are put into a file that both sides map
_IDLE = 60  # seconds after which an unused worker ends


def number_of_workers() -> int:
    """Return how many processes `spread` may use: the setting ``workers``, or the processors that there are, up to 4."""
    wanted = settings.get("workers")
    if wanted is not None:
        return int(wanted)
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(there, _MOST)


def spread(
    function: Callable[..., Any], groups: Iterable[tuple[Tag, list[Job]]], *, worthwhile: bool = True
) -> Iterator[tuple[Tag, list[Any]]]:
    """Call a function for every job and yield the results group by group, in order.

    Parameters
    ----------
    function : callable
        Of a module that can be imported; it must not change its arguments.
    groups : iterable of (tag, jobs)
        Each job is the positional and keyword arguments of one call; the list is emptied. The next group is taken while the last one
        is at work, in the caller's thread.
    worthwhile : bool
        Whether the jobs are large enough for processes; otherwise they are done here, one after the other.

    Yields
    ------
    tag, results
    """
    workers = number_of_workers() if worthwhile else 1
    if workers == 1:
        for tag, jobs in groups:
            results = [function(*given, **named) for given, named in jobs]
            jobs.clear()
            yield tag, results
            del results
        return
    from loky import get_reusable_executor

    with tempfile.TemporaryDirectory(prefix="jwnb-", dir=_scratch()) as folder:
        pool = get_reusable_executor(max_workers=workers, timeout=_IDLE)
        put = _Scratch(Path(folder))
        waiting: deque[tuple[Tag, list[Any], list[Any]]] = deque()
        for tag, jobs in groups:
            sent = [(tuple(map(put, given)), {k: put(v) for k, v in named.items()}) for given, named in jobs]
            jobs.clear()
            waiting.append((tag, [pool.submit(_call, function, *job) for job in sent], sent))
            del sent
            if len(waiting) > 1:
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())


def _finished(tag: Tag, futures: list[Any], sent: list[Any]) -> tuple[Tag, list[Any]]:
    results = [future.result() for future in futures]
    sent.clear()  # only now may the files go
    return tag, results


def _scratch() -> str | None:
    """Return a folder in memory where there is a roomy one, or None for the system's temporary folder."""
    shared = Path("/dev/shm")
    try:
        room = os.statvfs(shared)
    except (OSError, AttributeError):
        return None
    return os.fspath(shared) if room.f_bavail * room.f_frsize > 2**31 and os.access(shared, os.W_OK) else None


class _Mapped:
    """An array in a file: opened by whoever gets it, removed when nobody here holds it any more."""

    def __init__(self, path: Path, array: npt.NDArray[Any]) -> None:
        self.path, self.dtype, self.shape = os.fspath(path), array.dtype, array.shape
        array.tofile(path)
        weakref.finalize(self, _remove, self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(np.memmap, self.path, dtype=self.dtype, mode="r", shape=self.shape), ()


class _Scratch:
    """Puts large arrays into files, each once as long as it lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.known: dict[int, tuple[Any, Any]] = {}

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray) or value.nbytes < _LARGE:
            return value
        array, mapped = (r() for r in self.known.get(id(value), (_nothing, _nothing)))
        if array is not value or mapped is None:
            self.count += 1
            mapped = _Mapped(self.folder / str(self.count), value)
            self.known[id(value)] = (weakref.ref(value), weakref.ref(mapped))
        return mapped


def _nothing() -> None:
    return None


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def _call(function: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]) -> Any:
    return function(*given, **named)
