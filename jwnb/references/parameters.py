"""Parameters that come from parameter references (``pars-*``) and parameter files."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb.errors import MissingReferenceError
from jwnb.references.active import active
from jwnb.references.parameter_files import STEP_CLASSES, Parameters, pars_reftype, read_config
from jwnb.references.resolver import resolve

__all__ = ["GivenParameter", "pipeline_parameters", "step_parameters"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GivenParameter:
    """A value that did not come from a signature.

    Parameters
    ----------
    value : object
        The value.
    source : str
        Where it is from, such as ``"pars-jumpstep (jwst_nircam_pars-jumpstep_0001.asdf)"`` or ``"parameter file my.toml"``.
    """

    value: object
    source: str


def step_parameters(exposure: JwstDataModel, step_name: str) -> dict[str, GivenParameter]:
    """Return what the step's parameter reference and the parameter file say; the file wins.

    Parameters
    ----------
    exposure : JwstDataModel
        The exposure; its metadata select the reference.
    step_name : str
        Name of the step; one that CRDS does not know has no reference.

    Returns
    -------
    dict of str to GivenParameter
        Option to value, ``skip`` among them where it is said.

    Raises
    ------
    InputError
        The reference is not one of parameters.
    """
    found: dict[str, GivenParameter] = {}
    if step_name in STEP_CLASSES:
        for tree, source in _references(exposure, step_name):
            found |= {option: GivenParameter(value, source) for option, value in tree.get(step_name, {}).items()}
    return found | _from_file(step_name)


def pipeline_parameters(exposure: JwstDataModel, pipeline_name: str) -> dict[str, dict[str, GivenParameter]]:
    """Return what the pipeline's parameter reference and the parameter file say of each step; the file wins.

    What this returns for a step wins over its `step_parameters`.

    Parameters
    ----------
    exposure : JwstDataModel
        The exposure; its metadata select the reference.
    pipeline_name : str
        Name of the pipeline, such as ``"detector1"``.

    Returns
    -------
    dict of str to dict of str to GivenParameter
        Step to option to value (``skip`` among them), and the pipeline's own options under its name.

    Raises
    ------
    InputError
        The reference is not one of parameters.
    """
    found: dict[str, dict[str, GivenParameter]] = {}
    for tree, source in _references(exposure, pipeline_name):
        for step, options in tree.items():
            found.setdefault(step, {}).update({option: GivenParameter(value, source) for option, value in options.items()})
    for step in active().parameters:
        found[step] = found.get(step, {}) | _from_file(step)
    return {step: options for step, options in found.items() if options}


def _from_file(step_name: str) -> dict[str, GivenParameter]:
    return {option: GivenParameter(*given) for option, given in active().parameters.get(step_name, {}).items()}


def _wanted() -> bool:
    switched_off = os.environ.get("STPIPE_DISABLE_CRDS_STEPPARS", "").strip().casefold() in {"1", "t", "true", "y", "yes"}
    return active().pars and not switched_off


def _references(exposure: JwstDataModel, name: str) -> Iterator[tuple[Parameters, str]]:
    """Yield the content of the parameter reference of a step or pipeline and its description, if there is one."""
    reftype = pars_reftype(name)
    if reftype is None or not _wanted():
        return
    offline = active().offline
    if offline and reftype not in offline.reftypes:
        return
    try:
        answer = resolve(exposure, reftype)
    except MissingReferenceError as error:
        # As in CRDS's own practice: contexts older than a step have no such type, and a step that was given all its
        # references runs where there is no CRDS.
        log.debug("no %s: %s", reftype, error)
        return
    if answer.path is not None:
        stat = answer.path.stat()
        yield _read(answer.path, stat.st_mtime_ns, stat.st_size), f"{reftype} ({answer.path.name})"


@lru_cache(maxsize=256)
def _read(path: Path, mtime_ns: int, size: int) -> Parameters:
    """Read a parameter reference; the time and size are only there so that a changed file is read again."""
    return read_config(path)
