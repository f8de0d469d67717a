"""Outlines on the sky, what they share, and the pixels of it."""

from itertools import pairwise

import numpy as np
import pytest
from helpers_stage3 import calibrated, dithered
from spherical_geometry import polygon as library
from spherical_geometry.polygon import SphericalPolygon

from jwnb.errors import InputError
from jwnb.stage3 import sky_overlap
from jwnb.stage3.sky_overlap import Outline, covered, intersection, outline, region, whole

SHAPE = (20, 30)


def mask_of(made, shape=SHAPE):
    mask = np.zeros(shape, bool)
    for y, (a, b) in enumerate(pairwise(made.first)):
        for k in range(a, b):
            mask[y, made.starts[k] : made.stops[k]] = True
    return mask


def box(x0, x1, y0, y1):
    return np.array([x0, x1, x1, x0, x0], float), np.array([y0, y0, y1, y1, y0], float)


def quad(ra, dec, size, turn):
    angle = np.arange(4) * np.pi / 2 + turn
    lon, lat = ra + size * np.cos(angle) / np.cos(np.radians(dec)), dec + size * np.sin(angle)
    return sky_overlap._outline(SphericalPolygon.from_radec(np.append(lon, lon[0]), np.append(lat, lat[0])))


@pytest.mark.parametrize(("ra", "dec"), [(10.0, 0.0), (359.9999, 70.0), (200.0, -89.0)])
def test_intersections_are_those_of_the_library(ra: float, dec: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    pairs = []
    for _ in range(6):
        a = quad(ra, dec, 0.02, rng.uniform(0, 6))
        away = rng.uniform(-0.02, 0.02, 2)
        pairs.append((a, quad(ra + away[0] / np.cos(np.radians(dec)), dec + away[1], rng.uniform(0.005, 0.03), rng.uniform(0, 6))))
    expected = [a.polygon.intersection(b.polygon) for a, b in pairs]
    monkeypatch.setattr(SphericalPolygon, "intersection", None)  # and it is not asked
    for (a, b), theirs in zip(pairs, expected, strict=True):
        ours = intersection(a, b)
        assert ours.area() == pytest.approx(theirs.area(), abs=1e-14)
        points, others = (np.array(next(iter(p.points)))[:-1] for p in (ours, theirs))
        assert len(points) == len(others)
        assert np.linalg.norm(points[:, None] - others[None], axis=-1).min(axis=1).max() < 1e-14


def test_one_inside_the_other_apart_and_just_apart() -> None:
    a, inside, apart = quad(10, 0, 0.02, 0), quad(10, 0, 0.005, 1), quad(11, 0, 0.02, 0)
    assert intersection(a, inside).area() == pytest.approx(inside.polygon.area(), rel=1e-6)
    assert intersection(inside, a).area() == pytest.approx(inside.polygon.area(), rel=1e-6)
    assert intersection(a, apart).area() == 0
    beside = quad(10.027, 0.027, 0.02, 0)  # their circles meet, they do not
    assert beside.radius + a.radius > np.radians(0.0382)
    assert intersection(a, beside).area() == 0


def test_doubtful_cases_are_left_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    a = quad(10, 0, 0.02, 0.3)
    assert intersection(a, a).area() == pytest.approx(a.polygon.area(), rel=1e-9)
    dented = SphericalPolygon.from_radec([10, 10.02, 10.004, 10.02, 10], [0, -0.02, 0, 0.02, 0])
    made = sky_overlap._outline(dented)
    assert made.inward is None
    other = quad(10.01, 0.001, 0.004, 0.1)
    assert intersection(made, other).area() == pytest.approx(dented.intersection(other.polygon).area(), rel=1e-9)

    def fails(*_: object) -> None:
        raise library.MalformedPolygonError

    monkeypatch.setattr(SphericalPolygon, "intersection", fails)
    assert intersection(a, a) is None


def test_an_outline_goes_round_the_outer_edge() -> None:
    image = calibrated()
    made = outline(image.meta.wcs, image.data.shape)
    assert isinstance(made, Outline)
    ra, dec = image.meta.wcs([-0.5, 111.5, 111.5, -0.5], [-0.5, -0.5, 95.5, 95.5], with_bounding_box=False)
    lon, lat = next(iter(made.polygon.to_radec()))
    np.testing.assert_allclose(np.array([lon, lat])[:, :-1], [ra, dec], rtol=0, atol=1e-9)
    assert made.inward is not None
    finer = outline(image.meta.wcs, image.data.shape, 20)
    assert len(finer.corners) == 2 * (6 + 5) - 4
    assert finer.polygon.area() == pytest.approx(made.polygon.area(), rel=1e-2)


def test_no_position_on_the_sky() -> None:
    with pytest.raises(InputError, match="assign_wcs"):
        outline(lambda x, y, **_: (x * np.nan, y), SHAPE)


def test_regions_of_boxes() -> None:
    assert np.array_equal(np.argwhere(mask_of(region([box(3, 5, 2, 4)], SHAPE))), [(y, x) for y in (2, 3, 4) for x in (3, 4, 5)])
    assert mask_of(region([box(-0.5, 29.5, -0.5, 19.5)], SHAPE)).all()
    assert mask_of(whole(SHAPE)).all()
    assert whole(SHAPE).pixels == 600
    assert region([], SHAPE).pixels == 0
    for outside in (box(-9, -3, 2, 8), box(40, 50, 2, 8), box(3, 9, 30, 40), box(3, 9, -40, -30), box(3, 3, 2, 9), box(3, 9, 2, 2)):
        assert region([outside], SHAPE).pixels == 0


def test_parts_that_meet_or_overlap_are_counted_once() -> None:
    parts = [box(2, 9, 2, 6), box(5, 12, 4, 9), box(13, 15, 4, 5), box(20, 22, 4, 5), box(3, 4, 3, 4)]
    made = region(parts, SHAPE)
    expected = np.any([mask_of(region([part], SHAPE)) for part in parts], axis=0)
    assert np.array_equal(mask_of(made), expected)
    assert made.pixels == expected.sum()
    row = slice(made.first[4], made.first[5])
    assert list(zip(made.starts[row], made.stops[row], strict=True)) == [(2, 16), (20, 23)]


def test_what_two_images_share_has_the_same_sky() -> None:
    a, b = dithered(2)
    common = intersection(outline(a.meta.wcs, a.data.shape), outline(b.meta.wcs, b.data.shape))
    for image, other in ((a, b), (b, a)):
        (made,) = covered(image.meta.wcs, [[common]], image.data.shape)
        y, x = np.nonzero(mask_of(made, image.data.shape))
        u, v = other.meta.wcs.invert(*image.meta.wcs(x, y, with_bounding_box=False), with_bounding_box=False)
        assert min(u.min(), v.min()) > -1.6
        assert u.max() < other.data.shape[1] + 0.6
        assert v.max() < other.data.shape[0] + 0.6
        assert made.pixels > 0.5 * image.data.size


def test_areas_without_a_polygon_cover_nothing() -> None:
    image = calibrated()
    mine = outline(image.meta.wcs, image.data.shape).polygon
    nothing, all_of_it = covered(image.meta.wcs, [[], [mine]], image.data.shape)
    assert nothing.pixels == 0
    assert all_of_it.pixels > 0.98 * image.data.size
    assert [made.pixels for made in covered(image.meta.wcs, [[SphericalPolygon([])]], image.data.shape)] == [0]
