"""Asking CRDS, through its own client: the selection rules are CRDS's.

The client reads ``CRDS_PATH`` (the cache), ``CRDS_SERVER_URL`` and ``CRDS_CONTEXT`` from the environment, and works from the
cache alone when the server's name contains ``serverless``. It takes most of a second to import, so it is imported when it
is first needed.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb import record
from jwnb.errors import MissingReferenceError

__all__ = ["Answers", "best_references", "client_version", "fetch"]

log = logging.getLogger(__name__)

OBSERVATORY = "jwst"
WHAT_TO_SET = (
    "Set CRDS_PATH (the folder of the cache) and CRDS_SERVER_URL (https://jwst-crds.stsci.edu, or "
    "https://jwst-serverless.stsci.edu to use the cache alone); or pass reference=…; or name a pinned set with "
    "jwnb.references.use(offline=…) or the environment variable JWNB_OFFLINE_SET."
)
# What processing itself writes, and no rule of CRDS selects by.
_NOT_ASKED_BY = ("meta.cal_step", "meta.ref_file", "meta.jwnb", "meta.calibration_software", "meta.data_processing", "meta.wcs")
_PLACE = frozenset(f"meta.subarray.{name}" for name in ("xstart", "ystart", "xsize", "ysize"))
_NOT_ASKED = frozenset({"meta.filename", "meta.date", "meta.model_type", "meta.cal_logs"})

# What the client is configured by; it writes others of its variables itself.
_CONFIGURATION = (
    "CRDS_PATH", "CRDS_PATH_SINGLE", "CRDS_MAPPATH", "CRDS_REFPATH", "CRDS_CFGPATH", "CRDS_SERVER_URL", "CRDS_CONTEXT",
)  # fmt: skip

_MAX_KNOWN = 256
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Answers:
    """What CRDS answered for one exposure.

    Parameters
    ----------
    context : str
        The context that was used.
    found : mapping of str to Path, None or str
        By type: the file; None where the type is not applicable; CRDS's own words where there is none.
    """

    context: str
    found: Mapping[str, Path | str | None]


@dataclass
class _Memory:
    """What was asked, under one configuration of the client.

    ``unreachable`` maps a context to (until when not to ask again, the message): looking for a server that is not there
    takes long.
    """

    environment: tuple[str | None, ...] | None = None
    known: dict[tuple[Any, ...], Answers] = field(default_factory=dict)
    unreachable: dict[str | None, tuple[float, str]] = field(default_factory=dict)


_memory = _Memory()
_lock = threading.RLock()


def best_references(exposure: JwstDataModel, reftypes: Sequence[str], context: str | None = None) -> Answers:
    """Return CRDS's answers, for all types in one call; what was asked before is remembered.

    Parameters
    ----------
    exposure : JwstDataModel
        The exposure whose metadata are matched.
    reftypes : sequence of str
        Reference types in lower case.
    context : str, optional
        Context, instead of ``CRDS_CONTEXT`` or the server's.

    Returns
    -------
    Answers

    Raises
    ------
    MissingReferenceError
        CRDS is not set up or not reachable, or the context is not to be had.
    """
    parameters = _parameters(exposure)
    with _lock:
        _follow_environment()
        key = (context, _selecting(parameters))
        known = _memory.known.get(key)
        # A type that was not found is asked again: its file may have come into the cache since.
        missing = tuple(t for t in reftypes if known is None or isinstance(known.found.get(t, ""), str))
        if known is None or missing:
            fresh = _ask(parameters, missing, context)
            known = Answers(fresh.context, {**(known.found if known else {}), **fresh.found})
            while len(_memory.known) >= _MAX_KNOWN:
                _memory.known.pop(next(iter(_memory.known)))
            _memory.known[key] = known
        return known


def fetch(uri: str, context: str | None = None) -> Path:
    """Return the file of ``crds://name`` in the cache, downloading it if it is not there.

    Raises
    ------
    MissingReferenceError
        The cache does not have the file, and the server does not give it.
    """
    name = uri.removeprefix("crds://")
    with _lock:
        _follow_environment()
        with _client(f"{uri} cannot be fetched"):
            import crds
            from crds.client import api

            path = Path(crds.locate_file(name, OBSERVATORY))
            if not path.is_file():
                api.dump_references(_context(context), [name])
        if not path.is_file():
            raise MissingReferenceError(f"{uri} is not in the CRDS cache ({path.parent}) and the server did not give it. {WHAT_TO_SET}")
        return path


def client_version() -> str:
    """Return the version of the client, whose rules chose: CRDS_VER."""
    import crds

    return str(crds.__version__)


def _ask(parameters: dict[str, Any], reftypes: tuple[str, ...], context: str | None) -> Answers:
    """Ask the client; the caller holds the lock."""
    used = _context(context)
    with _client("CRDS cannot be asked for references") as said:
        import crds
        from crds.client import api
        from crds.core.exceptions import CrdsError

        # With no type the client would answer for all that the instrument has.
        names = crds.getrecommendations(parameters, reftypes=list(reftypes), context=context, observatory=OBSERVATORY) if reftypes else {}
        found: dict[str, Path | str | None] = {}
        wanted: dict[str, str] = {}
        for reftype in reftypes:
            name = names.get(reftype)
            if name is None or name.upper() == "N/A" or name.upper().startswith("NOT FOUND N/A"):
                found[reftype] = None
            elif name.startswith("NOT FOUND"):
                found[reftype] = name.removeprefix("NOT FOUND").strip()
            else:
                wanted[reftype] = name
        paths = {reftype: Path(crds.locate_file(name, OBSERVATORY)) for reftype, name in wanted.items()}
        absent = {reftype: name for reftype, name in wanted.items() if not paths[reftype].is_file()}
        if absent:
            try:
                api.cache_references(used, absent, parameters=parameters)
            except (CrdsError, OSError) as error:
                said.append(str(error))
    for reftype, path in paths.items():
        why = "; ".join(dict.fromkeys(said)).rstrip(".")
        lost = f"{path.name} was chosen, but is not in the cache ({path.parent}) and was not downloaded: {why}"
        found[reftype] = path if path.is_file() else lost
    return Answers(used, found)


def _context(asked: str | None) -> str:
    """Return the name of the context to use, remembering for a while what took long and led to nothing."""
    until, message = _memory.unreachable.get(asked, (0.0, ""))
    if time.monotonic() < until:
        raise MissingReferenceError(message)
    started = time.monotonic()
    try:
        with _client("CRDS cannot be asked for references"):
            import crds
            from crds.client import api
            from crds.core import config

            name = str(crds.get_context_name(OBSERVATORY, asked))
            path = config.locate_mapping(name)
            # Without a server the client would try all the same, and put a traceback on the screen.
            if "serverless" in api.get_crds_server() and not os.path.exists(path):
                raise MissingReferenceError(
                    f"the CRDS context {name} is not in the cache ({os.path.dirname(path)}), and no server is set. {WHAT_TO_SET}"
                )
    except MissingReferenceError as error:
        if time.monotonic() - started > 1:
            _memory.unreachable[asked] = time.monotonic() + _PATIENCE_S, str(error)
        raise
    return name


def _parameters(exposure: JwstDataModel) -> dict[str, Any]:
    """Return what is known of an exposure; a cutout is the exposure that it was cut from, so its own place is not said."""
    parameters: dict[str, Any] = exposure.get_crds_parameters()
    if "cutout" in record.node(exposure):
        parameters = {name: value for name, value in parameters.items() if name not in _PLACE}
    return parameters


def _selecting(parameters: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """Return what identifies an exposure to CRDS, without what processing changes."""
    return frozenset((name, value) for name, value in parameters.items() if name not in _NOT_ASKED and not name.startswith(_NOT_ASKED_BY))


def _follow_environment() -> None:
    """Forget what was asked under another configuration: the client reads the environment once, notebooks set it late."""
    if not _is_set_up():
        raise MissingReferenceError(f"CRDS is not set up: no cache and no server is known. {WHAT_TO_SET}")
    from crds.client import api
    from crds.core import utils

    now = tuple(os.environ.get(name) for name in _CONFIGURATION)
    if now == _memory.environment:
        return
    _memory.known.clear()
    _memory.unreachable.clear()
    with _client("CRDS cannot be set up"):
        utils.clear_function_caches()
        api.set_crds_server(os.environ.get("CRDS_SERVER_URL") or f"https://{OBSERVATORY}-serverless.stsci.edu")
    _memory.environment = now


def _is_set_up() -> bool:
    """Whether there is anything to ask, seen without importing the client."""
    if any(os.environ.get(name) for name in ("CRDS_PATH", "CRDS_PATH_SINGLE", "CRDS_SERVER_URL")):
        return True
    return os.path.isdir(os.environ.get("CRDS_DEFAULT_CACHE", "/grp/crds/cache"))


class _Forward(logging.Handler):
    """Pass what CRDS says to jwnb's log, and keep its errors for the message of an exception."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().strip()
        if record.levelno >= logging.ERROR:
            self.errors.append(text)
        log.log(min(record.levelno, logging.WARNING), "CRDS: %s", text)


@contextlib.contextmanager
def _client(doing: str) -> Iterator[list[str]]:
    """Run the client quietly, and raise whatever goes wrong in it (it even exits) as one kind of error."""
    from crds.core import log as crds_log
    from crds.core.exceptions import CrdsError

    forward = _Forward()
    logger = crds_log.THE_LOGGER.logger
    handlers = logger.handlers[:]
    logger.handlers = [forward]
    try:
        yield forward.errors
    except (CrdsError, OSError, SystemExit, AssertionError) as error:
        words = str(error) if not isinstance(error, SystemExit) else ""
        said = "; ".join(dict.fromkeys([*forward.errors, *([words] if words else [])]))
        raise MissingReferenceError(f"{doing}: {said or type(error).__name__}. {WHAT_TO_SET}") from error
    finally:
        logger.handlers = handlers
