"""An association file as small records (JSON or YAML; level 2 and level 3)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from jwnb.errors import InputError, MissingFileError
from jwnb.models import PathLike

__all__ = ["Association", "Member", "Product", "load"]


@dataclass(frozen=True)
class Member:
    """One exposure of a product, its role (``science``, ``background``, …, in lower case), and the catalogue to align it with."""

    path: Path
    role: str
    tweakreg_catalog: Path | None = None


@dataclass(frozen=True)
class Product:
    """One product and what it is made of."""

    name: str
    members: tuple[Member, ...]

    def of(self, role: str) -> list[Path]:
        """Return the paths of the members with that role."""
        return [m.path for m in self.members if m.role == role]


@dataclass(frozen=True)
class Association:
    """A list of products to make, from a file."""

    path: Path
    products: tuple[Product, ...]
    pool: str
    kind: str
    identifier: str


def load(path: PathLike) -> Association:
    """Read an association file; members lie beside it unless their names say otherwise (row G-20).

    Raises
    ------
    MissingFileError
        There is no such file.
    InputError
        It is neither JSON nor YAML, or lacks products, members or a science member.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"there is no association file {path}.")
    content = _parsed(path)
    products = content.get("products") if isinstance(content, Mapping) else None
    if not products or not isinstance(products, list):
        raise InputError(f"{path} has no products, or not a list of them, so it is not an association.")
    return Association(
        path=path,
        products=tuple(_product(path, p) for p in products),
        pool=str(content.get("asn_pool") or ""),
        kind=str(content.get("asn_type") or ""),
        identifier=str(content.get("asn_id") or ""),
    )


def _parsed(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as an association: {error}") from error
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        pass  # YAML is the other form that associations come in
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is neither JSON nor YAML: {error}") from error


def _product(path: Path, raw: Mapping[str, Any]) -> Product:
    try:
        members = tuple(Member(path.parent / m["expname"], str(m["exptype"]).lower(), _catalog(path, m)) for m in raw["members"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: each product needs members with expname and exptype ({error}).") from error
    if not all(isinstance(part, str) for m in raw["members"] for part in (m["expname"], m["exptype"])):
        raise InputError(f"{path}: expname and exptype of members must be text.")
    if not any(m.role == "science" for m in members):
        raise InputError(f"{path}: the product {raw.get('name')!r} has no science member.")
    first = next(m.path for m in members if m.role == "science")
    return Product(str(raw.get("name") or first.stem), members)


def _catalog(path: Path, member: Mapping[str, Any]) -> Path | None:
    name = member.get("tweakreg_catalog")
    return path.parent / str(name) if name else None
