"""What a pipeline gives back: its products by suffix, its log, and where to save them."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stdatamodels.jwst.datamodels import JwstDataModel

from jwnb import models
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
        Suffix → model, or list of models (``crf``).
    kept : mapping, optional
        Step → what it gave, for the steps named in ``keep=``.
    log : sequence of str, optional
        What was said while it ran.

    Examples
    --------
    ``products.rate`` is the model, ``products.crf`` a list, ``products.ami_oi`` the product with suffix ``ami-oi``; a product that
    was not made is None.
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
        """
        return [models.save(model, Path(folder) / name) for name, model in self.named().items()]

    def named(self) -> dict[str, Any]:
        """Return file name → model of everything that `save` writes."""
        named: dict[str, Any] = {}
        for model in self.made.values():
            for product in products_in(model):
                named[product.meta.filename] = product
        for step, result in self.kept.items():
            for number, product in enumerate(products_in(result)):
                suffix = step if number == 0 else f"{step}{number}"
                named[models.product_name(product.meta.filename or "exposure.fits", suffix)] = product
        return named

    def __repr__(self) -> str:
        lines = [f"<Products of {self.pipeline}>"]
        lines += [f"  {name}: {type(model).__name__} {model.shape}" for name, model in self.named().items()]
        lines += [f"  {e['step']:<20} {e['status']:<9} {e['reason']}".rstrip() for e in self.ledger]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from jwnb.display.cards import products_card

        return products_card(self)
