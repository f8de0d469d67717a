"""Star finding against the catalogues of the peer's tweakreg, on identical images."""

import warnings
from typing import Any

import numpy as np
import pytest
from stdatamodels.jwst.datamodels import ImageModel

from jwnb import dq
from jwnb.stage3.star_finding import find_stars, sky_and_noise

pytestmark = pytest.mark.peer

FINDERS = ("iraf", "dao", "segmentation")
BOX = {"bkg_boxsize": 60}


def peer(model: ImageModel, **options: Any) -> Any:
    from jwst.tweakreg import TweakRegStep

    if "connectivity" in options:
        options = options | {"connectivity": str(options["connectivity"])}
    step = TweakRegStep(**options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = step._find_sources(model.copy())
    return found[np.isfinite(found["xcentroid"]) & np.isfinite(found["ycentroid"])]


def assert_same(model: ImageModel, *, least: int = 1, most: int = 10**6, **options: Any) -> None:
    ours, theirs = find_stars(model, **options), peer(model, **options)
    assert least <= len(theirs) <= most, "the case shows what it is for"
    assert len(ours) == len(theirs)
    np.testing.assert_array_equal(ours["id"], np.arange(1, len(ours) + 1))
    for own, name in (("x", "xcentroid"), ("y", "ycentroid")):
        np.testing.assert_allclose(ours[own], np.asarray(theirs[name]), rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours["flux"], np.asarray(theirs["flux"]), rtol=1e-6)


def image(stars: int = 60, shape: tuple[int, int] = (200, 230), *, seed: int = 1, fwhm: float = 2.3, bad: float = 0.01) -> ImageModel:
    """An image with a sloping sky, stars up to its border, flagged pixels and NaNs."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    data = 1 + 0.002 * x - 0.001 * y + rng.normal(0, 0.05, shape)
    for flux in rng.uniform(1, 3.5, stars):
        x0, y0 = rng.uniform(-0.5, shape[1] - 0.5), rng.uniform(-0.5, shape[0] - 0.5)
        data += 10**flux / 10 * np.exp(-4 * np.log(2) * ((x - x0) ** 2 + (y - y0) ** 2) / fwhm**2)
    model = ImageModel(data.astype(np.float32))
    flags = np.where(rng.random(shape) < bad, dq.PIXEL["DO_NOT_USE"], 0).astype(np.uint32)
    flags[:4, :] |= dq.PIXEL["NON_SCIENCE"]
    flags[rng.random(shape) < 0.02] |= dq.PIXEL["JUMP_DET"]
    model.dq = flags
    model.data[flags == dq.PIXEL["DO_NOT_USE"]] = np.nan
    model.err = np.full(shape, 0.05, np.float32)
    return model


@pytest.mark.parametrize("finder", FINDERS)
@pytest.mark.parametrize(
    "how",
    [
        {}, {"seed": 2, "fwhm": 3.2}, {"stars": 300, "shape": (110, 130)}, {"stars": 1, "seed": 6}, {"bad": 0.0},
        {"shape": (61, 47), "bad": 0.05},
    ],
    ids=["stars", "wide", "crowded", "one", "clean", "small"],
)  # fmt: skip
def test_images(finder, how):
    assert_same(image(**how), starfinder=finder, **BOX, roundlo=-0.5, roundhi=0.5)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"snr_threshold": 3.0}, {"snr_threshold": 40.0}, {"kernel_fwhm": 1.3}, {"kernel_fwhm": 4.0}, {"bkg_boxsize": 23},
        {"bkg_boxsize": 400}, {"minsep_fwhm": 3.0}, {"sigma_radius": 2.6}, {"sharplo": 0.65}, {"sharphi": 0.9}, {"roundlo": 0.05},
        {"roundhi": 1.0}, {"brightest": 7}, {"brightest": None}, {"peakmax": 20.0}, {"roundlo": -1.0, "sharplo": 0.2, "snr_threshold": 2.0},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("finder", ["iraf", "dao"])
def test_options_of_the_peak_finders(finder, options):
    assert_same(image(90, (120, 140)), starfinder=finder, **(BOX | {"roundlo": -0.5, "roundhi": 0.5} | options))


@pytest.mark.parametrize(
    "options",
    [
        {"snr_threshold": 3.0}, {"kernel_fwhm": 0.0}, {"kernel_fwhm": 4.0}, {"npixels": 30}, {"connectivity": 4}, {"nlevels": 4},
        {"contrast": 0.2}, {"multithresh_mode": "linear"}, {"multithresh_mode": "sinh"}, {"localbkg_width": 6}, {"deblend": False},
        {"apermask_method": "none"}, {"apermask_method": "mask", "localbkg_width": 3}, {"kron_params": (2.0, 1.0)}, {"brightest": 3},
    ],
    ids=str,
)  # fmt: skip
def test_options_of_segmentation(options):
    assert_same(image(50, (120, 140)), starfinder="segmentation", least=10, **(BOX | options))


@pytest.mark.parametrize("finder", FINDERS)
def test_saturated_cores(finder):
    model = image()
    hot = model.data > 30
    assert hot.sum() > 20
    for core in (np.nan, 30.0):
        model = image()
        model.data[hot] = core
        if np.isnan(core):
            model.dq[hot] |= dq.pixel("DO_NOT_USE", "SATURATED")
        assert_same(model, starfinder=finder, **BOX, roundhi=1.0)


@pytest.mark.parametrize("finder", FINDERS)
def test_images_without_stars(finder):
    constant, empty, masked, one = (ImageModel((100, 90)) for _ in range(4))
    constant.data += 3
    empty.data += np.nan
    masked.data += np.random.default_rng(3).normal(size=(100, 90)).astype(np.float32)
    constant.dq, empty.dq = np.zeros((2, 100, 90), np.uint32)
    masked.dq = np.full((100, 90), dq.PIXEL["DO_NOT_USE"], np.uint32)
    one.dq = masked.dq.copy()
    one.dq[50, 50] = 0
    for model in (constant, empty, masked, one):
        assert_same(model, starfinder=finder, least=0, most=0, **BOX)


@pytest.mark.parametrize("finder", FINDERS)
def test_no_box_has_enough_good_pixels(finder):
    model = image(bad=0.0)
    y, x = np.indices(model.data.shape)
    corner = (y % 60 < 25) & (x % 60 < 25)
    model.dq[corner] = dq.PIXEL["DO_NOT_USE"]
    model.data[corner] = np.nan
    assert_same(model, starfinder=finder, **BOX, roundlo=-1.0, roundhi=1.0, sharplo=0.2)
    assert find_stars(model, starfinder=finder, **BOX).meta["boxsize"] == (200, 230)


@pytest.mark.parametrize("finder", FINDERS)
def test_values_without_end_and_negative_sky(finder):
    model = image()
    model.data -= 50
    model.data[77, 80], model.data[130, 40] = np.inf, -np.inf
    assert_same(model, starfinder=finder, **BOX, roundlo=-0.5, least=5)


@pytest.mark.parametrize(("size", "bad"), [(60, 0.01), (37, 0.01), (400, 0.0), (60, 0.3), (11, 0.01)])
def test_sky_and_noise(size, bad):
    from jwst.tweakreg.tweakreg_catalog import JWSTBackground

    model = image(bad=bad)
    masked = (model.dq & dq.pixel("DO_NOT_USE", "NON_SCIENCE")) != 0
    theirs = JWSTBackground(model.data, size, masked)
    sky, noise, box = sky_and_noise(model.data, masked, boxsize=size)
    assert box == tuple(theirs._background2d.box_size)
    np.testing.assert_allclose(sky, theirs.background, rtol=2e-7)
    np.testing.assert_allclose(noise, theirs.background_rms, rtol=2e-6)
