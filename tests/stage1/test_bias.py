"""ipc and superbias."""

import numpy as np
import pytest
from helpers import freeze, make_ramp, make_reference
from stdatamodels.jwst.datamodels import IPCModel, SuperBiasModel

import jwnb
from jwnb import dq
from jwnb.errors import MissingReferenceError

SHAPE = (24, 32)
KERNEL = np.array([[0, -0.005, 0], [-0.005, 1.02, -0.005], [0, -0.005, 0]], np.float32)


def ramp(**changes):
    made = make_ramp(np.random.default_rng(1).uniform(5000, 60000, (2, 3, *SHAPE)), **({"exposure.zero_frame": True} | changes))
    made.zeroframe = np.full((2, *SHAPE), 9000, np.float32)
    made.zeroframe[1, 3, 4] = 0
    return made


def kernel(data=KERNEL):
    return make_reference(IPCModel, SHAPE, "ipc", data=data)


def bias():
    level = np.full(SHAPE, 8000, np.float32)
    level[5, 6] = np.nan
    flags = np.zeros(SHAPE, np.uint32)
    flags[7, 8] = dq.PIXEL["UNRELIABLE_BIAS"]
    return make_reference(SuperBiasModel, SHAPE, "superbias", data=level, dq=flags)


def test_superbias_is_subtracted_from_groups_and_zeroframe():
    raw = freeze(ramp())
    out = jwnb.superbias(raw, reference=freeze(bias()))
    np.testing.assert_array_equal(out.data, raw.data - np.nan_to_num(bias().data))
    np.testing.assert_array_equal(out.data[:, :, 5, 6], raw.data[:, :, 5, 6])
    assert out.zeroframe[0, 0, 0] == 1000 and out.zeroframe[1, 3, 4] == 0 and out.zeroframe[0, 5, 6] == 9000
    np.testing.assert_array_equal(out.pixeldq, bias().dq)
    assert out.meta.cal_step.superbias == "COMPLETE" and np.shares_memory(out.groupdq, raw.groupdq)


def test_superbias_of_a_subarray():
    part = make_ramp(np.full((1, 2, 6, 10), 9000.0), **{"subarray.xstart": 3, "subarray.ystart": 4})
    out = jwnb.superbias(part, reference=bias())
    assert out.data[0, 0, 2, 4] == 9000 and (out.data == 1000).sum() == 2 * 59 and out.pixeldq[4, 6] == dq.PIXEL["UNRELIABLE_BIAS"]


@pytest.mark.parametrize("step", [jwnb.ipc, jwnb.superbias])
def test_no_reference_for_the_exposure_is_said(step):
    out = step(ramp(), reference="N/A")
    assert jwnb.ledger(out)[-1]["status"] == "SKIPPED" and "N/A" in jwnb.ledger(out)[-1]["reason"]


def test_ipc_leaves_reference_pixels_and_all_but_the_counts():
    raw = freeze(ramp())
    out = jwnb.ipc(raw, reference=freeze(kernel()))
    np.testing.assert_array_equal(out.data[..., :4, :], raw.data[..., :4, :])
    np.testing.assert_array_equal(out.data[..., :, :4], raw.data[..., :, :4])
    d = raw.data.astype(float)
    np.testing.assert_allclose(
        out.data[0, 0, 10, 10],
        1.02 * d[0, 0, 10, 10] - 0.005 * (d[0, 0, 9, 10] + d[0, 0, 11, 10] + d[0, 0, 10, 9] + d[0, 0, 10, 11]),
        rtol=1e-6,
    )
    # The pixel beside a reference pixel gets nothing from it.
    np.testing.assert_allclose(
        out.data[0, 0, 4, 10], 1.02 * d[0, 0, 4, 10] - 0.005 * (d[0, 0, 5, 10] + d[0, 0, 4, 9] + d[0, 0, 4, 11]), rtol=1e-6
    )
    for name in ("zeroframe", "groupdq", "pixeldq"):
        assert np.shares_memory(getattr(out, name), getattr(raw, name))
    assert out.meta.cal_step.ipc == "COMPLETE"


def test_ipc_conserves_the_light_of_a_star_in_a_subarray():
    raw = make_ramp(np.zeros((1, 1, *SHAPE)), **{"subarray.xstart": 1001, "subarray.ystart": 1001})
    raw.data[0, 0, 12, 12] = 40000
    assert jwnb.ipc(raw, reference=kernel()).data.sum() == pytest.approx(40000, rel=1e-6)


@pytest.mark.parametrize("shape", [(2, 3), (4, 4), (3,), (3, 3, 5), (3, 3, 5, 6)])
def test_kernels_that_do_not_fit(shape):
    with pytest.raises(MissingReferenceError, match="odd ky and kx"):
        jwnb.ipc(ramp(), reference=kernel(np.ones(shape, np.float32)))
