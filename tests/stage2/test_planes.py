"""Arrays of models as planes."""

import helpers_flux as h
import numpy as np
import pytest

from jwnb.errors import InputError
from jwnb.stage2.planes import flags_of, floats_of, planes


def test_native_arrays_are_views() -> None:
    cube = np.zeros((2, 3, 4), np.float32)
    assert np.shares_memory(planes(cube, np.float32), cube)
    assert planes(cube[0], np.float32).shape == (1, 3, 4)


@pytest.mark.parametrize(
    "given", [np.arange(12.0).reshape(3, 4), np.arange(12, dtype=">f4").reshape(3, 4), np.arange(12, dtype="f4").reshape(4, 3).T]
)
def test_others_are_converted(given) -> None:
    made = planes(given, np.float32)
    assert made.dtype == np.dtype("f4") and made.dtype.isnative and made.flags.c_contiguous
    np.testing.assert_array_equal(made[0], given)


def test_missing_or_odd_arrays() -> None:
    model = h.rate((2, 6, 7))
    np.testing.assert_array_equal(floats_of(model, "err"), model.err)
    model.instance["err"] = model.err[0]
    with pytest.raises(InputError, match=r"data of shape \(2, 6, 7\), a \(6, 7\) 'err' array"):
        floats_of(model, "err")
    del model.instance["err"]
    with pytest.raises(InputError, match="has no 'err' array"):
        floats_of(model, "err")


def test_flags() -> None:
    model = h.rate((2, 6, 7))
    np.testing.assert_array_equal(flags_of(model), model.dq)
    model.instance["dq"] = model.dq[0]
    assert flags_of(model).shape == (2, 6, 7)
    del model.instance["dq"]
    assert not flags_of(model).any()
