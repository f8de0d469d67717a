import numpy as np
import pytest
from helpers_alignment import DEC, DITHERS, RA, star_field, star_list
from stdatamodels.jwst.datamodels import ImageModel

from jwnb.errors import CalibrationWarning
from jwnb.record import node
from jwnb.stage3.align_fit import Fitting, Limits, Matching, Solution
from jwnb.stage3.align_results import Change, Seen, change_of, displacement, report
from jwnb.stage3.alignment import Group, Outcome, align_relative
from jwnb.wcs.frames import footprint


def corners(east=0.0, north=0.0, *, angle=0.0, scale=1.0, dec=DEC):
    """Four corners about a place, displaced by arcsec, turned from north through east, stretched."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    square = np.array([[-30.0, -30.0], [-30.0, 30.0], [30.0, 30.0], [30.0, -30.0]])
    places = (scale * square @ np.array([[c, -s], [s, c]]) + [east, north]) / 3600
    return np.column_stack([RA + places[:, 0] / np.cos(np.radians(dec + places[:, 1])), dec + places[:, 1]])


@pytest.mark.parametrize("dec", [DEC, -70.0])
def test_displacement_gives_back_what_was_put_in(dec):
    shift, rotation, scale = displacement(corners(dec=dec), corners(0.4, -0.2, angle=0.05, scale=1.001, dec=dec))
    assert shift == pytest.approx((0.4, -0.2), abs=1e-4)
    # A square in right ascension and declination is not quite one on the sky.
    assert rotation == pytest.approx(0.05, abs=2e-3)
    assert scale == pytest.approx(1.001, abs=1e-5)


@pytest.fixture
def groups():
    sky = star_field()
    made = [star_list(sky, index=k, dither=DITHERS[k], error=(0.3 * k, 0.0, 0.0))[0] for k in range(2)]
    return [Group(f"group {k}", [one]) for k, one in enumerate(made)]


def aligned(groups, limits=None):
    align_relative(
        groups, matching=Matching(2.0, 1.0, 0.7), fitting=Fitting("rshift", 15, 3, 3.0),
        limits=limits or Limits(3.0, 0.3, 0.005, 0.2), enforce_user_order=False, expand_refcat=False,
    )  # fmt: skip
    return groups


def seen_of(group):
    stars = group.lists[0]
    catalogue = {"x": stars.x, "y": stars.y, "flux": np.ones(len(stars))}
    return Seen(stars, catalogue, footprint(stars.corrector.original_wcs), 0.1545)


def test_all_went_well(groups):
    assert report(aligned(groups), catalogue="") == ""


def test_nothing_went_well(groups):
    with pytest.warns(CalibrationWarning, match="every WCS is as it was"):
        why = report(aligned(groups, Limits(0.1, 0.3, 0.005, 0.2)), catalogue="")
    assert why.startswith("nothing could be aligned, and every WCS is as it was (group 1: rshift, shift: it shifts by 0.3")


def test_one_of_several_went_wrong(groups):
    aligned(groups)
    groups.append(Group("group 2", [], relative=Outcome(Solution(reason="3 matches, and 15 are needed"))))
    with pytest.warns(CalibrationWarning, match="group 2 keeps its WCS: 3 matches, and 15 are needed"):
        assert report(groups, catalogue="") == ""


def test_change_of_an_aligned_exposure(groups):
    aligned(groups)
    seen = seen_of(groups[1])
    change = change_of(ImageModel(), seen, groups[1], catalogue="", approximation=None)
    assert change.wcs is seen.stars.corrector.wcs
    assert change.keywords is None
    assert change.region.startswith("POLYGON ICRS")
    model = ImageModel((4, 4))
    change(model)
    assert model.meta.wcs is change.wcs
    assert model.meta.wcsinfo.s_region == change.region
    record = node(model)["tweakreg"]
    assert record["status"] == "aligned"
    assert record["shift_east"] == pytest.approx(0.3, abs=1e-3)
    assert record["rms_after"] < 1e-4
    record["catalog"]["x"] = None
    assert change.record["catalog"]["x"] is not None, "each exposure gets a record of its own"


def test_change_of_the_reference_and_of_what_is_kept(groups):
    aligned(groups, Limits(0.1, 0.3, 0.005, 0.2))
    for group, status in zip(groups, ("reference", "kept"), strict=True):
        change = change_of(ImageModel(), seen_of(group), group, catalogue="", approximation=None, skipped="why")
        assert change.wcs is None
        assert change.region is None
        assert (change.record["status"], change.record["geometry"], change.skipped) == (status, "none", "why")
        assert len(change.record["matched"]) == 0


def test_an_approximation_that_cannot_be_fitted_is_said(groups, monkeypatch):
    def fail(*_, **__):
        raise ValueError("no such polynomial")

    aligned(groups)
    monkeypatch.setattr("jwnb.wcs.sip.approximate", fail)
    how = {"max_pix_error": 0.01, "degree": None, "max_inv_pix_error": 0.01, "inv_degree": None, "npoints": 12}
    with pytest.warns(CalibrationWarning, match="was not renewed"):
        change = change_of(ImageModel(), seen_of(groups[1]), groups[1], catalogue="", approximation=how)
    assert change.keywords is None
    assert change.wcs is not None


def test_a_change_without_a_wcs_only_remembers():
    model = ImageModel((4, 4))
    Change({"status": "kept"})(model)
    assert node(model)["tweakreg"] == {"status": "kept"}
    assert model.meta.wcs is None
    assert model.meta.wcsinfo.s_region is None
