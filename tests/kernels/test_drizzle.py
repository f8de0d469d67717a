"""The square drizzle kernel against the library, and against polygons cut one by one."""

import numpy as np
import pytest
import shapely
from drizzle.resample import Drizzle

from jwnb.kernels import drizzle as kernels

NONE = np.zeros((0, 0), np.uint32)


def make_map(rng: np.random.Generator, shape: tuple[int, int], *, degrees: float = 3.0, scale: float = 1.0, flip: int = 1) -> np.ndarray:
    """A turned, scaled and slightly bent map."""
    y, x = np.indices(shape, float)
    bend = 2e-4 * rng.normal(size=3)
    u, v = flip * x + bend[0] * x * y + bend[1] * x**2, y + bend[2] * y**2
    angle = np.radians(degrees)
    dx, dy = rng.uniform(-15, 30, 2)
    return np.dstack(
        [dx + scale * (np.cos(angle) * u - np.sin(angle) * v), dy + scale * (np.sin(angle) * u + np.cos(angle) * v)]
    )


def spread(pixmap, data, weight, shape, *, pixfrac=1.0, section=None, variances=(), dq=None, bands=4, level=0.0):
    ny, nx = data.shape
    columns = kernels.spans(pixmap, section or (0, nx - 1, 0, ny - 1), shape)
    box, reached, reach = kernels.extent(pixmap, columns, shape)
    image, total, context = np.full(shape, np.nan, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.uint32)
    flags = NONE if dq is None else np.zeros(shape, np.uint32)
    planes = np.empty((box[3] - box[2], box[1] - box[0], 4), np.float32)
    kernels.spread_square(
        pixmap, columns, reached, box, *reach, pixfrac / 2, weight, data, np.float32(level), tuple([*variances, data, data, data][:3]),
        len(variances), NONE if dq is None else dq, np.uint32(1 << 31), image, total, context, flags, planes, bands,
    )  # fmt: skip
    whole = np.zeros((*shape, 4), np.float32)
    whole[box[2] : box[3], box[0] : box[1]] = planes
    return image, total, context, flags, whole


def by_library(pixmap, data, weight, shape, *, pixfrac=1.0, section=None, dq=None):
    ny, nx = data.shape
    x0, x1, y0, y1 = section or (0, nx - 1, 0, ny - 1)
    driz = Drizzle(fillval="NAN", out_shape=shape, begin_ctx_id=31, max_ctx_id=31)
    driz.add_image(data, exptime=1, pixmap=pixmap, weight_map=weight, pixfrac=pixfrac, xmin=x0, xmax=x1, ymin=y0, ymax=y1, dq=dq)
    return driz.out_img, driz.out_wht, driz.out_ctx[0].view(np.uint32), driz.out_dq


@pytest.mark.parametrize("seed", range(60))
def test_the_library_agrees_whatever_is_cut_off(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ny, nx = (int(n) for n in rng.integers(8, 60, 2))
    degrees = [0.0, rng.uniform(-4, 4), rng.uniform(-180, 180)][seed % 3]
    pixmap = make_map(rng, (ny, nx), degrees=degrees, scale=rng.choice([1.01, 0.7, 1.6]), flip=rng.choice([1, -1]))
    if seed % 5 == 0:
        pixmap[:, :2] = np.nan
        pixmap[ny // 2, nx // 2] = np.nan
    data, weight = rng.random((2, ny, nx), np.float32)
    weight[rng.random((ny, nx)) < 0.1] = 0
    flags = rng.integers(0, 2**32, (ny, nx), np.uint32)
    how = {"pixfrac": [1.0, 0.6, 0.01][seed % 3], "section": None if seed % 2 else (1, nx - 2, 2, ny - 3), "dq": flags}
    shape = tuple(int(n) for n in rng.integers(20, 70, 2))
    image, total, context, ours, _ = spread(pixmap, data, weight, shape, **how)
    expected, expected_total, expected_context, theirs = by_library(pixmap, data, weight, shape, **how)
    assert (context == expected_context).all()
    assert (ours == theirs).all()
    np.testing.assert_allclose(image, expected, rtol=2e-6)
    np.testing.assert_allclose(total, expected_total, rtol=2e-6, atol=1e-9)


def test_overlaps_are_those_of_the_polygons() -> None:
    rng = np.random.default_rng(5)
    pixmap = make_map(rng, (9, 11), degrees=33.0, scale=1.3)
    pixmap -= np.floor(pixmap.min(axis=(0, 1))) - 4
    data, weight = rng.random((2, 9, 11), np.float32)
    shape = (40, 40)
    image, total, *_ = spread(pixmap, data, weight, shape, pixfrac=0.8)
    sums, weights = np.zeros(shape), np.zeros(shape)
    for j in range(1, 8):
        for i in range(1, 10):
            near = pixmap[j - 1 : j + 2, i - 1 : i + 2]
            grid = [-0.4, 0.4]
            corners = [_bilinear(near, u, v) for u, v in ((grid[0], grid[1]), (grid[1], grid[1]), (grid[1], grid[0]), (grid[0], grid[0]))]
            quad = shapely.Polygon(corners)
            for y, x in np.ndindex(shape):
                part = quad.intersection(shapely.box(x - 0.5, y - 0.5, x + 0.5, y + 0.5)).area / quad.area * weight[j, i]
                sums[y, x] += part * data[j, i]
                weights[y, x] += part
    inside = spread(pixmap, data, weight, shape, pixfrac=0.8, section=(1, 9, 1, 7))
    np.testing.assert_allclose(inside[1], weights, rtol=1e-6, atol=1e-7)
    hit = weights > 1e-6
    np.testing.assert_allclose(inside[0][hit], (sums / np.where(hit, weights, 1))[hit], rtol=1e-5)
    assert total.sum() == pytest.approx(weight.sum(), rel=1e-5)
    assert np.nansum(image * total) == pytest.approx((weight * data).sum(), rel=1e-5)


def _bilinear(near: np.ndarray, u: float, v: float) -> np.ndarray:
    i, j = (1 if u > 0 else 0), (1 if v > 0 else 0)
    fx, fy = u + 1 - i, v + 1 - j
    block = near[j : j + 2, i : i + 2]
    return (block[0, 0] * (1 - fx) + block[0, 1] * fx) * (1 - fy) + (block[1, 0] * (1 - fx) + block[1, 1] * fx) * fy


def test_variances_are_spread_with_the_weights_of_the_data() -> None:
    rng = np.random.default_rng(2)
    pixmap = make_map(rng, (40, 30)) + 16
    data, weight, one, two = rng.random((4, 40, 30), np.float32)
    two[3, 4] = np.nan
    *_, planes = spread(pixmap, data, weight, (90, 90), variances=(one, two))
    for k, variance in enumerate((one, two)):
        expected, total, *_ = by_library(pixmap, np.sqrt(variance), weight, (90, 90))
        np.testing.assert_allclose(np.where(planes[..., 0] > 0, planes[..., k + 1], np.nan), expected, rtol=2e-6)
        np.testing.assert_allclose(planes[..., 0], total, rtol=2e-6)


@pytest.mark.parametrize("bands", [1, 3, 64])
def test_the_number_of_bands_changes_nothing(bands: int) -> None:
    rng = np.random.default_rng(3)
    pixmap = make_map(rng, (50, 40), degrees=25)
    data, weight = rng.random((2, 50, 40), np.float32)
    usual = spread(pixmap, data, weight, (70, 60), variances=(data,))
    other = spread(pixmap, data, weight, (70, 60), variances=(data,), bands=bands)
    for a, b in zip(usual, other, strict=True):
        assert np.array_equal(a, b, equal_nan=True)


def test_an_image_outside_the_output_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    pixmap = make_map(rng, (20, 20)) + 500
    data = rng.random((20, 20), np.float32)
    image, total, context, *_ = spread(pixmap, data, data, (30, 30))
    assert np.isnan(image).all() and not total.any() and not context.any()
    nowhere = np.full_like(pixmap, np.nan)
    assert not spread(nowhere, data, data, (30, 30))[1].any()


def test_the_level_is_subtracted() -> None:
    rng = np.random.default_rng(6)
    pixmap = make_map(rng, (20, 20)) + 16
    data = rng.random((20, 20), np.float32)
    lowered = spread(pixmap, data, np.ones_like(data), (60, 60), level=0.25)[0]
    np.testing.assert_array_equal(lowered, spread(pixmap, data - np.float32(0.25), np.ones_like(data), (60, 60))[0])


def test_weights() -> None:
    data = np.array([[1, np.nan, 1, 1, 1, 1]], np.float32)
    dq = np.array([[0, 0, 1, 2, 4, 0]], np.uint32)
    error = np.array([[1, 1, 1, 1, 1, np.nan]], np.float32)
    variance = np.array([[0.5, 0.5, 0.5, 0.5, 0.0, 0.5]], np.float32)
    empty = np.zeros((0, 0), np.float32)
    out = kernels.weights(data, dq, (error, empty), variance, np.uint32(1), np.float32(7))
    np.testing.assert_array_equal(out, [[2, 0, 0, 2, 0, 0]])
    out = kernels.weights(data, NONE, (empty,), empty, np.uint32(1), np.float32(7))
    np.testing.assert_array_equal(out, [[7, 0, 7, 7, 7, 7]])


@pytest.mark.parametrize("inverse", [0, 1])
def test_variances_are_added_with_squared_weights(inverse: int) -> None:
    rng = np.random.default_rng(7)
    inputs = rng.uniform(0.1, 1, (3, 6, 5, 4)).astype(np.float32)
    inputs[1, 2, 3, 0] = 0
    inputs[0, 1, 1, 2] = np.nan
    sums, totals = np.zeros((2, 3, 8, 9), np.float32)
    for k, planes in enumerate(inputs):
        kernels.add_variances(planes, (k, 2), np.array([0, 2]), inverse, 3.0, sums, totals)
    expected = np.zeros((3, 8, 9))
    norm = np.zeros((3, 8, 9))
    for k, planes in enumerate(inputs.astype(float)):
        for r, c in np.ndindex(6, 5):
            scale = 1 / planes[r, c, 1] ** 2 if inverse else 3.0
            for plane, kind in ((1, 0), (2, 2)):
                if planes[r, c, 0] and np.isfinite(planes[r, c, plane]):
                    expected[kind, k + r, 2 + c] += planes[r, c, plane] ** 2 * scale**2
                    norm[kind, k + r, 2 + c] += scale
    with np.errstate(invalid="ignore"):
        expected = 0.5 * expected / norm**2
    error = kernels.combine_variances(sums, totals, 0.5)
    np.testing.assert_allclose(sums, expected, rtol=1e-5)
    both = np.where(np.isnan(expected).all(axis=0), np.nan, np.sqrt(np.nansum(expected, axis=0)))
    np.testing.assert_allclose(error, both, rtol=1e-5)
