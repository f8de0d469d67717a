"""Notebook cards: small functions that return strings. No JavaScript; every value is escaped; nothing is loaded."""

import html
import uuid
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb import settings
from jwnb.display.images import in_memory, plane_of, png_uri
from jwnb.products import what_it_is
from jwnb.record import ledger

__all__ = ["model_card", "model_text", "products_card"]

_SAMPLE = 4_000_000  # pixels of a DQ array that are counted; larger ones are counted on a regular grid
_CLASSES = {"COMPLETE": "jwnb-done", "SKIPPED": "jwnb-left", "FAILED": "jwnb-bad"}


def model_card(model: Any) -> str:
    """Return the card of a model: thumbnail, arrays, ledger, DQ budget, references, place on the sky."""
    sections = [
        _section("Steps", _count(_steps(model)), _table(("step", "status", "why", "s"), _steps(model)), opened=True),
        _section("Arrays", _count(_arrays(model)), _table(("", "shape", "type", "unit"), _arrays(model))),
        _section("Data quality", _dq_line(model), _table(("flag", "samples", "%"), _dq_budget(model))),
        _section("References", _count(_references(model)), _table(("type", "file"), _references(model))),
        _section("On the sky", "", _table(("", ""), _sky(model))),
    ]
    body = "".join(s for s in sections if s)
    return _page(_title(model), _subtitle(model), f'{_thumbnail(model)}<div class="jwnb-facts">{body}</div>', model_text(model))


def products_card(products: Any) -> str:
    """Return the card of what a pipeline gave: a thumbnail for each product, the ledger, the log."""
    names = products.named()
    pictures = "".join(_figure(name, part) for name, part in names.items() if isinstance(part, JwstDataModel))
    steps = [_step_row(e) for e in products.ledger]
    sections = [
        _section(
            "Products",
            _count(list(names)),
            _table(("file", "model", "shape"), [(name, *what_it_is(part)) for name, part in names.items()]),
            opened=True,
        ),
        _section("Steps", _count(steps), _table(("step", "status", "why", "s"), steps), opened=True),
        _section("Log", _count(products.log), f"<pre>{_escape(chr(10).join(products.log))}</pre>" if products.log else ""),
    ]
    facts = "".join(s for s in sections if s)
    return _page(f"Products of {products.pipeline}", "", f'{pictures}<div class="jwnb-facts">{facts}</div>', repr(products))


def model_text(model: Any) -> str:
    """Return what a card says as plain text."""
    lines = [f"<{_title(model)}> {_subtitle(model)}"]
    lines += [f"  {name:<14} {shape} {kind} {unit}".rstrip() for name, shape, kind, unit in _arrays(model)]
    lines += [f"  {step:<20} {status:<9} {why}".rstrip() for step, status, why, _ in _steps(model)]
    return "\n".join(lines)


def _page(title: str, subtitle: str, body: str, text: str) -> str:
    head = f'<div class="jwnb-head"><b>{_escape(title)}</b><span class="jwnb-soft">{_escape(subtitle)}</span></div>'
    fallback = f'<pre class="jwnb-text">{_escape(text)}</pre>'
    return f'<div><style>{_style()}</style>{fallback}<div class="jwnb-card">{head}<div class="jwnb-body">{body}</div></div></div>'


def _section(title: str, after: str, content: str, *, opened: bool = False) -> str:
    if not content:
        return ""
    return f"<details{' open' if opened else ''}><summary>{_escape(title)} <span>{_escape(after)}</span></summary>{content}</details>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    top = "".join(f"<th>{_escape(h)}</th>" for h in head) if any(head) else ""
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    return f"<table>{f'<tr>{top}</tr>' if top else ''}{body}</table>"


def _cell(value: str) -> str:
    if value in _CLASSES:
        return f'<td class="{_CLASSES[value]}">{value}</td>'
    number = value.replace(".", "").replace(",", "").isdigit()
    return f'<td class="jwnb-number">{_escape(value)}</td>' if number else f"<td>{_escape(value)}</td>"


def _escape(value: object) -> str:
    return html.escape(str(value), quote=True)


def _count(rows: Iterable[Any]) -> str:
    return f"({len(list(rows))})"


@lru_cache(maxsize=1)
def _style() -> str:
    return files("jwnb.display").joinpath("static/card.css").read_text()


def _title(model: Any) -> str:
    name = model.instance.get("meta", {}).get("filename")
    return f"{type(model).__name__}{f' {name}' if name else ''}"


def _subtitle(model: Any) -> str:
    meta = model.instance.get("meta", {})
    instrument = meta.get("instrument", {})
    parts = [instrument.get(k) for k in ("name", "detector", "filter", "pupil", "grating")]
    parts += [meta.get("exposure", {}).get("type"), meta.get("subarray", {}).get("name")]
    return " · ".join(str(p) for p in parts if p)


def _thumbnail(model: Any) -> str:
    name = model.get_primary_array_name()
    array = in_memory(model, name) if name else None
    if array is None or array.ndim < 2 or array.size == 0:
        return ""
    uri = png_uri(plane_of(array), settings.get("thumbnail_pixels"))
    return f'<img id="jwnb-{uuid.uuid4().hex[:8]}" src="{uri}" alt="{_escape(name)} of {_escape(_title(model))}">'


def _figure(name: str, model: Any) -> str:
    picture = _thumbnail(model)
    return f'<div class="jwnb-picture">{picture}<div class="jwnb-soft">{_escape(name)}</div></div>' if picture else ""


def _steps(model: Any) -> list[tuple[str, str, str, str]]:
    return [_step_row(e) for e in ledger(model)]


def _step_row(entry: dict[str, Any]) -> tuple[str, str, str, str]:
    why = "; ".join(filter(None, [entry["reason"], *entry["notes"]]))
    return entry["step"], entry["status"], why, f"{entry['seconds']:.2f}" if entry["seconds"] else ""


def _arrays(model: Any) -> list[tuple[str, str, str, str]]:
    meta = model.instance.get("meta", {})
    units = {"data": meta.get("bunit_data"), "err": meta.get("bunit_err")}
    rows = []
    for name in model.instance:
        array = in_memory(model, name)
        if array is not None and array.ndim:
            shape = " × ".join(map(str, array.shape))
            rows.append((name, shape, str(array.dtype), units.get(name) or ""))
    return rows


def _dq_planes(model: Any) -> list[np.ndarray]:
    return [a for a in (in_memory(model, n) for n in ("dq", "groupdq", "pixeldq")) if a is not None and a.size]


def _dq_budget(model: Any) -> list[tuple[str, str, str]]:
    from jwnb import dq

    rows = []
    for plane in _dq_planes(model):
        step = max(1, plane.size // _SAMPLE)
        flags = plane.reshape(-1)[::step]
        kind = "group" if plane.ndim == 4 else ""
        for name, bit in (dq.GROUP if plane.dtype == np.uint8 else dq.PIXEL).items():
            count = int(np.count_nonzero(flags & bit)) if bit else 0
            if count:
                about = "≈ " if step > 1 else ""
                rows.append((f"{name} {kind}".strip(), f"{about}{count * step:,}", f"{100 * count / flags.size:.2f}"))
    return rows


def _dq_line(model: Any) -> str:
    planes = [p for p in _dq_planes(model) if p.dtype != np.uint8]
    if not planes:
        return ""
    return f"{100 * np.mean((planes[0] & np.uint32(1)) == 0):.1f} % of pixels usable"


def _references(model: Any) -> list[tuple[str, str]]:
    used = model.instance.get("meta", {}).get("ref_file") or {}
    return [(t, r["name"]) for t, r in used.items() if isinstance(r, dict) and r.get("name") not in (None, "N/A")]


def _sky(model: Any) -> list[tuple[str, str]]:
    meta = model.instance.get("meta", {})  # reference models have other nodes, so nothing is taken for granted
    target, info = meta.get("target", {}), meta.get("wcsinfo", {})
    area = meta.get("photometry", {}).get("pixelarea_arcsecsq")
    facts = [
        ("target", target.get("catalog_name") or target.get("proposer_name")),
        ("reference point", _degrees(info.get("ra_ref"), info.get("dec_ref"))),
        ("footprint", info.get("s_region")),
        ("pixel area", f"{area:.6g} arcsec²" if area else None),
    ]
    return [(name, str(value)) for name, value in facts if value]


def _degrees(ra: float | None, dec: float | None) -> str | None:
    return None if ra is None or dec is None else f"RA {ra:.6f}°, Dec {dec:+.6f}°"
