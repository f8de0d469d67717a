"""assign_wcs: give an exposure its world coordinates."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Annotated

from gwcs.wcs import WCS
from stdatamodels.jwst.datamodels import CubeModel, DistortionModel, FilteroffsetModel, ImageModel

from jwnb.step import Param, Reference, note, share, step
from jwnb.wcs import imaging, sip
from jwnb.wcs.frames import POINTING, footprint, polygon

__all__ = ["BUILDERS", "assign_wcs"]

Builder = Callable[[ImageModel | CubeModel, DistortionModel, FilteroffsetModel | None], WCS]

# EXP_TYPE to the builder of its optics.
BUILDERS: MappingProxyType[str, Builder] = MappingProxyType(
    dict.fromkeys(
        (
            "NRC_IMAGE", "NRC_TSIMAGE", "NRC_CORON", "NRC_FOCUS", "NRC_TACQ", "NRC_TACONFIRM",
            "NIS_IMAGE", "NIS_AMI", "NIS_FOCUS", "NIS_TACQ", "NIS_TACONFIRM",
            "FGS_IMAGE", "FGS_FOCUS",
        ),
        imaging.build,
    )
)  # fmt: skip


@step("assign_wcs", scope="pixel", status="assign_wcs", exposures=frozenset(BUILDERS), needs=POINTING)
def assign_wcs(
    image: ImageModel | CubeModel,
    *,
    distortion: DistortionModel = Reference("distortion"),
    filteroffset: FilteroffsetModel = Reference("filteroffset", optional=True),
    sip_approx: bool = True,
    sip_max_pix_error: Annotated[float, Param(min=0, unit="pixels")] = 0.01,
    sip_degree: Annotated[int | None, Param(min=1, max=6)] = None,
    sip_max_inv_pix_error: Annotated[float, Param(min=0, unit="pixels")] = 0.01,
    sip_inv_degree: Annotated[int | None, Param(min=1, max=6)] = None,
    sip_npoints: Annotated[int, Param(min=8)] = 12,
) -> ImageModel | CubeModel:
    """Give an exposure its world coordinates.

    The WCS goes from detector pixels (0-based in the array as it is: the corner of a subarray or cutout is taken from
    ``meta.subarray``) by the distortion reference to V2V3, through the correction for differential velocity aberration, and by the
    rotation that the pointing keywords define to right ascension and declination. Pixels are not touched.

    Parameters
    ----------
    image : ImageModel or CubeModel
        A rate or rateints product with RA_REF, DEC_REF, ROLL_REF, V2_REF and V3_REF.
    distortion : DistortionModel
        Detector pixels to V2V3.
    filteroffset : FilteroffsetModel, optional
        Shifts by filter and pupil (NIRCam and NIRISS).
    sip_approx : bool
        Also write a FITS approximation of the WCS (TAN with SIP) into the header.
    sip_max_pix_error : float
        Largest error of the forward approximation; the lowest degree that meets it is used.
    sip_degree : int, optional
        Degree of the forward polynomial; `None` takes the lowest of 1 to 5 that meets the error.
    sip_max_inv_pix_error : float
        Largest error of the inverse approximation; 0 leaves the inverse out.
    sip_inv_degree : int, optional
        Degree of the inverse polynomial; `None` takes the lowest of 1 to 5 that meets the error.
    sip_npoints : int
        Points along a side of the image to fit.

    Returns
    -------
    ImageModel or CubeModel
        With ``meta.wcs`` (frames detector, v2v3, v2v3vacorr, world), S_REGION, and the keywords of the approximation in ``meta.wcsinfo``.
        Where no polynomial meets the error the best one is written, with a warning; where none can be fitted, none, with a warning.

    Raises
    ------
    WrongExposureError
        There is no WCS for this EXP_TYPE.
    InputError
        A pointing keyword is missing; its name is given.
    """
    wcs = BUILDERS[image.meta.exposure.type](image, distortion, filteroffset)
    out = share(image)
    # As an attribute it would be turned into YAML and back to be checked, which takes longer than everything else here.
    out.meta.instance["wcs"] = wcs
    region = polygon(footprint(wcs))
    if region is None:
        note("the footprint is not finite: S_REGION is left as it was", degraded=True)
    else:
        out.meta.wcsinfo.s_region = region
    if sip_approx:
        try:
            keywords = sip.approximate(
                out,
                max_pix_error=sip_max_pix_error,
                degree=sip_degree,
                max_inv_pix_error=sip_max_inv_pix_error,
                inv_degree=sip_inv_degree,
                npoints=sip_npoints,
            )
        except (ValueError, RuntimeError) as error:
            note(f"no SIP approximation was written: {error}", degraded=True)
            return out
        sip.replace_linear_terms(out, keywords)
        asked_forward = sip_max_pix_error if sip_degree is None else None
        asked_inverse = sip_max_inv_pix_error if sip_inv_degree is None else None
        for miss in sip.shortcomings(keywords, forward=asked_forward, inverse=asked_inverse):
            note(miss, degraded=True)
    return out
