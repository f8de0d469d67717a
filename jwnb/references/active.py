"""What is in force for the lookup of references: overrides, a pinned set, a context, parameters."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb.references.offline import OfflineSet, offline_set
from jwnb.references.parameter_files import read_parameter_file

__all__ = ["Active", "Given", "active", "use"]

Given: TypeAlias = JwstDataModel | str | os.PathLike[str]


@dataclass(frozen=True)
class Active:
    """The settings that `use` has put in force.

    Parameters
    ----------
    overrides : mapping of str to model, path or "N/A"
        Answers by reference type, before any lookup.
    offline : OfflineSet, False or None
        The pinned set; False is CRDS even where ``JWNB_OFFLINE_SET`` names a set; None is not said.
    context : str or None
        CRDS context, instead of ``CRDS_CONTEXT`` or the server's.
    pars : bool
        Whether parameter references (``pars-*``) are looked up.
    parameters : mapping of str to mapping
        Step name to option to (value, where it is from), of the parameter files in force.
    """

    overrides: Mapping[str, Given] = field(default_factory=dict)
    offline: OfflineSet | Literal[False] | None = None
    context: str | None = None
    pars: bool = True
    parameters: Mapping[str, Mapping[str, tuple[Any, str]]] = field(default_factory=dict)


_active: ContextVar[Active | None] = ContextVar("jwnb_references", default=None)


def active() -> Active:
    """Return what is in force here, with the set of ``JWNB_OFFLINE_SET`` where nothing else was said."""
    found = _active.get() or Active()
    if found.offline is None and (folder := os.environ.get("JWNB_OFFLINE_SET")):
        return replace(found, offline=offline_set(folder))
    return found


@contextmanager
def use(
    overrides: Mapping[str, Given] | None = None,
    *,
    offline: str | os.PathLike[str] | Literal[False] | None = None,
    context: str | None = None,
    pars: bool | None = None,
    parameters: str | os.PathLike[str] | Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[None]:
    """Say which references are used, for the length of a ``with`` block.

    Blocks nest: what is not said is as outside, what is said wins. The settings hold for the thread (or task) that
    entered the block, and for those it starts with a copy of its context.

    Parameters
    ----------
    overrides : mapping of str to model, path or "N/A", optional
        Reference types and what to use for them; ``"N/A"`` says that a type does not apply.
    offline : path or False, optional
        Folder of a pinned offline set; nothing is then asked of CRDS. False: CRDS, even where the environment
        variable ``JWNB_OFFLINE_SET`` names a set.
    context : str, optional
        CRDS context, such as ``"jwst_1322.pmap"``.
    pars : bool, optional
        Whether parameter references (``pars-*``) are honoured; they are, if not said otherwise here or by the
        environment variable ``STPIPE_DISABLE_CRDS_STEPPARS``.
    parameters : path or mapping, optional
        A parameter file (``.asdf`` as `jwst` exports it, or ``.toml`` with a table for each step), or
        ``{"jump": {"rejection_threshold": 5.0}}``.

    Raises
    ------
    MissingReferenceError
        The folder is no offline set, or an override's file does not exist.
    InputError
        A manifest or a parameter file cannot be read.

    Examples
    --------
    >>> import jwnb
    >>> with jwnb.references.use({"dark": "N/A"}, pars=False):
    ...     pass
    """
    outer = _active.get() or Active()
    inner = outer
    if overrides is not None:
        inner = replace(inner, overrides={**outer.overrides, **{reftype.lower(): _whole(v) for reftype, v in overrides.items()}})
    if offline is not None:
        inner = replace(inner, offline=False if offline is False else offline_set(offline))
    if context is not None:
        inner = replace(inner, context=context)
    if pars is not None:
        inner = replace(inner, pars=pars)
    if parameters is not None:
        read = read_parameter_file(parameters)
        merged = {step: {**outer.parameters.get(step, {}), **read.get(step, {})} for step in {*outer.parameters, *read}}
        inner = replace(inner, parameters=merged)
    token = _active.set(inner)
    try:
        yield
    finally:
        _active.reset(token)


def _whole(given: Given) -> Given:
    """Make a relative path absolute, so that a later change of folder does not change its meaning."""
    if isinstance(given, JwstDataModel) or str(given).upper() == "N/A" or str(given).startswith("crds://"):
        return given
    return Path(given).expanduser().absolute()
