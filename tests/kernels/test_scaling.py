"""The flat and conversion kernels against slow twins."""

import helpers_flux as h
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jwnb.dq import PIXEL
from jwnb.kernels.scaling import divide_by_flat, divide_by_flat_without_variances, scale_together, usable_flat

DNU, NO_FLAT = PIXEL["DO_NOT_USE"], PIXEL["NO_FLAT_FIELD"]
SHAPE = (2, 5, 7)


def arrays(seed: int, count: int, *, holes: bool = True) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    made = [rng.uniform(0.1, 5, SHAPE).astype(np.float32) for _ in range(count)]
    if holes:
        for array in made:
            array[tuple(rng.integers(0, n) for n in SHAPE)] = np.nan
    return made


def test_usable_flat() -> None:
    flat = np.array([[1.5, np.nan, 0.0, 2.0, 2.0, -1.0]], np.float32)
    dq = np.array([[0, 0, 4, NO_FLAT, DNU, PIXEL["UNRELIABLE_FLAT"]]], np.uint32)
    usable, flags = usable_flat(flat, dq, do_not_use=DNU, no_flat_field=NO_FLAT)
    np.testing.assert_array_equal(usable, np.array([[1.5, 1, 1, 1, 1, -1]], np.float32))
    np.testing.assert_array_equal(flags, [[0, NO_FLAT | DNU, NO_FLAT | DNU | 4, NO_FLAT | DNU, DNU, PIXEL["UNRELIABLE_FLAT"]]])
    assert usable.dtype == np.float32 and flags.dtype == np.uint32
    assert np.isnan(flat[0, 1]) and dq[0, 1] == 0  # the reference itself is as it was


def slow_division(data, poisson, rnoise, dq, flat, flat_err, flat_dq, *, inverse):
    factor = flat.astype(float) if inverse else 1 / flat.astype(float)
    flags = dq | flat_dq
    signal = data.astype(float) * factor
    variances = [poisson.astype(float) * factor**2, rnoise.astype(float) * factor**2]
    variances.append(np.zeros_like(signal) if inverse else (signal * flat_err.astype(float) / flat) ** 2)
    err = np.sqrt(sum(variances))
    lost = np.isnan(signal) | np.isnan(err) | ((flags & DNU) != 0)
    flags = np.where(lost, flags | DNU, flags)
    return [np.where(lost, np.nan, a) for a in (signal, err, *variances)], flags


@pytest.mark.parametrize("inverse", [False, True])
@given(seed=st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_division_is_its_twin(seed: int, *, inverse: bool) -> None:
    rng = np.random.default_rng(seed + 1)
    data, poisson, rnoise = arrays(seed, 3)
    dq = rng.choice([0, 0, 0, 1, 4], SHAPE).astype(np.uint32)
    flat = rng.uniform(0.5, 2, SHAPE[1:]).astype(np.float32)
    flat_err = rng.uniform(0, 0.1, SHAPE[1:]).astype(np.float32)
    flat_dq = rng.choice([0, 0, 0, 1, 8], SHAPE[1:]).astype(np.uint32)
    out = [np.empty_like(data) for _ in range(5)]
    out_dq = np.empty_like(dq)
    divide_by_flat(data, poisson, rnoise, dq, flat, flat_err, flat_dq, inverse, DNU, *out, out_dq)
    expected, flags = slow_division(data, poisson, rnoise, dq, flat, flat_err, flat_dq, inverse=inverse)
    np.testing.assert_array_equal(out_dq, flags)
    for mine, other in zip(out, expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=6e-7, atol=1e-30)


@pytest.mark.parametrize("inverse", [False, True])
def test_division_without_variances_is_its_twin(inverse: bool) -> None:
    data, err = arrays(3, 2)
    rng = np.random.default_rng(4)
    flat = rng.choice([-1, 1], SHAPE[1:]).astype(np.float32) * rng.uniform(0.5, 2, SHAPE[1:]).astype(np.float32)
    flat_err = rng.uniform(0, 0.1, SHAPE[1:]).astype(np.float32)
    out, out_err = np.empty_like(data), np.empty_like(err)
    divide_by_flat_without_variances(data, err, flat, flat_err, inverse, out, out_err)
    factor = flat.astype(float) if inverse else 1 / flat.astype(float)
    error = np.hypot(err * factor, 0 if inverse else data * factor * flat_err * factor)
    lost = np.isnan(data) | np.isnan(err)
    np.testing.assert_allclose(out, np.where(lost, np.nan, data * factor), rtol=6e-7)
    np.testing.assert_allclose(out_err, np.where(lost, np.nan, error), rtol=6e-7)
    assert lost.sum() == 2


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_scaling_is_its_twin(count: int, inverse: bool) -> None:
    given_arrays = tuple(arrays(count, count))
    dq = np.random.default_rng(9).choice([0, 0, 1, 2], SHAPE).astype(np.uint32)
    factors = np.array([1.7, 0.3, 2.89, 2.89, 1e-3])[:count]
    out = tuple(np.empty_like(a) for a in given_arrays)
    out_dq = np.empty_like(dq)
    scale_together(given_arrays, factors, dq, inverse, DNU, out, out_dq)
    lost = np.isnan(given_arrays).any(axis=0) | ((dq & DNU) != 0)
    np.testing.assert_array_equal(out_dq, np.where(lost, dq | DNU, dq))
    for mine, array, factor in zip(out, given_arrays, factors, strict=True):
        scaled = (array / factor if inverse else array * factor).astype(np.float32)
        np.testing.assert_array_equal(mine, np.where(lost, np.float32(np.nan), scaled))


def test_helpers_have_every_kind_of_bad_pixel() -> None:
    made = h.flat()
    assert np.isnan(made.data).sum() == np.sum(made.data == 0) == np.isnan(made.err).sum() == 1
