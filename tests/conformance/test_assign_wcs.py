"""assign_wcs against `jwst` on the same exposure and the same reference files."""

import warnings
from pathlib import Path
from typing import Any

import asdf
import helpers_wcs as h
import numpy as np
import pytest
from conformance.peer_image2 import assert_same_tree, run_jwst

from jwnb.wcs.assign import BUILDERS, assign_wcs

pytestmark = pytest.mark.peer

OFFSETS = [
    {"filter": "F200W", "pupil": "CLEAR", "column_offset": 0.31, "row_offset": -0.17},
    {"filter": "CLEAR", "pupil": "F150W", "column_offset": -0.2, "row_offset": 0.4},
    {"filter": "F212N", "pupil": "CLEAR", "column_offset": 1.0, "row_offset": 1.0},
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reference files: a distortion without and with a bounding box, and filter offsets."""
    folder = tmp_path_factory.mktemp("references")
    made = {
        "plain": h.distortion_model(),
        "boxed": h.distortion_model(bounding_box=((3.5, 2043.5), (-0.5, 2040.5))),
        "offsets": h.filteroffset_model(OFFSETS),
    }
    for name, model in made.items():
        for instrument in ("NIRCAM", "NIRISS") if name == "offsets" else h.INSTRUMENTS:
            h.reference_for(instrument, model, model.meta.reftype).save(folder / f"{name}_{instrument}.asdf")
    return {name: folder / f"{name}_NIRCAM.asdf" for name in made}


def both(model: Any, distortion: Path, filteroffset: Path | None = None, **options: Any) -> tuple[Any, Any]:
    ours = assign_wcs(model, distortion=distortion, filteroffset="N/A" if filteroffset is None else filteroffset, **options)
    references = {"distortion": distortion} | ({} if filteroffset is None else {"filteroffset": filteroffset})
    return ours, run_jwst("AssignWcsStep", model, references, **options)


def assert_same_wcs(ours: Any, theirs: Any) -> None:
    a, b = ours.meta.wcs, theirs.meta.wcs
    assert a.available_frames == b.available_frames
    assert a.bounding_box == b.bounding_box
    ny, nx = ours.data.shape[-2:]
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(-5, nx + 5, 23), np.linspace(-5, ny + 5, 19)))
    for target in a.available_frames[1:]:
        for mine, other in zip(a.get_transform("detector", target)(x, y), b.get_transform("detector", target)(x, y), strict=True):
            np.testing.assert_allclose(mine, other, rtol=0, atol=1e-9)
    sky = a(x, y)
    np.testing.assert_array_equal(np.isnan(sky), np.isnan(b(x, y)))
    ra, dec = a(x, y, with_bounding_box=False)
    for mine, other in zip(a.invert(ra, dec), b.invert(ra, dec), strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("exp_type", sorted(BUILDERS))
def test_every_exposure_type(exp_type: str, files: dict[str, Path]) -> None:
    offsets = None if exp_type.startswith("FGS") else files["offsets"]
    model = h.exposure((64, 96), exp_type=exp_type)
    chosen = (p and p.with_name(p.name.replace("NIRCAM", model.meta.instrument.name)) for p in (files["plain"], offsets))
    ours, theirs = both(model, *chosen)
    assert_same_wcs(ours, theirs)
    assert_same_tree(ours.meta.wcsinfo, theirs.meta.wcsinfo)
    assert theirs.meta.cal_step.assign_wcs == ours.meta.cal_step.assign_wcs == "COMPLETE"


CORNERS = [(801, 1), (1, 401), (1025, 1537)]
PLACES = [((2048, 2048), (1, 1)), ((2, 64, 64), (1, 1)), *(((2, 64, 64), corner) for corner in CORNERS)]


@pytest.mark.parametrize(
    ("distortion", "shape", "corner"),
    [("plain", *place) for place in PLACES]
    + [("boxed", *place) for place in PLACES if place != ((2, 64, 64), (1, 1))],  # that one: test_box_of_a_corner_piece
)
def test_places_on_the_detector(distortion: str, shape: tuple[int, ...], corner: tuple[int, int], files: dict[str, Path]) -> None:
    ours, theirs = both(h.exposure(shape, corner=corner), files[distortion], files["offsets"])
    assert_same_wcs(ours, theirs)
    assert_same_tree(ours.meta.wcsinfo, theirs.meta.wcsinfo)


def test_box_of_a_corner_piece(files: dict[str, Path]) -> None:
    """A subarray in the detector's first corner: `jwst` says that it covers what the distortion reference's box covers."""
    ours, theirs = both(h.exposure((64, 64)), files["boxed"])
    assert ours.meta.wcs.bounding_box.bounding_box(order="F") == ((3.5, 63.5), (-0.5, 63.5))
    assert theirs.meta.wcs.bounding_box.bounding_box(order="F") == ((3.5, 2043.5), (-0.5, 2040.5))
    x, y = np.meshgrid(np.linspace(0, 63, 9), np.linspace(0, 63, 9))
    np.testing.assert_array_equal(ours.meta.wcs(x[:, 1:], y[:, 1:]), theirs.meta.wcs(x[:, 1:], y[:, 1:]))


@pytest.mark.parametrize("va_scale", [None, 1.0, 0.9999, 1.0001])
@pytest.mark.parametrize(
    ("ra", "dec", "roll"), [(0.0001, 0.0, 0.0), (359.9999, -45.0, 359.0), (83.6, 89.999, 123.4), (270.0, -90.0, 180.0)]
)
def test_pointings(ra: float, dec: float, roll: float, va_scale: float | None, files: dict[str, Path]) -> None:
    ours, theirs = both(h.exposure((128, 128), corner=(900, 900), ra=ra, dec=dec, roll=roll, va_scale=va_scale), files["plain"])
    assert_same_wcs(ours, theirs)
    assert ours.meta.wcsinfo.s_region == theirs.meta.wcsinfo.s_region
    assert_same_tree(ours.meta.wcsinfo, theirs.meta.wcsinfo)


@pytest.mark.parametrize("point", [(0.0, 0.0), (0.0, -400.0)])
def test_reference_points(point: tuple[float, float], files: dict[str, Path]) -> None:
    model = h.exposure((64, 64), corner=(900, 900))
    model.meta.wcsinfo.v2_ref, model.meta.wcsinfo.v3_ref = point
    ours, theirs = both(model, files["plain"])
    assert_same_wcs(ours, theirs)


@pytest.mark.parametrize(
    "options",
    [
        {"sip_approx": False},
        {"sip_max_pix_error": 1.0},
        {"sip_max_pix_error": 1e-3},
        {"sip_degree": 3},
        {"sip_degree": 6, "sip_inv_degree": 6},
        {"sip_inv_degree": 2},
        {"sip_max_inv_pix_error": 0.5},
        {"sip_max_inv_pix_error": 0.0},
        {"sip_npoints": 8},
        {"sip_npoints": 32},
    ],
)
def test_options_of_the_approximation(options: dict[str, Any], files: dict[str, Path]) -> None:
    ours, theirs = both(h.exposure(), files["plain"], **options)
    assert_same_tree(ours.meta.wcsinfo, theirs.meta.wcsinfo)


def test_accuracy_that_cannot_be_had(files: dict[str, Path]) -> None:
    with pytest.warns(match="forward SIP approximation errs by up to"):
        ours, theirs = both(h.exposure(), files["plain"], sip_max_pix_error=1e-12)
    assert_same_tree(ours.meta.wcsinfo, theirs.meta.wcsinfo)


def test_without_reference_pixel(files: dict[str, Path]) -> None:
    model = h.exposure((128, 64), corner=(301, 501))
    model.meta.wcsinfo.crpix1 = None
    ours, theirs = both(model, files["plain"])
    assert_same_tree(ours.meta.wcsinfo, theirs.meta.wcsinfo)


@pytest.mark.parametrize("rows", [[], [{"filter": "F200W", "pupil": "CLEAR"}], [{"filter": "F200W", "pupil": "CLEAR", "row_offset": 1.0}]])
def test_rows_without_an_offset(rows: list[dict[str, Any]], files: dict[str, Path], tmp_path: Path) -> None:
    h.filteroffset_model(rows).save(tmp_path / "offsets.asdf")
    ours, theirs = both(h.exposure((64, 64)), files["plain"], tmp_path / "offsets.asdf")
    assert_same_wcs(ours, theirs)


@pytest.mark.parametrize("detector", ["nrca1", "nrcb4", "nrcalong", "nrcblong"])
def test_distortion_in_flight(detector: str, tmp_path: Path) -> None:
    source = h.shared_data("references", "nircam_gwcs", f"jw01345001001_02201_00001_{detector}_tweakreg.asdf")
    if not source.exists():
        pytest.skip(f"{source.name} is not here")
    with warnings.catch_warnings(), asdf.open(source) as tree:
        warnings.simplefilter("ignore")
        transform = tree["wcs"].get_transform("detector", "v2v3").copy()
        h.as_distortion(transform).save(tmp_path / "distortion.asdf")
    model = h.exposure()
    model.meta.instrument.detector = "NRCA1"
    ours, theirs = both(model, tmp_path / "distortion.asdf")
    assert_same_wcs(ours, theirs)
    assert_same_tree(ours.meta.wcsinfo, theirs.meta.wcsinfo)
