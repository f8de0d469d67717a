"""Pinned offline sets: a folder of reference files with a manifest that says which exposure gets which.

The manifest is ``manifest.json``::

    {"format": "jwnb-offline-set", "version": 1, "name": "practice", "context": "jwst_1322.pmap",
     "references": [{"reftype": "dark", "file": "dark_nrca1.fits", "match": {"meta.instrument.detector": "NRCA1"}},
                    {"reftype": "ipc", "file": "N/A", "match": {}}]}

An entry matches an exposure when each dotted name has the stated value (or one of a list), whatever the case. The first
entry that matches is the answer.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb.errors import InputError, MissingReferenceError
from jwnb.models import keyword_of

__all__ = ["Entry", "OfflineSet", "offline_set", "value_of", "write_offline_set"]

FORMAT = "jwnb-offline-set"
VERSION = 1
MANIFEST = "manifest.json"
NOT_APPLICABLE = "N/A"


@dataclass(frozen=True)
class Entry:
    """One line of a manifest.

    Parameters
    ----------
    reftype : str
        Reference type, as CRDS spells it in lower case.
    file : str
        Path of the file relative to the set's folder, or ``"N/A"``.
    match : mapping of str to value or list of values
        Dotted metadata names of the exposure and what they must be.
    """

    reftype: str
    file: str
    match: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, exposure: JwstDataModel) -> bool:
        """Whether every condition of the entry holds for an exposure."""
        return all(_equal(value_of(exposure, name), wanted) for name, wanted in self.match.items())

    def distance(self, exposure: JwstDataModel) -> list[str]:
        """Return, in words, the conditions that do not hold."""
        return [
            f"{name} {_is(exposure, name)}, not {wanted!r}"
            for name, wanted in self.match.items()
            if not _equal(value_of(exposure, name), wanted)
        ]


@dataclass(frozen=True)
class OfflineSet:
    """A folder of pinned reference files.

    Parameters
    ----------
    folder : Path
        Where the files and the manifest are.
    name : str
        The set's name.
    context : str
        What is recorded as the context: the CRDS context that the set was taken from, or a label.
    entries : tuple of Entry
        The manifest, in its order.
    """

    folder: Path
    name: str
    context: str
    entries: tuple[Entry, ...]

    @property
    def reftypes(self) -> tuple[str, ...]:
        """The reference types that the set knows, sorted."""
        return tuple(sorted({entry.reftype for entry in self.entries}))

    def find(self, exposure: JwstDataModel, reftype: str) -> Path | None:
        """Return the file of a type for an exposure, or None where the type is not applicable.

        Raises
        ------
        MissingReferenceError
            The set has no entry of this type that matches, or its file is not there.
        """
        of_type = [entry for entry in self.entries if entry.reftype == reftype.lower()]
        if not of_type:
            raise MissingReferenceError(
                f"the offline set {self.name!r} ({self.folder}) has no {reftype} reference. It has: "
                f"{', '.join(self.reftypes) or 'nothing'}. Pass reference=…, or add it to {MANIFEST}."
            )
        for entry in of_type:
            if entry.fits(exposure):
                return self._file(entry)
        nearest = min((entry.distance(exposure) for entry in of_type), key=len)
        raise MissingReferenceError(
            f"no {reftype} reference of the offline set {self.name!r} ({self.folder}) is for this exposure; "
            f"in the nearest of {len(of_type)}, {'; '.join(nearest)}. Pass reference=…, or add it to {MANIFEST}."
        )

    def _file(self, entry: Entry) -> Path | None:
        if entry.file.upper() == NOT_APPLICABLE:
            return None
        path = self.folder / entry.file
        if not path.is_file():
            raise MissingReferenceError(
                f"{MANIFEST} of the offline set {self.name!r} names {entry.file} for {entry.reftype}, and there is no such file "
                f"in {self.folder}."
            )
        return path


def offline_set(folder: str | os.PathLike[str]) -> OfflineSet:
    """Read a pinned offline set.

    Parameters
    ----------
    folder : path
        The folder, or its ``manifest.json``.

    Returns
    -------
    OfflineSet

    Raises
    ------
    MissingReferenceError
        There is no manifest.
    InputError
        The manifest is not one, or is of a version that this jwnb does not know.
    """
    given = Path(folder).expanduser()
    path = given if given.name == MANIFEST else given / MANIFEST
    try:
        stat = path.stat()
    except OSError as error:
        raise MissingReferenceError(f"{given} is no offline set: there is no {path}.") from error
    return _read(path.resolve(), stat.st_mtime_ns, stat.st_size)


def write_offline_set(folder: str | os.PathLike[str], references: Sequence[Entry], *, name: str, context: str | None = None) -> OfflineSet:
    """Write the manifest of a folder of reference files.

    Parameters
    ----------
    folder : path
        Where the files lie; made if it is not there.
    references : sequence of Entry
        The manifest; the first entry that matches an exposure is its answer.
    name : str
        The set's name.
    context : str, optional
        What products record as their context; the name if not given.

    Returns
    -------
    OfflineSet
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    listed = [{"reftype": entry.reftype.lower(), "file": entry.file, "match": dict(entry.match)} for entry in references]
    tree = {"format": FORMAT, "version": VERSION, "name": name, "context": context or name, "references": listed}
    (path / MANIFEST).write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
    return offline_set(path)


@lru_cache(maxsize=16)
def _read(path: Path, mtime_ns: int, size: int) -> OfflineSet:
    """Read a manifest; the time and size are only there so that a changed file is read again."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not JSON: {error}.") from error
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        raise InputError(f'{path} is no manifest of an offline set: it has no "format": "{FORMAT}".')
    if tree.get("version") != VERSION:
        raise InputError(f"{path} is of version {tree.get('version')!r}; this jwnb reads version {VERSION}.")
    try:
        entries = tuple(Entry(str(e["reftype"]).lower(), str(e["file"]), dict(e.get("match", {}))) for e in tree["references"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f'{path}: "references" must list objects with "reftype", "file" and "match" ({error!r}).') from error
    name = str(tree.get("name") or path.parent.name)
    return OfflineSet(path.parent, name, str(tree.get("context") or name), entries)


def value_of(exposure: JwstDataModel, name: str) -> Any:
    """Return a metadata value by its dotted name, None where it is missing."""
    node: Any = exposure
    for part in name.split("."):
        node = getattr(node, part, None)
        if node is None:
            return None
    return node


def _is(exposure: JwstDataModel, name: str) -> str:
    value = value_of(exposure, name)
    return f"({keyword_of(exposure, name)}) is missing" if value is None else f"is {value!r}"


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, list | tuple):
        return any(_equal(value, one) for one in wanted)
    if isinstance(value, str) and isinstance(wanted, str):
        return value.strip().casefold() == wanted.strip().casefold()
    return bool(value == wanted)
