"""group_scale against `jwst` on the same exposure."""

import numpy as np
import pytest
from conformance.peer_stage1 import run_jwst
from helpers import freeze, make_ramp
from jwst.group_scale import GroupScaleStep

import jwnb

pytestmark = pytest.mark.peer


@pytest.mark.parametrize(
    ("nframes", "divisor"), [(5, 8), (3, 4), (8, 8), (4, None), (5, None), (None, 8), (None, None), (1, 1), (4, 8), (1, 2)]
)
def test_scales_and_skips_as_jwst(nframes, divisor):
    rng = np.random.default_rng(1)
    ramp = make_ramp(rng.uniform(0, 65535, (2, 3, 20, 24)), **{"exposure.zero_frame": True})
    ramp.meta.exposure.nframes, ramp.meta.exposure.frame_divisor = nframes, divisor
    ramp.zeroframe = rng.uniform(0, 65535, (2, 20, 24)).astype(np.float32)
    ramp.data[0, 1, 3, 4] = np.nan
    ours, theirs = jwnb.group_scale(freeze(ramp)), run_jwst(GroupScaleStep, ramp)
    assert ours.meta.cal_step.group_scale == theirs.meta.cal_step.group_scale
    np.testing.assert_array_equal(ours.data, theirs.data)
    np.testing.assert_array_equal(ours.zeroframe, theirs.zeroframe)
