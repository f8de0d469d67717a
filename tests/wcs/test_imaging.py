"""The imaging builder: subarrays, filter offsets, bounding boxes."""

import helpers_wcs as h
import numpy as np
import pytest

from jwnb.errors import InputError, MissingReferenceError
from jwnb.wcs import imaging
from jwnb.wcs.frames import footprint


@pytest.fixture(scope="module")
def reference():
    return h.distortion_model()


def box_of(wcs):
    return wcs.bounding_box.bounding_box(order="F")


def test_subarray_sees_the_sky_of_its_part(reference) -> None:
    whole = imaging.build(h.exposure(), reference, None)
    part = imaging.build(h.exposure((2, 40, 60), corner=(801, 401)), reference, None)
    x, y = np.meshgrid(np.linspace(0, 59, 5), np.linspace(0, 39, 5))
    np.testing.assert_allclose(part(x, y), whole(x + 800, y + 400), rtol=0, atol=1e-12)
    np.testing.assert_allclose(part.invert(*part(x, y)), (x, y), atol=1e-3)
    assert box_of(part) == ((-0.5, 59.5), (-0.5, 39.5))
    assert part.available_frames == ["detector", "v2v3", "v2v3vacorr", "world"]


def test_reference_is_not_changed(reference) -> None:
    imaging.build(h.exposure((40, 60)), reference, None)
    with pytest.raises(NotImplementedError):
        reference.model.bounding_box  # noqa: B018


def test_outside_the_image_is_nan(reference) -> None:
    wcs = imaging.build(h.exposure((40, 60), corner=(801, 401)), reference, None)
    assert np.isnan(wcs(60.0, 10.0)).all()
    assert np.isfinite(wcs(59.5, 39.5)).all()


@pytest.mark.parametrize(("shape", "box"), [((2048, 2048), ((3.5, 2043.5), (-0.5, 2040.5))), ((100, 100), ((3.5, 99.5), (-0.5, 99.5)))])
def test_box_of_the_reference(shape, box) -> None:
    boxed = h.distortion_model(bounding_box=((3.5, 2043.5), (-0.5, 2040.5)))
    assert box_of(imaging.build(h.exposure(shape), boxed, None)) == box
    assert box_of(imaging.build(h.exposure((100, 100), corner=(5, 1)), boxed, None)) == ((-0.5, 99.5), (-0.5, 99.5))


def test_filter_offset_moves_the_image(reference) -> None:
    offsets = h.filteroffset_model(
        [
            {"filter": "F200W", "pupil": "F212N", "column_offset": 9.0, "row_offset": 9.0},
            {"filter": "F200W", "pupil": "CLEAR", "column_offset": 0.5, "row_offset": -0.25},
        ]
    )
    model = h.exposure((40, 60))
    plain, moved = imaging.build(model, reference, None), imaging.build(model, reference, offsets)
    np.testing.assert_allclose(moved(10, 10), plain(10.5, 9.75), rtol=0, atol=1e-12)


def test_two_rows_of_offsets(reference) -> None:
    row = {"filter": "F200W", "pupil": "CLEAR", "column_offset": 0.5, "row_offset": -0.25}
    with pytest.raises(MissingReferenceError, match="2 rows for FILTER=F200W, PUPIL=CLEAR"):
        imaging.build(h.exposure((8, 8)), reference, h.filteroffset_model([row, row]))


def test_reference_without_a_transform() -> None:
    from stdatamodels.jwst.datamodels import DistortionModel

    with pytest.raises(MissingReferenceError, match="no transform"):
        imaging.build(h.exposure((8, 8)), DistortionModel(), None)


def test_pointing_is_checked(reference) -> None:
    model = h.exposure((8, 8))
    model.meta.wcsinfo.roll_ref = None
    with pytest.raises(InputError, match="ROLL_REF"):
        imaging.build(model, reference, None)


def test_footprint_goes_round_the_outer_corners(reference) -> None:
    wcs = imaging.build(h.exposure((40, 60), corner=(801, 401)), reference, None)
    x, y = wcs.invert(*footprint(wcs).T, with_bounding_box=False)
    np.testing.assert_allclose(x, [-0.5, -0.5, 59.5, 59.5], atol=1e-3)
    np.testing.assert_allclose(y, [-0.5, 39.5, 39.5, -0.5], atol=1e-3)
