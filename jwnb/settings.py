"""Options of a session, each checked when it is set.

>>> import jwnb
>>> with jwnb.settings.using(progress=False):
...     jwnb.settings.get("progress")
False
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from jwnb.errors import ParameterError

__all__ = ["get", "set", "using"]

_DEFAULTS: dict[str, Any] = {"progress": True, "threads": None, "workers": None, "reference_cache_mb": 512, "thumbnail_pixels": 256}
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "progress": (lambda v: isinstance(v, bool), "True or False"),
    "threads": (lambda v: v is None or (isinstance(v, int) and v >= 1), "a number of threads of 1 or more, or None for all"),
    "workers": (lambda v: v is None or (isinstance(v, int) and v >= 1), "a number of processes of 1 or more, or None for what there is"),
    "reference_cache_mb": (lambda v: isinstance(v, int | float) and v >= 0, "megabytes, 0 or more"),
    "thumbnail_pixels": (lambda v: isinstance(v, int) and 32 <= v <= 2048, "pixels between 32 and 2048"),
}
_current: ContextVar[dict[str, Any] | None] = ContextVar("jwnb_settings", default=None)
_session: dict[str, Any] = dict(_DEFAULTS)


def get(name: str) -> Any:
    """Return the value of one setting."""
    _known(name)
    inner = _current.get()
    return (inner if inner is not None and name in inner else _session)[name]


def set(**values: Any) -> None:
    """Set options for the rest of the session."""
    _session.update(_checked(values))


@contextlib.contextmanager
def using(**values: Any) -> Iterator[None]:
    """Set options for the length of a ``with`` block."""
    token = _current.set({**(_current.get() or {}), **_checked(values)})
    try:
        yield
    finally:
        _current.reset(token)


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    for name, value in values.items():
        _known(name)
        good, expected = _CHECKS[name]
        if not good(value):
            raise ParameterError(f"setting {name}={value!r}: expected {expected}.")
    return values


def _known(name: str) -> None:
    if name not in _DEFAULTS:
        raise ParameterError(f"there is no setting {name!r}; there are: {', '.join(sorted(_DEFAULTS))}.")
