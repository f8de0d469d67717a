"""ipc against `jwst` on the same exposure and kernels."""

from typing import Any

import numpy as np
import pytest
from conformance.peer_stage1 import run_jwst
from helpers import freeze, make_ramp, make_reference
from jwst.ipc import IPCStep
from stdatamodels.jwst.datamodels import IPCModel, RampModel

import jwnb

pytestmark = pytest.mark.peer


def kernel(shape: tuple[int, ...], **keywords: Any) -> IPCModel:
    field = np.random.default_rng(2).uniform(-0.02, 0.0, shape).astype(np.float32)
    field[shape[0] // 2, shape[1] // 2] = 1.1
    model = make_reference(IPCModel, (2048, 2048), "ipc", data=field)
    for name, value in keywords.items():
        setattr(model.meta.instrument, name, value)
    return model


def exposure(shape: tuple[int, ...], **changes: Any) -> RampModel:
    rng = np.random.default_rng(1)
    data = rng.uniform(0, 60000, shape)
    data[rng.random(shape) < 0.001] = np.nan
    ramp = make_ramp(data, **({"exposure.zero_frame": True} | changes))
    ramp.zeroframe = rng.uniform(0, 60000, (shape[0], *shape[2:])).astype(np.float32)
    return ramp


def compare(ramp: RampModel, reference: IPCModel) -> None:
    freeze(ramp)
    ours, theirs = jwnb.ipc(ramp, reference=freeze(reference)), run_jwst(IPCStep, ramp, ipc=reference)
    assert ours.meta.cal_step.ipc == "COMPLETE" == theirs.meta.cal_step.ipc
    for name in ("data", "pixeldq", "groupdq", "zeroframe"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    assert (ours.data != ramp.data).mean() > 0.5


@pytest.mark.parametrize("start", [(1, 1), (985, 1001), (1993, 1989), (3, 1990), (5, 5)])
@pytest.mark.parametrize("size", [(3, 3), (5, 5), (3, 5)])
def test_where_reference_pixels_lie(start, size):
    compare(exposure((2, 2, 60, 56), **{"subarray.xstart": start[0], "subarray.ystart": start[1]}), kernel(size))


@pytest.mark.parametrize("start", [1, 985, 977])
def test_miri_has_reference_columns_only(start):
    keywords = {"instrument.name": "MIRI", "instrument.detector": "MIRIMAGE", "subarray.xstart": start}
    compare(exposure((1, 3, 60, 56), **keywords), kernel((3, 3), name="MIRI", detector="MIRIMAGE"))


@pytest.mark.parametrize("start", [(1, 1), (3, 2), (9, 9)])
def test_a_kernel_for_each_pixel(start):
    reference = kernel((3, 3, 80, 72))
    reference.meta.subarray = {"xstart": 1, "ystart": 1, "xsize": 72, "ysize": 80}
    compare(exposure((1, 2, 60, 56), **{"subarray.xstart": start[0], "subarray.ystart": start[1]}), reference)


@pytest.mark.parametrize("detector", ["NRS1", "NRS2"])
@pytest.mark.parametrize("size", [(3, 3), (5, 5), (3, 3, 2048, 24)])
def test_irs2(detector, size):
    keywords = {
        "instrument.name": "NIRSPEC", "instrument.detector": detector, "exposure.readpatt": "NRSIRS2", "exposure.nrs_normal": 16,
        "exposure.nrs_reference": 4, "subarray.xsize": 24, "subarray.ysize": 2048,
    }  # fmt: skip
    reference = kernel(size, name="NIRSPEC", detector=detector)
    reference.meta.subarray = {"xstart": 1, "ystart": 1, "xsize": 24, "ysize": 2048}
    compare(exposure((1, 2, 3200, 24), **keywords), reference)
