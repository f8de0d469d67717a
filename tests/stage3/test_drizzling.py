"""One image on one grid."""

import numpy as np
import pytest

from jwnb.stage3.drizzling import drizzle_alone, drizzle_context, drizzle_flags

WHOLE = (0, 19, 0, 14)


def image() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y, x = np.indices((15, 20)).astype(float)
    data, weight = rng.normal(5, 1, (15, 20)).astype(np.float32), rng.uniform(1, 2, (15, 20)).astype(np.float32)
    return data, weight, np.stack([x + 3, y + 2], axis=-1)


def test_whole_shifts_move_pixels() -> None:
    data, weight, pixmap = image()
    out, total = drizzle_alone(data, weight, pixmap, shape=(18, 26), section=WHOLE)
    np.testing.assert_allclose(out[2:17, 3:23], data, rtol=1e-6)
    np.testing.assert_allclose(total[2:17, 3:23], weight, rtol=1e-6)
    assert np.isnan(out[:2]).all() and not total[:2].any()


def test_half_a_pixel_makes_weighted_means() -> None:
    data, weight, pixmap = image()
    pixmap[..., 0] += 0.5
    out, total = drizzle_alone(data, weight, pixmap, shape=(18, 26), section=WHOLE)
    pair = weight[:, 1:] + weight[:, :-1]
    np.testing.assert_allclose(out[2:17, 4:23], (data[:, 1:] * weight[:, 1:] + data[:, :-1] * weight[:, :-1]) / pair, rtol=1e-5)
    np.testing.assert_allclose(total[2:17, 4:23], pair / 2, rtol=1e-5)


def test_fill_value_section_and_weight() -> None:
    data, weight, pixmap = image()
    weight[4, 4] = 0
    out, total = drizzle_alone(data, weight, pixmap, shape=(18, 26), section=(2, 9, 1, 8), fillval="-7")
    assert np.array_equal(out != -7, total > 0)
    assert total[2 + 4, 3 + 4] == 0
    assert np.argwhere(total).min(axis=0).tolist() == [3, 5] and np.argwhere(total).max(axis=0).tolist() == [10, 12]


@pytest.mark.parametrize("kernel", ["square", "turbo", "lanczos3"])
def test_a_pixel_shrunk_to_nothing_is_a_point(kernel: str) -> None:
    data, weight, pixmap = image()
    pixmap += 0.2
    expected = drizzle_alone(data, weight, pixmap, shape=(18, 26), section=WHOLE, kernel="point")
    for a, b in zip(drizzle_alone(data, weight, pixmap, shape=(18, 26), section=WHOLE, kernel=kernel, pixfrac=0.0), expected, strict=True):
        assert np.array_equal(a, b, equal_nan=True)


def how(**options):
    return {"shape": (18, 26), "kernel": "square", "pixfrac": 1.0, "section": WHOLE, "pixel_scale_ratio": 1.0} | options


def test_flags_of_what_is_spread() -> None:
    data, weight, pixmap = image()
    dq = np.zeros(data.shape, np.uint32)
    dq[4, 4], dq[4, 5], dq[9, 9] = 1, 6, 8
    weight[9, 9] = 0
    pixmap[..., 0] += 0.5
    flags = drizzle_flags(dq, weight, pixmap, **how())
    assert flags.dtype == np.uint32
    assert {tuple(place): int(flags[tuple(place)]) for place in np.argwhere(flags)} == {(6, 7): 1, (6, 8): 7, (6, 9): 6}


@pytest.mark.parametrize("kernel", ["square", "lanczos3"])
def test_where_something_is_spread(kernel: str) -> None:
    data, weight, pixmap = image()
    weight[:, :10] = 0
    pixmap += 0.3
    context = drizzle_context(data, weight, pixmap, **how(kernel=kernel))
    _, total = drizzle_alone(data, weight, pixmap, **how(kernel=kernel))
    assert context.dtype == bool and context.any() and not context[:, :9].any()
    assert context[total > 0].all()
    if kernel == "square":
        assert np.array_equal(context, total > 0)
