"""Associations: which exposures belong together, and as what."""

from jwnb.associations.model import Association, Member, Product, load

__all__ = ["Association", "Member", "Product", "load"]
