"""One set of metadata from several exposures, by the rules that the data models' schemas give.

A schema says with ``blend_rule`` how an attribute is combined and with ``blend_table`` that it becomes a column of the product's
HDRTAB table, which has a row for each input. An attribute without rule is that of the first input.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from astropy.io import fits
from stdatamodels import fits_support
from stdatamodels.jwst.datamodels import JwstDataModel
from stdatamodels.schema import walk_schema

from jwnb.errors import InputError

__all__ = ["Blend"]

_OFF_POSITION = "outside calibration tolerance"


def _common(values: Sequence[Any]) -> Any:
    return values[0] if len(set(values)) == 1 else "MULTIPLE"


def _wheel(values: Sequence[Any]) -> str:
    return _OFF_POSITION if _OFF_POSITION in values else "within commanded tolerance"


# ISO 8601 dates and times sort as text.
_RULES: dict[str, Callable[[Sequence[Any]], Any]] = {
    "multi": _common,
    "mean": np.mean,
    "sum": np.sum,
    "max": max,
    "min": min,
    **{f"min{what}": min for what in ("time", "date", "datetime")},
    **{f"max{what}": max for what in ("time", "date", "datetime")},
    "wheeltol": _wheel,
}


class Blend:
    """Metadata of inputs, collected one at a time.

    Parameters
    ----------
    ignore : sequence of str
        Attributes (and what begins with them) to leave as they are in the product.
    """

    def __init__(self, ignore: Sequence[str] = ()) -> None:
        self._ignore = ("meta.wcs", "meta.jwnb", *ignore)
        self._class: type | None = None
        self._first: dict[str, Any] = {}
        self._rules: dict[str, str] = {}
        self._values: dict[str, list[Any]] = {}
        self._columns: dict[str, str] = {}
        self._rows: list[dict[str, Any]] = []

    def add(self, model: JwstDataModel) -> None:
        """Take the metadata of the next input, which must be of the same class as the others."""
        header = model.to_flat_dict(include_arrays=False)
        if self._class is None:
            self._begin(model, header)
        elif type(model) is not self._class:
            raise InputError(f"inputs of one product must be of one class; got {self._class.__name__} and {type(model).__name__}.")
        self._rows.append({attribute: header[attribute] for attribute in self._columns if attribute in header})
        for attribute in self._rules:
            if attribute in header:
                self._values.setdefault(attribute, []).append(header[attribute])

    def finish(self, product: JwstDataModel) -> None:
        """Write the combined metadata and the table of all inputs to a product that the caller owns."""
        combined = {a: _RULES[r](v) if (v := self._values.get(a)) else None for a, r in self._rules.items()}
        for attribute, value in (self._first | combined).items():
            try:
                product[attribute] = value.item() if isinstance(value, np.generic) else value
            except KeyError:  # in the first input's tree, not in the schema of the product
                continue
        self._write_table(product)

    def _begin(self, model: JwstDataModel, header: dict[str, Any]) -> None:
        self._class = type(model)
        rules, self._columns, arrays = _instructions(model.schema)
        ignored = (*self._ignore, *arrays)
        self._first = {k: v for k, v in header.items() if k.startswith("meta") and not k.startswith(ignored)}
        self._rules = {k: r for k, r in rules.items() if r != "first" and not k.startswith(ignored)}

    def _write_table(self, product: JwstDataModel) -> None:
        columns = {}
        for attribute, name in self._columns.items():
            if any(attribute in row for row in self._rows):
                columns[name] = np.array([row.get(attribute, np.nan) for row in self._rows])
        table = np.rec.fromarrays(list(columns.values()), dtype=[(n, c.dtype) for n, c in columns.items()])
        schema = {
            "title": "Combined header table",
            "fits_hdu": "HDRTAB",
            "datatype": [{"name": name, "datatype": _datatype(column.dtype)} for name, column in columns.items()],
        }
        product.add_schema_entry("hdrtab", schema)
        # Through a FITS table and back: that is how booleans keep their meaning when the product is written.
        product.hdrtab = fits_support.from_fits_hdu(fits.BinTableHDU.from_columns(table), schema)


def _instructions(schema: dict[str, Any]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Return attribute → rule, attribute → column, and the list attributes that cannot be combined."""
    rules: dict[str, str] = {}
    columns: dict[str, str] = {}
    lists: list[str] = []

    def visit(part: dict[str, Any], path: list[str], *_: Any) -> None:
        if len(path) <= 1 or path[0] != "meta" or "items" in path or part.get("properties"):
            return
        branch = [i for i, step in enumerate(path) if step in ("anyOf", "oneOf")]
        attribute = ".".join(path[: branch[0]] if branch else path)
        if part.get("type") == "array":
            lists.append(attribute)
            return
        if "blend_rule" in part:
            rules[attribute] = part["blend_rule"]
        if part.get("blend_table"):
            columns[attribute] = part.get("fits_keyword", attribute)

    walk_schema(schema, visit)
    return rules, columns, lists


def _datatype(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "U":
        return ["ascii", dtype.itemsize // 4]
    return "int8" if dtype.kind == "b" else dtype.name
