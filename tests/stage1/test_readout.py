"""Where reference pixels lie."""

import numpy as np
import pytest
from helpers import make_ramp

from jwnb.errors import WrongExposureError
from jwnb.stage1.readout import has_zeroframe, irs2_rows, reference_borders


@pytest.mark.parametrize(
    ("instrument", "start", "size", "expected"),
    [
        ("NIRCAM", (1, 1), (2048, 2048), (4, 4, 4, 4)),
        ("NIRCAM", (5, 5), (64, 64), (0, 0, 0, 0)),
        ("NIRCAM", (3, 1), (64, 32), (4, 0, 2, 0)),
        ("NIRCAM", (1985, 1983), (64, 64), (0, 2, 0, 4)),
        ("MIRI", (1, 1), (1032, 1024), (0, 0, 4, 4)),
        ("MIRI", (1, 5), (72, 416), (0, 0, 4, 0)),
    ],
)
def test_borders(instrument, start, size, expected):
    where = dict(zip(("subarray.xstart", "subarray.ystart", "subarray.xsize", "subarray.ysize"), start + size, strict=True))
    assert reference_borders(make_ramp(np.ones((1, 1, 4, 4)), **{"instrument.name": instrument} | where)) == expected


def test_rows_of_irs2_mirror_between_the_detectors():
    rows = {}
    for detector in ("NRS1", "NRS2"):
        ramp = make_ramp(np.ones((1, 1, 3200, 2)), **{"instrument.detector": detector})
        rows[detector] = irs2_rows(ramp)
        assert rows[detector].size == 2048 and (np.diff(rows[detector]) > 0).all()
    np.testing.assert_array_equal(rows["NRS2"], 3199 - rows["NRS1"][::-1])
    # 640 rows of the reference output, 8 ordinary ones, then 4 reference rows after every 16.
    assert rows["NRS1"][0] == 640
    np.testing.assert_array_equal(np.flatnonzero(np.diff(rows["NRS1"]) > 1)[:3], [7, 23, 39])
    assert set(np.diff(rows["NRS1"])) == {1, 5}


def test_other_readouts_have_all_rows():
    assert irs2_rows(make_ramp(np.ones((1, 1, 2048, 2)))) is None


@pytest.mark.parametrize("changes", [{"instrument.detector": "NRS1"}, {}])
def test_what_is_neither_is_refused(changes):
    rows = 3100 if changes else 3200
    with pytest.raises(WrongExposureError, match="no IRS2 readout"):
        irs2_rows(make_ramp(np.ones((1, 1, rows, 2)), **changes))


def test_zeroframe_counts_where_it_is_announced():
    ramp = make_ramp(np.ones((1, 1, 4, 4)), **{"exposure.zero_frame": True})
    assert not has_zeroframe(ramp)
    ramp.zeroframe = np.ones((1, 4, 4), np.float32)
    assert has_zeroframe(ramp)
    ramp.meta.exposure.zero_frame = False
    assert not has_zeroframe(ramp)
