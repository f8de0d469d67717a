"""The FITS approximation of an imaging gWCS: TAN with SIP polynomials, for tools that read headers only.

Shupe et al. 2005 (ASP Conf. 347, 491) define SIP.
"""

import warnings
from typing import Any

from stdatamodels.jwst.datamodels import JwstDataModel

__all__ = ["approximate", "replace_linear_terms", "shortcomings"]

# The best degree is looked for up to here where none is asked for.
_DEGREES = range(1, 6)


def approximate(
    model: JwstDataModel,
    *,
    wcs: Any = None,
    max_pix_error: float = 0.01,
    degree: int | None = None,
    max_inv_pix_error: float | None = 0.01,
    inv_degree: int | None = None,
    npoints: int = 12,
) -> dict[str, Any]:
    """Fit SIP polynomials to the WCS of an image.

    Parameters
    ----------
    model : JwstDataModel
        Its CRPIX1, CRPIX2, where present, are kept as the reference pixel.
    wcs : gwcs.WCS, optional
        What to approximate; ``model.meta.wcs`` by default.
    max_pix_error, max_inv_pix_error : float
        Largest error, in pixels, of the forward and inverse fit: the lowest degree that meets it is taken, or else the best. An inverse
        error of 0 leaves the inverse out.
    degree, inv_degree : int, optional
        A fixed degree; the corresponding largest error is not looked at.
    npoints : int
        Points along a side of the image that are fitted, at least 8.

    Returns
    -------
    dict
        FITS keywords in lower case.

    Raises
    ------
    ValueError, RuntimeError
        The WCS cannot be fitted.
    """
    info = model.meta.wcsinfo
    centre = [info.crpix1, info.crpix2]
    with warnings.catch_warnings():
        # gWCS warns, without a number, where the accuracy is missed; `shortcomings` says it with the numbers of the header.
        warnings.filterwarnings("ignore", module=r"gwcs\.")
        header = (model.meta.wcs if wcs is None else wcs).to_fits_sip(
            max_pix_error=max_pix_error,
            degree=_DEGREES if degree is None else degree,
            max_inv_pix_error=max_inv_pix_error,
            inv_degree=_DEGREES if inv_degree is None else inv_degree,
            npoints=npoints,
            crpix=None if None in centre else centre,
        )
    return {key.lower(): _plain(value) for key, value in header.items() if not key.startswith("NAXIS")}


def shortcomings(keywords: dict[str, Any], *, forward: float | None, inverse: float | None) -> list[str]:
    """Say where an approximation misses the accuracy asked for.

    Parameters
    ----------
    keywords : dict
        From `approximate`.
    forward, inverse : float or None
        Largest errors asked for, in pixels; None where the degree was fixed.

    Returns
    -------
    list of str
        One sentence for each miss.
    """
    asked = {"sipmxerr": ("forward", forward), "sipiverr": ("inverse", inverse)}
    return [
        f"the {which} SIP approximation errs by up to {keywords[key]:.3g} pixels; {limit:g} was asked for"
        for key, (which, limit) in asked.items()
        if limit is not None and keywords.get(key, 0.0) > limit
    ]


def replace_linear_terms(model: JwstDataModel, keywords: dict[str, Any]) -> None:
    """Write SIP keywords into ``meta.wcsinfo`` of a model that the caller owns, in place of the earlier linear ones."""
    info = model.meta.wcsinfo.instance
    linear = {"naxis", "cdelt1", "cdelt2", "pc1_1", "pc1_2", "pc2_1", "pc2_2"}
    polynomials = {f"{letter}_order" for letter in ("a", "b", "ap", "bp")}
    polynomials |= {f"{letter}_{i}_{j}" for letter in ("a", "b", "ap", "bp") for i in range(10) for j in range(10)}
    for key in (linear | polynomials) & set(info):
        del info[key]
    info.update(keywords)


def _plain(value: Any) -> Any:
    """Return Python numbers for numpy's, which ASDF and JSON would write as arrays or not at all."""
    return value.item() if hasattr(value, "item") else value
