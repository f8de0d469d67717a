"""superbias against `jwst` on the same exposure and reference."""

from typing import Any

import numpy as np
import pytest
from conformance.peer_stage1 import run_jwst
from helpers import freeze, make_ramp, make_reference
from jwst.superbias import SuperBiasStep
from stdatamodels.jwst.datamodels import SuperBiasModel

import jwnb

pytestmark = pytest.mark.peer

FULL = (48, 56)


def reference(shape: tuple[int, int] = FULL) -> SuperBiasModel:
    rng = np.random.default_rng(6)
    level = rng.normal(9000, 300, shape).astype(np.float32)
    level[rng.random(shape) < 0.03] = np.nan
    flags = rng.choice([0, 0, 1, 2**17], shape).astype(np.uint32)
    return make_reference(SuperBiasModel, shape, "superbias", data=level, dq=flags)


@pytest.mark.parametrize("zeroframe", [True, False])
@pytest.mark.parametrize(("shape", "start"), [((2, 3, *FULL), (1, 1)), ((3, 1, 20, 24), (17, 9))])
def test_data_zeroframe_and_flags(zeroframe, shape, start):
    rng = np.random.default_rng(1)
    data = rng.uniform(0, 65535, shape)
    data[rng.random(shape) < 0.01] = np.nan
    keywords: dict[str, Any] = {"subarray.xstart": start[0], "subarray.ystart": start[1], "exposure.zero_frame": zeroframe}
    ramp = make_ramp(data, **keywords)
    ramp.pixeldq = rng.choice([0, 4], shape[-2:]).astype(np.uint32)
    if zeroframe:
        ramp.zeroframe = rng.uniform(0, 65535, (shape[0], *shape[2:])).astype(np.float32)
        ramp.zeroframe[rng.random(ramp.zeroframe.shape) < 0.1] = 0
        ramp.zeroframe[rng.random(ramp.zeroframe.shape) < 0.05] = np.nan
    ours = jwnb.superbias(freeze(ramp), reference=freeze(reference()))
    theirs = run_jwst(SuperBiasStep, ramp, superbias=reference())
    assert ours.meta.cal_step.superbias == "COMPLETE" == theirs.meta.cal_step.superbias
    for name in ("data", "pixeldq", "groupdq") + ("zeroframe",) * zeroframe:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)


def test_irs2():
    keywords = {
        "instrument.name": "NIRSPEC", "instrument.detector": "NRS1", "exposure.readpatt": "NRSIRS2", "subarray.xsize": 8,
        "subarray.ysize": 2048,
    }  # fmt: skip
    ramp = make_ramp(np.random.default_rng(1).uniform(0, 65535, (1, 2, 3200, 8)), **keywords)
    model = reference((3200, 8))
    model.meta.instrument.name, model.meta.instrument.detector = "NIRSPEC", "NRS1"
    model.meta.subarray.ysize = 2048
    ours, theirs = jwnb.superbias(ramp, reference=model), run_jwst(SuperBiasStep, ramp, superbias=model)
    np.testing.assert_array_equal(ours.data, theirs.data)
    np.testing.assert_array_equal(ours.pixeldq, theirs.pixeldq)
