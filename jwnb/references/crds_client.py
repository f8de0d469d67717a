"""Asking CRDS, through its own client: the selection rules are CRDS's.

The client reads ``CRDS_PATH`` (the cache), ``CRDS_SERVER_URL`` and ``CRDS_CONTEXT`` from the environment, and works from the
cache alone when the server's name contains ``serverless``. It takes most of a second to import, so it is imported when it
is first needed.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb.errors import MissingReferenceError

__all__ = ["Answers", "best_references", "fetch"]

log = logging.getLogger(__name__)

OBSERVATORY = "jwst"
WHAT_TO_SET = (
    "Set CRDS_PATH (the folder of the cache) and CRDS_SERVER_URL (https://jwst-crds.stsci.edu, or "
    "https://jwst-serverless.stsci.edu to use the cache alone); or pass reference=…; or name a pinned set with "
    "jwnb.references.use(offline=…) or the environment variable JWNB_OFFLINE_SET."
)
# What processing itself writes, and no rule of CRDS selects by.
_NOT_ASKED_BY = ("meta.cal_step", "meta.ref_file", "meta.jwnb", "meta.calibration_software", "meta.data_processing", "meta.wcs")
_NOT_ASKED = frozenset({"meta.filename", "meta.date", "meta.model_type", "meta.cal_logs"})

_lock = threading.RLock()
_environment: tuple[tuple[str, str], ...] | None = None
_known: dict[tuple[Any, ...], "Answers"] = {}
_MAX_KNOWN = 256


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
    parameters = exposure.get_crds_parameters()
    with _lock:
        _follow_environment()
        key = (context, _selecting(parameters))
        known = _known.get(key)
        missing = tuple(t for t in reftypes if known is None or t not in known.found)
        if known is None or missing:
            fresh = _ask(parameters, missing, context)
            known = Answers(fresh.context, {**(known.found if known else {}), **fresh.found})
            while len(_known) >= _MAX_KNOWN:
                _known.pop(next(iter(_known)))
            _known[key] = known
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
                api.dump_references(crds.get_context_name(OBSERVATORY, context), [name])
        if not path.is_file():
            raise MissingReferenceError(f"{uri} is not in the CRDS cache ({path.parent}) and the server did not give it. {WHAT_TO_SET}")
        return path


def _ask(parameters: dict[str, Any], reftypes: tuple[str, ...], context: str | None) -> Answers:
    """Ask the client; the caller holds the lock."""
    with _client("CRDS cannot be asked for references") as said:
        import crds
        from crds.client import api

        used = crds.get_context_name(OBSERVATORY, context)
        _check_context(used)
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
        paths = api.cache_references(used, wanted, parameters=parameters)
    for reftype, name in wanted.items():
        path = Path(paths[reftype])
        found[reftype] = path if path.is_file() else f"{name} was chosen and is not in the cache ({path.parent}) {' '.join(said)}".strip()
    return Answers(used, found)


def _check_context(name: str) -> None:
    """Raise before the client tries, with a traceback on the screen, to download a context with no server to ask."""
    from crds.client import api
    from crds.core import config

    path = config.locate_mapping(name)
    if "serverless" in api.get_crds_server() and not os.path.exists(path):
        raise MissingReferenceError(f"the CRDS context {name} is not in the cache ({os.path.dirname(path)}), and no server is set. {WHAT_TO_SET}")


def _selecting(parameters: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """Return what identifies an exposure to CRDS, without what processing changes."""
    return frozenset(
        (name, value) for name, value in parameters.items() if name not in _NOT_ASKED and not name.startswith(_NOT_ASKED_BY)
    )


def _follow_environment() -> None:
    """Forget what was asked under another configuration: the client reads the environment once, notebooks set it late."""
    global _environment
    now = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("CRDS_")))
    if now == _environment:
        return
    if not _is_set_up():
        raise MissingReferenceError(f"CRDS is not set up: no cache and no server is known. {WHAT_TO_SET}")
    _known.clear()
    with _client("CRDS cannot be set up"):
        from crds.client import api
        from crds.core import utils

        utils.clear_function_caches()
        api.set_crds_server(os.environ.get("CRDS_SERVER_URL") or f"https://{OBSERVATORY}-serverless.stsci.edu")
    _environment = now


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
