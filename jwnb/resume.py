"""Going on where a run was broken off: exposures kept in a folder with what they were made of."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb import models
from jwnb._version import __version__
from jwnb.errors import InputError, ParameterError
from jwnb.models import Exposures, PathLike

__all__ = ["fingerprint", "load", "store", "usable_folder"]


def usable_folder(folder: PathLike, images: Exposures, names: Sequence[str]) -> Path:
    """Return the folder that exposures can be kept in under these names.

    Raises
    ------
    ParameterError
        It is no path.
    InputError
        Nothing can be written there; two exposures would have one name, or an input would be written over.
    """
    if not isinstance(folder, str | os.PathLike):
        raise ParameterError(f"resume={folder!r}: the path of a folder was expected.")
    kept = Path(folder)
    models.check_folder(kept)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"resume={folder}: several exposures would be kept there as {', '.join(twice)}. Give each a name of its own.")
    inputs = {Path(item).resolve() for item in images.items if not isinstance(item, JwstDataModel)}
    if over := [name for name in names if (kept / name).resolve() in inputs]:
        raise InputError(f"resume={folder}: {', '.join(over)} would be written over the input of that name. Name another folder.")
    return kept


def fingerprint(images: Exposures, choices: Mapping[str, Any]) -> str:
    """Return a text that is the same for the same inputs, choices and version of jwnb.

    Files, those that choices name as well, count by path, size and time of change, models in memory by their data.
    """
    parts: list[Any] = [__version__, repr(sorted(choices.items(), key=lambda item: item[0]))]
    parts += [_file(Path(name)) for name in sorted(_texts(choices)) if name and "\0" not in name and Path(name).is_file()]
    for item in images.items:
        if isinstance(item, JwstDataModel):
            parts.append((item.meta.filename, hashlib.sha256(item.data).hexdigest(), repr(item.meta.wcs(0.0, 0.0))))
        else:
            parts.append(_file(Path(item)))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _file(path: Path) -> tuple[str, int, int]:
    state = path.stat()
    return str(path.resolve()), state.st_size, state.st_mtime_ns


def _texts(value: Any) -> set[str]:
    """Return every text and path in a tree."""
    if isinstance(value, str | os.PathLike):
        return {os.fspath(value)}
    if isinstance(value, Mapping):
        value = value.values()
    return set().union(*map(_texts, value)) if isinstance(value, Iterable) and not isinstance(value, bytes) else set()


def store(folder: Path, print_of: str, images: Exposures) -> Exposures:
    """Write exposures into a folder, and last of all what they were made of; return them as the files that they are now."""
    paths = [models.save(images[k], folder / name) for k, name in enumerate(images.names)]
    with models.whole_file(_state(folder)) as partial:
        partial.write_text(json.dumps({"made of": print_of, "files": images.names}, indent=1), encoding="utf-8")
    return Exposures(paths)


def load(folder: Path, print_of: str) -> Exposures | None:
    """Return the exposures that `store` wrote for the same `print_of`, or None where there are none or not all."""
    try:
        state = json.loads(_state(folder).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    paths = [folder / name for name in state["files"]]
    return Exposures(paths) if state["made of"] == print_of and all(path.exists() for path in paths) else None


def _state(folder: Path) -> Path:
    return folder / "image3-state.json"
