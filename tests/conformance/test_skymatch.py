"""skymatch against `jwst` on identical images."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gwcs import region as gwcs_region
from helpers_stage3 import DEC, RA, calibrated, dithered
from spherical_geometry.polygon import SphericalPolygon
from stcal.skymatch import SkyStats

from jwnb import dq
from jwnb.errors import CalibrationWarning, InputError, ParameterError
from jwnb.stage3 import sky_overlap
from jwnb.stage3.sky_levels import Statistic, measure
from jwnb.stage3.skymatch import skymatch

pytestmark = pytest.mark.peer

PEDESTALS = (0.0, 0.05, -0.03, 0.1, 0.02)


def peer(images: list[Any], **options: Any) -> list[Any]:
    from jwst.skymatch import SkyMatchStep

    step = SkyMatchStep(**options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # `process` and not `run`: the latter asks CRDS for the context to record.
        library = step.process(images)  # which copies them
        with library:
            made = [library.borrow(k) for k in range(len(images))]
            for k, model in enumerate(made):
                library.shelve(model, k, modify=False)
    return made


def filled(region: sky_overlap.Region, shape: tuple[int, int]) -> Any:
    """Return a region as a mask."""
    mask = np.zeros(shape, bool)
    for y in range(shape[0]):
        for k in range(region.first[y], region.first[y + 1]):
            assert not mask[y, region.starts[k] : region.stops[k]].any()
            mask[y, region.starts[k] : region.stops[k]] = True
    return mask


def assert_same(ours: Any, theirs: list[Any], *, rtol: float = 1e-6) -> None:
    """Levels to 1e-6 of themselves or, where they are differences, of the sky of 1 MJy/sr; pixels to single precision."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.meta.cal_step.skymatch == b.meta.cal_step.skymatch
        for name in ("method", "subtracted"):
            assert getattr(a.meta.background, name) == getattr(b.meta.background, name)
        level = b.meta.background.level
        assert a.meta.background.level == (None if level is None else pytest.approx(level, rel=rtol, abs=rtol))
        np.testing.assert_allclose(a.data, b.data, rtol=2e-7, atol=2e-6)
        assert a.data.dtype == b.data.dtype
        assert np.array_equal(a.dq, b.dq)


@pytest.fixture(autouse=True, scope="module")
def _intersections_remembered() -> Iterator[None]:
    """Most of `jwst`'s time goes into intersecting the same outlines again and again."""
    known: dict[Any, SphericalPolygon] = {}
    library = SphericalPolygon.intersection

    def intersection(a: SphericalPolygon, b: SphericalPolygon) -> SphericalPolygon:
        key = tuple(part.tobytes() for polygon in (a, b) for part in polygon.points)
        if key not in known:
            known[key] = library(a, b)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SphericalPolygon, "intersection", intersection)
        yield


@pytest.fixture(scope="module")
def images() -> list[Any]:
    """Four images with skies of their own; the last two are detectors of one exposure, side by side."""
    made = dithered(3)
    made.append(calibrated(ra=RA + 1.5 / 3600 / np.cos(np.radians(DEC)), dec=DEC - 0.4 / 3600, number=4))
    made[3].meta.observation.exposure_number = made[2].meta.observation.exposure_number
    for k, (image, pedestal) in enumerate(zip(made, PEDESTALS, strict=False)):
        image.data += np.float32(pedestal)
        rng = np.random.default_rng(k)
        image.data[rng.random(image.data.shape) < 0.003] += 30
    made[1].data[7, 9] = np.inf
    return made


METHODS = ("local", "global", "match", "global+match")
OPTIONS: list[dict[str, Any]] = [
    *({"skymethod": m, "subtract": s} for m in METHODS for s in (False, True)),
    *({"skystat": t} for t in ("mean", "midpt", "median")),
    *({"skymethod": "global+match", "skystat": t, "subtract": True, "match_down": False} for t in ("mean", "midpt", "median")),
    {"match_down": False},
    {"stepsize": 40},
    *({"dqbits": b, "skymethod": "local"} for b in (None, "0", "~DO_NOT_USE", "JUMP_DET", "~0", "4", "DO_NOT_USE,NON_SCIENCE")),
    {"lower": 0.8, "skymethod": "global+match", "subtract": True}, {"upper": 1.1},
    {"nclip": 1, "lsigma": 1.5}, {"usigma": 2.5, "binwidth": 0.3},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option(options: dict[str, Any], images: list[Any]) -> None:
    assert_same(skymatch(images, **options), peer(images, **options))


STATISTICS: list[dict[str, Any]] = [
    {}, {"nclip": 0}, {"nclip": 1}, {"nclip": 12},
    {"lsigma": 1.0, "usigma": 2.0}, {"lsigma": 3.0}, {"usigma": 0.7}, {"lsigma": 1e-3, "usigma": 1e-3},
    {"lower": 0.25}, {"upper": 9.9},
    {"lower": 0.2, "upper": 990.0}, {"lower": 0.2, "upper": 990.0, "nclip": 0}, {"lower": 1e9}, {"upper": -1e9},
    {"binwidth": 0.01}, {"binwidth": 1.0}, {"binwidth": 3.0},
]  # fmt: skip


@pytest.fixture(scope="module")
def skies() -> list[tuple[Any, list[Any], list[Any]]]:
    """Images of several sizes and skies, with regions of them and the same as masks."""
    made = []
    rng = np.random.default_rng(1)
    for sky, sigma in ((0.3, 0.1), (-5.0, 3.0), (1000.0, 1.0), (2e-3, 1e-4)):
        shape = tuple(int(n) for n in rng.integers(30, 160, 2))
        image = rng.normal(sky, sigma, shape).astype(np.float32)
        image[rng.random(shape) < 0.02] *= np.float32(1.5)
        image += np.where(rng.random(shape) < 0.01, rng.uniform(0, 1000, shape), 0).astype(np.float32)
        image[rng.random(shape) < 0.05] = np.nan
        regions = [sky_overlap.whole(shape)]
        for _ in range(3):
            x, y = (np.sort(rng.uniform(-1, n, 2)) for n in shape[::-1])
            regions.append(sky_overlap.region([(x[[0, 1, 1, 0, 0]], y[[0, 0, 1, 1, 0]] + [0, 1, 0, 0, 0])], shape))
        made.append((image, regions, [filled(part, shape) & np.isfinite(image) for part in regions]))
    return made


@pytest.mark.parametrize("options", STATISTICS, ids=str)
def test_every_statistic(options: dict[str, Any], skies: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Levels in regions; the same pixels are left by the clipping."""
    compared = 0
    for statistic in ("mode", "mean", "median", "midpt"):
        theirs = SkyStats(statistic, **{{"lsigma": "lsig", "usigma": "usig"}.get(name, name): value for name, value in options.items()})
        for image, regions, masks in skies:
            for made, mask in zip(measure(image, regions, Statistic(statistic, **options)), masks, strict=True):
                try:
                    expected, left = theirs(image[mask])
                except ValueError:
                    assert made is None
                    continue
                assert made is not None
                assert made.pixels == left
                if statistic == "midpt" and float(expected).is_integer():
                    continue  # not the sky, but the count of the only bin
                assert made.value == pytest.approx(expected, rel=1e-6)
                compared += 1
    assert compared > 5 or abs(options.get("lower", 0)) > 1e8 or abs(options.get("upper", 0)) > 1e8 or options.get("lsigma", 1) < 0.01
    capsys.readouterr()  # imagestats prints what it cannot do


@pytest.mark.parametrize("subtract", [False, True])
def test_a_second_time(subtract: bool, images: list[Any]) -> None:
    options = {"skymethod": "global+match", "subtract": subtract, "match_down": False}
    first, theirs = skymatch(images, **options), peer(images, **options)
    options["skymethod"] = "local"
    assert_same(skymatch(list(first), **options), peer(theirs, **options))


@pytest.mark.parametrize(
    ("level", "subtracted", "subtract"), [(0.1, None, True), (None, True, True), (0.1, True, False), (0.1, False, True)]
)
def test_what_was_subtracted_earlier_must_fit(level: Any, subtracted: Any, subtract: bool) -> None:
    image = calibrated()
    image.meta.background.level, image.meta.background.subtracted = level, subtracted
    with pytest.raises(ValueError, match="ubtract"):
        peer([image], skymethod="local", subtract=subtract)
    with pytest.raises(InputError, match="BKGSUB|earlier"):
        skymatch(image, skymethod="local", subtract=subtract)


@pytest.mark.parametrize("method", ["match", "global+match"])
def test_exposures_that_overlap_none_or_only_some(method: str) -> None:
    places = (0.0, 0.2, 100.0, 100.2, 500.0)
    images = [calibrated((60, 64), ra=RA + east / 3600, number=k + 1) for k, east in enumerate(places)]
    for image, pedestal in zip(images, PEDESTALS, strict=True):
        image.data += np.float32(pedestal)
    theirs = peer(images, skymethod=method, subtract=True)
    with pytest.warns(CalibrationWarning):
        ours = skymatch(images, skymethod=method, subtract=True)
    assert [m.meta.cal_step.skymatch for m in theirs][-1] == ("SKIPPED" if method == "match" else "COMPLETE")
    assert_same(ours, theirs)


@pytest.mark.parametrize("method", ["match", "global+match"])
def test_one_exposure(method: str) -> None:
    image = calibrated()
    assert_same(skymatch(image, skymethod=method), peer([image], skymethod=method))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ["flags", "nan"])
def test_an_exposure_without_a_usable_pixel(method: str, how: str) -> None:
    images = dithered(3)
    empty = 0 if "global" in method else 1  # `jwst` ends in a TypeError where it is not the first
    if how == "flags":
        images[empty].dq = np.full(images[empty].dq.shape, dq.PIXEL["DO_NOT_USE"], np.uint32)
    else:
        images[empty].data = np.full(images[empty].data.shape, np.nan, np.float32)
    theirs = peer(images, skymethod=method, subtract=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        ours = skymatch(images, skymethod=method, subtract=True)
    assert_same(ours, theirs)


def test_the_lowest_sky_where_a_later_exposure_has_none() -> None:
    images = dithered(3)
    images[1].data = np.full(images[1].data.shape, np.nan, np.float32)
    with pytest.raises(TypeError):
        peer(images, skymethod="global")
    levels = [m.meta.background.level for m in skymatch(images, skymethod="global")]
    expected = [m.meta.background.level for m in peer([images[0], images[2]], skymethod="global")]
    assert levels == pytest.approx([expected[0]] * 3, rel=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_to_measure_at_all(method: str) -> None:
    images = dithered(2)
    for image in images:
        image.data = np.full(image.data.shape, np.nan, np.float32)
    assert_same(skymatch(images, skymethod=method), peer(images, skymethod=method))


def test_negative_and_constant_skies() -> None:
    images = dithered(3)
    for k, image in enumerate(images):
        image.data -= np.float32(5 + 0.1 * k)
    for method in ("local", "global+match"):
        assert_same(skymatch(images, skymethod=method), peer(images, skymethod=method))
    for k, image in enumerate(images):
        image.data = np.full(image.data.shape, 2 + k, np.float32)
    for statistic in ("mode", "median"):
        assert_same(skymatch(images, skystat=statistic), peer(images, skystat=statistic))


def test_the_middle_of_one_bin_is_not_its_count() -> None:
    """`jwst` takes the count of the only bin for the sky of data that fall into one."""
    image = calibrated()
    image.data = np.full(image.data.shape, 2, np.float32)
    (theirs,) = peer([image], skymethod="local", skystat="midpt")
    assert theirs.meta.background.level == 0.0
    assert skymatch(image, skymethod="local", skystat="midpt")[0].meta.background.level == 2.0
    image.data = calibrated().data * np.float32(1e-6)
    (theirs,) = peer([image], skymethod="local", skystat="midpt")
    assert theirs.meta.background.level > 1000
    assert 0 < skymatch(image, skymethod="local", skystat="midpt")[0].meta.background.level < 3e-6


def test_identical_pointings() -> None:
    images = [calibrated(number=k + 1, seed=k) for k in range(3)]
    for image, pedestal in zip(images, PEDESTALS, strict=False):
        image.data += np.float32(pedestal)
    assert_same(skymatch(images), peer(images))


@pytest.mark.parametrize("subtract", [False, True])
def test_levels_of_a_list(tmp_path: Path, subtract: bool) -> None:
    images = dithered(3)
    names = [image.meta.filename for image in images]
    file = tmp_path / "sky.txt"
    file.write_text(f"{names[2]} 0.25\n# of a friend\n{names[0].replace('_cal', '_crf')}  -1e-2\n\n{names[1]} 3\n")
    theirs = peer(images, skymethod="user", skylist=str(file), subtract=subtract)
    ours = skymatch(images, skymethod="user", skylist=file, subtract=subtract)
    assert_same(ours, theirs)
    assert [m.meta.background.level for m in ours] == [-0.01, 3.0, 0.25]


@pytest.mark.parametrize("change", [lambda n: n[:2], lambda n: [*n[:2], n[0]], lambda n: [*n[:2], "other_cal.fits"]])
def test_lists_that_do_not_fit(tmp_path: Path, change: Any) -> None:
    images = dithered(3)
    file = tmp_path / "sky.txt"
    file.write_text("".join(f"{name} 0.5\n" for name in change([image.meta.filename for image in images])))
    with pytest.raises(ValueError, match="(?i)skylist"):
        peer(images, skymethod="user", skylist=str(file))
    with pytest.raises(ParameterError, match="skylist"):
        skymatch(images, skymethod="user", skylist=file)


def test_regions_are_filled_alike() -> None:
    rng = np.random.default_rng(3)
    shape = (40, 50)
    for turn in range(400):
        n = int(rng.integers(3, 8))
        x, y = rng.uniform(-1, 60, n), rng.uniform(-15, 50, n)
        if turn % 3 == 0:
            x, y = np.rint(x), np.rint(y)
        if turn % 5 == 0:
            y -= 0.5
        x, y = np.append(x, x[0]), np.append(y, y[0])
        theirs = gwcs_region.Polygon(True, list(zip(x, y, strict=True))).scan(np.zeros(shape, bool))
        assert np.array_equal(filled(sky_overlap.region([(x, y)], shape), shape), theirs), turn


def test_outlines_are_those_of_jwst() -> None:
    from stcal.skymatch.skyimage import _calc_bounding_polygon

    image = calibrated()
    for stepsize in (None, 7, 30, 1000):
        ours = sky_overlap.outline(image.meta.wcs, image.data.shape, stepsize).polygon
        theirs: SphericalPolygon = _calc_bounding_polygon(image.data, image.meta.wcs, stepsize)
        assert np.array_equal(next(iter(ours.points)), next(iter(theirs.points)))
