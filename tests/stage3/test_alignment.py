"""Groups of star lists whose places are computed, not found in images: only the alignment is tried."""

import numpy as np
import pytest
from helpers_alignment import DEC, DITHERS, ERRORS, RA, star_field, star_list

from jwnb.stage3.align_fit import Fitting, Limits, Matching
from jwnb.stage3.alignment import Group, Reference, align_absolute, align_relative

MATCHING = Matching(2.0, 1.0, 0.7)
ABSOLUTE = Matching(6.0, 1.0, 0.7)
FITTING = Fitting("rshift", 15, 3, 3.0)
LIMITS = Limits(3.0, 0.3, 0.005, 0.2)


def groups_of(sky, places, errors=ERRORS, *, detectors=(1,), keep=None):
    """A group for each place, each with its error, and the true WCS of its first list."""
    made, truths, index = [], [], 0
    for k, (place, error) in enumerate(zip(places, errors, strict=False)):
        lists = []
        for detector in detectors:
            one, truth = star_list(sky, index=index, dither=place, error=error, detector=detector)
            if keep is not None and index in keep:
                one.x, one.y, one.rows = (v[keep[index]] for v in (one.x, one.y, one.rows))
            lists.append(one)
            truths.append(truth)
            index += 1
        made.append(Group(f"group {k}", lists))
    return made, truths


def relative(groups, *, expand=False, in_order=False, limits=LIMITS):
    align_relative(groups, matching=MATCHING, fitting=FITTING, limits=limits, enforce_user_order=in_order, expand_refcat=expand)


def absolute(groups, reference, *, minobj=15):
    align_absolute(groups, reference, matching=ABSOLUTE, fitting=Fitting("rshift", minobj, 3, 3.0), limits=LIMITS)


def off(one, truth):
    """How far the stars of a list lie from the truth, in arcsec."""
    ra, dec = one.sky()
    true_ra, true_dec = truth(one.x, one.y, with_bounding_box=False)
    return np.hypot((ra - true_ra) * np.cos(np.radians(dec)), dec - true_dec).max() * 3600


@pytest.fixture(scope="module")
def sky():
    return star_field()


@pytest.fixture(scope="module")
def wide():
    return star_field(900, width=400.0, seed=5)


def catalogue(sky, **how):
    table = sky.table(**how)
    return Reference(np.array(table["RA"]), np.array(table["DEC"]))


def test_groups_are_aligned_with_the_first(sky):
    groups, truths = groups_of(sky, DITHERS)
    before = [off(g.lists[0], t) for g, t in zip(groups, truths, strict=True)]
    relative(groups)
    assert [g.is_reference for g in groups] == [True, False, False, False]
    assert min(before[1:]) > 0.3
    for group, truth in zip(groups, truths, strict=True):
        assert off(group.lists[0], truth) < 1e-6
        assert group.frame == 0
    assert groups[1].relative.solution.rotation == pytest.approx(0.05, abs=1e-4)


def test_what_was_given_is_not_changed(sky):
    groups, _ = groups_of(sky, DITHERS[:2])
    wcs = groups[1].lists[0].corrector.original_wcs
    before = wcs(10.0, 20.0)
    relative(groups)
    assert wcs is groups[1].lists[0].corrector.original_wcs
    assert "v2v3corr" not in wcs.available_frames
    assert wcs(10.0, 20.0) == before
    assert "v2v3corr" in groups[1].lists[0].corrector.wcs.available_frames


def test_detectors_move_together_even_one_without_stars(sky):
    groups, truths = groups_of(sky, DITHERS[:2], detectors=(1, 2), keep={3: slice(0, 0)})
    assert len(groups[1].lists[1]) == 0
    relative(groups)
    assert groups[1].tied
    moved = groups[1].lists[1].corrector.wcs
    there, true = (np.array(w(200.0, 200.0, with_bounding_box=False)) for w in (moved, truths[3]))
    np.testing.assert_allclose(there, true, rtol=0, atol=1e-6 / 3600)


def test_the_first_list_may_be_the_one_without_stars(sky):
    groups, truths = groups_of(sky, DITHERS[:2], detectors=(1, 2), keep={2: slice(0, 0)})
    relative(groups)
    assert groups[1].tied
    assert off(groups[1].lists[1], truths[3]) < 1e-4


def test_pairs_of_each_list(sky):
    groups, _ = groups_of(sky, DITHERS[:2], detectors=(1, 2))
    relative(groups)
    outcome = groups[1].relative
    parts = [outcome.part(one.index) for one in groups[1].lists]
    assert sum(len(pairs) for pairs, _ in parts) == len(outcome.solution.stars)
    for one, (pairs, rows) in zip(groups[1].lists, parts, strict=True):
        ra, dec = one.sky()
        place = {row: k for k, row in enumerate(one.rows)}
        mine = [place[row] for row in rows]
        np.testing.assert_allclose(ra[mine], outcome.ra[pairs], rtol=0, atol=1e-8)
        np.testing.assert_allclose(dec[mine], outcome.dec[pairs], rtol=0, atol=1e-8)
    assert len(outcome.part(99)[0]) == 0


def test_residuals_are_east_and_north(sky):
    """Half of the stars of the reference are displaced by a known amount."""
    groups, _ = groups_of(sky, DITHERS[:1], errors=[(0.0, 0.0, 0.0)])
    reference = catalogue(sky)
    reference.ra[::2] += 0.02 / 3600 / np.cos(np.radians(DEC))
    reference.dec[::2] += 0.01 / 3600
    absolute(groups, reference)
    outcome = groups[0].absolute
    shifted = outcome.solution.residuals[np.isin(outcome.ra, reference.ra[::2])].mean(axis=0)
    others = outcome.solution.residuals[np.isin(outcome.ra, reference.ra[1::2])].mean(axis=0)
    np.testing.assert_allclose(shifted - others, [0.02, 0.01], atol=2e-4)
    assert outcome.solution.displacement == pytest.approx((0.01, 0.005), abs=2e-3)


def test_order_with_an_expanding_reference():
    """Side by side: the third and fourth do not lie on the first."""
    wide = star_field(500, width=200.0, seed=9)
    places = [(0.0, 0.0), (28.0, 5.0), (56.0, -5.0), (84.0, 3.0)]
    groups, truths = groups_of(wide, places, errors=[(0.0, 0.0, 0.0), *ERRORS[1:]])
    relative(groups)
    assert [g.tied for g in groups] == [True, True, False, False]
    assert off(groups[3].lists[0], truths[3]) > 0.3
    groups, truths = groups_of(wide, places, errors=[(0.0, 0.0, 0.0), *ERRORS[1:]])
    relative(groups, expand=True, in_order=True)
    assert groups[0].is_reference
    assert all(off(g.lists[0], t) < 1e-4 for g, t in zip(groups, truths, strict=True))
    groups, _ = groups_of(wide, places)
    relative(groups, expand=True)
    assert all(g.tied for g in groups)


def test_sets_that_lie_apart(wide):
    places = [(0.0, 0.0), (5.0, 2.0), (150.0, 10.0), (154.0, 12.0)]
    groups, _ = groups_of(wide, places)
    relative(groups)
    assert [g.tied for g in groups] == [True, True, False, False]
    assert groups[2].relative.solution.reason == "nothing of the reference lies in its field"
    assert "v2v3corr" not in groups[2].lists[0].corrector.wcs.available_frames
    groups, _ = groups_of(wide, places)
    relative(groups, expand=True)
    frames = [g.frame for g in groups]
    assert frames[0] == frames[1] != frames[2] == frames[3]
    assert sum(g.is_reference for g in groups) == 2


@pytest.mark.parametrize("expand", [False, True])
def test_each_set_finds_its_own_way_to_a_catalogue(wide, expand):
    places = [(0.0, 0.0), (5.0, 2.0), (150.0, 10.0), (154.0, 12.0)]
    groups, truths = groups_of(wide, places)
    relative(groups, expand=expand)
    absolute(groups, catalogue(wide))
    assert all(off(g.lists[0], t) < 2e-3 for g, t in zip(groups, truths, strict=True))


def test_few_stars_on_each_may_be_enough_together(wide):
    """Ten stars on each of two images that share none: together they pass where they agree, and not where they do not."""
    places = [(0.0, 0.0), (150.0, 10.0)]
    few = {0: slice(0, 12), 1: slice(0, 12)}
    same = [(0.05, -0.03, 0.0), (0.05, -0.03, 0.0)]
    groups, truths = groups_of(wide, places, errors=same, keep=few)
    relative(groups)
    absolute(groups, catalogue(wide))
    assert groups[0].absolute is groups[1].absolute
    assert all(off(g.lists[0], t) < 1e-3 for g, t in zip(groups, truths, strict=True))
    for other in ((0.25, -0.03, 0.0), (0.9, 0.5, 0.0)):
        groups, _ = groups_of(wide, places, errors=[same[0], other], keep=few)
        relative(groups)
        absolute(groups, catalogue(wide))
        assert not any(g.absolute.solution.accepted for g in groups)
        assert all("v2v3corr" not in g.lists[0].corrector.wcs.available_frames for g in groups)


def test_a_catalogue_of_another_field(sky):
    groups, _ = groups_of(sky, DITHERS[:2])
    relative(groups)
    absolute(groups, catalogue(star_field(ra=RA + 40, dec=-60)))
    assert groups[0].absolute.solution.reason == "nothing of the reference lies in its field"


def test_groups_without_stars_are_passed_over(sky):
    groups, truths = groups_of(sky, DITHERS, keep={0: slice(0, 0), 2: slice(0, 0)})
    relative(groups)
    assert [g.is_reference for g in groups] == [False, True, False, False]
    assert groups[2].relative.solution.reason == "it has no stars"
    assert groups[3].tied
    absolute(groups, catalogue(sky))
    assert off(groups[3].lists[0], truths[3]) < 2e-3
    assert not groups[0].absolute.solution.accepted


def test_reference():
    reference = Reference(np.array([10.0, 10.0, 190.0]), np.array([0.0, 0.1, 0.0]), np.array([1.0, 2.0, 3.0]))
    assert list(reference.frame) == [0, 0, 0]
    near = reference.near(np.array([9.99, 10.01]), np.zeros(2), 60.0)
    assert list(near.weight) == [1.0]
    assert len(reference.near(np.array([9.99, 10.01]), np.zeros(2), 1000.0)) == 2
    more = near.with_more(Reference(np.array([5.0]), np.array([1.0]), None, np.array([4])))
    assert list(more.weight) == [1.0, 1.0]
    assert list(more.frame) == [0, 4]
    assert Reference(np.zeros(1), np.zeros(1)).with_more(Reference(np.ones(1), np.ones(1))).weight is None


def test_weights_need_all_lists(sky):
    groups, _ = groups_of(sky, DITHERS[:1], detectors=(1, 2))
    group = groups[0]
    assert group.weight() is None
    group.lists[0].weight = np.ones(len(group.lists[0]))
    assert group.weight() is None
    group.lists[1].weight = np.full(len(group.lists[1]), 2.0)
    assert len(group.weight()) == len(group)
