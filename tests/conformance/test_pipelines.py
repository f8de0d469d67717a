"""Whole pipelines of both packages on the same exposures, with references from the same CRDS cache."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from conformance.conftest import GuideStar, Observation, observe
from conformance.peer_crds import CONTEXT, crds_cache, write_cache
from conformance.peer_pipelines import EXACT_MAPS, Both, arrays, assert_same_arrays, assert_within, chosen, run_jwst, run_stage1
from scipy import ndimage

import jwnb

pytestmark = pytest.mark.peer

OTHER_MODES: dict[str, dict[str, Any]] = {
    "long wave, no reference pixels, single frames": {
        "detector": "NRCBLONG", "filter": "F356W", "readpatt": "RAPID", "ngroups": 6, "nints": 2, "cosmic_rays": 500.0,
    },
    "coupled pixels, few groups": {"subarray": "SUB320", "readpatt": "BRIGHT2", "ngroups": 4, "ipc": True, "cosmic_rays": 200.0},
}  # fmt: skip

OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "other thresholds of jump": {
        "jump": {
            "rejection_threshold": 12.0, "flag_4_neighbors": False, "after_jump_flag_dn1": 20.0, "after_jump_flag_time1": 8.0,
        },
        "ramp_fit": {"firstgroup": 1, "lastgroup": 5},
    },
    "steps left out": {name: {"skip": True} for name in ("superbias", "refpix", "dark_current", "jump")},
}  # fmt: skip


@pytest.mark.parametrize("exposure", [0, 1])
@pytest.mark.parametrize("suffix", ["rate", "rateints"])
def test_detector1(stage1_of_both: list[Both], exposure: int, suffix: str) -> None:
    assert_same_arrays(stage1_of_both[exposure], suffix)


@pytest.mark.parametrize("suffix", ["ramp", "fitopt"])
def test_more_products_of_detector1(stage1_of_both: list[Both], suffix: str) -> None:
    assert stage1_of_both[0].suffixes == ({"rate", "rateints", "ramp", "fitopt"},) * 2
    assert_same_arrays(stage1_of_both[0], suffix)


def test_the_exposures_have_what_they_should_test(stage1_of_both: list[Both]) -> None:
    """Jumps, saturation in the first and in the second group, reference pixels."""
    ramp = arrays(stage1_of_both[0].pair("ramp")[1])
    first, second = ((ramp["GROUPDQ"][:, k] & 2) > 0 for k in (0, 1))
    assert first.sum() > 20 and (second & ~first).sum() > 20 and (ramp["GROUPDQ"] & 4).any()
    assert (ramp["PIXELDQ"] & 2**31).astype(bool).sum() == 1264


def test_first_frames_stand_in_for_saturated_groups(averaged: Observation, stage1_of_both: list[Both], tmp_path: Path) -> None:
    steps = {
        "ramp_fit": {"suppress_one_group": False}, "saturation": {"n_pix_grow_sat": 0},
        "refpix": {"odd_even_columns": False, "use_side_ref_pixels": False},
    }  # fmt: skip
    with crds_cache(averaged.crds):
        both = run_stage1(averaged.uncal[0], tmp_path, steps)
    for suffix in ("rate", "rateints"):
        assert_same_arrays(both, suffix)
    first = (arrays(stage1_of_both[0].pair("ramp")[1])["GROUPDQ"][:, 0] & 2) > 0
    usual, now = (np.isfinite(arrays(b.pair("rateints")[1])["SCI"][first]).sum() for b in (stage1_of_both[0], both))
    assert usual == 0 and now > 20


@pytest.mark.parametrize("case", OPTIONS)
def test_options_of_detector1(averaged: Observation, stage1_of_both: list[Both], case: str, tmp_path: Path) -> None:
    with crds_cache(averaged.crds):
        both = run_stage1(averaged.uncal[0], tmp_path, OPTIONS[case])
    for suffix in ("rate", "rateints"):
        assert_same_arrays(both, suffix)
    usual, now = (arrays(b.pair("rate")[1])["SCI"] for b in (stage1_of_both[0], both))
    assert not np.array_equal(usual, now, equal_nan=True)


@pytest.mark.parametrize("mode", OTHER_MODES)
def test_other_modes_from_raw_to_calibrated(mode: str, tmp_path: Path) -> None:
    steps = {"flat_field": {"skip": True}} if "coupled" in mode else {}
    made = observe(tmp_path, **OTHER_MODES[mode])
    with crds_cache(made.crds):
        stage1 = run_stage1(made.uncal[0], tmp_path / "stage1")
        stage2 = Both(tmp_path / "stage2/ours", tmp_path / "stage2/theirs")
        run_jwst("Image2Pipeline", stage1.pair("rate")[1], stage2.theirs, steps)
        jwnb.image2(stage1.pair("rate")[0], **chosen(steps, EXACT_MAPS)).save(stage2.ours)
    for suffix in ("rate", "rateints"):
        assert_same_arrays(stage1, suffix)
    assert stage2.suffixes == ({"cal", "i2d"},) * 2
    assert_same_arrays(stage2, "cal")
    assert_same_arrays(stage2, "i2d")


@pytest.mark.parametrize("exposure", [0, 1])
@pytest.mark.parametrize("suffix", ["cal", "i2d"])
def test_image2(stage2_of_both: list[Both], exposure: int, suffix: str) -> None:
    assert_same_arrays(stage2_of_both[exposure], suffix)


def test_image2_of_integrations(integrations_of_both: Both) -> None:
    assert integrations_of_both.suffixes == ({"calints"},) * 2
    assert_same_arrays(integrations_of_both, "calints")


def test_interpolated_maps_stay_within_a_thousandth_of_a_pixel(
    averaged: Observation, stage1_of_both: list[Both], stage2_of_both: list[Both]
) -> None:
    """As they are by default, against the exact maps of `jwst`: what a shift by 1e-3 pixel in each axis can do."""
    with crds_cache(averaged.crds):
        ours = jwnb.image2(stage1_of_both[0].pair("rate")[1]).i2d
    theirs = arrays(stage2_of_both[0].pair("i2d")[1])
    np.testing.assert_array_equal(ours.con, theirs["CON"])
    np.testing.assert_array_equal(np.isnan(ours.data), np.isnan(theirs["SCI"]))
    for name in ("SCI", "WHT"):
        filled = np.nan_to_num(theirs[name].astype(np.float64))
        spread = ndimage.maximum_filter(filled, 3) - ndimage.minimum_filter(filled, 3)
        assert_within(ours.data if name == "SCI" else ours.wht, theirs[name], 2e-3 * spread + 1e-6 * np.abs(filled), name)


def test_a_parameter_reference_of_jump(averaged: Observation, stage1_of_both: list[Both], tmp_path: Path) -> None:
    """Both follow it, and the caller's own word wins over it in both."""
    from jwst.jump import JumpStep

    options = {"rejection_threshold": 25.0, "flag_4_neighbors": False}
    cache = write_cache(tmp_path / "crds", averaged.references, parameters={JumpStep: options})
    with crds_cache(cache):
        found = {p.name: p for p in jwnb.describe("jump", averaged.uncal[0])}
        assert found["rejection_threshold"].value == 25.0 and "pars-jumpstep" in found["rejection_threshold"].source
        followed = run_stage1(averaged.uncal[0], tmp_path / "followed", ramp=True)
        over = run_stage1(averaged.uncal[0], tmp_path / "over", {"jump": {"rejection_threshold": 4.0, "flag_4_neighbors": True}}, ramp=True)
    for both in (followed, over):
        assert_same_arrays(both, "ramp")
        assert_same_arrays(both, "rateints")
    jumps = [int(((arrays(b.pair("ramp")[1])["GROUPDQ"] & 4) > 0).sum()) for b in (followed, over, stage1_of_both[0])]
    assert jumps[0] < 0.5 * jumps[1] and jumps[1] == jumps[2]


def test_guider_on_a_real_acquisition(guide_star_of_both: GuideStar) -> None:
    """Signal and flags agree. The error of `jwst` leaves the flat out of the part that was there before the flat."""
    ours, theirs = (arrays(path) for path in guide_star_of_both.both.pair("cal"))
    assert list(ours) == list(theirs) and ours["SCI"].shape == (6, 128, 128)
    np.testing.assert_array_equal(ours["SCI"], theirs["SCI"])
    np.testing.assert_array_equal(ours["DQ"], theirs["DQ"])
    assert np.nanmax(ours["SCI"]) > 10000 and (ours["DQ"] & 2**18).any()

    before = arrays(guide_star_of_both.both.our("guider_cds"))["ERR"].astype(np.float64)
    part = guide_star_of_both.window
    with fits.open(guide_star_of_both.references / "flat.fits") as hdus:
        flat, flags = (hdus[name].data[part] for name in ("SCI", "DQ"))
    response = np.where(flags & 1, 1.0, flat.astype(np.float64))
    expected = np.sqrt(theirs["ERR"].astype(np.float64) ** 2 - before**2 + (before / response) ** 2)
    np.testing.assert_allclose(ours["ERR"], expected, rtol=3e-6)
    assert not np.allclose(ours["ERR"], theirs["ERR"], rtol=1e-3)


def test_references_come_from_the_cache(stage1_of_both: list[Both]) -> None:
    headers = [fits.getheader(path) for path in stage1_of_both[0].pair("rate")]
    assert {h["CRDS_CTX"] for h in headers} == {CONTEXT}
    named = [{k: v for k, v in h.items() if k.startswith("R_")} for h in headers]
    assert named[0]["R_DARK"].startswith("crds://") and named[0] == named[1]


@pytest.mark.skipif(os.environ.get("JWNB_FULL_FRAME") != "1", reason="takes minutes and gigabytes: set JWNB_FULL_FRAME=1")
@pytest.mark.timeout(1800)
def test_full_frame(tmp_path: Path) -> None:
    made = observe(tmp_path, subarray="FULL", readpatt="SHALLOW4", ngroups=4, stars=400, galaxies=30, cosmic_rays=20.0)
    with crds_cache(made.crds):
        stage1 = run_stage1(made.uncal[0], tmp_path / "stage1")
        stage2 = Both(tmp_path / "stage2/ours", tmp_path / "stage2/theirs")
        run_jwst("Image2Pipeline", stage1.pair("rate")[1], stage2.theirs)
        jwnb.image2(stage1.pair("rate")[1], options=EXACT_MAPS).save(stage2.ours)
    for both, suffix in ((stage1, "rate"), (stage1, "rateints"), (stage2, "cal"), (stage2, "i2d")):
        assert_same_arrays(both, suffix)
