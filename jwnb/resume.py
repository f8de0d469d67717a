"""Going on where a run was broken off: exposures kept in a folder with what they were made of."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb import models
from jwnb._version import __version__
from jwnb.models import Exposures

__all__ = ["fingerprint", "load", "store"]


def fingerprint(images: Exposures, choices: Mapping[str, Any]) -> str:
    """Return a text that is the same for the same inputs, choices and version of jwnb.

    Files count by path, size and time of change, models in memory by their data.
    """
    parts: list[Any] = [__version__, repr(sorted(choices.items(), key=lambda item: item[0]))]
    for item in images.items:
        if isinstance(item, JwstDataModel):
            parts.append((item.meta.filename, hashlib.sha256(item.data).hexdigest(), repr(item.meta.wcs(0.0, 0.0))))
        else:
            path = Path(item).resolve()
            parts.append((str(path), path.stat().st_size, path.stat().st_mtime_ns))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


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
