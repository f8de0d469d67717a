"""Which reference: what the caller gave, an override, the pinned offline set, CRDS, in this order."""

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb.errors import InputError, MissingReferenceError
from jwnb.models import keyword_of
from jwnb.references import crds_client
from jwnb.references.active import Given, active, use
from jwnb.references.offline import value_of

__all__ = ["Resolved", "prefetch", "resolve", "use"]

Source = Literal["argument", "override", "offline set", "CRDS"]
NOT_APPLICABLE = "N/A"
_SELECTING = (
    "meta.instrument.name", "meta.instrument.detector", "meta.instrument.filter", "meta.exposure.type", "meta.exposure.readpatt",
    "meta.observation.date", "meta.observation.time",
)  # fmt: skip


@dataclass(frozen=True)
class Resolved:
    """The answer to "which reference".

    Parameters
    ----------
    reftype : str
        Reference type.
    source : {"argument", "override", "offline set", "CRDS"}
        Who gave the answer.
    path : Path or None
        The file, when it is one.
    model : JwstDataModel or None
        The model, when the caller gave one.
    name : str
        What the product records: ``crds://…`` for a file of CRDS, the file's name otherwise, ``override://…`` for a model,
        ``N/A`` when the type is not applicable.
    context : str or None
        The CRDS context or the offline set's, when one of them answered.
    """

    reftype: str
    source: Source
    path: Path | None
    model: JwstDataModel | None = field(compare=False)
    name: str
    context: str | None

    @property
    def applicable(self) -> bool:
        """False when the answer was that the type does not apply to the exposure."""
        return self.path is not None or self.model is not None


def resolve(exposure: JwstDataModel, reftype: str, given: Given | None = None) -> Resolved:
    """Say which reference of a type an exposure gets.

    Parameters
    ----------
    exposure : JwstDataModel
        The exposure; its metadata decide.
    reftype : str
        Reference type, such as ``"dark"``.
    given : model, path or "N/A", optional
        What the caller gave; it wins over all else. A path may be ``crds://name`` for a file of CRDS by its name.

    Returns
    -------
    Resolved

    Raises
    ------
    MissingReferenceError
        A reference that should exist was not found: a path without a file, a type that the pinned set does not have
        (a pinned set is never completed from CRDS), or no match in CRDS.
    """
    reftype = reftype.lower()
    now = active()
    if given is not None:
        return _from_caller(reftype, given, "argument")
    if reftype in now.overrides:
        return _from_caller(reftype, now.overrides[reftype], "override")
    if now.offline:
        path = now.offline.find(exposure, reftype)
        return Resolved(reftype, "offline set", path, None, NOT_APPLICABLE if path is None else path.name, now.offline.context)
    return _from_crds(exposure, reftype, crds_client.best_references(exposure, (reftype,), now.context))


def prefetch(exposure: JwstDataModel, reftypes: Iterable[str]) -> dict[str, Resolved | MissingReferenceError]:
    """Ask for several types at once, so that CRDS is asked once and downloads what is not in its cache.

    Parameters
    ----------
    exposure : JwstDataModel
        The exposure.
    reftypes : iterable of str
        Reference types.

    Returns
    -------
    dict of str to Resolved or MissingReferenceError
        The answers, in the order asked. What is missing is not raised here: whoever needs it raises.
    """
    wanted = tuple(dict.fromkeys(reftype.lower() for reftype in reftypes))
    now = active()
    asked = () if now.offline else tuple(reftype for reftype in wanted if reftype not in now.overrides)
    answers: crds_client.Answers | MissingReferenceError | None = None
    if asked:
        try:
            answers = crds_client.best_references(exposure, asked, now.context)
        except MissingReferenceError as error:
            answers = error
    found: dict[str, Resolved | MissingReferenceError] = {}
    for reftype in wanted:
        try:
            if isinstance(answers, crds_client.Answers) and reftype in asked:
                found[reftype] = _from_crds(exposure, reftype, answers)
            elif isinstance(answers, MissingReferenceError) and reftype in asked:
                found[reftype] = answers
            else:
                found[reftype] = resolve(exposure, reftype)
        except MissingReferenceError as error:
            found[reftype] = error
    return found


def _from_caller(reftype: str, given: Given, source: Source) -> Resolved:
    if isinstance(given, JwstDataModel):
        return Resolved(reftype, source, None, given, given.override_handle, None)
    if not isinstance(given, str | os.PathLike):
        raise InputError(f"a {reftype} reference is a model, a path or 'N/A'; a {type(given).__name__} was given.")
    if str(given).upper() == NOT_APPLICABLE:
        return Resolved(reftype, source, None, None, NOT_APPLICABLE, None)
    if str(given).startswith("crds://"):
        context = active().context
        return Resolved(reftype, source, crds_client.fetch(str(given), context), None, str(given), None)
    path = Path(given).expanduser()
    if not path.is_file():
        raise MissingReferenceError(f"the {reftype} reference {path} {_what_is_wrong(path)}")
    return Resolved(reftype, source, path, None, path.name, None)


def _from_crds(exposure: JwstDataModel, reftype: str, answers: crds_client.Answers) -> Resolved:
    answer = answers.found[reftype]
    if isinstance(answer, str):
        raise MissingReferenceError(
            f"CRDS has no {reftype} reference for this exposure ({answers.context}): {answer}.{_lacking(exposure)} "
            "Pass reference=…, or override it with jwnb.references.use({…})."
        )
    if answer is None:
        return Resolved(reftype, "CRDS", None, None, NOT_APPLICABLE, answers.context)
    return Resolved(reftype, "CRDS", answer, None, f"crds://{answer.name}", answers.context)


def _lacking(exposure: JwstDataModel) -> str:
    """Return in words which of the keywords that CRDS mostly selects by an exposure does not have."""
    missing = [keyword_of(exposure, name) for name in _SELECTING if value_of(exposure, name) is None]
    return f" The exposure has no {', '.join(missing)}, by which CRDS may select." if missing else ""


def _what_is_wrong(path: Path) -> str:
    if path.is_dir():
        return "is a folder; name the file, or use the folder as a set with jwnb.references.use(offline=…)."
    if not path.parent.is_dir():
        return f"does not exist: there is no folder {path.parent}."
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=3)
    return "does not exist." + (f" In the same folder: {', '.join(near)}." if near else "")
