import logging
import re

import numpy as np
import pytest

from jwnb.errors import ParameterError
from jwnb.stage3 import align_fit as module
from jwnb.stage3.align_fit import Fitting, Limits, Matching, Positions, rms, rotation_of, said_once, solve

MATCHING = Matching(searchrad=2.0, separation=1.0, tolerance=0.7)
LIMITS = Limits(shift=3.0, rotation=0.3, scale=0.005, rms=0.2)


def field(count=60, *, seed=0, width=60.0, apart=2.0):
    rng = np.random.default_rng(seed)
    places = np.empty((0, 2))
    while len(places) < count:
        new = rng.uniform(-width / 2, width / 2, 2)
        if not (np.hypot(*(places - new).T) <= apart).any():
            places = np.vstack([places, new])
    return places


def turned(angle, scale=1.0):
    """The matrix that turns from north through east."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return scale * np.array([[c, s], [-s, c]])


def fitted(stars, reference, *, geometry="rshift", minobj=15, nclip=3, limits=LIMITS, matching=MATCHING, weights=(None, None)):
    return solve(
        Positions(stars, weights[0]), Positions(reference, weights[1]), pixel=0.1, matching=matching,
        fitting=Fitting(geometry, minobj, nclip, 3.0), limits=limits,
    )  # fmt: skip


def displaced(stars, matrix, shift, *, noise=0.0, seed=1):
    """Stars as the sky has them, where the image has them displaced: matrix and shift take the image's to the sky's."""
    return stars @ matrix.T + shift + np.random.default_rng(seed).normal(scale=noise, size=stars.shape)


@pytest.mark.parametrize(
    ("geometry", "matrix"),
    [
        ("shift", np.eye(2)),
        ("rshift", turned(0.05)),
        ("rscale", turned(-0.05, 1.002)),
        ("general", np.array([[1.001, 0.0012], [0.0005, 0.999]])),
    ],
)
def test_each_geometry_gives_back_what_was_put_in(geometry, matrix):
    stars, shift = field(), np.array([0.45, -0.2])
    found = fitted(stars, displaced(stars, matrix, shift), geometry=geometry)
    assert (found.geometry, found.reason, len(found.rungs)) == (geometry, "", 1)
    np.testing.assert_allclose(found.matrix, matrix, atol=1e-12)
    np.testing.assert_allclose(found.shift, shift, atol=1e-10)
    assert found.rotation == pytest.approx(rotation_of(matrix), abs=1e-10)
    assert found.nmatches == len(found.stars) == 60
    assert np.array_equal(found.stars, found.references)
    assert rms(found.residuals) < 1e-10
    middle = stars[found.stars].mean(axis=0)
    np.testing.assert_allclose(found.displacement, matrix @ middle + shift - middle, atol=1e-10)
    assert rms(found.offsets) > 0.3


def test_outliers_are_clipped_but_count_as_matched():
    stars = field(100)
    reference = displaced(stars, np.eye(2), np.array([0.1, 0.2]), noise=0.005)
    reference[:4] += 0.4
    found = fitted(stars, reference)
    assert found.nmatches == 100
    assert len(found.stars) == len(found.residuals) == 96
    assert not set(range(4)) & set(found.stars)
    assert len(fitted(stars, reference, nclip=0).stars) == 100


def test_weights_count():
    stars = field(40)
    reference = displaced(stars, np.eye(2), np.array([0.1, 0.0]))
    reference[:10, 0] += 0.1
    weight = np.where(np.arange(40) < 10, 1e-6, 1.0)
    plain = fitted(stars, reference, geometry="shift", nclip=0)
    weighted = fitted(stars, reference, geometry="shift", nclip=0, weights=(None, weight))
    assert plain.shift[0] == pytest.approx(0.125)
    assert weighted.shift[0] == pytest.approx(0.1, abs=1e-6)


def test_too_few_matches():
    stars = field(12)
    found = fitted(stars, stars)
    assert not found.accepted
    assert found.reason == "12 matches, and 15 are needed"
    assert found.nmatches == 12
    assert found.rungs == ()
    assert fitted(stars, stars, minobj=12).accepted
    assert fitted(stars[:1], stars).reason == "1 match, and 15 are needed"


@pytest.mark.parametrize(("stars", "reference"), [(field(0), field(5)), (field(5), field(0))], ids=["stars", "reference"])
def test_nothing_to_match(stars, reference):
    found = fitted(stars.reshape(-1, 2), reference.reshape(-1, 2))
    assert found.reason == "there is nothing to match"


def test_a_turn_beyond_the_limit_leaves_the_shift():
    stars = field()
    reference = displaced(stars, turned(0.35), np.array([0.2, 0.1]))
    found = fitted(stars, reference, geometry="general")
    assert found.geometry == "shift"
    assert [rung.geometry for rung in found.rungs] == ["general", "rscale", "rshift", "shift"]
    assert all("turns by 0.35" in rung.reason for rung in found.rungs[:3])
    assert found.rungs[3].reason == ""
    assert np.array_equal(found.matrix, np.eye(2))


def test_a_stretch_beyond_the_limit_leaves_the_rotation():
    stars = field()
    found = fitted(stars, displaced(stars, turned(0.01, 1.006), np.zeros(2)), geometry="rscale")
    assert found.geometry == "rshift"
    assert "changes the scale by 0.006" in found.rungs[0].reason


@pytest.mark.parametrize("matrix", [np.array([[1.0, 0.01], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 1.007]])], ids=["skew", "one axis"])
def test_each_axis_is_looked_at(matrix):
    stars = field(width=30)
    found = fitted(stars, displaced(stars, matrix, np.zeros(2)), geometry="general")
    assert found.geometry != "general"
    assert found.rungs[0].reason


def test_a_shift_beyond_the_limit():
    stars = field()
    found = fitted(stars, displaced(stars, np.eye(2), np.array([1.2, 0.9])), limits=Limits(1.4, 0.3, 0.005, 0.2))
    assert not found.accepted
    assert found.reason == "rshift, shift: it shifts by 1.5 arcsec; up to 1.4 is believed"
    assert len(found.stars) == 0
    assert np.array_equal(found.matrix, np.eye(2))


def test_an_offset_that_was_given_does_not_count_as_shift():
    stars, far = field(), np.array([8.0, -6.0])
    given = Matching(2.0, 1.0, 0.7, use2dhist=False, offset=(-8.1, 6.0))
    found = fitted(stars, displaced(stars, np.eye(2), far), matching=given)
    assert found.accepted
    np.testing.assert_allclose(found.shift, far, atol=1e-10)


def test_chance_is_not_believed():
    """A dense catalogue of other stars gives matches enough, which fill the circle of the tolerance."""
    stars, others = field(100), field(1200, seed=5, apart=1.0)
    found = fitted(stars, others)
    assert found.nmatches >= 15
    assert not found.accepted
    assert "from the reference after it; up to 0.2 is believed" in found.reason
    tight = Matching(2.0, 1.0, 0.1)
    assert not fitted(stars, field(1600, seed=6, width=62, apart=0.9), matching=tight, minobj=5, limits=Limits(3, 9, 1, 9)).accepted


def test_a_fit_that_takes_stars_off_the_reference_is_not_believed():
    """Some of 60 stars that lie on theirs have a neighbour 1.5 arcsec off, and that offset is asked for."""
    stars = field(60)
    reference = np.vstack([stars, stars[:20] + np.array([1.5, 0.0])])
    given = Matching(2.0, 1.0, 0.3, use2dhist=False, offset=(-1.5, 0.0))
    found = fitted(stars, reference, geometry="shift", matching=given)
    assert not found.accepted
    assert "did before" in found.reason


def test_stars_that_lay_on_the_reference_are_not_moved_off_it():
    """Every third star is taken for a neighbour that the reference has too."""
    stars = field(60)
    truth = stars + np.random.default_rng(3).normal(scale=1e-3, size=stars.shape)
    reference = np.concatenate([truth, stars[::3] + np.array([0.15, 0.0])])
    right = np.arange(60)
    wrong = right.copy()
    wrong[::3] = 60 + np.arange(20)
    objections = []
    for pairs in (right, wrong):
        fit = module._fit(Positions(stars, None), Positions(reference, None), (right, pairs), "shift", Fitting("shift", 15, 0, 3.0))
        objections.append(module._objection(fit, stars, reference, MATCHING, LIMITS, pixel=0.1))
    assert objections[0] == ""
    assert re.fullmatch(r"stars lie 0.05\d* arcsec \(median\) from the reference after it, and 0.001\d* before", objections[1])


def test_sources_in_pairs_are_not_taken_for_each_other():
    stars = field(60, apart=3.0)
    doubled = np.vstack([stars, stars + 0.25])
    found = fitted(stars, doubled + np.array([0.3, 0.1]), geometry="shift")
    assert not found.accepted or min(np.hypot(*(found.shift - s)) for s in ([0.3, 0.1], [0.55, 0.35])) < 0.02


def test_a_fit_that_cannot_be_made_is_a_rung():
    line = np.column_stack([np.linspace(-20, 20, 20), np.zeros(20)])
    found = fitted(line, line + 0.1, geometry="general")
    assert found.geometry in ("rscale", "rshift")
    assert "cannot be fitted" in found.rungs[0].reason


def test_separation_must_exceed_the_tolerance():
    MATCHING.check()
    with pytest.raises(ParameterError, match=r"abs_separation=1 must be more than 1.414 times abs_tolerance=0.9"):
        Matching(2.0, 1.0, 0.9).check("abs_")


def test_reach_covers_the_search():
    assert MATCHING.reach == 60
    assert Matching(20.0, 1.0, 0.7).reach > 100
    assert Matching(2.0, 1.0, 0.7, use2dhist=False, offset=(300.0, 0.0)).reach > 1500


def test_rotation_is_north_through_east():
    north = np.array([0.0, 1.0])
    assert (turned(1.0) @ north)[0] > 0
    assert rotation_of(turned(1.0)) == pytest.approx(1.0)


def test_said_once():
    assert said_once([("far", "a"), ("few", "b"), ("far", "c")]) == "a, c: far; b: few"


def test_rms():
    assert rms(np.array([[3.0, 4.0], [0.0, 0.0]])) == pytest.approx(np.sqrt(12.5))
    assert np.isnan(rms(np.zeros((0, 2))))


def test_the_library_is_quiet(capfd):
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        fitted(field(20), field(20, seed=9) + 500)
    finally:
        root.handlers = handlers
    assert capfd.readouterr() == ("", "")
