"""Array code: the numba policy (caching, threads) lives here and nowhere else.

Two Python threads that enter a parallel kernel at once abort the process under numba's workqueue layer. Where tbb
is installed it is chosen (it is safe); otherwise one process-wide lock stands round every parallel kernel.
"""

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _load_tbb() -> bool:
    """Load the tbb library of this Python's own environment, where the system does not look for it; say whether it is there."""
    for path in (Path(sys.prefix) / "lib").glob("libtbb.so.*"):
        try:
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue  # of another machine type: the lock serves instead
        return True
    return False


# Read by numba when it is first imported; a user's own choice wins.
os.environ.setdefault("NUMBA_THREADING_LAYER_PRIORITY", "tbb workqueue omp" if _load_tbb() else "workqueue omp tbb")

import numba  # noqa: E402 - after the layers are put in order

__all__ = ["jit", "parallel_jit", "threads", "use_threads"]

_lock = threading.RLock()


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel for one thread; cached on disk, GIL released."""
    return numba.njit(cache=True, nogil=True, error_model="numpy")(function)


def parallel_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel whose outer loop is a `prange`; calls are serialised where the layer needs it."""
    compiled = numba.njit(cache=True, nogil=True, parallel=True, error_model="numpy")(function)

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        if _layer_is_threadsafe():
            return compiled(*args)
        with _lock:
            return compiled(*args)

    call.compiled = compiled  # type: ignore[attr-defined]
    return call


def threads() -> int:
    """Return the number of threads that parallel kernels use in this Python thread."""
    return int(numba.get_num_threads())


def use_threads(n: int) -> None:
    """Let parallel kernels started from this Python thread use `n` threads (at most as many as numba has)."""
    numba.set_num_threads(max(1, min(n, numba.config.NUMBA_NUM_THREADS)))


def _layer_is_threadsafe() -> bool:
    try:
        return bool(numba.threading_layer() == "tbb")
    except ValueError:  # no parallel kernel has run yet, so the layer is not chosen
        return False
