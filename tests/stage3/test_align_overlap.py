import numpy as np
import pytest
from spherical_geometry.polygon import SphericalPolygon

from jwnb.stage3.align_overlap import angular_reach, directions, first_pair, outline, shared_area, total_shared


def box(ra, dec, width, *, count=40, seed=1):
    rng = np.random.default_rng(seed)
    east, north = rng.uniform(-width / 2, width / 2, (2, count))
    return directions(ra + east / np.cos(np.radians(dec)), dec + north)


@pytest.mark.parametrize(("ra", "dec"), [(150.0, 2.2), (0.001, -45.0), (10.0, 89.99), (200.0, -89.995)])
def test_area_shared_is_that_of_spherical_polygons(ra, dec):
    one, other = outline(box(ra, dec, 0.02)), outline(box(ra, dec + 0.006, 0.02, seed=2))
    polygons = [SphericalPolygon(np.vstack([corners, corners[:1]])) for corners in (one, other)]
    expected = abs(polygons[0].intersection(polygons[1]).area())
    assert expected > 0
    assert shared_area(one, other) == pytest.approx(expected, rel=1e-5)
    assert shared_area(other, one) == pytest.approx(expected, rel=1e-5)
    assert shared_area(one, one) == pytest.approx(abs(polygons[0].area()), rel=1e-5)


def test_nothing_is_shared_with_what_lies_elsewhere():
    here = outline(box(150, 2.2, 0.02))
    for ra, dec in ((150.03, 2.2), (330.0, -2.2), (150.0, -40.0)):
        assert shared_area(here, outline(box(ra, dec, 0.02))) == 0


def test_outline_is_convex_and_holds_all_points():
    points = box(359.999, 30.0, 0.05, count=200)
    corners = outline(points)
    for begin, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        assert (points @ np.cross(begin, end) > -1e-16).all()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_points_have_no_outline(count):
    assert len(outline(box(10, 10, 0.1, count=count) if count else np.empty((0, 3)))) == 0


def test_points_on_a_line_have_no_outline():
    assert len(outline(directions(np.linspace(10, 10.1, 5), np.zeros(5)))) == 0
    assert shared_area(outline(box(10, 0, 0.1)), np.empty((0, 3))) == 0


def test_reach():
    middle, reach = angular_reach(directions([359.99, 0.01], [0.0, 0.0]))
    np.testing.assert_allclose(middle, [1, 0, 0], atol=1e-12)
    assert reach == pytest.approx(0.01)


def test_first_pair_shares_most_and_the_better_connected_is_the_reference():
    places = [0.0, 0.012, 0.02, 0.1]
    outlines = [[outline(box(150 + place, 0.0, 0.02, count=400))] for place in places]
    assert first_pair(outlines) == (1, 2, [0, 3])


def test_area_of_groups_adds_up():
    a, b, c = (outline(box(150 + place, 0.0, 0.02)) for place in (0, 0.01, 0.02))
    assert total_shared([a, c], [b]) == pytest.approx(shared_area(a, b) + shared_area(c, b))
