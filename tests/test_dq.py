"""DQ bits are those of the master table (rows D-0 to D-30)."""

import numpy as np
from stdatamodels.jwst.datamodels.dqflags import group, pixel

from jwnb import dq


def test_every_flag_has_its_value_and_width():
    assert {n: int(v) for n, v in dq.PIXEL.items()} == pixel
    assert {n: int(v) for n, v in dq.GROUP.items()} == group
    assert all(v.dtype == np.uint32 for v in dq.PIXEL.values())
    assert all(v.dtype == np.uint8 for v in dq.GROUP.values())


def test_masks_and_decoding():
    assert dq.pixel("DO_NOT_USE", "SATURATED") == 3
    assert dq.group("JUMP_DET").dtype == np.uint8
    assert dq.decode(0) == ()
    assert dq.decode(2**30 + 1) == ("DO_NOT_USE", "OTHER_BAD_PIXEL")
