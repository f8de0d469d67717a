"""A small CRDS cache on disk, so that whole pipelines of `jwst` and of jwnb ask the same rules and no server."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import asdf
import pytest

from jwnb.references import Entry, offline_set

CONTEXT = "jwst_0042.pmap"
SERVERLESS = "https://jwst-serverless.stsci.edu"  # the client's own name for "there is no server"

_OTHER_SETTINGS = (
    "CRDS_PATH_SINGLE", "CRDS_MAPPATH", "CRDS_REFPATH", "CRDS_CFGPATH", "JWNB_OFFLINE_SET", "STPIPE_DISABLE_CRDS_STEPPARS",
)  # fmt: skip


def write_cache(
    folder: Path, references: Path, *, instrument: str = "NIRCAM", parameters: Mapping[Any, Mapping[str, Any]] | None = None
) -> Path:
    """Write a cache whose rules give an exposure what a pinned offline set gives.

    Parameters
    ----------
    folder : Path
        Where to; made if need be.
    references : Path
        A pinned offline set: its files are copied, its manifest becomes the rules.
    instrument : str
        The one instrument of the cache.
    parameters : mapping, optional
        Class of a step of `jwst` to the options that its parameter reference (``pars-jumpstep``) sets.
    """
    for part in ("mappings/jwst", "references/jwst", "config/jwst"):
        (folder / part).mkdir(parents=True)
    entries = list(offline_set(references).entries)
    for entry in entries:
        if entry.file != "N/A":
            shutil.copyfile(references / entry.file, folder / "references/jwst" / entry.file)
    for step_class, options in (parameters or {}).items():
        reftype = step_class.get_config_reftype()
        name = f"jwst_{instrument.lower()}_{reftype}_0001.asdf"
        step_class(**options).export_config(folder / "exported.asdf")
        with asdf.open(folder / "exported.asdf", lazy_load=False) as exported:
            tree = {key: exported[key] for key in ("class", "name")} | {"parameters": dict(options)}
        asdf.AsdfFile(tree).write_to(folder / "references/jwst" / name)
        entries.append(Entry(reftype, name, {}))
    _write_rules(folder / "mappings/jwst", entries, instrument)
    _write_server(folder / "config/jwst")
    return folder


@contextlib.contextmanager
def crds_cache(folder: Path) -> Iterator[Path]:
    """Let both packages use a cache, and nothing else, in the ``with`` block."""
    with pytest.MonkeyPatch.context() as environment:
        for name in (
            "CRDS_PATH_SINGLE",
            "CRDS_MAPPATH",
            "CRDS_REFPATH",
            "CRDS_CFGPATH",
            "JWNB_OFFLINE_SET",
            "STPIPE_DISABLE_CRDS_STEPPARS",
        ):
            environment.delenv(name, raising=False)
        environment.setenv("CRDS_PATH", os.fspath(folder))
        environment.setenv("CRDS_SERVER_URL", SERVERLESS)
        environment.setenv("CRDS_CONTEXT", CONTEXT)
        _forget()
        yield folder
    _forget()


def _forget() -> None:
    """Make the client read its environment again: it remembers what it read of another cache."""
    from crds.client import api
    from crds.core import utils

    utils.clear_function_caches()
    api.set_crds_server(SERVERLESS)


def _write_rules(folder: Path, entries: Sequence[Entry], instrument: str) -> None:
    by_type: dict[str, list[Entry]] = {}
    for entry in entries:
        by_type.setdefault(entry.reftype, []).append(entry)
    answers = dict.fromkeys(_all_reftypes(), "N/A")
    for reftype, several in by_type.items():
        if all(e.file == "N/A" for e in several):
            continue
        keys = sorted({key for e in several for key in e.match} | {"meta.instrument.name"})
        rows = "".join(
            f"    {tuple(_alternatives(e.match.get(k, '*')) for k in keys)!r}: UseAfter({{'2015-01-01 00:00:00': {e.file!r}}}),\n"
            for e in several
        )
        answers[reftype] = f"jwst_{instrument.lower()}_{reftype}_0001.rmap"
        header = {
            "mapping": "REFERENCE", "filekind": reftype.upper(), "instrument": instrument, "classes": ("Match", "UseAfter"),
            "parkey": (tuple(k.upper() for k in keys), ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME")),
        }  # fmt: skip
        _write_mapping(folder / answers[reftype], header, f"selector = Match({{\n{rows}}})\n")
    top = f"jwst_{instrument.lower()}_0001.imap"
    header = {"mapping": "INSTRUMENT", "instrument": instrument, "parkey": ("REFTYPE",)}
    _write_mapping(folder / top, header, f"selector = {answers!r}\n")
    _write_mapping(
        folder / CONTEXT, {"mapping": "PIPELINE", "parkey": ("META.INSTRUMENT.NAME",)}, f"selector = {{{instrument!r}: {top!r}}}\n"
    )


def _alternatives(value: object) -> str:
    return "|".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _write_mapping(path: Path, header: Mapping[str, object], selector: str) -> None:
    whole = {**header, "name": path.name, "observatory": "JWST", "derived_from": "made for a test"}
    lines = ["header = {\n", *(f"    {key!r}: {value!r},\n" for key, value in whole.items()), "}\n\n", selector]
    # The checksum is of all lines but its own.
    lines.insert(1, f"    'sha1sum': '{hashlib.sha1(''.join(lines).encode()).hexdigest()}',\n")
    path.write_text("".join(lines))


def _write_server(folder: Path) -> None:
    server = {
        "observatory": "jwst", "operational_context": CONTEXT, "latest_context": CONTEXT, "edit_context": CONTEXT, "bad_files": "",
        "bad_files_list": [], "crds_version": {"str": "13.0"}, "status": "s", "connected": False, "force_remote_mode": False,
        "last_synced": "2024-01-01 00:00:00", "reference_url": {}, "mapping_url": {}, "mappings": [],
        "context_names": [CONTEXT], "sql_info": {},
    }  # fmt: skip
    (folder / "server_config").write_text(repr(server))
    (folder / "ref_cache_subdir_mode").write_text("flat")
    (folder / "bad_files.txt").write_text("")


def _all_reftypes() -> set[str]:
    """Return every type that a step of `jwst` asks for, and those of its parameter references."""
    import importlib

    from jwst.stpipe.integration import get_steps

    found: set[str] = set()
    for name, _, _ in get_steps():
        module, step = name.rsplit(".", 1)
        step_class = getattr(importlib.import_module(module), step)
        types = getattr(step_class, "reference_file_types", ())
        found |= {*(types if isinstance(types, list | tuple) else ()), step_class.get_config_reftype()}
    return found
