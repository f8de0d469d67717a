"""saturation against `jwst` on the same exposure and references."""

from typing import Any

import numpy as np
import pytest
from conformance.peer_stage1 import run_jwst
from helpers import freeze, make_ramp, make_reference
from jwst.saturation import SaturationStep
from stdatamodels.jwst.datamodels import RampModel, SaturationModel, SuperBiasModel

import jwnb
from jwnb import dq

pytestmark = pytest.mark.peer

FULL = (72, 80)
SATURATED, FLOOR, UNUSABLE = (dq.GROUP[n] for n in ("SATURATED", "AD_FLOOR", "DO_NOT_USE"))


def exposure(shape: tuple[int, ...], *, nframes: int = 1, seed: int = 1, zeroframe: bool = True, **changes: Any) -> RampModel:
    """Return ramps of averaged frames with bright pixels, sudden rises within a group, dead and NaN pixels."""
    rng = np.random.default_rng(seed)
    nints, ngroups, ny, nx = shape
    rate = rng.exponential(300.0, (nints, 1, ny, nx)) * np.where(rng.random((nints, 1, ny, nx)) < 0.03, 60, 1)
    times = np.arange(1, ngroups * nframes + 1, dtype=float)[:, None, None] / nframes
    frames = 1500 + rate * times
    hits = rng.random(frames.shape) < 0.003 / nframes
    frames += np.cumsum(hits * rng.uniform(5e3, 2e5, frames.shape), axis=1)
    frames = np.minimum(frames, 61000)
    data = np.rint(frames.reshape(nints, ngroups, nframes, ny, nx).mean(axis=2))
    data[rng.random(data.shape) < 0.002] = 0
    data[rng.random(data.shape) < 0.001] = -3
    data[rng.random(data.shape) < 0.001] = np.nan
    data[rng.random(data.shape) < 0.001] = 65536
    ramp = make_ramp(data, **({"exposure.nframes": nframes, "exposure.zero_frame": zeroframe} | changes))
    ramp.pixeldq = rng.choice([0, 1, 1024], (ny, nx)).astype(np.uint32)
    ramp.groupdq = rng.choice([0, 0, 0, 0, 0, 0, 1, 4], shape).astype(np.uint8)
    if zeroframe:
        ramp.zeroframe = frames[:, 0].astype(np.float32)
        ramp.zeroframe[rng.random(ramp.zeroframe.shape) < 0.01] = 0
        ramp.zeroframe[rng.random(ramp.zeroframe.shape) < 0.01] = np.nan
    return ramp


def threshold(shape: tuple[int, int] = FULL) -> SaturationModel:
    """Return thresholds with NaN, flags and pixels that are not to be checked."""
    rng = np.random.default_rng(7)
    levels = rng.uniform(30000, 60000, shape).astype(np.float32)
    levels[rng.random(shape) < 0.02] = np.nan
    flags = rng.choice([0, 0, 0, 0, dq.PIXEL["NO_SAT_CHECK"], dq.PIXEL["DEAD"]], shape, p=[0.3, 0.3, 0.3, 0.05, 0.03, 0.02])
    return make_reference(SaturationModel, shape, "saturation", data=levels, dq=flags.astype(np.uint32))


def bias(shape: tuple[int, int] = FULL) -> SuperBiasModel:
    rng = np.random.default_rng(8)
    level = rng.normal(1500, 100, shape).astype(np.float32)
    level[rng.random(shape) < 0.02] = np.nan
    return make_reference(SuperBiasModel, shape, "superbias", data=level)


def compare(ramp: RampModel, saturation: Any, superbias: Any = "N/A", **options: Any) -> RampModel:
    freeze(ramp)
    ours = jwnb.saturation(ramp, saturation=freeze(saturation), superbias=superbias, **options)
    theirs = run_jwst(SaturationStep, ramp, options, saturation=saturation, superbias=superbias)
    assert ours.meta.cal_step.saturation == "COMPLETE" == theirs.meta.cal_step.saturation
    for name in ("groupdq", "pixeldq", "data", "zeroframe"):
        if theirs.hasattr(name):
            assert getattr(ours, name).dtype == getattr(theirs, name).dtype
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    return ours


@pytest.mark.parametrize("grow", [0, 1, 2, 5])
@pytest.mark.parametrize("nframes", [1, 4, 8])
@pytest.mark.parametrize("readpatt", [True, False])
def test_every_option(grow, nframes, readpatt):
    ours = compare(exposure((2, 6, *FULL), nframes=nframes), threshold(), bias(), n_pix_grow_sat=grow, use_readpatt=readpatt)
    found = [(ours.groupdq & bit).any() for bit in (SATURATED, FLOOR, UNUSABLE)]
    assert all(found)


def test_averaged_groups_are_found_by_both_searches():
    ramp = exposure((1, 6, *FULL), nframes=8)
    plain = compare(ramp, threshold(), use_readpatt=False, n_pix_grow_sat=0)
    refined = compare(ramp, threshold(), n_pix_grow_sat=0)
    biased = compare(ramp, threshold(), bias(), n_pix_grow_sat=0)
    assert (refined.groupdq != plain.groupdq).sum() > 5
    assert (biased.groupdq != refined.groupdq).any()


@pytest.mark.parametrize("ngroups", [1, 2, 3])
def test_short_ramps(ngroups):
    compare(exposure((2, ngroups, *FULL), nframes=4), threshold(), bias())


@pytest.mark.parametrize("bit", [SATURATED, SATURATED | UNUSABLE])
def test_flags_that_are_there_already(bit):
    ramp = exposure((1, 5, *FULL), nframes=4)
    given = np.random.default_rng(5).random(ramp.groupdq.shape) < 0.002
    ramp.groupdq = np.where(given, bit, ramp.groupdq).astype(np.uint8)
    compare(ramp, threshold(), bias())


@pytest.mark.parametrize("grow", [1, 2])
def test_a_subarray_gets_its_part(grow):
    ramp = exposure((3, 5, 30, 34), nframes=4, **{"subarray.xstart": 11, "subarray.ystart": 21})
    compare(ramp, threshold(), bias(), n_pix_grow_sat=grow)


def test_without_zeroframe():
    assert not compare(exposure((1, 4, *FULL), zeroframe=False), threshold()).hasattr("zeroframe")


@pytest.mark.parametrize("detector", ["NRS1", "NRS2"])
@pytest.mark.parametrize(("grow", "nframes", "readpatt"), [(0, 1, True), (1, 5, True), (2, 5, True), (1, 5, False)])
def test_irs2(detector, grow, nframes, readpatt):
    keywords = {
        "instrument.name": "NIRSPEC", "instrument.detector": detector, "exposure.readpatt": "NRSIRS2", "exposure.nrs_normal": 16,
        "exposure.nrs_reference": 4, "subarray.xsize": 24, "subarray.ysize": 2048,
    }  # fmt: skip
    ramp = exposure((2, 4, 3200, 24), nframes=nframes, **keywords)
    references = []
    for model in (threshold((2048, 24)), bias((3200, 24))):
        model.meta.instrument.name, model.meta.instrument.detector = "NIRSPEC", detector
        model.meta.subarray.ysize = 2048
        references.append(model)
    given = np.random.default_rng(5).random(ramp.groupdq.shape) < 0.002
    ramp.groupdq = np.where(given, SATURATED, ramp.groupdq).astype(np.uint8)
    ours = compare(ramp, *references, n_pix_grow_sat=grow, use_readpatt=readpatt)
    if nframes > 1 and readpatt:
        other = jwnb.saturation(ramp, saturation=references[0], superbias=references[1], n_pix_grow_sat=grow, use_readpatt=False)
        assert (other.groupdq != ours.groupdq).any()
