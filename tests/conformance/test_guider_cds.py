"""guider_cds against `jwst` on the same exposures and references, one of them real."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance.peer_stage1 import run_jwst
from helpers import freeze, make_reference, set_keywords
from jwst.dq_init import DQInitStep
from jwst.guider_cds import GuiderCdsStep
from stdatamodels.jwst.datamodels import GainModel, GuiderCalModel, GuiderRawModel, MaskModel, ReadnoiseModel

import jwnb

pytestmark = pytest.mark.peer

DATA = Path(os.environ.get("JWNB_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
REAL = DATA / "fgs" / "jw01019001001_gs-acq1_2022117003102_uncal.fits"
FULL = (96, 96)


def references(shape: tuple[int, int] = FULL, *, holes: bool = True) -> dict[str, Any]:
    rng = np.random.default_rng(2)
    gain = rng.normal(1.8, 0.1, shape).astype(np.float32)
    noise = rng.normal(12.0, 1.0, shape).astype(np.float32)
    if holes:
        gain[rng.random(shape) < 0.05] = 0
        gain[rng.random(shape) < 0.05] = np.nan
        noise[rng.random(shape) < 0.05] = np.nan
    made = {
        "gain": make_reference(GainModel, shape, "gain", data=gain),
        "readnoise": make_reference(ReadnoiseModel, shape, "readnoise", data=noise),
    }
    for model in made.values():
        model.meta.instrument.name, model.meta.instrument.detector = "FGS", "GUIDER2"
    return made


def exposure(kind: str, shape: tuple[int, ...], **changes: Any) -> GuiderRawModel:
    rng = np.random.default_rng(1)
    data = np.rint(rng.normal(5000, 40, shape)).astype(np.float32)
    data[rng.random(shape) < 0.01] = np.nan
    raw = GuiderRawModel(data=data)
    keywords = {
        "instrument.name": "FGS", "instrument.detector": "GUIDER2", "exposure.type": kind, "exposure.group_time": 0.3406000000000001,
        "subarray.xstart": 7, "subarray.ystart": 3, "bunit_data": "DN",
    }  # fmt: skip
    set_keywords(raw, shape[-2:], **(keywords | changes))
    raw.dq = rng.choice([0, 1, 1024], shape[-2:]).astype(np.uint32)
    raw.err = np.zeros(shape, np.float32)
    return raw


def compare(raw: GuiderRawModel, given: dict[str, Any]) -> GuiderCalModel:
    freeze(raw)
    ours, theirs = jwnb.guider_cds(raw, **given), run_jwst(GuiderCdsStep, raw, **given)
    assert type(ours) is type(theirs) is GuiderCalModel
    assert ours.meta.cal_step.guider_cds == "COMPLETE" == theirs.meta.cal_step.guider_cds
    assert ours.meta.bunit_data == theirs.meta.bunit_data == "DN/s"
    for name in ("data", "err", "dq"):
        assert getattr(ours, name).dtype == getattr(theirs, name).dtype
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    return ours


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("FGS_ACQ1", (6, 2, 64, 64)), ("FGS_ACQ2", (5, 2, 32, 32)), ("FGS_TRACK", (20, 2, 32, 32)), ("FGS_ACQ1", (1, 3, 20, 24)),
        ("FGS_FINEGUIDE", (30, 8, 8, 8)), ("FGS_FINEGUIDE", (2, 5, 8, 8)), ("FGS_FINEGUIDE", (2, 3, 8, 8)),
        ("FGS_ID-IMAGE", (2, 2, 64, 64)), ("FGS_ID-IMAGE", (3, 2, 20, 24)), ("FGS_ID-STACK", (2, 2, 64, 64)),
    ],
)  # fmt: skip
def test_every_guide_mode(kind, shape):
    compare(exposure(kind, shape), references())


def test_stacked_strips_get_the_mean_of_a_reference_that_does_not_fit():
    raw = exposure("FGS_ID-STACK", (2, 2, 64, 108), **{"subarray.xstart": 1, "subarray.ystart": 1})
    ours = compare(raw, references(holes=False))
    assert np.isfinite(ours.err[np.isfinite(ours.data)]).all()
    assert any("mean gain" in line for line in jwnb.ledger(ours)[-1]["notes"])


def test_tables_are_carried():
    raw = exposure("FGS_TRACK", (3, 2, 32, 32))
    table = np.zeros(3, dtype=raw.get_dtype("pointing_table"))
    table["time"] = [1.0, 2.0, 3.0]
    raw.pointing_table = table
    ours, theirs = jwnb.guider_cds(raw, **references()), run_jwst(GuiderCdsStep, raw, **references())
    np.testing.assert_array_equal(ours.pointing_table["time"], theirs.pointing_table["time"])


@pytest.mark.skipif(not REAL.exists(), reason=f"the real guide star exposure is not there ({REAL}); set JWNB_TEST_DATA")
def test_a_real_acquisition():
    given = references((2048, 2048))
    mask = make_reference(MaskModel, (2048, 2048), "mask", dq=(np.random.default_rng(3).random((2048, 2048)) < 0.01).astype(np.uint32))
    mask.meta.instrument.name, mask.meta.instrument.detector = "FGS", "GUIDER2"
    ours = jwnb.guider_cds(jwnb.dq_init(REAL, reference=mask), **given)
    theirs = run_jwst(GuiderCdsStep, run_jwst(DQInitStep, GuiderRawModel(REAL), mask=mask), **given)
    assert ours.data.shape == (6, 128, 128) and (ours.dq & 1).any() and np.nanmax(ours.data) > 10000
    for name in ("data", "err", "dq"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
