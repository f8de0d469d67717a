"""One frame applied to every group, against plain numpy."""

import numpy as np
import pytest

from jwnb.kernels.frames import flag_groups, subtract_from_groups, subtract_from_valid

SHAPES = [(1, 1, 5, 7), (2, 3, 17, 33), (3, 2, 64, 40)]


@pytest.mark.parametrize("shape", SHAPES)
def test_flags_are_added_to_every_group(shape):
    rng = np.random.default_rng(1)
    groupdq, bits = rng.integers(0, 256, shape, dtype=np.uint8), rng.integers(0, 256, shape[-2:], dtype=np.uint8)
    before = groupdq.copy()
    np.testing.assert_array_equal(flag_groups(groupdq, bits), before | bits)
    np.testing.assert_array_equal(groupdq, before)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_frame_is_subtracted_and_its_nan_is_nothing(shape):
    rng = np.random.default_rng(2)
    data, frame = rng.normal(1e4, 1e3, shape).astype(np.float32), rng.normal(1e4, 1e3, shape[-2:]).astype(np.float32)
    frame[rng.random(frame.shape) < 0.2] = np.nan
    data[rng.random(shape) < 0.1] = np.nan
    out = subtract_from_groups(data, frame)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, data - np.nan_to_num(frame))


@pytest.mark.parametrize("shape", SHAPES)
def test_zero_frames_keep_their_zeros(shape):
    rng = np.random.default_rng(3)
    frames, frame = rng.normal(1e4, 1e3, shape[1:]).astype(np.float32), rng.normal(1e4, 1e3, shape[-2:]).astype(np.float32)
    frames[rng.random(frames.shape) < 0.2] = 0
    frames[rng.random(frames.shape) < 0.1] = np.nan
    frame[rng.random(frame.shape) < 0.2] = np.nan
    np.testing.assert_array_equal(subtract_from_valid(frames, frame), np.where(frames == 0, 0, frames - np.nan_to_num(frame)))


def test_parts_of_larger_arrays():
    data, frame = np.arange(2 * 3 * 8 * 10, dtype=np.float32).reshape(2, 3, 8, 10), np.ones((8, 10), np.float32)
    part = data[:, :, 2:6, 3:9]
    np.testing.assert_array_equal(subtract_from_groups(part, frame[2:6, 3:9]), part - 1)
