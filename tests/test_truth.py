"""The main job against the truth: what was put into practice data comes back, with honest errors."""

import numpy as np
import pytest
from astropy.table import Table
from photutils.aperture import CircularAnnulus, CircularAperture, aperture_photometry
from photutils.centroids import centroid_2dg
from stdatamodels.jwst.datamodels import GainModel, ReadnoiseModel

import jwnb
from jwnb import sim
from jwnb.references import resolve
from jwnb.references.opening import open_reference
from jwnb.sim.geometry import detector
from jwnb.sim.optics import bandpass, encircled_energy, point_spread

STARS = 14


@pytest.fixture(scope="module", params=[("SHALLOW4", 8, 50.0), ("RAPID", 10, 300.0)], ids=lambda p: p[0])
def blank(request, tmp_path_factory):
    """Sky and cosmic rays only, without noise that pixels share: all that scatters a rate is in its error."""
    readpatt, ngroups, sky = request.param
    made = sim.imaging(
        tmp_path_factory.mktemp("blank"), subarray="SUB320", dithers=1, readpatt=readpatt, ngroups=ngroups, stars=0, galaxies=0, sky=sky,
        cosmic_rays=40.0, correlated_noise=0.0, seed=21,
    )  # fmt: skip
    with jwnb.references.use(offline=made.references):
        products = jwnb.detector1(made.uncal[0], keep=("jump", "dark_current"))
        return made, products, jwnb.image2(products.rate, skip=("resample",)).cal


@pytest.fixture(scope="module")
def stars(tmp_path_factory):
    """Isolated bright stars, the pointing exact, no cosmic rays."""
    grid = np.array([(i, j) for i in range(-2, 3) for j in range(-2, 3)], float)[1 : STARS + 1] * 1.9 + np.linspace(0, 0.4, STARS)[:, None]
    ra, dec = 150.1 + grid[:, 0] / 3600 / np.cos(np.radians(2.2)), 2.2 + grid[:, 1] / 3600
    table = Table({"ra": ra, "dec": dec, "flux": np.full(STARS, 2e-5)})
    made = sim.imaging(
        tmp_path_factory.mktemp("stars"), subarray="SUB400P", detector="NRCB1", dithers=1, readpatt="SHALLOW4", ngroups=8,
        stars=table, galaxies=0,
        sky=0.1, cosmic_rays=0.0, correlated_noise=0.0, seed=22,
    )  # fmt: skip
    with jwnb.references.use(offline=made.references):
        return made, jwnb.image2(jwnb.detector1(made.uncal[0]).rate, skip=("resample",)).cal


def quiet(made, rate):
    """Pixels without a flag of their own or of the fit, and the pull of each."""
    truth = made.truth.exposure(made.uncal[0]).rate
    good = (rate.dq == 0) & np.isfinite(rate.data) & (truth > 0)
    return good, truth


def steps_of_hits(truth, nframes, stride):
    """Electrons by which cosmic rays raise each group over the one before; a hit within a group is shared with the next."""
    steps = np.zeros(truth.shape[1:])
    for hit in truth.hits:
        into = int(hit["frame"]) - int(hit["group"]) * stride  # frames of the group that do not have the charge yet
        part = 1 - max(into, 0) / nframes
        steps[hit["group"], hit["y"], hit["x"]] += part * hit["electrons"]
        if part < 1 and hit["group"] + 1 < steps.shape[0]:
            steps[hit["group"] + 1, hit["y"], hit["x"]] += (1 - part) * hit["electrons"]
    return steps


def test_rates_are_unbiased_with_honest_errors(blank):
    made, products, _ = blank
    good, truth = quiet(made, products.rate)
    pull = (products.rate.data - truth)[good] / products.rate.err[good]
    assert good.mean() > 0.8
    core = np.abs(pull) < 5  # what is left of hits below the threshold
    assert core.mean() > 0.999
    assert abs(pull[core].mean()) < 0.02
    assert pull[core].std() == pytest.approx(1.0, abs=0.03)


def test_errors_stay_honest_on_cal(blank):
    made, products, cal = blank
    good, truth = quiet(made, products.rate)
    good &= np.isfinite(cal.data) & (cal.dq == 0)
    flat = products.rate.data[good] / cal.data[good]  # DN/s per MJy/sr, flat included
    pull = (cal.data[good] - truth[good] / flat) / cal.err[good]
    core = np.abs(pull) < 5
    assert abs(pull[core].mean()) < 0.02
    assert pull[core].std() == pytest.approx(1.0, abs=0.03)


def test_cosmic_rays_are_found_and_clean_groups_left_alone(blank):
    made, products, _ = blank
    truth = made.truth.exposure(made.uncal[0])
    jumped = products.kept["jump"]
    found = (jumped.groupdq[0] & 4) > 0
    usable = ((jumped.groupdq[0] & 3) == 0) & (jumped.pixeldq & 1 == 0)
    with jwnb.references.use(offline=made.references):
        gain = open_reference(resolve(jumped, "gain"), GainModel, jumped).data
        noise = open_reference(resolve(jumped, "readnoise"), ReadnoiseModel, jumped).data * gain
    exposure = jumped.meta.exposure
    sigma = np.sqrt(noise**2 / exposure.nframes + truth.rate * gain * exposure.group_time)
    steps = steps_of_hits(truth, exposure.nframes, exposure.nframes + exposure.groupgap)
    hit = steps > 0
    seen = (steps > 6 * sigma) & usable
    seen[0] = False  # a hit before the first group is in no difference of groups
    seen[1:] &= usable[:-1]
    assert seen.sum() > 300
    assert found[seen].mean() >= 0.98
    near = hit.copy()
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        near |= np.roll(hit, (dy, dx), (1, 2))
    clean = usable & ~near
    assert found[clean].mean() <= 0.005


def inside(cal, x, y, margin=30):
    """Whether a position keeps that far from the edges."""
    ny, nx = cal.data.shape
    return margin < x < nx - margin and margin < y < ny - margin


def test_the_wcs_puts_stars_where_they_are(stars):
    made, cal = stars
    x, y = made.truth.positions(made.uncal[0])
    seen = cal.meta.wcs.invert(np.array(made.truth.stars["ra"]), np.array(made.truth.stars["dec"]), with_bounding_box=False)
    assert np.abs(np.array(seen) - [x, y]).max() < 0.001


def test_stars_are_seen_where_they_are(stars):
    made, cal = stars
    x, y = made.truth.positions(made.uncal[0])
    offsets = []
    for i, j in zip(x, y, strict=True):
        box = np.s_[int(j) - 7 : int(j) + 9, int(i) - 7 : int(i) + 9]
        if inside(cal, i, j) and not (cal.dq[box] & 1).any():
            found = centroid_2dg(cal.data[box] - np.nanmedian(cal.data), error=cal.err[box])
            offsets.append(found - [i - int(i) + 7, j - int(j) + 7])
    assert len(offsets) >= 6
    assert np.abs(np.median(offsets, axis=0)).max() < 0.02


def test_fluxes_come_back(stars):
    made, cal = stars
    x, y = made.truth.positions(made.uncal[0])
    clean = [
        inside(cal, i, j) and not (cal.dq[int(j) - 8 : int(j) + 9, int(i) - 8 : int(i) + 9] & 1).any() for i, j in zip(x, y, strict=True)
    ]
    assert np.sum(clean) >= 6
    positions, radius = np.transpose([x[clean], y[clean]]), 8.0
    image, ring = np.nan_to_num(cal.data), CircularAnnulus(positions, 20, 26)
    sky = np.median(cal.data[np.isfinite(cal.data)])
    light = aperture_photometry(image, CircularAperture(positions, radius))["aperture_sum"] - sky * np.pi * radius**2
    assert np.all(aperture_photometry(image, ring)["aperture_sum"] / ring.area < 3 * sky)
    enclosed = encircled_energy(point_spread(bandpass("F200W"), detector("NRCB1")), radius)
    ratio = np.array(light) * cal.meta.photometry.pixelarea_steradians * 1e6 / enclosed / made.truth.stars["flux"][clean]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.01)
