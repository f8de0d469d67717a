"""What a pipeline gives back: its products by suffix, its log, and where to save them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from astropy.table import Table
from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb import models
from jwnb.errors import InputError
from jwnb.record import ledger
from jwnb.step import products_in

__all__ = ["Products"]


class Products:
    """The products of one pipeline run, by suffix.

    Parameters
    ----------
    pipeline : str
        The pipeline that made them.
    made : mapping
        Suffix → model, catalogue (``cat``, a table), or several exposures (``crf``).
    kept : mapping, optional
        Step → what it gave, for the steps named in ``keep=``.
    log : sequence of str, optional
        What was said while it ran.

    Examples
    --------
    ``products.rate`` is the model, ``products.crf`` a sequence of models, one for each input, ``products.ami_oi`` the product with
    suffix ``ami-oi``; a product that was not made is None.
    """

    def __init__(
        self,
        pipeline: str,
        made: Mapping[str, Any],
        *,
        kept: Mapping[str, Any] | None = None,
        log: tuple[str, ...] = (),
    ) -> None:
        self.pipeline = pipeline
        self.made = MappingProxyType({suffix: model for suffix, model in made.items() if model is not None})
        self.kept = MappingProxyType(dict(kept or {}))
        self.log = tuple(log)

    def __getattr__(self, name: str) -> Any:
        suffix = name if name in models.SUFFIXES else name.replace("_", "-")
        if suffix in models.SUFFIXES:
            return self.__dict__.get("made", {}).get(suffix)
        raise AttributeError(
            f"{name!r} is no product suffix.{models.nearest(name, models.SUFFIXES)} Made here: {', '.join(self.suffixes)}."
        )

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(s.replace("-", "_") for s in self.suffixes)]

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes of what was made."""
        return tuple(self.__dict__.get("made", {}))

    @property
    def ledger(self) -> list[dict[str, Any]]:
        """The ledger of the last product: every step, with its status and reason."""
        last = [m for m in self.named().values() if isinstance(m, JwstDataModel)]
        return ledger(last[-1]) if last else []

    def save(self, folder: models.PathLike = ".") -> list[Path]:
        """Write every product, and the kept steps, under its standard name; each file is there whole or not at all.

        Parameters
        ----------
        folder : path
            Made where needed.

        Returns
        -------
        list of Path
            The files written.

        Raises
        ------
        InputError
            Two exposures have one name, or a file cannot be written.
        """
        _check_names(part for part in (*self.made.values(), *self.kept.values()) if isinstance(part, models.Exposures))
        return [
            models.save(part[0] if isinstance(part, models.Exposures) else part, Path(folder) / name) for name, part in self.named().items()
        ]

    def named(self) -> dict[str, Any]:
        """Return file name → what `save` writes there: a model, or `Exposures` of one, opened when its turn comes."""
        named: dict[str, Any] = {}
        for made in self.made.values():
            named |= _exposures(made) if isinstance(made, models.Exposures) else {_file_name(p): p for p in _written(made)}
        for step, result in self.kept.items():
            if isinstance(result, models.Exposures):
                named |= _exposures(result, step)
                continue
            for number, product in enumerate(_written(result)):
                suffix = step if number == 0 else f"{step}{number}"
                extension = ".ecsv" if isinstance(product, Table) else ".fits"
                named[models.product_name(_file_name(product) or "exposure.fits", suffix, extension=extension)] = product
        return named

    def __repr__(self) -> str:
        lines = [f"<Products of {self.pipeline}>"]
        lines += [f"  {name}: {' '.join(what_it_is(part))}" for name, part in self.named().items()]
        lines += [f"  {e['step']:<20} {e['status']:<9} {e['reason']}".rstrip() for e in self.ledger]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from jwnb.display.cards import products_card

        return products_card(self)


def what_it_is(part: Any) -> tuple[str, str]:
    """Return kind and shape of something that `Products.named` gives, without opening a file."""
    if isinstance(part, models.Exposures):
        return "exposure", ""
    return type(part).__name__, str((len(part), len(part.colnames)) if isinstance(part, Table) else part.shape)


def _written(result: Any) -> Iterator[JwstDataModel | Table]:
    """Yield the catalogues and the models of what a step gave."""
    if isinstance(result, Table):
        yield result
    elif is_dataclass(result):
        yield from (part for part in vars(result).values() if isinstance(part, Table))
    yield from products_in(result)


def _file_name(product: JwstDataModel | Table) -> Any:
    return product.meta.get("filename") if isinstance(product, Table) else product.meta.filename


def _check_names(parts: Iterable[models.Exposures]) -> None:
    """Raise `InputError` where one of several exposures would be written over another."""
    for several in parts:
        for name, number in Counter(several.names).items():
            same = [item for item, its in zip(several.items, several.names, strict=True) if its == name]
            if number > 1 and any(item is not same[0] and item != same[0] for item in same):
                raise InputError(
                    f"{number} exposures have the name {name}, and would be written over each other. "
                    "Save them one by one, with jwnb.save and names of their own."
                )


def _exposures(several: models.Exposures, step: str | None = None) -> dict[str, models.Exposures]:
    names = [models.product_name(name, step) if step else name for name in several.names]
    return {name: several[k : k + 1] for k, name in enumerate(names)}
