"""Cut references are those that jwst cuts."""

import numpy as np
import pytest
from stdatamodels.jwst.datamodels import GainModel, LinearityModel, RampModel, SuperBiasModel

from jwnb.references import resolve
from jwnb.references.opening import open_reference

pytestmark = pytest.mark.peer


def exposure(instrument, detector, **area):
    ramp = RampModel((1, 2, area["ysize"], area["xsize"]))
    ramp.meta.instrument.name, ramp.meta.instrument.detector = instrument, detector
    for name, value in area.items():
        setattr(ramp.meta.subarray, name, value)
    return ramp


def reference(model, like, shape):
    model.meta.instrument.name, model.meta.instrument.detector = like.meta.instrument.name, like.meta.instrument.detector
    model.meta.subarray.xstart = model.meta.subarray.ystart = 1
    model.meta.subarray.ysize, model.meta.subarray.xsize = shape
    return model


@pytest.mark.parametrize(
    ("instrument", "shape", "area"),
    [
        ("NIRCAM", (2048, 2048), {"xstart": 101, "ystart": 201, "xsize": 64, "ysize": 32}),
        ("MIRI", (1024, 1032), {"xstart": 1, "ystart": 889, "xsize": 136, "ysize": 128}),
    ],
)
def test_rectangles(instrument, shape, area):
    from jwst.lib.reffile_utils import get_subarray_model

    ramp = exposure(instrument, "ANY", **area)
    rng = np.random.default_rng(3)
    data, err = rng.normal(size=(2, *shape)).astype(np.float32)
    bias = reference(SuperBiasModel(data=data, err=err, dq=rng.integers(0, 9, shape).astype(np.uint32)), ramp, shape)
    coeffs = reference(LinearityModel(coeffs=rng.normal(size=(3, *shape)).astype(np.float32), dq=bias.dq), ramp, shape)

    for model, names in ((bias, ("data", "err", "dq")), (coeffs, ("coeffs", "dq"))):
        ours = open_reference(resolve(ramp, "any", model), type(model), ramp)
        theirs = get_subarray_model(ramp, model)
        for name in names:
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


KEYS = ("name", "reads1", "skips1", "reads2", "skips2", "lines", "repeat", "interleave", "step", "count")
STRIPES = {
    "dhs": ("SUB164STRIPE4_DHS", 1, 1060, 40, 82, 164, 1, 1, 0, 0),
    "repeated": ("SUB60STRIPE_SOSS", 4, 30, 16, 9, 60, 1, 0, 0, 0),
    "in a row": ("SUB60STRIPE_SOSS", 4, 30, 16, 9, 52, 0, 0, 0, 0),
    "super": ("SUB60STRIPE_SOSS", 4, 0, 56, 0, 60, 0, 0, 50, 5),
    "pure super": ("SUB60STRIPE_SOSS", 4, 0, 0, 0, 60, 1, 0, 56, 5),
    "super repeated": ("SUB60STRIPE_SOSS", 4, 3, 11, 0, 60, 1, 0, 11, 7),
    "super interleaved": ("SUB60STRIPE_SOSS", 4, 3, 11, 2, 60, 1, 1, 11, 7),
}


@pytest.mark.parametrize("mode", STRIPES)
@pytest.mark.parametrize(("fast", "slow"), [(1, 2), (-1, 2), (1, -2), (2, 1), (-2, -1), (2, -1)])
@pytest.mark.parametrize("start", [1, 9])
def test_stripes(mode, fast, slow, start):
    from jwst.lib.reffile_utils import get_subarray_model

    stripes = dict(zip(KEYS, STRIPES[mode], strict=True))
    along_x = abs(slow) == 1
    first = start if slow > 0 or start == 1 else 2049 - start
    area = {"name": stripes["name"], "fastaxis": fast, "slowaxis": slow, "xstart": 1, "ystart": 1, "xsize": 2048, "ysize": 2048}
    area |= {"xstart": first, "xsize": stripes["lines"]} if along_x else {"ystart": first, "ysize": stripes["lines"]}
    area |= {f"multistripe_{key}": stripes[key] for key in ("reads1", "skips1", "reads2", "skips2")}
    area |= {"repeat_stripe": stripes["repeat"], "interleave_reads1": stripes["interleave"]}
    area |= {"superstripe_step": stripes["step"], "num_superstripe": stripes["count"]}
    ramp = exposure("NIRCAM", "NRCALONG", **area)
    data = np.arange(2048 * 2048, dtype=np.float32).reshape(2048, 2048)
    gain = reference(GainModel(data=data), ramp, (2048, 2048))

    ours = open_reference(resolve(ramp, "gain", gain), GainModel, ramp)
    theirs = get_subarray_model(ramp, gain)

    np.testing.assert_array_equal(ours.data, theirs.data)
