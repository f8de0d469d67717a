"""Finding the stars of one image."""

import numpy as np
import pytest
from stdatamodels.jwst.datamodels import CubeModel, ImageModel

from jwnb import dq
from jwnb.errors import ParameterError, WrongExposureError
from jwnb.stage3.star_finding import find_stars, sky_and_noise

FINDERS = ("iraf", "dao", "segmentation")
COLUMNS = ["id", "x", "y", "flux", "mag"]
SHAPE = (120, 140)
HOW = {"bkg_boxsize": 60, "roundlo": -0.5, "roundhi": 0.5}


def places(count=12):
    """Return stars on a coarse grid, each somewhere in its pixel."""
    rng = np.random.default_rng(3)
    x, y = (v.ravel()[:count] for v in np.meshgrid(np.arange(20, 130, 30.0), np.arange(20, 110, 30.0)))
    return x + rng.uniform(-0.5, 0.5, count), y + rng.uniform(-0.5, 0.5, count)


def image(x, y, *, peak=10.0, noise=0.05, fwhm=2.5, sky=1.0):
    rows, columns = np.indices(SHAPE)
    data = sky + np.random.default_rng(5).normal(0, noise, SHAPE)
    for x0, y0, height in zip(x, y, np.broadcast_to(peak, np.shape(x)), strict=True):
        data += height * np.exp(-4 * np.log(2) * ((columns - x0) ** 2 + (rows - y0) ** 2) / fwhm**2)
    model = ImageModel(data.astype(np.float32))
    model.dq = np.zeros(SHAPE, np.uint32)
    return model


def by_place(table):
    return table[np.lexsort([table["x"].round(-1), table["y"].round(-1)])]


@pytest.mark.parametrize("finder", FINDERS)
def test_stars_are_where_they_are(finder):
    x, y = places()
    found = find_stars(image(x, y), starfinder=finder, **HOW)
    assert found.colnames == COLUMNS
    assert len(found) == len(x)
    np.testing.assert_array_equal(found["id"], np.arange(1, 13))
    ordered = by_place(found)
    # The moments of IRAF's finder cover few pixels and pull towards the middle of the pixel.
    np.testing.assert_allclose(ordered["x"], x, atol=0.12)
    np.testing.assert_allclose(ordered["y"], y, atol=0.12)
    np.testing.assert_allclose(found["mag"], -2.5 * np.log10(found["flux"]))
    total = 10 * np.pi * 2.5**2 / (4 * np.log(2))
    assert np.all((found["flux"] > 0.4 * total) & (found["flux"] < 1.05 * total))
    assert found.meta["starfinder"] == finder
    assert found.meta["boxsize"] == (60, 60)
    assert found.meta["peaks"] >= 12
    if finder != "segmentation":
        assert found.meta["threshold"] == pytest.approx(10 * 0.05, rel=0.1)


@pytest.mark.parametrize("finder", FINDERS)
def test_the_model_is_not_changed(finder):
    model = image(*places())
    before = model.data.copy(), model.dq.copy()
    find_stars(model, starfinder=finder, **HOW)
    np.testing.assert_array_equal(model.data, before[0])
    np.testing.assert_array_equal(model.dq, before[1])


@pytest.mark.parametrize("finder", ["iraf", "dao"])
def test_the_brightest_come_first(finder):
    x, y = places()
    peak = np.linspace(5, 20, 12)
    all_stars = find_stars(image(x, y, peak=peak), starfinder=finder, brightest=None, **HOW)
    brightest = find_stars(image(x, y, peak=peak), starfinder=finder, brightest=4, **HOW)
    assert len(all_stars) == 12
    np.testing.assert_array_equal(all_stars["y"], all_stars["y"][np.argsort(all_stars["y"].round(-1), kind="stable")])
    assert np.all(np.diff(brightest["flux"]) < 0)
    np.testing.assert_array_equal(np.sort(brightest["flux"]), np.sort(all_stars["flux"])[-4:])


@pytest.mark.parametrize("finder", ["iraf", "dao"])
def test_bright_limit(finder):
    x, y = places()
    found = find_stars(image(x, y, peak=np.r_[np.full(6, 5.0), np.full(6, 100.0)]), starfinder=finder, peakmax=15.0, **HOW)
    assert len(found) == 6
    assert found["y"].max() < 60


@pytest.mark.parametrize("finder", ["iraf", "dao"])
def test_least_separation(finder):
    model = image([50.3, 56.2, 100.0], [60.1, 61.0, 30.0], peak=[10, 8, 9])
    assert len(find_stars(model, starfinder=finder, **HOW)) == 3
    found = find_stars(model, starfinder=finder, minsep_fwhm=4, **HOW)
    np.testing.assert_allclose(np.sort(found["x"]), [50.3, 100.0], atol=0.2)


@pytest.mark.parametrize("finder", FINDERS)
def test_flagged_stars_are_not_found(finder):
    x, y = places()
    model = image(x, y)
    for k, flag in enumerate(("DO_NOT_USE", "NON_SCIENCE", "JUMP_DET")):
        j, i = round(y[k]), round(x[k])
        model.dq[j - 6 : j + 7, i - 6 : i + 7] = dq.PIXEL[flag]
    found = by_place(find_stars(model, starfinder=finder, **HOW))
    assert len(found) == 10
    assert abs(found["x"][0] - x[2]) < 0.2


@pytest.mark.parametrize("finder", FINDERS)
@pytest.mark.parametrize("case", ["constant", "nan", "flagged", "noise", "no dq"])
def test_nothing_to_find_is_an_empty_table(finder, case):
    model = image([], [])
    if case in {"constant", "no dq"}:
        model.data = np.full(SHAPE, 3, np.float32)
    if case == "nan":
        model.data = np.full(SHAPE, np.nan, np.float32)
    if case == "flagged":
        model.dq = np.full(SHAPE, dq.PIXEL["DO_NOT_USE"], np.uint32)
    if case == "no dq":
        model = ImageModel(model.data)
    found = find_stars(model, starfinder=finder, **HOW)
    assert len(found) == 0
    assert found.colnames == COLUMNS
    assert [found[name].dtype.kind for name in COLUMNS] == ["i", "f", "f", "f", "f"]
    assert (found.meta["boxsize"] is None) == (case in {"nan", "flagged"})


def test_a_star_on_the_border_is_measured_there():
    model = image([0.2, 139.1, 70.0, 69.8, 70.4], [60.0, 60.3, 0.1, 118.8, 60.0])
    for finder in ("iraf", "dao"):
        found = find_stars(model, starfinder=finder, sharplo=0.1, sharphi=5, roundlo=-2, roundhi=2, bkg_boxsize=60)
        for x, y in ((0.2, 60.0), (139.1, 60.3), (70.0, 0.1), (69.8, 118.8), (70.4, 60.0)):
            assert np.hypot(found["x"] - x, found["y"] - y).min() < 0.6


def test_segments_are_taken_apart_if_asked():
    model = image([50.0, 57.0], [60.0, 60.0])
    assert len(find_stars(model, starfinder="segmentation", **HOW)) == 2
    assert len(find_stars(model, starfinder="segmentation", deblend=False, **HOW)) == 1
    assert len(find_stars(model, starfinder="segmentation", contrast=0.9, **HOW)) == 1


def test_the_ring_about_a_segment_takes_off_more_sky():
    x, y = places()
    model = image(x, y)
    plain, ring = (find_stars(model, starfinder="segmentation", localbkg_width=w, kernel_fwhm=0, **HOW) for w in (0, 10))
    np.testing.assert_array_equal(plain["x"], ring["x"])
    assert 0 < np.abs(plain["flux"] - ring["flux"]).max() < 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"starfinder": "sextractor"}, "none of 'iraf'"), ({"brightest": 0}, "keeps no star"), ({"bkg_boxsize": 0}, "at least 1 pixel"),
        ({"kernel_fwhm": 0.0}, "kernel_fwhm=0.0"), ({"sigma_radius": -1.0}, "sigma_radius=-1.0"),
        ({"starfinder": "segmentation", "npixels": 0}, "npixels=0"), ({"starfinder": "segmentation", "connectivity": 5}, "connectivity"),
        ({"starfinder": "segmentation", "apermask_method": "some"}, "some"),
        ({"starfinder": "segmentation", "localbkg_width": -1}, "local_bkg"),
    ],
    ids=str,
)  # fmt: skip
def test_options_without_meaning(options, message):
    with pytest.raises(ParameterError, match=message):
        find_stars(image([30.0, 80.0], [30.0, 40.0]), **options)


def test_other_models():
    with pytest.raises(WrongExposureError, match="not on a CubeModel"):
        find_stars(CubeModel((2, 8, 8)))


def test_sky_and_noise():
    rows, columns = np.indices(SHAPE)
    slope = 5 + 0.01 * columns - 0.02 * rows
    model = image(*places(), sky=slope, noise=0.3)
    masked = np.zeros(SHAPE, bool)
    masked[:5] = True
    sky, noise, box = sky_and_noise(model.data, masked, boxsize=20)
    assert box == (20, 20)
    assert np.all(sky[:5] == 0)
    assert np.all(noise[:5] == 0)
    inner = (slice(45, -45), slice(45, -45))
    np.testing.assert_allclose(sky[inner], slope[inner], atol=0.15)
    np.testing.assert_allclose(noise[inner], 0.3, rtol=0.15)
    assert sky_and_noise(model.data, np.ones(SHAPE, bool), boxsize=20) is None
