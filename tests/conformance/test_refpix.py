"""refpix against `jwst` on the same exposure."""

from typing import Any

import numpy as np
import pytest
from conformance.peer_stage1 import assert_close, run_jwst
from helpers import freeze, make_ramp
from jwst.refpix import RefPixStep
from stdatamodels.jwst.datamodels import RampModel

import jwnb
from jwnb import dq

pytestmark = pytest.mark.peer

REFERENCE, BAD = dq.PIXEL["REFERENCE_PIXEL"], dq.PIXEL["DO_NOT_USE"]
# FASTAXIS and SLOWAXIS, all that JWST's near-infrared detectors have (NRCA1, NRCB1, NIS, GUIDER1, NRS1, NRS2), and the rest.
AXES = [(-1, 2), (1, -2), (-2, -1), (2, 1), (-2, 1), (2, -1), (1, 2), (-1, -2)]


def exposure(
    shape: tuple[int, ...], start: tuple[int, int], axes: tuple[int, int], *, noutputs: int = 1, seed: int = 3, **changes: Any
) -> RampModel:
    """Return noise with offsets for parities and rows, outliers, flagged reference pixels and a ZEROFRAME with holes."""
    rng = np.random.default_rng(seed)
    ny, nx = shape[-2:]
    data = rng.normal(20, 6, shape) + rng.normal(0, 9, (*shape[:3], 1)) + rng.normal(0, 9, (*shape[:2], 1, shape[3]))
    data[rng.random(shape) < 0.01] += 300.0
    x, y = start[0] - 1 + np.arange(nx), start[1] - 1 + np.arange(ny)
    border = ((x < 4) | (x >= 2044))[np.newaxis] | ((y < 4) | (y >= 2044))[:, np.newaxis]
    keywords = {
        "subarray.name": "FULL" if min(shape[-2:]) == 2048 else "SUB64",
        "subarray.xstart": start[0],
        "subarray.ystart": start[1],
        "subarray.fastaxis": axes[0],
        "subarray.slowaxis": axes[1],
        "exposure.noutputs": noutputs,
        "exposure.zero_frame": True,
    }
    ramp = make_ramp(data, **(keywords | changes))
    ramp.pixeldq = np.where(border, REFERENCE, 0).astype(np.uint32)
    ramp.pixeldq[rng.random((ny, nx)) < 0.05] |= BAD
    ramp.groupdq = np.zeros(shape, np.uint8)
    ramp.zeroframe = rng.normal(15, 5, (shape[0], ny, nx)).astype(np.float32)
    ramp.zeroframe[rng.random(ramp.zeroframe.shape) < 0.02] = 0.0
    return ramp


def compare(ramp: RampModel, **options: Any) -> RampModel:
    freeze(ramp)
    ours, theirs = jwnb.refpix(ramp, **options), run_jwst(RefPixStep, ramp, options)
    assert ours.meta.cal_step.refpix == "COMPLETE" == theirs.meta.cal_step.refpix
    scale = float(np.nanmax(np.abs(ramp.data)))
    assert_close(ours.data, theirs.data, scale)
    assert_close(ours.zeroframe, theirs.zeroframe, scale)
    assert not ours.zeroframe[ramp.zeroframe == 0].any()
    np.testing.assert_array_equal(ours.pixeldq, theirs.pixeldq)
    np.testing.assert_array_equal(ours.groupdq, theirs.groupdq)
    assert np.abs(ours.data - ramp.data).max() > 1.0
    return ours


@pytest.mark.parametrize(
    ("axes", "options"),
    [
        ((-1, 2), {}),
        ((-2, -1), {"side_smoothing_length": 8, "side_gain": 0.7}),
        ((2, 1), {"odd_even_columns": False, "siglimit": 2.0}),
        ((1, -2), {"use_side_ref_pixels": False, "side_smoothing_length": 3}),
    ],
)
def test_full_frame(axes: tuple[int, int], options: dict[str, Any]) -> None:
    compare(exposure((1, 2, 2048, 2048), (1, 1), axes, noutputs=4), **options)


@pytest.mark.parametrize(
    ("shape", "start", "axes"),
    [
        *(((1, 2, 32, 36), (1, 1), axes) for axes in AXES),
        *(((1, 1, 33, 31), (2018, 2016), axes) for axes in AXES[:3]),
        *(((2, 2, 16, 64), (301, 1), axes) for axes in AXES[:3]),
    ],
)
def test_subarray_with_one_output(shape: tuple[int, ...], start: tuple[int, int], axes: tuple[int, int]) -> None:
    compare(exposure(shape, start, axes))


@pytest.mark.parametrize("options", [{"odd_even_columns": False}, {"siglimit": 1.5}, {"siglimit": 5.0, "odd_even_columns": False}])
def test_subarray_options(options: dict[str, Any]) -> None:
    compare(exposure((2, 2, 24, 40), (1, 2025), (-1, 2)), **options)


@pytest.mark.parametrize(
    ("shape", "start", "axes"),
    [
        ((2, 3, 64, 2048), (1, 1), (-1, 2)),  # bottom rows and both sides
        ((1, 2, 40, 2048), (1, 1001), (1, -2)),  # sides only
        ((1, 2, 64, 2048), (1, 1985), (-1, -2)),  # top rows and both sides
        ((1, 2, 2048, 48), (1, 1), (2, 1)),  # transposed
        ((1, 2, 48, 600), (1449, 3), (-1, 2)),  # two amplifiers, part of an edge, one side
    ],
)
@pytest.mark.parametrize("options", [{}, {"side_smoothing_length": 6, "odd_even_columns": False}, {"use_side_ref_pixels": False}])
def test_subarray_with_four_outputs(shape: tuple[int, ...], start: tuple[int, int], axes: tuple[int, int], options: dict[str, Any]) -> None:
    ramp = exposure(shape, start, axes, noutputs=4)
    if start == (1, 1001) and "use_side_ref_pixels" in options:
        assert jwnb.refpix(ramp, **options).meta.cal_step.refpix == "SKIPPED"
        np.testing.assert_array_equal(run_jwst(RefPixStep, ramp, options).data, ramp.data)
    else:
        compare(ramp, **options)


@pytest.mark.parametrize("name", ["SUB512", "SUB512S", "SUB32"])
def test_subarray_away_from_the_edges_that_has_stand_ins(name: str) -> None:
    changes = {"subarray.name": name, "instrument.name": "NIRSPEC", "instrument.detector": "NRS1", "exposure.type": "NRS_BRIGHTOBJ"}
    compare(exposure((2, 2, 32, 48), (601, 901), (2, 1), **changes))


def test_an_amplifier_without_good_reference_pixels_keeps_its_offset() -> None:
    ramp = exposure((1, 1, 64, 2048), (1, 1), (1, 2), noutputs=4)
    ramp.pixeldq[:4, 512:1024] |= BAD  # all of amplifier B
    ramp.pixeldq[:4, 1024:1536:2] |= BAD  # one parity of amplifier C
    ours = compare(ramp, use_side_ref_pixels=False)
    np.testing.assert_array_equal(ours.data[..., 512:1536], ramp.data[..., 512:1536])


def test_rows_without_good_side_pixels_within_reach_keep_their_level() -> None:
    ramp = exposure((1, 2, 64, 2048), (1, 201), (1, 2), noutputs=4)
    ramp.pixeldq[10:50] |= BAD
    ramp.pixeldq[40:64, :4] |= BAD
    compare(ramp)


def test_a_subarray_without_reference_pixels_is_left_alone_by_both() -> None:
    ramp = exposure((1, 2, 32, 32), (101, 101), (1, 2))
    ours, theirs = jwnb.refpix(ramp), run_jwst(RefPixStep, ramp)
    np.testing.assert_array_equal(ours.data, theirs.data)
    np.testing.assert_array_equal(ours.zeroframe, theirs.zeroframe)
    # jwst says COMPLETE although nothing was done; the manual (row B-76) says SKIPPED, and so do we.
    assert (ours.meta.cal_step.refpix, theirs.meta.cal_step.refpix) == ("SKIPPED", "COMPLETE")


def test_a_subarray_off_the_detector_is_skipped_by_both() -> None:
    ramp = exposure((1, 2, 32, 32), (2030, 1), (1, 2))
    ours, theirs = jwnb.refpix(ramp), run_jwst(RefPixStep, ramp)
    assert ours.meta.cal_step.refpix == "SKIPPED" == theirs.meta.cal_step.refpix
