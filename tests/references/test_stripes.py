"""Striped readouts: which lines, and references put in their order."""

import numpy as np
import pytest
from stdatamodels.jwst.datamodels import LinearityModel, ReadnoiseModel

from jwnb.errors import InputError, MissingReferenceError
from jwnb.references import resolve
from jwnb.references.opening import lazy_reference, open_reference
from jwnb.references.stripes import stripe_lines


def striped(exposure, *, slow=2, size, reads1=0, skips1=0, reads2, skips2=0, repeat=0, interleave=0, step=0, count=0):
    area = exposure.meta.subarray
    area.name, area.fastaxis, area.slowaxis = "SUB60STRIPE_SOSS", 3 - abs(slow), slow
    area.xsize, area.ysize = (size, 24) if abs(slow) == 1 else (32, size)
    area.multistripe_reads1, area.multistripe_skips1 = reads1, skips1
    area.multistripe_reads2, area.multistripe_skips2 = reads2, skips2
    area.repeat_stripe, area.interleave_reads1 = repeat, interleave
    area.superstripe_step, area.num_superstripe = step, count
    return exposure


def test_stripes_follow_each_other(make_exposure):
    exposure = striped(make_exposure(), size=7, reads1=1, skips1=10, reads2=2, skips2=5)
    assert stripe_lines(exposure.meta.subarray).tolist() == [0, 11, 12, 18, 19, 25, 26]


def test_reference_lines_come_between_repeated_stripes(make_exposure):
    exposure = striped(make_exposure(), size=6, reads1=1, skips1=10, reads2=2, skips2=5, repeat=1)
    assert stripe_lines(exposure.meta.subarray).tolist() == [0, 11, 12, 0, 11, 12]
    exposure = striped(make_exposure(), size=6, reads1=1, skips1=10, reads2=2, skips2=5, repeat=1, interleave=1)
    assert stripe_lines(exposure.meta.subarray).tolist() == [0, 11, 12, 0, 18, 19]


def test_a_reversed_slow_axis_counts_from_the_far_end(make_exposure):
    exposure = striped(make_exposure(), slow=-2, size=3, reads1=1, skips1=10, reads2=2)
    assert stripe_lines(exposure.meta.subarray).tolist() == [2048 - 13, 2048 - 12, 2047]


def test_superstripes_step_on(make_exposure):
    exposure = striped(make_exposure(), size=3, reads1=1, skips1=3, reads2=2, step=2, count=3)
    assert stripe_lines(exposure.meta.subarray).tolist() == [[0, 4, 5], [0, 6, 7], [0, 8, 9]]


@pytest.mark.parametrize("wrong", [{"size": 6, "reads2": 4}, {"size": 4, "reads2": 0}, {"size": 4, "skips1": 2046, "reads2": 4}])
def test_keywords_that_cannot_be_raise(make_exposure, wrong):
    with pytest.raises(InputError):
        stripe_lines(striped(make_exposure(), **wrong).meta.subarray)


def full(model):
    model.meta.instrument.name, model.meta.instrument.detector = "NIRCAM", "NRCA1"
    model.meta.subarray.xstart = model.meta.subarray.ystart = 1
    model.meta.subarray.xsize = model.meta.subarray.ysize = 2048
    return model


@pytest.mark.parametrize("slow", [1, -1, 2, -2])
def test_references_are_put_in_the_order_of_the_readout(make_exposure, slow):
    line = np.arange(2048, dtype=np.float32)
    data = np.broadcast_to(line if abs(slow) == 1 else line[:, np.newaxis], (2048, 2048)).copy()
    exposure = striped(make_exposure(), slow=slow, size=5, reads1=1, skips1=10, reads2=2, skips2=5)
    found = resolve(exposure, "readnoise", full(ReadnoiseModel(data=data)))

    cut = open_reference(found, ReadnoiseModel, exposure).data

    expected = stripe_lines(exposure.meta.subarray)
    assert cut.shape == ((24, 5) if abs(slow) == 1 else (5, 32))
    np.testing.assert_array_equal(cut[7] if abs(slow) == 1 else cut[:, 7], expected)
    lazy = lazy_reference(found, ReadnoiseModel, exposure)
    assert lazy.shape() == cut.shape
    np.testing.assert_array_equal(lazy.read(), cut)


@pytest.mark.parametrize("slow", [-1, 2])
def test_superstripes_come_before_rows_and_columns(make_exposure, slow):
    line = np.arange(2048, dtype=np.float32)
    coeffs = np.broadcast_to(line if abs(slow) == 1 else line[:, np.newaxis], (2, 2048, 2048)).copy()
    exposure = striped(make_exposure(), slow=slow, size=3, reads1=1, skips1=3, reads2=2, step=2, count=4)

    cut = open_reference(resolve(exposure, "linearity", full(LinearityModel(coeffs=coeffs))), LinearityModel, exposure).coeffs

    assert cut.shape == ((2, 4, 24, 3) if abs(slow) == 1 else (2, 4, 3, 32))
    np.testing.assert_array_equal(cut[0, :, 7, :] if abs(slow) == 1 else cut[0, :, :, 7], stripe_lines(exposure.meta.subarray))


def test_a_striped_exposure_needs_the_whole_detector(make_exposure):
    exposure = striped(make_exposure(), size=5, reads1=1, skips1=10, reads2=2, skips2=5)
    part = full(ReadnoiseModel(data=np.zeros((5, 2048), np.float32)))
    part.meta.subarray.ysize = 5
    with pytest.raises(MissingReferenceError, match="does not cover"):
        open_reference(resolve(exposure, "readnoise", part), ReadnoiseModel, exposure)
