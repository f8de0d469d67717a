"""linearity: truth, edges, and references that do not fit."""

import numpy as np
import pytest
from helpers import freeze, make_ramp, make_reference
from stdatamodels.jwst.datamodels import LinearityModel

import jwnb
from jwnb import dq
from jwnb.errors import InputError, MissingReferenceError

SHAPE = (16, 20)
NO_LIN_CORR = dq.PIXEL["NO_LIN_CORR"]


def reference(*coeffs: float, shape: tuple[int, int] = SHAPE) -> LinearityModel:
    planes = np.stack([np.full(shape, c, np.float32) for c in coeffs])
    return make_reference(LinearityModel, shape, "linearity", coeffs=planes, dq=np.zeros(shape, np.uint32))


def test_a_known_bend_is_taken_out() -> None:
    counts = np.linspace(2000, 30000, 8)[None, :, None, None] * np.ones((2, 1, *SHAPE))
    bend = 2e-6
    bent = (1 - np.sqrt(1 - 4 * bend * counts)) / (2 * bend)  # measured + -bend measured^2 = counts
    ramp = freeze(make_ramp(bent))
    out = jwnb.linearity(ramp, reference=freeze(reference(0, 1, -bend)))
    np.testing.assert_allclose(out.data, counts, rtol=2e-6)
    assert out.groupdq is ramp.groupdq
    assert out.meta.cal_step.linearity == "COMPLETE"


def test_pixels_without_a_usable_polynomial_keep_their_values_and_say_so() -> None:
    lin = reference(1, 2, 0)
    lin.coeffs[2, 0, 0] = np.nan
    lin.coeffs[1, 0, 1] = 0.0
    lin.dq[0, 2] = NO_LIN_CORR
    lin.dq[0, 3] = dq.PIXEL["DO_NOT_USE"]
    ramp = make_ramp(np.full((1, 3, *SHAPE), 10.0))
    ramp.pixeldq[0, 3] = dq.PIXEL["DEAD"]
    out = jwnb.linearity(freeze(ramp), reference=freeze(lin))
    assert (out.data[..., 0, :3] == 10).all() and (out.data[..., 0, 3:] == 21).all()
    np.testing.assert_array_equal(out.pixeldq[0, :3], NO_LIN_CORR)
    assert out.pixeldq[0, 3] == dq.pixel("DO_NOT_USE", "DEAD") and not out.pixeldq[1:].any()


def test_saturated_groups_keep_their_value_and_the_others_of_the_pixel_do_not() -> None:
    ramp = make_ramp(np.full((1, 3, *SHAPE), 10.0))
    ramp.groupdq[0, 1:, 2, 2] = dq.group("SATURATED", "JUMP_DET")
    out = jwnb.linearity(ramp, reference=reference(0, 2))
    np.testing.assert_array_equal(out.data[0, :, 2, 2], [20, 10, 10])
    assert (out.data[0, :, 3, 3] == 20).all()


def test_one_group_of_averaged_reads_is_straightened_as_it_is() -> None:
    lin = reference(0, 2)
    lin.inv_coeffs = lin.coeffs
    ramp = make_ramp(np.full((1, 1, *SHAPE), 10.0), **{"exposure.nframes": 4})
    np.testing.assert_array_equal(jwnb.linearity(ramp, reference=lin).data, 20.0)


def test_zeroframe_is_straightened_and_its_zeros_stay() -> None:
    ramp = make_ramp(np.full((2, 2, *SHAPE), 10.0), **{"exposure.zero_frame": True})
    ramp.zeroframe = np.full((2, *SHAPE), 5.0, np.float32)
    ramp.zeroframe[1, 3, 4] = 0.0
    out = jwnb.linearity(ramp, reference=reference(1, 2))
    assert (out.zeroframe == 11).sum() == 2 * 16 * 20 - 1 and out.zeroframe[1, 3, 4] == 0


def test_no_reference_for_the_exposure() -> None:
    out = jwnb.linearity(make_ramp(np.ones((1, 1, *SHAPE))), reference="N/A")
    assert out.meta.cal_step.linearity == "SKIPPED"


def test_references_that_do_not_fit_are_refused() -> None:
    ramp = make_ramp(np.ones((1, 1, *SHAPE)))
    with pytest.raises(InputError, match="linear term"):
        jwnb.linearity(ramp, reference=reference(3))
    with pytest.raises(MissingReferenceError):
        jwnb.linearity(ramp, reference=reference(0, 1, shape=(8, 8)))
    odd = reference(0, 1)
    odd.dq = np.zeros((8, 8), np.uint32)
    with pytest.raises(MissingReferenceError, match="DQ has 8×8 pixels"):
        jwnb.linearity(ramp, reference=odd)
