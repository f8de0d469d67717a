import json
import os
import subprocess
import sys

import numpy as np
import pytest
from astropy.table import Table
from stdatamodels.jwst.datamodels import Level1bModel, LinearityModel, RampModel, SuperBiasModel

from jwnb import sim
from jwnb.errors import ParameterError
from jwnb.references import offline_set
from jwnb.sim.geometry import detector

SMALL = {"subarray": "SUB160", "dithers": 1, "readpatt": "RAPID", "ngroups": 3, "stars": 4, "galaxies": 1}


def arrays(path):
    with Level1bModel(path) as m:
        return m.data.copy(), m.zeroframe.copy() if m.hasattr("zeroframe") else None


def test_files_and_names(practice):
    assert [p.name for p in practice.uncal] == [f"jw09999001001_02101_0000{k}_nrca1_uncal.fits" for k in (1, 2)]
    assert all(p.exists() for p in practice.uncal)
    manifest = json.loads((practice.references / "manifest.json").read_text())
    assert manifest["format"] == "jwnb-offline-set"
    for entry in manifest["references"]:
        assert entry["file"] == "N/A" or (practice.references / entry["file"]).exists()


def test_files_open_as_the_standard_models(practice, uncal):
    uncal.validate()
    assert uncal.data.shape == (2, 5, 160, 160) and uncal.data.dtype == np.uint16
    assert uncal.zeroframe.shape == (2, 160, 160)
    with RampModel(practice.uncal[1], strict_validation=True) as ramp:
        assert ramp.data.dtype == np.float32 and ramp.meta.exposure.type == "NRC_IMAGE"
        assert np.isfinite(ramp.data).all()


def test_the_same_seed_gives_the_same_observation(practice, settings, tmp_path):
    again = sim.imaging(tmp_path / "again", **settings)
    other = sim.imaging(tmp_path / "other", **(settings | {"seed": 12, "dithers": 1}))
    for a, b in zip(practice.uncal, again.uncal, strict=True):
        for x, y in zip(arrays(a), arrays(b), strict=True):
            np.testing.assert_array_equal(x, y)
        for name in ("rate", "hits", "pointing", "header_pointing"):
            x, y = (getattr(p.truth.exposure(f), name) for p, f in ((practice, a), (again, b)))
            assert x == y if name.endswith("pointing") else np.array_equal(x, y)
    assert not np.array_equal(arrays(practice.uncal[0])[0], arrays(other.uncal[0])[0])
    assert not np.array_equal(arrays(practice.uncal[0])[0], arrays(practice.uncal[1])[0])
    assert np.array_equal(practice.truth.stars["ra"], again.truth.stars["ra"])
    skip = 2880 * 4  # headers have the date
    for path in sorted(practice.references.glob("*gain*.fits")):
        assert path.read_bytes()[skip:] == (again.references / path.name).read_bytes()[skip:]


def test_the_sky_is_the_same_through_another_filter(tmp_path):
    red, blue = (sim.imaging(tmp_path / f, filter=f, seed=3, **SMALL).truth for f in ("F200W", "F115W"))
    assert set(red.stars["ra"]) == set(blue.stars["ra"])
    assert set(red.galaxies["position_angle"]) == set(blue.galaxies["position_angle"])


def true_and_measured_rate(made):
    """Return the truth of the first exposure, and its rate from the first and last groups, made linear with the reference files."""
    pinned = offline_set(made.references)
    with RampModel(made.uncal[0]) as ramp:
        with SuperBiasModel(pinned.find(ramp, "superbias")) as bias, LinearityModel(pinned.find(ramp, "linearity")) as linearity:
            signal = ramp.data.astype(float) - bias.data
            linear = sum(c.astype(float) * signal**k for k, c in enumerate(linearity.coeffs))
        seconds = ramp.meta.exposure.group_time * (ramp.meta.exposure.ngroups - 1)
    border = detector("NRCA1").subarray("SUB160").border()
    linear -= np.median(linear[..., border], axis=-1)[..., None, None]  # drifts of the amplifier are in the reference pixels, too
    truth = made.truth.exposure(made.uncal[0])
    usable = ~border & ~truth.hit_mask().any(axis=(0, 1))
    return truth.rate, (linear[:, -1] - linear[:, 0]) / seconds, usable, seconds


def test_counts_grow_at_the_true_rate(tmp_path, bright_star):
    settings = {"readpatt": "SHALLOW4", "ngroups": 8, "nints": 4, "subarray": "SUB160", "dithers": 1}
    made = sim.imaging(tmp_path, stars=bright_star, galaxies=0, sky=50.0, **settings)
    true, measured, usable, seconds = true_and_measured_rate(made)
    sky = usable & (true < 1.3 * np.median(true)) & (true > 0.5 * np.median(true))
    assert sky.sum() > 15000
    assert np.mean((measured - true)[:, sky]) == pytest.approx(0.0, abs=float(0.004 * np.median(true)))
    # Read noise of two means of four frames, and light: what the pixels scatter by.
    noise = np.hypot(np.sqrt(2 / 4) * 6.1 / seconds, np.sqrt(np.median(true) / 2.05 / seconds))
    scatter = (measured - true)[:, sky]
    assert 1.4826 * np.median(np.abs(scatter - np.median(scatter))) == pytest.approx(noise, rel=0.15)
    star = usable & (true > 3 * np.median(true))
    assert star.sum() > 10
    assert (measured[:, star].sum() / 4) / true[star].sum() == pytest.approx(1.0, abs=0.005)


def test_cosmic_rays_jump_where_the_truth_says(tmp_path):
    made = sim.imaging(tmp_path, subarray="SUB160", dithers=1, readpatt="RAPID", ngroups=6, stars=0, galaxies=0, sky=0.0, cosmic_rays=300.0)
    truth = made.truth.exposure(made.uncal[0])
    with Level1bModel(made.uncal[0]) as m:
        steps = np.diff(m.data[0].astype(float), axis=0)
    mask = truth.hit_mask(at_least=300)[0, 1:]
    assert mask.shape == steps.shape and mask.sum() > 20
    assert np.median(steps[mask]) > 100
    assert np.abs(np.median(steps[~truth.hit_mask()[0, 1:]])) < 5
    quiet = sim.imaging(tmp_path, subarray="SUB160", dithers=1, readpatt="RAPID", ngroups=2, stars=0, galaxies=0, cosmic_rays=0.0)
    assert not quiet.truth.exposure(quiet.uncal[0]).hit_mask().any()


def test_positions_follow_the_true_pointing(practice):
    for path in practice.uncal:
        truth = practice.truth.exposure(path)
        x, y = practice.truth.positions(path)
        det, sub = detector("NRCA1"), detector("NRCA1").subarray("SUB160")
        ra, dec = truth.pointing.to_sky(*det.to_v2v3(x + sub.xstart - 1, y + sub.ystart - 1))
        np.testing.assert_allclose(ra, practice.truth.stars["ra"], atol=1e-9)
        np.testing.assert_allclose(dec, practice.truth.stars["dec"], atol=1e-9)
        stray = np.hypot((truth.pointing.ra - truth.header_pointing.ra) * 3600, (truth.pointing.dec - truth.header_pointing.dec) * 3600)
        assert 0 < stray < 0.2
        assert truth.pointing.roll != truth.header_pointing.roll
    inside = (x > 5) & (x < 150) & (y > 5) & (y < 150)
    brightest = np.flatnonzero(inside)[0]  # stars are listed brightest first
    col, row = round(float(x[brightest])), round(float(y[brightest]))
    around = truth.rate[row - 2 : row + 3, col - 2 : col + 3]
    assert np.unravel_index(np.argmax(around), around.shape) == (2, 2)
    assert around.max() > 3 * np.median(truth.rate)


def test_headers_say_the_intended_pointing(practice):
    for path in practice.uncal:
        with Level1bModel(path) as m:
            w, p = m.meta.wcsinfo, practice.truth.exposure(path).header_pointing
            assert (w.ra_ref, w.dec_ref, w.roll_ref, w.v2_ref, w.v3_ref) == (p.ra, p.dec, p.roll, p.v2_ref, p.v3_ref)
            assert m.meta.velocity_aberration.scale_factor == p.va_scale
            assert m.meta.visit.engdb_pointing_quality.startswith("CALCULATED")


def test_own_catalogue_and_dithers(practice, tmp_path):
    stars = practice.truth.stars[:3]
    made = sim.imaging(tmp_path, stars=stars, galaxies=0, **{k: v for k, v in SMALL.items() if k not in ("stars", "galaxies", "dithers")},
                       dithers=[(0, 0), (0.5, -0.25), (1.0, 0.0)])  # fmt: skip
    assert len(made.uncal) == 3
    np.testing.assert_array_equal(made.truth.stars["flux"], stars["flux"])
    assert len(made.truth.galaxies) == 0
    x, y = (np.array([made.truth.positions(p)[k][0] for p in made.uncal]) for k in (0, 1))
    scale = np.sqrt(float(detector("NRCA1").pixel_area(1960, 1960)))
    np.testing.assert_allclose(np.diff(x) * scale, [-0.5, -0.5], atol=0.01)
    np.testing.assert_allclose(np.diff(y) * scale, [0.25, -0.25], atol=0.01)


def test_several_detectors_share_the_pointing(tmp_path):
    made = sim.imaging(tmp_path, detector=("NRCB1", "NRCB2"), **SMALL)
    assert [p.name[-17:-11] for p in made.uncal] == ["_nrcb1", "_nrcb2"]
    one, two = (made.truth.exposure(p).header_pointing for p in made.uncal)
    np.testing.assert_allclose(one.at(0, 0).ra, two.at(0, 0).ra, atol=1e-9)
    np.testing.assert_allclose(one.at(0, 0).roll, two.at(0, 0).roll, atol=1e-9)
    assert one.ra != two.ra
    with Level1bModel(made.uncal[1]) as m:
        assert m.meta.instrument.detector == "NRCB2"


@pytest.mark.parametrize(
    ("changes", "zeroframe"),
    [
        ({"readpatt": "MEDIUM8", "ngroups": 2}, True),
        ({"readpatt": "RAPID"}, False),
        ({"readpatt": "RAPID", "zeroframe": True}, True),
        ({"readpatt": "DEEP8", "ngroups": 2, "zeroframe": False}, False),
        ({"filter": "F444W", "detector": "NRCALONG"}, False),
        ({"filter": "F164N", "detector": "NRCB3", "readpatt": "BRIGHT1"}, False),
        ({"detector": "NRCA3", "subarray": "SUB64P", "nints": 3, "readpatt": "BRIGHT2"}, True),
    ],
)
def test_modes(tmp_path, changes, zeroframe):
    made = sim.imaging(tmp_path, **(SMALL | changes))
    with Level1bModel(made.uncal[0], strict_validation=True) as m:
        m.validate()
        assert m.meta.exposure.zero_frame is zeroframe
        assert m.hasattr("zeroframe") is zeroframe
        assert m.data.shape[:2] == (m.meta.exposure.nints, m.meta.exposure.ngroups)
        assert m.meta.subarray.name == (SMALL | changes)["subarray"]
        if zeroframe:
            assert np.median(m.zeroframe[0].astype(float) - m.data[0, 0]) < 5  # no later than the group's other frames


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"filter": "F999W"}, "F999W"),
        ({"detector": "NRCALONG"}, "short wavelength"),
        ({"detector": ("NRCA1", "NRCA1")}, "several different"),
        ({"subarray": "SUB64P"}, "has no subarray"),
        ({"readpatt": "FAST"}, "FAST"),
        ({"dithers": 0}, "dithers=0"),
        ({"dithers": [1.0, 2.0, 3.0]}, r"\(n, 2\)"),
        ({"sky": -1.0}, "sky=-1.0"),
        ({"cosmic_rays": float("nan")}, "cosmic_rays"),
        ({"program": 0}, "program"),
        ({"dec": 91.0}, "dec=91"),
        ({"stars": -2}, "stars=-2"),
        ({"galaxies": Table({"ra": [1.0]})}, "lacks dec"),
    ],
)
def test_bad_calls_are_refused_before_anything_is_written(tmp_path, changes, match):
    with pytest.raises(ParameterError, match=match):
        sim.imaging(tmp_path / "out", **(SMALL | changes))
    assert not (tmp_path / "out").exists()


def test_unknown_exposure(practice):
    with pytest.raises(ParameterError, match="jw00001"):
        practice.truth.exposure("jw00001001001_02101_00001_nrca1_rate.fits")


def test_a_set_of_four_is_small(tmp_path):
    # VmHWM is the process's own; ru_maxrss would begin with that of the process which started it.
    code = (
        "import sys\nfrom pathlib import Path\nfrom jwnb import sim\nsim.imaging(sys.argv[1])\n"
        "print(*[line.split()[1] for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('VmHWM')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, os.fspath(tmp_path)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1e6  # kB; 0.4e6 here
