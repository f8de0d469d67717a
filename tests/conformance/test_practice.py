"""The steps of `jwst` on practice observations, with the reference files that come with them, give back the truth."""

import importlib
import logging
import warnings

import numpy as np
import pytest
from astropy.table import Table
from stdatamodels.jwst.datamodels import RampModel

from jwnb import sim
from jwnb.references import offline_set
from jwnb.sim.geometry import detector
from jwnb.sim.optics import bandpass, encircled_energy, point_spread

pytestmark = pytest.mark.peer

STAGE1 = (
    "dq_init.DQInitStep", "saturation.SaturationStep", "ipc.IPCStep", "superbias.SuperBiasStep", "refpix.RefPixStep",
    "linearity.LinearityStep", "dark_current.DarkCurrentStep", "jump.JumpStep",
)  # fmt: skip
STAGE2 = ("assign_wcs.AssignWcsStep", "flatfield.FlatFieldStep", "photom.PhotomStep")


def run(step, model, pinned):
    module, name = step.split(".")
    kind = getattr(importlib.import_module(f"jwst.{module}"), name)
    overrides = {f"override_{t}": str(pinned.find(model, t) or "N/A") for t in kind.reference_file_types}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # `process` and not `run`: the latter asks CRDS for the context to record.
        return kind(**overrides).process(model)


def calibrated(made, exposure=0):
    """Return the ramp after jump, the rate image and the cal image of one exposure."""
    pinned = offline_set(made.references)
    logging.disable(logging.WARNING)
    try:
        with RampModel(made.uncal[exposure]) as opened:
            ramp = opened.copy()
        for step in STAGE1:
            ramp = run(step, ramp, pinned)
        rate = run("ramp_fitting.RampFitStep", ramp, pinned)[0]
        cal = rate.copy()
        for step in STAGE2:
            cal = run(step, cal, pinned)
    finally:
        logging.disable(logging.NOTSET)
    return ramp, rate, cal


MODES = {
    "SW with reference pixels": {"subarray": "SUB320", "sky": 5.0},
    "SW with coupling": {"subarray": "SUB320", "sky": 5.0, "ipc": True},
    "SW stray": {"subarray": "SUB320", "sky": 5.0, "pointing_error": 0.05, "roll_error": 0.02},
    "LW": {"detector": "NRCBLONG", "filter": "F356W", "subarray": "SUB320", "sky": 5.0},
}


@pytest.fixture(scope="module", params=MODES, ids=lambda k: k.replace(" ", "-"))
def observation(request, tmp_path_factory):
    settings = {"dithers": 1, "readpatt": "DEEP8", "ngroups": 8, "stars": 60, "galaxies": 6, "seed": 21} | MODES[request.param]
    made = sim.imaging(tmp_path_factory.mktemp("set"), **settings)
    return settings, made, calibrated(made)


def test_rates_are_the_true_ones_with_honest_errors(observation):
    _, made, (_, rate, _) = observation
    truth = made.truth.exposure(made.uncal[0])
    good = rate.dq == 0
    assert good.mean() > 0.7
    pull = ((rate.data - truth.rate) / rate.err)[good]
    centre = np.median(pull)
    assert abs(np.median((rate.data - truth.rate)[good])) < 0.004 * np.median(truth.rate)
    assert 1.4826 * np.median(np.abs(pull - centre)) == pytest.approx(1.0, abs=0.15)
    bright = good & (truth.rate > 1.2 * np.median(truth.rate))
    assert bright.sum() > 100
    assert rate.data[bright].sum() / truth.rate[bright].sum() == pytest.approx(1.0, abs=0.01)


def test_cosmic_rays_are_found(observation):
    _, made, (ramp, _, _) = observation
    truth = made.truth.exposure(made.uncal[0])
    # What hits during a group's frames shows half in it and half in the next; either flag is an answer.
    flagged = (ramp.groupdq[0] & 4) > 0
    either = flagged.copy()
    either[:-1] |= flagged[1:]
    strong = truth.hit_mask(at_least=1500)[0]
    strong[0] = False
    strong &= (ramp.groupdq[0] & 2) == 0
    strong &= (ramp.pixeldq & 1) == 0
    assert strong.sum() > 30
    assert np.mean(either[strong]) > 0.9


def test_stars_lie_where_the_wcs_of_the_true_pointing_says(observation):
    settings, made, (_, _, cal) = observation
    stars = made.truth.stars
    x, y = made.truth.positions(made.uncal[0])
    found = cal.meta.wcs.invert(np.array(stars["ra"]), np.array(stars["dec"]), with_bounding_box=False)
    off = np.hypot(found[0] - x, found[1] - y)
    if "pointing_error" in settings:
        truth = made.truth.exposure(made.uncal[0])
        moved = 3600 * np.hypot(
            (truth.pointing.ra - truth.header_pointing.ra) * np.cos(np.radians(2.2)), truth.pointing.dec - truth.header_pointing.dec
        )
        scale = np.sqrt(float(detector("NRCA1").pixel_area(1023.5, 1023.5)))
        assert np.median(off) * scale == pytest.approx(moved, rel=0.1)
    else:
        assert off.max() < 1e-3
    back = cal.meta.wcs(*found, with_bounding_box=False)
    np.testing.assert_allclose(back[0], stars["ra"], atol=1e-8)


def test_cal_is_in_megajansky_per_steradian(observation):
    settings, _, (_, _, cal) = observation
    good = cal.dq == 0
    quiet = good & (cal.data < settings["sky"] * 1.3)
    assert np.median(cal.data[quiet]) == pytest.approx(settings["sky"], rel=0.015)
    assert cal.meta.bunit_data == "MJy/sr"


def test_fluxes_come_back(tmp_path):
    """An isolated star's light inside a circle: within one percent."""
    stars = Table({"ra": [150.1], "dec": [2.2], "flux": [4e-5]})
    made = sim.imaging(
        tmp_path, subarray="SUB320", dithers=1, readpatt="DEEP8", ngroups=6, stars=stars, galaxies=0, sky=0.3, cosmic_rays=0.0, seed=2
    )
    _, _, cal = calibrated(made)
    x, y = (v[0] for v in made.truth.positions(made.uncal[0]))
    row, col = np.indices(cal.data.shape)
    r = np.hypot(col - x, row - y)
    level = np.nanmedian(cal.data[(r > 60) & (r < 120)])  # the sky, with what the output drifted
    assert level == pytest.approx(0.3, abs=0.03)
    light = np.where(cal.dq & 1, np.nan, cal.data - level) * cal.area * cal.meta.photometry.pixelarea_steradians * 1e6
    inside = r < 8  # farther out the rows' 1/f noise adds up to more than a percent
    assert not np.isnan(light[inside]).any()
    psf = point_spread(bandpass("F200W"), detector("NRCA1"))
    assert light[inside].sum() == pytest.approx(4e-5 * encircled_energy(psf, 8.0), rel=0.01)


def test_full_frame(tmp_path):
    made = sim.imaging(tmp_path, subarray="FULL", dithers=1, readpatt="SHALLOW4", ngroups=4, stars=200, galaxies=20, sky=5.0, seed=5)
    ramp, rate, cal = calibrated(made)
    assert ramp.data.shape == (1, 4, 2048, 2048)
    truth = made.truth.exposure(made.uncal[0])
    good = rate.dq == 0
    assert abs(np.median((rate.data - truth.rate)[good])) < 0.004 * np.median(truth.rate)
    # The four outputs are level to within their own noise.
    levels = [np.median((rate.data - truth.rate)[:, k * 512 : (k + 1) * 512][good[:, k * 512 : (k + 1) * 512]]) for k in range(4)]
    assert np.ptp(levels) < 0.02 * np.median(truth.rate)
    assert np.median(cal.data[cal.dq == 0]) == pytest.approx(5.0, rel=0.02)
